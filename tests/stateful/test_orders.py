"""Orders under every sequence of calls, faults and restarts: what was told stays true (M2, M4).

The tills' memory of what they sent and heard is one witness; the wallets' books and the requests that reached
them are the other. Safety holds after every step; when the faults are over, everything ends and both agree.
"""

import asyncio
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paymux.domain.limits import Limits
from paymux.wire.server import build_app
from tests.contract.upay.edge import Till, biz, outcome
from tests.harness.standing import StandingTown
from tests.harness.town import WALLETS

WALLET = st.sampled_from(sorted(WALLETS))
SCRIPT = st.integers(0, 19).map(lambda number: f"{number:02d}")
LIMITS = Limits(late_watch_s=(60, 300))
"""The later looks at what was undone would take most of the test's time, and find nothing new."""
UNDONE = {"CANCELED", "PAY_CANCELED"}
PAID_ONCE = {"PAID", "PARTIAL_REFUNDED", "REFUNDED", "REFUND_INPROGRESS", "REFUND_ERROR"}
STATUSES = UNDONE | PAID_ONCE | {"CREATED", "PAY_ERROR", "CANCEL_INPROGRESS", "CANCEL_ERROR"}
_CHARGES = re.compile(r"micropay|alipay\.trade\.pay\b")
_NUMBER = re.compile(r"out_trade_no(?:>(?:<!\[CDATA\[)?|\W+)(\d{16})")


@dataclass
class Sale:
    """What a till knows of one order."""

    name: str
    fields: dict[str, object]
    total: int
    sn: str = ""
    told: list[str] = field(default_factory=list)
    wants_money_back: bool = False


class OrderStory(RuleBasedStateMachine):
    """Tills that pay, ask, cancel and repeat themselves; wallets and a gateway that come and go."""

    @initialize(seed=st.integers(1, 1_000))
    def open(self, seed: int) -> None:
        """A town."""
        self.standing = StandingTown(seed=seed, limits=LIMITS)
        self.town = self.standing.town
        self.till = Till(build_app(self.town.desk))
        self.sales: dict[str, Sale] = {}
        self.under_way: list[asyncio.Task[Any]] = []

    def say(self, sale: Sale, name: str, fields: dict[str, object]) -> dict[str, Any]:
        """Make a call about a sale and remember what it told."""
        return self.standing.tell(self.saying(sale, name, fields))

    async def saying(self, sale: Sale, name: str, fields: dict[str, object]) -> dict[str, Any]:
        """The same as a piece of a story."""
        answer = await self.till.call(name, **fields)
        data = biz(answer).get("data")
        if data is not None and data["client_sn"] == sale.fields["client_sn"]:
            sale.told.append(data["order_status"])
            assert data["total_amount"] == str(sale.total)
            assert sale.sn in {"", data["sn"]}, "an order keeps its number"
            sale.sn = data["sn"]
        return answer

    def new_sale(self, name: str, total: int, **more: object) -> Sale:
        """Something nobody has sold yet."""
        client_sn = f"C{len(self.sales) + 1}"
        common = {"client_sn": client_sn, "total_amount": str(total), "subject": "tea", "operator": "ann"}
        sale = Sale(name, common | more, total)
        self.sales[client_sn] = sale
        return sale

    # -- the rules

    @rule(wallet=WALLET, script=SCRIPT, total=st.integers(1, 500), wait=st.booleans())
    def pay(self, wallet: str, script: str, total: int, *, wait: bool) -> None:
        """Scan a barcode; with `wait` until the answer, else the call goes on while other things happen."""
        barcode = f"{WALLETS[wallet][1]}{len(self.sales):014d}{script}"
        sale = self.new_sale("pay", total, dynamic_id=barcode)
        if wait:
            assert biz(self.say(sale, "pay", sale.fields))["result_code"].startswith("PAY_")
        else:
            self.under_way.append(self.standing.begin(self.saying(sale, "pay", sale.fields)))
            self.standing.tell(asyncio.sleep(0.01))

    @rule(wallet=WALLET, script=SCRIPT)
    def precreate(self, wallet: str, script: str) -> None:
        """Show a QR code; its amount chooses the script."""
        sale = self.new_sale("precreate", 100 + int(script), payway=WALLETS[wallet][0])
        assert biz(self.say(sale, "precreate", sale.fields))["result_code"].startswith("PRECREATE_")

    def some(self, data: st.DataObject) -> Sale:
        """One of the sales."""
        return self.sales[data.draw(st.sampled_from(sorted(self.sales)))]

    @precondition(lambda self: self.sales)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The very same request again: a conflict that shows the order, and no second charge."""
        sale = self.some(data)
        answer = self.say(sale, sale.name, sale.fields)
        assert outcome(answer)[:2] == ("FAIL", "CLIENT_SN_CONFLICT")
        assert biz(answer)["data"]["sn"] == sale.sn

    @precondition(lambda self: self.sales)
    @rule(
        data=st.data(),
        change=st.sampled_from(
            [("total_amount", "501"), ("subject", "coffee"), ("operator", "bob"), ("description", "x")]
        ),
    )
    def repeat_with_a_change(self, data: st.DataObject, change: tuple[str, str]) -> None:
        """Another wish under a used number: a conflict that shows nothing."""
        sale = self.some(data)
        answer = self.say(sale, sale.name, sale.fields | dict([change]))
        assert outcome(answer)[:2] == ("FAIL", "CLIENT_SN_CONFLICT")
        assert "data" not in biz(answer)

    @precondition(lambda self: self.sales)
    @rule(data=st.data(), by=st.sampled_from(["sn", "client_sn"]))
    def query(self, data: st.DataObject, by: str) -> None:
        """Ask, by either number."""
        sale = self.some(data)
        ref = {"sn": sale.sn} if by == "sn" and sale.sn else {"client_sn": sale.fields["client_sn"]}
        assert biz(self.say(sale, "query", ref))["result_code"] == "SUCCESS"

    @precondition(lambda self: self.sales)
    @rule(data=st.data(), name=st.sampled_from(["cancel", "revoke"]))
    def cancel(self, data: st.DataObject, name: str) -> None:
        """Undo; done or under way is said only when it is so."""
        sale = self.some(data)
        sale.wants_money_back = True
        result, code, status, _ = outcome(self.say(sale, name, {"client_sn": sale.fields["client_sn"]}))
        if result.endswith("_SUCCESS"):
            assert status == "CANCELED"
        elif result == "FAIL":
            assert code in {"UPAY_CANCEL_ORDER_NOOP", "UPAY_CANCEL_INVALID_ORDER_STATE"}
        else:
            assert result.startswith("CANCEL_")

    @precondition(lambda self: self.sales)
    @rule(data=st.data(), amount=st.integers(1, 300), number=st.integers(1, 3))
    def refund(self, data: st.DataObject, amount: int, number: int) -> None:
        """Give something back."""
        sale = self.some(data)
        sale.wants_money_back = True
        fields = {"refund_request_no": f"R{number}", "refund_amount": str(amount)}
        answer = self.say(sale, "refund", {"client_sn": sale.fields["client_sn"]} | fields)
        assert biz(answer)["result_code"] == "FAIL" or biz(answer)["result_code"].startswith("REFUND_")

    @rule(seconds=st.sampled_from([1, 5, 20, 60, 300, 1_000]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.standing.tell(asyncio.sleep(seconds))

    @rule(cut=st.booleans())
    def cut_the_line(self, *, cut: bool) -> None:
        """No wallet can be reached, or all of them again."""
        self.town.wire.cut = cut

    @rule(lost=st.booleans())
    def lose_the_mail(self, *, lost: bool) -> None:
        """Callbacks do not arrive, or do again."""
        self.town.wire.mail_lost = lost

    @rule()
    def restart(self) -> None:
        """The gateway dies with everything that was under way, and another one takes over."""
        for task in self.under_way:
            task.cancel()
        self.standing.tell(asyncio.sleep(0))
        self.under_way.clear()
        self.standing.tell(self.town.restart())
        self.till = Till(build_app(self.town.desk))

    # -- what always holds

    @invariant()
    def nobody_is_charged_twice(self) -> None:
        """One charge is sent per order at most, and no wallet holds more than the order is about."""
        if not hasattr(self, "town"):
            return
        charges: Counter[str] = Counter()
        for request in self.town.wire.sent:
            text = f"{request.url} {request.body.decode()}"
            if _CHARGES.search(text):
                (number,) = set(_NUMBER.findall(unquote_plus(text)))
                charges[number] += 1
        assert all(count == 1 for count in charges.values()), charges
        totals = {sale.sn: sale.total for sale in self.sales.values() if sale.sn}
        for sn, (paid, refunded) in self.town.wallet_books().items():
            assert refunded <= paid <= totals.get(sn, paid)

    @invariant()
    def what_was_told_stays_true(self) -> None:
        """Paid stays paid unless the till wants otherwise; undone stays undone."""
        for sale in getattr(self, "sales", {}).values():
            assert set(sale.told) <= STATUSES
            was = ""
            for status in sale.told:
                if was in UNDONE:
                    assert status == was, sale
                if was in PAID_ONCE and not sale.wants_money_back:
                    assert status == "PAID", sale
                was = status

    def teardown(self) -> None:
        """The faults end; everything comes to an end that a till can understand, and the books agree."""
        if not hasattr(self, "standing"):
            return
        with self.standing:
            self.town.wire.cut = self.town.wire.mail_lost = False
            self.standing.tell(self._end())

    async def _end(self) -> None:
        await asyncio.gather(*self.under_way, return_exceptions=True)
        orders = await self.town.store.orders(status=None, after=None, limit=1_000)
        await self.standing.end(orders, watched_s=sum(LIMITS.late_watch_s))
        await self.town.assert_books_agree()
        ours = defaultdict(list)
        for sale in self.sales.values():
            fields = {"client_sn": sale.fields["client_sn"]}
            answer = await self.till.call("query", **fields)
            if biz(answer)["result_code"] == "SUCCESS":
                ours[biz(answer)["data"]["order_status"]].append(biz(answer)["data"]["sn"])
                sale.told.append(biz(answer)["data"]["order_status"])
        self.what_was_told_stays_true()
        assert set(ours) <= UNDONE | PAID_ONCE - {"REFUND_INPROGRESS"}, ours
        books = self.town.wallet_books()
        for sn in ours["CANCELED"] + ours["PAY_CANCELED"]:
            paid, refunded = books.get(sn, (0, 0))
            assert paid == refunded, "what is called undone keeps no money"


OrderStory.TestCase.settings = settings(
    max_examples=max(settings.default.max_examples // 4, 1), stateful_step_count=25
)
TestOrders = OrderStory.TestCase
