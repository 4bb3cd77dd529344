"""Tills and their habits: they retry, double-click, change their minds, refund in parallel and walk off.

Every habit is a story of one sale through the gateway's own HTTP edge. Whatever a till hears goes to the
checkers.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec

from paymux.domain.people import Terminal
from tests.harness.virtual_time import VirtualLoop
from tests.simulation.checkers.sent import Sale, SentChecker
from tests.simulation.checkers.told import ToldChecker
from tests.simulation.history import History
from tests.simulation.process import Door
from tests.simulation.weather import Weather

FINAL = frozenset({"PAID", "PAY_CANCELED", "REFUNDED", "PARTIAL_REFUNDED", "CANCELED"})
POLL_S = (2, 3, 5)
PATIENCE_S = 45
"""How long a till goes on asking before it cancels, as the official diagrams show."""
TRIES_MAX = 200
_HANG_UP_S = (5.0, 40.0)

Json = dict[str, Any]


def signed(sn: str, key: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a terminal's call over these bytes (upay-v2.md §1.1)."""
    sign = hashlib.md5(body + key.encode()).hexdigest()  # noqa: S324 - the protocol prescribes MD5
    return [(b"content-type", b"application/json"), (b"authorization", f"{sn} {sign}".encode())]


class Till:
    """One terminal: signs what it sends, and tells the checkers what it hears."""

    def __init__(
        self,
        *,
        terminal: Terminal,
        loop: VirtualLoop,
        door: Door,
        weather: Weather,
        dice: Random,
        history: History,
        sent: SentChecker,
        told: ToldChecker,
    ) -> None:
        self.merchant = terminal.merchant_sn
        self.dice = dice
        self.sent = sent
        self._sn, self._key = terminal.terminal_sn, terminal.current_key
        self._loop = loop
        self._door = door
        self._call_lost, self._answer_lost = weather.call_lost, weather.answer_lost
        self._history = history
        self._told = told

    def calm(self) -> None:
        """From now on every call arrives and is heard."""
        self._call_lost = self._answer_lost = 0.0

    async def call(
        self, name: str, client_sn: str, *, number: str = "", asked: int = 0, **fields: str
    ) -> Json | None:
        """One call about a sale; its answer's biz_response, None when there was no answer."""
        body = msgspec.json.encode({"terminal_sn": self._sn, "client_sn": client_sn, **fields})
        dice = self.dice
        self._history.note("till", f"→ {name}", client_sn, body)
        process = self._door()
        if process is None or (self._call_lost and dice.random() < self._call_lost):
            await asyncio.sleep(dice.random() * 2)
            return None
        answer_lost = self._answer_lost and dice.random() < self._answer_lost
        raw = await self._answer(
            process.call("POST", f"/upay/v2/{name}", signed(self._sn, self._key, body), body), answer_lost
        )
        if raw is None:
            self._history.note("till", f"{name} unanswered", client_sn)
            return None
        status, content = raw
        assert status == 200, raw
        self._history.note("till", f"← {name}", client_sn, content)
        answer: Json = msgspec.json.decode(content)
        self._told.answer(self.merchant, client_sn, name, answer, number=number, asked=asked)
        return answer.get("biz_response")

    async def _answer(
        self, future: "asyncio.Future[tuple[int, bytes] | None]", answer_lost: object
    ) -> tuple[int, bytes] | None:
        if not answer_lost:
            return await future
        low, high = _HANG_UP_S
        await asyncio.sleep(low + (high - low) * self.dice.random() ** 2)
        return None

    # -- what every habit is made of

    async def surely(self, call: Callable[[], Awaitable[Json | None]]) -> Json:
        """Repeat a call until it is answered."""
        for _ in range(TRIES_MAX):
            answer = await call()
            if answer is not None:
                return answer
            await asyncio.sleep(1 + self.dice.random())
        raise AssertionError("the gateway is away for good")

    async def status(self, client_sn: str) -> str:
        """The order's status, "" when the gateway knows no such order."""
        answer = await self.surely(lambda: self.call("query", client_sn))
        return answer["data"]["order_status"] if "data" in answer else ""

    async def settled(self, client_sn: str) -> str:
        """Poll as the manual says until it is final, and cancel when the patience is over."""
        waited_s, tries, status = 0, 0, ""
        while tries < TRIES_MAX:
            status = await self.status(client_sn)
            if status in FINAL or not status:
                return status
            if status == "CREATED" and waited_s >= PATIENCE_S and self.dice.random() < 0.7:
                await self.cancel(client_sn)
            gap_s = POLL_S[min(tries, len(POLL_S) - 1)] * (1 if tries < 30 else 10)
            waited_s, tries = waited_s + gap_s, tries + 1
            await asyncio.sleep(gap_s)
        return status

    async def cancel(self, client_sn: str, *, word: str = "cancel") -> Json | None:
        """Press cancel once."""
        self.sent.cancels_asked.add((self.merchant, client_sn))
        return await self.call(word, client_sn)

    async def refund(self, client_sn: str, number: str, amount: int) -> Json | None:
        """Ask for one refund once."""
        self.sent.refunds_asked.setdefault((self.merchant, client_sn), set()).add((number, amount))
        return await self.call(
            "refund",
            client_sn,
            number=number,
            asked=amount,
            refund_request_no=number,
            refund_amount=str(amount),
            operator="ann",
        )

    async def refund_surely(self, client_sn: str, number: str, amount: int) -> str:
        """Ask until the answer is not "in progress"; give up after a while, as a cashier does."""
        result = ""
        for tries in range(12):
            answer = await self.surely(lambda: self.refund(client_sn, number, amount))
            result = str(answer["result_code"])
            if result != "REFUND_IN_PROGRESS":
                break
            await asyncio.sleep(3 * (tries + 1))
        return result


class Customer:
    """One sale: what is bought, how it is paid, and the shop's habit with it."""

    def __init__(
        self, till: Till, *, client_sn: str, total: int, fields: dict[str, str], notify_url: str
    ) -> None:
        self.till = till
        self.client_sn = client_sn
        self.total = total
        self._name = "pay" if "dynamic_id" in fields else "precreate"
        self._fields = {"subject": "tea", "operator": "ann", **fields}
        if notify_url:
            self._fields["notify_url"] = notify_url

    async def buy(self, *, total: int = 0) -> Json | None:
        """One press of the button."""
        amount = total or self.total
        sale = Sale(amount, self._fields.get("dynamic_id", ""))
        sales = self.till.sent.asked.setdefault((self.till.merchant, self.client_sn), [])
        if sale not in sales:
            sales.append(sale)
        return await self.till.call(
            self._name, self.client_sn, asked=amount, total_amount=str(amount), **self._fields
        )

    async def sell(self) -> str:
        """Press until the order is known, then wait for its end; the status it came to."""
        for _ in range(TRIES_MAX):
            answer = await self.buy()
            if answer is not None and answer["result_code"] in {"PAY_SUCCESS", "PAY_FAIL", "PRECREATE_FAIL"}:
                return str(answer["data"]["order_status"])
            status = await self.till.settled(self.client_sn)
            if status:
                return status
            if answer is not None:
                return ""
            await asyncio.sleep(2 + self.till.dice.random())
        return ""


# -- habits: each takes the customer through one sale


async def plain(c: Customer) -> None:
    """Sell, and be content."""
    await c.sell()


async def refund(c: Customer) -> None:
    """All of it goes back later."""
    if await c.sell() == "PAID":
        await asyncio.sleep(c.till.dice.random() * 30)
        await c.till.refund_surely(c.client_sn, "R1", c.total)


async def refund_parts(c: Customer) -> None:
    """Some of it, then some more, then more than there is."""
    if await c.sell() == "PAID":
        for number in range(1, 4):
            amount = 1 + int(c.till.dice.random() * c.total * 0.7)
            await c.till.refund_surely(c.client_sn, f"R{number}", amount)


async def refund_parallel(c: Customer) -> None:
    """Several tills give money back at the same moment, together more than was paid."""
    if await c.sell() == "PAID":
        amounts = [1 + int(c.till.dice.random() * c.total * 0.8) for _ in range(c.till.dice.randint(2, 6))]
        await asyncio.gather(
            *(c.till.refund_surely(c.client_sn, f"R{n}", amount) for n, amount in enumerate(amounts))
        )


async def refund_twice(c: Customer) -> None:
    """The same refund, pressed twice at once and once more later."""
    if await c.sell() == "PAID":
        amount = 1 + int(c.till.dice.random() * (c.total - 1))
        await asyncio.gather(*(c.till.refund(c.client_sn, "R1", amount) for _ in range(2)))
        await asyncio.sleep(c.till.dice.random() * 20)
        await c.till.refund_surely(c.client_sn, "R1", amount)


async def refund_again(c: Customer) -> None:
    """A refund that is refused is pressed again under its number, as soon as the refusal is there."""
    if await c.sell() == "PAID":
        for _ in range(5):
            if await c.till.refund_surely(c.client_sn, "R1", c.total) != "REFUND_FAIL":
                break


async def refund_changed(c: Customer) -> None:
    """The same refund number, another amount."""
    if await c.sell() == "PAID" and c.total > 1:
        await asyncio.gather(*(c.till.refund(c.client_sn, "R1", amount) for amount in (c.total, c.total - 1)))
        await c.till.refund(c.client_sn, "R1", 1)


async def cancel_paid(c: Customer) -> None:
    """The customer changes his mind after paying."""
    if await c.sell() == "PAID":
        await asyncio.sleep(c.till.dice.random() * 40)
        await c.till.cancel(c.client_sn, word=c.till.dice.choice(("cancel", "revoke")))
        await c.till.settled(c.client_sn)


async def cancel_refunded(c: Customer) -> None:
    """A part went back already; then somebody wants to cancel the whole sale."""
    if await c.sell() == "PAID" and c.total > 1:
        await c.till.refund_surely(c.client_sn, "R1", c.total // 2)
        await c.till.cancel(c.client_sn)
        await c.till.settled(c.client_sn)


async def cancel_at_once(c: Customer) -> None:
    """Cancel is pressed while the payment is under way."""
    paying = asyncio.ensure_future(c.buy())
    await asyncio.sleep(c.till.dice.random() ** 2 * 5)
    await c.till.cancel(c.client_sn)
    await paying
    await c.till.settled(c.client_sn)


async def cancel_race_refund(c: Customer) -> None:
    """One till cancels what another one refunds."""
    if await c.sell() == "PAID":
        await asyncio.gather(
            c.till.cancel(c.client_sn), c.till.refund(c.client_sn, "R1", c.total), c.till.cancel(c.client_sn)
        )
        await c.till.settled(c.client_sn)


async def double_click(c: Customer) -> None:
    """The button is pressed twice at the same moment."""
    await asyncio.gather(c.buy(), c.buy())
    await c.sell()


async def changed_content(c: Customer) -> None:
    """The same client_sn with another amount, before the first one is settled."""
    await asyncio.gather(c.buy(), c.buy(total=c.total + 100))
    await c.till.settled(c.client_sn)
    await c.buy(total=c.total + 200)


async def hammer(c: Customer) -> None:
    """A till that asks far too often."""
    paying = asyncio.ensure_future(c.buy())
    for _ in range(20):
        await asyncio.sleep(0.2)
        await c.till.call("query", c.client_sn)
    await paying
    await c.till.settled(c.client_sn)


async def walk_off(c: Customer) -> None:
    """Nobody waits for the answer."""
    await c.buy()


NEEDS = {"refund_again": "18"}
"""A habit that is only worth having with a certain script: here a seller who is poor now and then."""

HABITS: dict[str, Callable[[Customer], Awaitable[None]]] = {
    habit.__name__: habit
    for habit in (
        plain,
        refund,
        refund_parts,
        refund_parallel,
        refund_twice,
        refund_again,
        refund_changed,
        cancel_paid,
        cancel_refunded,
        cancel_at_once,
        cancel_race_refund,
        double_click,
        changed_content,
        hammer,
        walk_off,
    )
}
