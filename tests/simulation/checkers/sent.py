"""What is sent to the wallets, not only what they accept: read from the bytes, by eyes of our own.

A wallet that refuses the second pay hides that we sent one. Here it is seen: a refund guard that is gone
stays invisible until one looks at this boundary.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from paymux.channels.contract import HttpRequest
from tests.simulation.checkers.court import Court
from tests.simulation.checkers.kept import STANDS, UNDONE, Kept, KeptOrder
from tests.simulation.weather import SKEW_MS_MAX

REVERSE_WAIT_MS = {"wechat": 15_000, "alipay": 0}
CLOSE_WAIT_MS = {"wechat": 300_000, "alipay": 0}
PAY_DEADLINE_MS = 45_000
STALE_MS = 15_000
"""A step that began before somebody else's decision may still send; later than this nobody may."""
_SKEW_MS = 2 * SKEW_MS_MAX + 50
_QUERY_WINDOW_MS = 3_000
_QUERIES_MAX = 7

_OPERATIONS = {
    "alipay.trade.pay": "pay",
    "alipay.trade.precreate": "precreate",
    "alipay.trade.query": "query",
    "alipay.trade.cancel": "reverse",
    "alipay.trade.close": "close",
    "alipay.trade.refund": "refund",
    "alipay.trade.fastpay.refund.query": "refund_query",
    "/pay/micropay": "pay",
    "/pay/unifiedorder": "precreate",
    "/pay/orderquery": "query",
    "/secapi/pay/reverse": "reverse",
    "/pay/closeorder": "close",
    "/secapi/pay/refund": "refund",
    "/pay/refundquery": "refund_query",
}
_METHOD = re.compile(rb"method=([a-z.]+)")
_PATH = re.compile(r"https?://[^/]+(/[^?]*)")
_APP = re.compile(rb"app_id=(\d+)")
_BIZ = re.compile(rb"biz_content=([^&]*)")
_JSON_FIELD = re.compile(r"%22([a-z_]+)%22%3A%22([\w.-]*)%22")
"""As it is on the wire, for what is read here (numbers, amounts, barcodes) needs no escape."""
_XML_FIELD = re.compile(r"<([a-z_]+)>(?:<!\[CDATA\[)?([^<\]]*)")


class Wish(NamedTuple):
    """One request as its bytes say it; amounts are fen, "" and 0 where it says nothing."""

    operation: str
    sn: str
    amount: int
    refund_no: str
    barcode: str
    payee: str


def read_wish(request: HttpRequest) -> Wish:
    """Read what a request asks a wallet for."""
    body = request.body
    if body.startswith(b"<xml>"):
        found = _PATH.match(request.url)
        fields = dict(_XML_FIELD.findall(body.decode()))
        amount = int(fields.get("refund_fee") or fields.get("total_fee") or 0)
        operation, refund_no = _OPERATIONS[found[1] if found else ""], fields.get("out_refund_no", "")
        payee = fields.get("mch_id", "")
    else:
        method, biz = _METHOD.search(body), _BIZ.search(body)
        assert method is not None
        assert biz is not None
        fields = dict(_JSON_FIELD.findall(biz[1].decode()))
        amount = _fen(fields.get("refund_amount") or fields.get("total_amount") or "0.00")
        operation, refund_no = _OPERATIONS[method[1].decode()], fields.get("out_request_no", "")
        app = _APP.search(body)
        payee = app[1].decode() if app else ""
    sn, barcode = fields.get("out_trade_no", ""), fields.get("auth_code", "")
    return Wish(operation, sn, amount, refund_no, barcode, payee)


def _fen(yuan: str) -> int:
    whole, _, cents = yuan.partition(".")
    assert len(cents) == 2, yuan
    return int(whole + cents)


class Sale(NamedTuple):
    """What a till asked for once: the amount and the barcode ("" for a QR order)."""

    amount: int
    barcode: str


class SentChecker:
    """Holds every request against what was asked for and what is durable."""

    def __init__(self, court: Court, kept: Kept, now_ms: Callable[[], int]) -> None:
        self.asked: dict[tuple[str, str], list[Sale]] = {}
        """(merchant, client_sn) → what tills asked for under it."""
        self.refunds_asked: dict[tuple[str, str], set[tuple[str, int]]] = {}
        """(merchant, client_sn) → (refund_request_no, fen) tills asked for."""
        self.payees: dict[str, set[str]] = {}
        """merchant → the mch_id and app_id of its own contracts."""
        self.cancels_asked: set[tuple[str, str]] = set()
        self.troubles_ms: dict[str, int] = {}
        self.sent_count = 0
        self._court = court
        self.kept = kept
        self._now_ms = now_ms
        self._pays: dict[str, int] = {}
        self._refunds: dict[str, dict[str, int]] = {}
        self._queries: dict[str, list[int]] = {}

    def troubled(self, sn: str) -> None:
        """A fault has just touched this order."""
        self.troubles_ms[sn] = self._now_ms()

    def arrived(self, wish: Wish) -> None:
        """A wallet has just heard this: an order whose request was late is troubled until then."""
        if wish.sn in self.troubles_ms:
            self.troubles_ms[wish.sn] = self._now_ms()

    def read(self, request: HttpRequest) -> Wish:
        """Read a request; where it names only a refund, its order is found from that."""
        wish = read_wish(request)
        movement = None if wish.sn else self.kept.movements.get(wish.refund_no)
        return wish._replace(sn=movement.sn) if movement else wish

    def sent(self, who: str, lane: str, wish: Wish) -> None:
        """A request leaves a gateway process."""
        self.sent_count += 1
        sn = wish.sn
        order = self.kept.orders.get(sn)
        if order is None:
            self._court.breach(
                "M5", (sn,), f"{who} sends {wish.operation} on {lane}: no such order is durable"
            )
            return
        ours = lane.partition("/")[0] == order.merchant and wish.payee in self.payees[order.merchant]
        self._court.holds(ours, "M9", (sn,), "{} sends {} on {}: a stranger's contract", who, wish, lane)
        match wish.operation:
            case "pay" | "precreate":
                self._pay(order, wish)
            case "refund":
                self._refund(order, wish)
            case "reverse" | "close":
                self._undo(order, wish)
            case "query":
                self._query(order)

    def _pay(self, order: KeptOrder, wish: Wish) -> None:
        sales = self.asked.get((order.merchant, order.client_sn), [])
        asked = Sale(wish.amount, wish.barcode)
        self._court.holds(asked in sales, "M7", (order.sn,), "sends {}, tills asked for {}", asked, sales)
        self._court.holds(
            wish.amount == order.total, "M7", (order.sn,), "sends {} of {}", wish.amount, order.total
        )
        if wish.operation == "precreate":
            return
        self._pays[order.sn] = self._pays.get(order.sn, 0) + 1
        once = self._pays[order.sn] == 1
        self._court.holds(once, "M2", (order.sn,), "pay is sent for the {}. time", self._pays[order.sn])

    def _refund(self, order: KeptOrder, wish: Wish) -> None:
        movement = self.kept.movements.get(wish.refund_no)
        if movement is None or movement.sn != order.sn:
            self._court.breach(
                "M5", (order.sn,), f"refund {wish.refund_no} is sent; no such movement is durable"
            )
            return
        same = movement.amount == wish.amount
        self._court.holds(
            same, "M7", (order.sn,), "refund {} of {}: {}", wish.refund_no, movement.amount, wish.amount
        )
        self._wanted(order, wish)
        sent = self._refunds.setdefault(order.sn, {})
        sent[wish.refund_no] = wish.amount
        live = {no: amount for no, amount in sent.items() if no == wish.refund_no or not self._is_refused(no)}
        within = sum(live.values()) <= order.total
        self._court.holds(within, "M3", (order.sn,), "refunds sent {} exceed {}", live, order.total)

    def _is_refused(self, refund_no: str) -> bool:
        movement = self.kept.movements[refund_no]
        return movement.status == "REFUND_ERROR" and bool(movement.error_code)

    def _wanted(self, order: KeptOrder, wish: Wish) -> None:
        """Money goes back only because somebody asked for it, or because the order is undone."""
        movement = self.kept.movements[wish.refund_no]
        key = (order.merchant, order.client_sn)
        if movement.kind == "refund":
            asked = (movement.number, wish.amount) in self.refunds_asked.get(key, set())
        elif movement.kind == "late_refund":
            asked = order.status in UNDONE
        else:
            asked = order.undo_tsn == wish.refund_no or order.was_undoing
        self._court.holds(asked, "M7", (order.sn,), "sends {}, which nobody asked for: {}", wish, movement)

    def _undo(self, order: KeptOrder, wish: Wish) -> None:
        now_ms, sn = self._now_ms(), (order.sn,)
        holds, what = self._court.holds, f"{wish.operation} is sent"
        holds(order.was_undoing, "M5", sn, "{}; no wish to undo is durable", what)
        stale = order.status in STANDS and now_ms - order.changed_ms > STALE_MS
        holds(not stale, "M4", sn, "{} though the order has been {} for long", what, order.status)
        waits = REVERSE_WAIT_MS if wish.operation == "reverse" else CLOSE_WAIT_MS
        early_ms = order.ctime_ms + waits[order.channel] - now_ms
        holds(
            early_ms <= _SKEW_MS, "RULES", sn, "{} {} ms before the wallet's rules allow it", what, early_ms
        )
        if order.sub_payway == "1" and (order.merchant, order.client_sn) not in self.cancels_asked:
            early_ms = order.ctime_ms + PAY_DEADLINE_MS - now_ms
            holds(early_ms <= _SKEW_MS, "M4", sn, "{} {} ms before the buyer's time is over", what, early_ms)

    def _query(self, order: KeptOrder) -> None:
        now_ms = self._now_ms()
        recent = [at for at in self._queries.get(order.sn, ()) if now_ms - at < _QUERY_WINDOW_MS]
        recent.append(now_ms)
        self._queries[order.sn] = recent
        calm = len(recent) <= _QUERIES_MAX
        self._court.holds(
            calm, "RULES", (order.sn,), "{} queries within {} ms", len(recent), _QUERY_WINDOW_MS
        )
