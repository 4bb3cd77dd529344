"""Refunds under every sequence of numbers, amounts, faults and crashes: never a fen above what was paid (M3).

The limit is watched where it counts, at the wallet's door: over all refunds of an order that were *sent* and
not definitely refused, the amounts sum up to no more than was paid. A counterfeit wallet with a limit of its
own would hide the fault.
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paymux.domain.limits import Limits
from paymux.domain.order import Order, TransactionKind, TransactionStatus
from paymux.domain.verdict import is_refused
from paymux.sandbox.faults import ARMABLE, Armed
from paymux.wire.server import build_app
from tests.contract.upay.edge import Till, biz
from tests.harness.standing import StandingTown
from tests.harness.town import WALLETS

NUMBERS = st.sampled_from(["R1", "R2", "R3", "R4"])
AMOUNTS = st.integers(1, 110)
LATE_WATCH_S = (60, 300)
SCRIPTS = st.sampled_from(["00", "17", "18"])
_REFUNDS = re.compile(r"/secapi/pay/refund |method=alipay\.trade\.refund&")
_FIELDS = {
    name: re.compile(rf'{name}(?:>(?:<!\[CDATA\[)?|"\s*:\s*")([0-9.]+)')
    for name in ("out_trade_no", "out_refund_no", "out_request_no", "refund_fee", "refund_amount")
}


@dataclass
class Sale:
    """A paid order, and what was asked and told about its refunds."""

    order: Order
    wallet: str
    asked: dict[str, int] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)


class RefundStory(RuleBasedStateMachine):
    """Tills that refund, twice, at once and with other amounts, over wallets that stumble and refuse."""

    @initialize(seed=st.integers(1, 1_000), wait_s=st.sampled_from([1, 20]))
    def open(self, seed: int, wait_s: int) -> None:
        """A town; calls that wait for the wallet, or hardly."""
        self.standing = StandingTown(
            seed=seed, limits=Limits(refund_wait_s=wait_s, late_watch_s=LATE_WATCH_S)
        )
        self.town = self.standing.town
        self.till = Till(build_app(self.town.desk))
        self.sales: list[Sale] = []

    @precondition(lambda self: not self.town.wire.cut)
    @rule(wallet=st.sampled_from(sorted(WALLETS)), script=SCRIPTS)
    def sell(self, wallet: str, script: str) -> None:
        """One yuan; the script says how the wallet will take refunds."""
        order = self.standing.tell(self.town.pay(wallet, script))
        assert order.paid == 100
        self.sales.append(Sale(order, wallet))

    def some(self, data: st.DataObject) -> Sale:
        """One of the sales."""
        return data.draw(st.sampled_from(self.sales))

    async def refunding(self, sale: Sale, number: str, amount: int) -> dict[str, Any]:
        """Ask for a refund, and hold the answer against what was said before."""
        first = sale.asked.get(number)
        fields = {"refund_request_no": number, "refund_amount": str(amount)}
        answer = biz(await self.till.call("refund", sn=sale.order.sn, **fields))
        result, code = answer["result_code"], answer["error_code"]
        if result.startswith("REFUND_"):
            assert first in {None, amount} or sale.asked[number] == amount
            sale.asked.setdefault(number, amount)
            assert answer["data"]["client_tsn"] == f"{sale.order.client_sn}-{number}"
        if result == "REFUND_SUCCESS":
            sale.done[number] = amount
        if number in sale.done:
            assert (result, code) == (
                ("REFUND_SUCCESS", "") if sale.done[number] == amount else ("FAIL", "REFUND_REQUEST_CONFLICT")
            )
        return answer

    # -- the rules

    @precondition(lambda self: self.sales)
    @rule(data=st.data(), number=NUMBERS, amount=AMOUNTS)
    def refund(self, data: st.DataObject, number: str, amount: int) -> None:
        """One refund, or one that was asked for before."""
        self.standing.tell(self.refunding(self.some(data), number, amount))

    @precondition(lambda self: self.sales)
    @rule(data=st.data(), wishes=st.lists(st.tuples(NUMBERS, AMOUNTS), min_size=2, max_size=8))
    def refund_at_once(self, data: st.DataObject, wishes: list[tuple[str, int]]) -> None:
        """Many at the same moment: other numbers, the same number, the same number with other amounts."""
        sale = self.some(data)

        async def all_of_them() -> None:
            asking = [asyncio.create_task(self.refunding(sale, number, amount)) for number, amount in wishes]
            await asyncio.gather(*asking)

        self.standing.tell(all_of_them())

    @precondition(lambda self: any(sale.asked for sale in self.sales))
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The same number and amount again."""
        sale = data.draw(st.sampled_from([sale for sale in self.sales if sale.asked]))
        number = data.draw(st.sampled_from(sorted(sale.asked)))
        self.standing.tell(self.refunding(sale, number, sale.asked[number]))

    @precondition(lambda self: any(sale.asked for sale in self.sales))
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """What became of one refund: the one that was asked for, under its own number."""
        sale = data.draw(st.sampled_from([sale for sale in self.sales if sale.asked]))
        number = data.draw(st.sampled_from(sorted(sale.asked)))
        answer = biz(self.standing.tell(self.till.call("query", sn=sale.order.sn, refund_request_no=number)))
        assert answer["result_code"] == "SUCCESS"
        assert answer["data"]["client_tsn"] == f"{sale.order.client_sn}-{number}"
        if number in sale.done:
            assert answer["data"]["status"] == "SUCCESS"

    @precondition(lambda self: self.sales)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """The shop undoes the sale, or hears that it is too late for that."""
        sale = self.some(data)
        answer = biz(self.standing.tell(self.till.call("cancel", sn=sale.order.sn)))
        assert answer["result_code"] == "FAIL" or answer["result_code"].startswith("CANCEL_")

    @rule(
        fault=st.sampled_from(ARMABLE),
        operation=st.sampled_from(["refund", "refund_query"]),
        times=st.integers(1, 3),
    )
    def stumble(self, fault: Any, operation: str, times: int) -> None:  # noqa: ANN401 - an enumeration of the sandbox
        """Some of the next requests or replies are lost, late, garbage or wrongly signed."""
        self.town.world.bank.faults.arm(Armed(fault=fault, operation=operation, times=times))

    @rule(cut=st.booleans())
    def cut_the_line(self, *, cut: bool) -> None:
        """No wallet can be reached, or all of them again."""
        self.town.wire.cut = cut

    @rule(seconds=st.sampled_from([1, 5, 30, 120, 900]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.standing.tell(asyncio.sleep(seconds))

    @precondition(lambda self: self.sales)
    @rule(
        data=st.data(), point=st.sampled_from(["after_intent", "after_send", "after_record"]), number=NUMBERS
    )
    def crash(self, data: st.DataObject, point: str, number: str) -> None:
        """The gateway dies in the middle of a refund, and another one takes over."""
        sale = self.some(data)
        amount = sale.asked.get(number, 20)

        async def dying() -> None:
            died = self.town.arm(f"refund.{point}")
            asking = asyncio.create_task(
                self.till.call(
                    "refund", sn=sale.order.sn, refund_request_no=number, refund_amount=str(amount)
                )
            )
            ends = [asking, asyncio.create_task(died.wait())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            kept = await self.town.store.refund(sale.order.key, number)
            if kept is not None:  # it may have died before that, in another refund's step
                sale.asked.setdefault(number, kept.amount)
            await self.town.restart()

        self.standing.tell(dying())
        self.till = Till(build_app(self.town.desk))

    # -- what always holds

    def sent(self) -> dict[str, dict[str, int]]:
        """Order → refund number at the wallet → amount, of every refund that was ever sent."""
        found: dict[str, dict[str, int]] = {}
        for request in self.town.wire.sent:
            text = unquote_plus(f"{request.url} {request.body.decode()}&")
            if _REFUNDS.search(text):
                read = {
                    name: match[1] for name, pattern in _FIELDS.items() if (match := pattern.search(text))
                }
                number = read.get("out_refund_no") or read.get("out_request_no", "")
                fen = (
                    int(read["refund_fee"])
                    if "refund_fee" in read
                    else round(float(read["refund_amount"]) * 100)
                )
                amounts = found.setdefault(read["out_trade_no"], {})
                assert amounts.setdefault(number, fen) == fen, "a number keeps its amount"
        return found

    @invariant()
    def never_too_much(self) -> None:
        """At the wallet's door, in the wallet's books and in ours."""
        if not hasattr(self, "town"):
            return
        sent, books = self.sent(), self.town.wallet_books()
        for sale in self.sales:
            order = self.standing.tell(self.town.now(sale.order))
            movements = {one.tsn: one for one in self.standing.tell(self.town.movements(order))}
            open_or_done = {
                number: amount
                for number, amount in sent.get(order.sn, {}).items()
                if number not in movements or not is_refused(movements[number])
            }
            assert sum(open_or_done.values()) <= order.total, (order.sn, open_or_done)
            assert order.refunded + order.refunding <= order.paid <= order.total
            paid, refunded = books[order.sn]
            assert refunded <= paid <= order.total
            assert sum(sale.done.values()) <= order.total

    @invariant()
    def one_movement_per_number(self) -> None:
        """A refund_request_no names one movement of one amount, for good."""
        for sale in getattr(self, "sales", []):
            movements = self.standing.tell(self.town.movements(sale.order))
            refunds = [one for one in movements if one.kind is TransactionKind.REFUND]
            numbers = [one.refund_request_no for one in refunds]
            assert len(numbers) == len(set(numbers))
            for one in refunds:
                assert sale.asked.get(one.refund_request_no, one.amount) == one.amount

    def teardown(self) -> None:
        """The faults end: every refund is done or definitely refused, and the books agree to the fen."""
        if not hasattr(self, "standing"):
            return
        with self.standing:
            self.town.wire.cut = False
            self.town.world.bank.faults.armed.clear()
            self.standing.tell(self._end())

    async def _end(self) -> None:
        orders = await self.standing.end([one.order for one in self.sales], watched_s=sum(LATE_WATCH_S))
        await self.town.assert_books_agree()
        for sale, order in zip(self.sales, orders, strict=True):
            assert order.refunding == 0
            movements = await self.town.movements(order)
            for one in movements:
                if one.kind is TransactionKind.REFUND:
                    assert one.status is TransactionStatus.SUCCESS or is_refused(one), one
            done = {
                one.refund_request_no: one.amount
                for one in movements
                if one.status is TransactionStatus.SUCCESS
            }
            assert sale.done.items() <= done.items(), "what was called done is done"


RefundStory.TestCase.settings = settings(
    max_examples=max(settings.default.max_examples // 4, 1), stateful_step_count=25
)
TestRefunds = RefundStory.TestCase
