"""What the database holds, seen by its own triggers at the moment of each commit.

The witness (database/witness.py) sees every row that is written, by whatever code, and learns which of them
were committed together. From that it keeps books of its own and holds every change against the laws of money,
the table of statuses and what the wallets truly did.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from paymux.sandbox.records import Trade
from tests.simulation.checkers.court import Court
from tests.simulation.database.witness import Fact
from tests.simulation.history import History

DEFINITE = frozenset({"PAID", "PAY_CANCELED", "REFUNDED", "PARTIAL_REFUNDED", "CANCELED"})
UNDONE = frozenset({"PAY_CANCELED", "CANCELED"})
STANDS = frozenset({"PAID", "REFUND_INPROGRESS", "PARTIAL_REFUNDED", "REFUNDED", "REFUND_ERROR"})
ERRORS = frozenset({"PAY_ERROR", "CANCEL_ERROR", "REFUND_ERROR"})
TOLD = DEFINITE | ERRORS
"""Whoever comes into one of these is told about, in the same commit (M8)."""

FOLLOWS = {
    "": {"CREATED"},
    "CREATED": {"PAID", "PAY_CANCELED", "PAY_ERROR", "CANCEL_INPROGRESS"},
    "PAID": {"REFUND_INPROGRESS", "CANCEL_INPROGRESS", "CANCELED", "PARTIAL_REFUNDED", "REFUNDED"},
    "PAY_CANCELED": set(),
    "PAY_ERROR": {"PAY_CANCELED", "PAID", "CANCEL_INPROGRESS"},
    "REFUNDED": set(),
    "PARTIAL_REFUNDED": {"REFUND_INPROGRESS", "REFUNDED"},
    "REFUND_INPROGRESS": {"PAID", "PARTIAL_REFUNDED", "REFUNDED", "REFUND_ERROR"},
    "REFUND_ERROR": {"PAID", "PARTIAL_REFUNDED", "REFUNDED"},
    "CANCELED": set(),
    "CANCEL_INPROGRESS": {"CANCELED", "PAID", "CANCEL_ERROR"},
    "CANCEL_ERROR": {"CANCELED", "PAID", "CANCEL_INPROGRESS"},
}
"""Which status may follow which. What comes from PAID by itself (a refused undo or refund that was carried
out after all) must be loud."""


_UNTRUE_REPLIES = frozenset({"06", "07", "09", "19"})
"""Scripts whose reply to the pay itself is garbled, wrongly signed, an error, or over another amount."""


@dataclass(slots=True)
class KeptOrder:
    """An order as it is committed. Times are virtual epoch milliseconds."""

    sn: str
    merchant: str
    client_sn: str
    total: int
    channel: str
    account: str
    sub_payway: str
    ctime_ms: int
    deadline_ms: int
    has_url: bool
    status: str = ""
    version: int = 0
    paid: int = 0
    refunded: int = 0
    refunding: int = 0
    undo_tsn: str = ""
    was_undoing: bool = False
    changed_ms: int = 0
    status_ms: int = 0
    definite_ms: int = 0
    begun_ms: int = 0
    """When it became open again, by a refund or a cancel."""
    statuses: list[str] = field(default_factory=list)


@dataclass(slots=True)
class KeptMovement:
    """A movement as it is committed."""

    sn: str
    tsn: str
    kind: str
    amount: int
    number: str
    status: str = ""
    error_code: str = ""


class Kept:
    """The committed state, and the laws it is held against."""

    def __init__(
        self,
        court: Court,
        history: History,
        *,
        now_ms: Callable[[], int],
        trade: Callable[[str, str], Trade | None],
    ) -> None:
        self.orders: dict[str, KeptOrder] = {}
        self.movements: dict[str, KeptMovement] = {}
        self.notes: dict[str, list[str]] = {}
        self.decided: set[str] = set()
        """The sn an operator has looked up in the wallet's own books."""
        self.started_late: set[str] = set()
        """The sn whose start reached the wallet when nobody waited for it: after its undo, perhaps."""
        self._proofs: set[str] = set()
        self._undone_there: set[str] = set()
        self._court = court
        self._history = history
        self._now_ms = now_ms
        self._trade = trade

    def proved(self, sn: str, body: bytes, *, by: str) -> None:
        """The wallet's own word reaches the gateway: a success of this order over its amount is a proof."""
        order = self.orders.get(sn)
        if order is None or sn in self._proofs:
            return
        trade = self._trade(order.account, sn)
        if trade is None or not trade.was_paid or (by == "pay" and trade.script in _UNTRUE_REPLIES):
            return
        yuan, fen = b"%d.%02d" % divmod(order.total, 100), b"%d" % order.total
        forms = (b'total_amount":"' + yuan + b'"', b"total_amount=" + yuan + b"&")
        amount = any(form in body + b"&" for form in (*forms, b"<total_fee><![CDATA[" + fen + b"]]>"))
        if amount and sn.encode() in body:
            self._proofs.add(sn)

    def undone_at_wallet(self, sn: str) -> None:
        """A reversal or a close has just been heard by the wallet: remember whether it took effect there."""
        order = self.orders.get(sn)
        trade = self._trade(order.account, sn) if order else None
        if trade is None or trade.state in {"REVERSED", "CLOSED"}:
            self._undone_there.add(sn)

    def committed(self, facts: list[Fact]) -> None:
        """Take in what was written in one commit."""
        told = [(str(row[0]), str(row[1])) for name, row in facts if name == "kept_note"]
        for name, row in facts:
            if name == "kept_movement":
                self._movement(row)
        for name, row in facts:
            if name in {"kept_order", "kept_change"}:
                self._order(row, told)
        for sn, body in told:
            self.notes.setdefault(sn, []).append(body)

    # -- movements

    def _movement(self, row: tuple[Any, ...]) -> None:
        sn, tsn, kind, amount, number, status, error_code = row
        known = self.movements.get(tsn)
        if known is None:
            known = self.movements[tsn] = KeptMovement(sn, tsn, kind, amount, number)
        same = (known.sn, known.kind, known.number) == (sn, kind, number)
        self._court.holds(same, "M7", (sn,), "movement {} changed what it is: {} → {}", tsn, known, row)
        if kind != "pay":
            stable = known.amount == amount
            self._court.holds(
                stable, "M7", (sn,), "movement {} changed its amount to {}: {}", tsn, amount, known
            )
        given_back = status == "SUCCESS" and known.status != "SUCCESS" and kind in {"refund", "late_refund"}
        known.status, known.error_code, known.amount = status, error_code, amount
        self._history.note("db", f"{kind} {status}", sn, f"{tsn} {amount} {number} {error_code}")
        if given_back:
            self._given_back(known)

    def _given_back(self, movement: KeptMovement) -> None:
        order = self.orders.get(movement.sn)
        trade = self._trade(order.account if order else "", movement.sn)
        there = trade.refund_named(movement.tsn) if trade else None
        truth = there is not None and there.amount_fen == movement.amount
        self._court.holds(
            truth, "M6", (movement.sn,), "refund {} is booked as done; the wallet has {}", movement.tsn, there
        )

    # -- orders

    def _order(self, row: tuple[Any, ...], told: list[tuple[str, str]]) -> None:
        was, was_version, sn, status, version, paid, refunded, refunding, undo_tsn, *born = row
        order = self.orders.get(sn)
        if order is None:
            if not born:
                self._court.breach("CAS", (sn,), "an order was changed that was never inserted")
                return
            order = self.orders[sn] = KeptOrder(sn, *born[:-1], has_url=bool(born[-1]))
        self._history.note(
            "db",
            f"{was} → {status}",
            sn,
            f"v{version} paid={paid} refunded={refunded} refunding={refunding} undo={undo_tsn}",
        )
        holds = self._court.holds
        holds(version == order.version + 1, "CAS", (sn,), "version {} follows {}", version, order.version)
        holds(was == order.status, "CAS", (sn,), "{} was expected to be {}", was, order.status)
        holds(was_version == order.version, "CAS", (sn,), "over version {}", was_version)
        if status != order.status:
            follows = status in FOLLOWS[order.status]
            holds(follows, "M4", (sn,), "{} may not follow {}", status, order.status)
            self._told_together(order, status, told)
            if order.status == "CREATED" and status == "PAY_CANCELED" and not order.was_undoing:
                self._refused(order)
            if status in UNDONE and order.sn not in self.decided:
                self._undone(order)
            order.statuses.append(status)
            order.status_ms = self._now_ms()
        if paid and not order.paid:
            self._took(order)
        order.was_undoing = order.was_undoing or bool(undo_tsn)
        order.status, order.version, order.undo_tsn = status, version, undo_tsn
        order.paid, order.refunded, order.refunding = paid, refunded, refunding
        order.changed_ms = self._now_ms()
        if order.definite_ms and status not in DEFINITE:
            order.begun_ms = order.changed_ms
        order.definite_ms = (order.definite_ms or order.changed_ms) if status in DEFINITE else 0
        self._laws(order)

    def _told_together(self, order: KeptOrder, status: str, told: list[tuple[str, str]]) -> None:
        if status not in TOLD or not order.has_url:
            return
        words = f'"order_status":"{status}"'
        together = any(sn == order.sn and words in body for sn, body in told)
        self._court.holds(
            together, "M8", (order.sn,), "became {} without its notification in the same commit", status
        )

    def _took(self, order: KeptOrder) -> None:
        trade = self._trade(order.account, order.sn)
        truth = trade is not None and trade.was_paid and trade.amount_fen == order.total
        self._court.holds(truth, "M6", (order.sn,), "booked as paid; the wallet has {}", trade)
        proved = order.sn in self._proofs or order.sn in self.decided
        self._court.holds(proved, "M6", (order.sn,), "booked as paid, before any proof of it had come")

    def _refused(self, order: KeptOrder) -> None:
        trade = self._trade(order.account, order.sn)
        held = trade.paid_fen - trade.refunded_fen if trade and trade.paid_fen else 0
        self._court.holds(
            not held, "M6", (order.sn,), "booked as refused; the wallet holds {} fen: {}", held, trade
        )

    def _undone(self, order: KeptOrder) -> None:
        trade = self._trade(order.account, order.sn)
        payable = trade is not None and trade.state == "WAITING" and trade.expires_ms > self._now_ms() + 2_000
        held = trade.paid_fen - trade.refunded_fen if trade and trade.paid_fen else 0
        undone = not held or order.sn in self._undone_there or not order.was_undoing
        self._court.holds(undone, "M4", (order.sn,), "called undone; no undo ever took effect: {}", trade)
        payable = payable and order.sn not in self.started_late
        self._court.holds(not payable, "M4", (order.sn,), "undone, and the buyer can still pay: {}", trade)

    def _laws(self, order: KeptOrder) -> None:
        paid, back, on_way = order.paid, order.refunded, order.refunding
        lawful = back >= 0 and on_way >= 0 and back + on_way <= paid and paid in {0, order.total}
        by_status = {
            "PAID": paid == order.total and back == 0 and on_way == 0,
            "PARTIAL_REFUNDED": 0 < back < paid and on_way == 0,
            "REFUNDED": back == paid == order.total,
            "REFUND_INPROGRESS": on_way > 0,
            "REFUND_ERROR": on_way > 0,
            "PAY_CANCELED": back + on_way == paid,
            "CANCELED": back + on_way == paid,
        }
        lawful = lawful and not (order.undo_tsn and order.status in DEFINITE)
        fits = lawful and by_status.get(order.status, True)
        amounts = (paid, back, on_way, order.total, order.undo_tsn)
        self._court.holds(fits, "M3", (order.sn,), "{} with {}", order.status, amounts)
