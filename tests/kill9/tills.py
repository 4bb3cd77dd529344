"""The load: tills that sell, ask, cancel and refund, and that repeat whatever was not answered.

What a customer does is decided by the seed and the customer's number alone. Calls may be cut off at any
moment; a till then does what its manual says: it asks, or sends the same again.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import aiohttp

from tests.harness.live import APP_ID, VENDOR_KEY, VENDOR_SN, WALLETS, Json, NoAnswer, Till, Wallets, barcode
from tests.kill9.memory import HELD, UNDONE, Breach, Memory, RefundWish, Sale

AT_ONCE = 32
"""Customers at the counters."""
PACE_S = 0.01
"""Between two customers."""
GIVE_UP_S = 120
"""A gateway that lives for so long and does not answer a call that is repeated is away for good. While it is
killed again and again nobody gives up: on a busy machine all these lives may be too short for somebody."""
HUNG_S = 30
"""A single call that gets neither an answer nor an end for so long hangs."""
LOOKS_S = (0.2, 0.4, 0.8, 1.6)
"""When a till looks at an order that is not decided yet; then it cancels, or after a cancel leaves."""

SCRIPTS = {
    "00": 40, "05": 14, "02": 4, "06": 4, "07": 3, "09": 3, "16": 4, "17": 8,
    "01": 3, "03": 2, "04": 3, "08": 2, "10": 2, "12": 2, "13": 3, "14": 3, "15": 3, "18": 2, "19": 2,
}  # fmt: skip
"""The sandbox's scripts and how often; the second line's take their time (docs/sandbox.md)."""
WISHES = {
    "keep": 30, "leave": 10, "cancel": 12, "cancel at once": 5, "two refunds": 16, "all back": 8,
    "refund race": 8, "cancel or refund": 5, "lossy refund": 6,
}  # fmt: skip
"""What a shop does with a sale; who leaves after a lost answer never asks again."""

LOCKED_OUT = frozenset({"ILLEGAL_SIGN", "TERMINAL_NOT_EXISTS", "INVALID_TERMINAL"})

Answer = TypeVar("Answer")


class Unanswered(Exception):
    """No answer to be had: the connection broke, or the gateway said that it is in trouble."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What the customers of an era do.

    `brisk`: only what is decided within seconds, so that a short run comes to rest soon. `wechat_qr`: also
    QR codes of a wallet that closes no order in its first five minutes.
    """

    brisk: bool = False
    wechat_qr: bool = False


class Tills:
    """The shops of one era."""

    def __init__(
        self, tills: list[Till], memory: Memory, wallets: Wallets, *, ear_url: str, seed: str
    ) -> None:
        self.failures = 0
        self.memory = memory
        self._tills = tills
        self._wallets = wallets
        self._ear_url = ear_url
        self._seed = seed
        self._counters = asyncio.Semaphore(AT_ONCE)
        self._open = True
        self._in_trouble = False
        self._trouble_ended_s = 0.0

    async def serve(self, habits: Habits) -> None:
        """Let customers in until `close`, then wait for the last one."""
        async with asyncio.TaskGroup() as customers:
            for number in count(1):
                await self._counters.acquire()
                if not self._open:
                    return
                customers.create_task(self._customer(number, habits))
                await asyncio.sleep(PACE_S)

    def close(self) -> None:
        """Let nobody in any more."""
        self._open = False

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Meanwhile the gateway may fail honestly, its disk being full, say; calls begun meanwhile count."""
        self._in_trouble = True
        try:
            yield
        finally:
            self._in_trouble, self._trouble_ended_s = False, time.monotonic()

    def till_of(self, sale: Sale) -> Till:
        """The till of the shop that made a sale."""
        return self._tills[sale.shop]

    # -- one customer

    async def _customer(self, number: int, habits: Habits) -> None:
        dice = random.Random(f"{self._seed} customer {number}")
        sale = self._sale(number, habits, dice)
        wish = _draw(dice, WISHES)
        if habits.brisk and wish == "leave":
            wish = "keep"
        story = Story(self, self.till_of(sale), sale, dice)
        counter = Counter(self._counters)
        try:
            await story.tell(wish, counter)
        except UnknownOrder:
            pass  # noted where it was met
        except Unanswered as error:
            if wish != "leave":
                self.memory.note(Breach.UPSET, str(error), sale.client_sn)
        finally:
            counter.leave()

    def _sale(self, number: int, habits: Habits, dice: random.Random) -> Sale:
        wallet = "alipay" if habits.brisk else dice.choice(sorted(WALLETS))
        qr = dice.random() < 0.15 and (wallet == "alipay" or habits.wechat_qr)
        script = _draw(dice, SCRIPTS)
        total = 100 * dice.randint(1, 500) + (int(script) if qr else dice.randint(0, 99))
        sale = Sale(
            client_sn=f"K{number:05d}",
            shop=dice.randrange(len(self._tills)),
            wallet=wallet,
            qr=qr,
            script=script,
            total=total,
            born=len(self.memory.deaths),
        )
        self.memory.sales[sale.client_sn] = sale
        return sale

    async def arm(self, operation: str) -> None:
        """Let the wallet lose its next reply to such a call."""
        with suppress(aiohttp.ClientError):
            await self._wallets.arm(fault="lost_reply", operation=operation)

    @property
    def notify_url(self) -> str:
        """The merchants' server."""
        return f"{self._ear_url}/told"

    async def once(self, till: Till, path: str, fields: Json) -> Json:
        """Make a call; return what the gateway answered. Raises `Unanswered`."""
        began_s = time.monotonic()
        try:
            answer = await till.post(path, json.dumps(fields).encode())
        except NoAnswer as error:
            if time.monotonic() - began_s > HUNG_S:
                self.memory.note(Breach.UPSET, f"{path} hung for {HUNG_S} s and more")
            raise Unanswered("the gateway is away") from error
        except (AssertionError, ValueError) as error:
            self.memory.note(Breach.UPSET, f"{path} was not answered by the protocol: {error!r}")
            raise Unanswered("no answer of the protocol") from error
        self.memory.answers += 1
        if answer["result_code"] == "200":
            return answer
        if answer["error_code"] == "MAINTENANCE_INPROGRESS":
            raise Unanswered("the gateway is being stopped")
        self.failures += 1
        excused = self._in_trouble or began_s <= self._trouble_ended_s
        if answer["result_code"] != "500" or not excused:
            breach = Breach.LOST if answer["error_code"] in LOCKED_OUT else Breach.UPSET
            self.memory.note(breach, f"{path} was answered {answer}", str(fields.get("client_sn", "")))
        raise Unanswered(str(answer))


class Counter:
    """A customer's place at the counters; given up once, by whoever only waits or has gone."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def leave(self) -> None:
        """Make room for the next one."""
        if self._places is not None:
            self._places.release()
            self._places = None


class Story:
    """One sale from the first call to the last, at one till."""

    def __init__(self, tills: Tills, till: Till, sale: Sale, dice: random.Random) -> None:
        self._tills = tills
        self._till = till
        self._sale = sale
        self._dice = dice
        self._code = barcode(sale.wallet, random.Random(sale.client_sn).randrange(10**14), sale.script)
        tills.memory.barcodes.add(self._code)

    async def tell(self, wish: str, counter: Counter) -> None:
        """Live it."""
        if wish == "leave":
            await self._sell()
            return
        if wish == "cancel at once":
            soon_s = self._dice.random() * 0.03
            await asyncio.gather(self._surely(self._sell), self._cancel(after_s=soon_s))
            return
        status = await self._surely(self._sell)
        counter.leave()
        for wait_s in LOOKS_S:
            if status in HELD | UNDONE:
                break
            await asyncio.sleep(wait_s)
            status = await self._surely(self._ask)
        if status not in HELD | UNDONE:
            await self._cancel()
        elif status in HELD:
            await self._fulfil(wish)

    async def _fulfil(self, wish: str) -> None:
        total = self._sale.total
        if wish in {"cancel", "cancel or refund"}:
            both = [self._cancel()]
            if wish == "cancel or refund":
                both.append(self._refund("R1", total // 3))
            await asyncio.gather(*both)
        elif wish == "two refunds":
            await asyncio.gather(self._refund("R1", total // 3), self._refund("R2", total // 7))
        elif wish == "all back":
            await self._refund("R1", total)
        elif wish == "refund race":
            amount = total * 3 // 5
            await asyncio.gather(*(self._refund(f"R{n}", amount) for n in range(1, 4)))
        elif wish == "lossy refund":
            await self._tills.arm("refund")
            await self._refund("R1", total // 2)

    # -- calls

    async def _sell(self) -> str:
        """Pay, or show a code. Who was not answered asks, or sends the same again; both are right."""
        try:
            return await self._pay()
        except Unanswered:
            if self._dice.random() < 0.4:
                raise
        with suppress(UnknownOrder):
            return await self._ask()
        return await self._pay()

    async def _pay(self) -> str:
        sale = self._sale
        fields: Json = {"total_amount": str(sale.total), "subject": "tea", "operator": "ann"}
        fields |= {"client_sn": sale.client_sn, "notify_url": self._tills.notify_url}
        if sale.qr:
            biz = await self._call("precreate", fields | {"payway": WALLETS[sale.wallet][0]})
        else:
            biz = await self._call("pay", fields | {"dynamic_id": self._code})
        if biz["result_code"] == "FAIL" and biz["error_code"] != "CLIENT_SN_CONFLICT":
            self._note(Breach.UPSET, f"the sale was refused: {biz}")
        return str(biz["data"]["order_status"]) if "data" in biz else ""

    async def _ask(self) -> str:
        before = self._sale.told
        biz = await self._call("query", {"client_sn": self._sale.client_sn})
        if biz["error_code"] == "UPAY_ORDER_NOT_EXISTS":
            if before.sn:
                self._note(Breach.LOST, f"order {before.sn} does not exist any more")
            raise UnknownOrder
        return str(biz["data"]["order_status"])

    async def _cancel(self, *, after_s: float = 0) -> None:
        """Press cancel until it is answered, and look a few times how it ends."""
        await asyncio.sleep(after_s)
        self._sale.cancel_asked = True
        for wait_s in LOOKS_S:
            with suppress(UnknownOrder):
                await self._surely(lambda: self._call("cancel", {"client_sn": self._sale.client_sn}))
                if await self._surely(self._ask) in UNDONE:
                    return
            await asyncio.sleep(wait_s)

    async def _refund(self, number: str, amount: int) -> None:
        """Ask for a refund until it is answered with an end, or with "in progress" too often."""
        if not amount:
            return
        self._sale.refunds[number] = RefundWish(amount)
        for wait_s in LOOKS_S:
            answer = await self._surely(lambda: self._refund_once(number, amount))
            if answer != "REFUND_IN_PROGRESS":
                return
            await asyncio.sleep(wait_s)

    async def _refund_once(self, number: str, amount: int) -> str:
        before = self._sale.refunds[number].result
        fields = {"refund_request_no": number, "refund_amount": str(amount)}
        biz = await self._call("refund", {"client_sn": self._sale.client_sn} | fields)
        for text in self._sale.hear_refund(number, biz, before):
            self._note(Breach.LOST, text)
        return str(biz["result_code"])

    async def _surely(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat a call until it is answered: all of them may be repeated."""
        began_s = time.monotonic()
        while True:
            try:
                return await call()
            except Unanswered:
                if time.monotonic() > max(began_s, self._tills.memory.last_death_s) + GIVE_UP_S:
                    raise
            await asyncio.sleep(0.02 + 0.05 * self._dice.random())

    async def _call(self, name: str, fields: Json) -> Json:
        """One call about this sale; hold its answer against what was told before."""
        before = self._sale.told
        answer = await self._tills.once(
            self._till, f"/upay/v2/{name}", {"terminal_sn": self._till.sn, **fields}
        )
        biz: Json = answer["biz_response"]
        if "data" in biz:
            for text in self._sale.hear(biz["data"], before):
                self._note(Breach.LOST, f"{text} (answer to {name})")
        return biz

    def _note(self, breach: Breach, text: str) -> None:
        self._tills.memory.note(breach, text, self._sale.told.sn or self._sale.client_sn)


class UnknownOrder(Exception):
    """The gateway knows of no such order, and never said that it did."""


class Clerk:
    """Somebody who activates a till and renews its key all day: what he is told must open the door, ever."""

    def __init__(
        self, tills: Tills, http: aiohttp.ClientSession, url: str, *, code: str, device_id: str
    ) -> None:
        self._tills = tills
        self._http = http
        self._url = url
        self._code = code
        self._device_id = device_id

    async def work(self, gap_s: float) -> None:
        """Go on until cancelled."""
        till = await self._again(self._activate)
        while True:
            till.key = await self._again(lambda: self._check_in(till))
            await self._again(lambda: self._try_key(till))
            await asyncio.sleep(gap_s)

    async def _activate(self) -> Till:
        fields = {"app_id": APP_ID, "code": self._code, "device_id": self._device_id}
        vendor = Till(self._http, self._url, sn=VENDOR_SN, key=VENDOR_KEY)
        told = (await self._tills.once(vendor, "/terminal/activate", fields))["biz_response"]
        self._tills.memory.secrets.add(told["terminal_key"])
        return Till(self._http, self._url, sn=told["terminal_sn"], key=told["terminal_key"])

    async def _check_in(self, till: Till) -> str:
        fields = {"terminal_sn": till.sn, "device_id": self._device_id}
        answer = await self._tills.once(till, "/terminal/checkin", fields)
        key = str(answer["biz_response"]["terminal_key"])
        self._tills.memory.secrets.add(key)
        return key

    async def _try_key(self, till: Till) -> None:
        await self._tills.once(till, "/upay/v2/query", {"terminal_sn": till.sn, "client_sn": "nobody's"})

    async def _again(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        while True:
            with suppress(Unanswered):
                return await call()
            await asyncio.sleep(0.05)


def _draw(dice: random.Random, weights: dict[str, int]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]
