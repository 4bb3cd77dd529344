"""What the sandbox remembers: orders, refunds, buyers, movements of money and happenings to come.

All of it is plain data, so that a snapshot of the whole world is one JSON file.
"""

from __future__ import annotations

import enum

import msgspec


class State(enum.StrEnum):
    """Where an order stands; refunds are counted beside it."""

    WAITING = "WAITING"
    PAID = "PAID"
    CLOSED = "CLOSED"
    REVERSED = "REVERSED"


class Kind(enum.StrEnum):
    """How the buyer meets the order."""

    BARCODE = "barcode"
    QR = "qr"
    DIRECT = "direct"  # made for a known buyer: alipay.trade.create, JSAPI, APP, MWEB
    PAGE = "page"  # a cashier page in the buyer's browser


class Refund(msgspec.Struct, kw_only=True):
    """Money given back once; `done_ms` is when the wallet will say it is done."""

    out_refund_no: str
    refund_no: str
    amount_fen: int
    created_ms: int
    done_ms: int
    notify_url: str = ""
    sign_type: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's wish to be paid, as the wallet read it; `expires_ms` 0: never."""

    wallet: str
    account: str
    out_trade_no: str
    amount_fen: int
    subject: str
    kind: Kind
    notify_url: str = ""
    expires_ms: int = 0
    extra: dict[str, str] = msgspec.field(default_factory=dict)


class Trade(msgspec.Struct, kw_only=True):
    """An order as the merchant asked for it; `expires_ms` 0: never. `extra`: wire fields to give back."""

    wallet: str
    account: str
    out_trade_no: str
    trade_no: str
    amount_fen: int
    subject: str
    kind: Kind
    script: str
    created_ms: int
    expires_ms: int = 0
    notify_url: str = ""
    state: State = State.WAITING
    scanned: bool = False
    buyer: str = ""
    paid_ms: int = 0
    hidden_until_ms: int = 0
    undo_calls: int = 0
    undo_settled: bool = False
    late_paid: bool = False
    declined: bool = False
    was_paid: bool = False
    refund_calls: int = 0
    refunds: list[Refund] = msgspec.field(default_factory=list)
    extra: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name the order within the whole sandbox."""
        return trade_key(self.account, self.out_trade_no)

    @property
    def refunded_fen(self) -> int:
        """Sum the refunds."""
        return sum(refund.amount_fen for refund in self.refunds)

    @property
    def paid_fen(self) -> int:
        """Return what the buyer paid and has not had voided."""
        return self.amount_fen if self.state is State.PAID else 0

    def refund_named(self, out_refund_no: str) -> Refund | None:
        """Return the refund with the merchant's number, if there is one."""
        return next((refund for refund in self.refunds if refund.out_refund_no == out_refund_no), None)

    def same_content(self, order: Order) -> bool:
        """Say whether a repeated request asks for the very same thing."""
        theirs = (order.amount_fen, order.subject, order.kind)
        return theirs == (self.amount_fen, self.subject, self.kind)

    def book_state(self) -> str:
        """Return the state as the books tell it."""
        if self.state is State.PAID and self.refunds:
            return "REFUNDED" if self.refunded_fen == self.amount_fen else "PARTIAL_REFUNDED"
        return self.state.value


class Person(msgspec.Struct, kw_only=True):
    """A buyer of one wallet; `user_id` and `logon` are what merchants get to see."""

    name: str
    wallet: str
    user_id: str
    logon: str


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """Money that moved, always from one balance to another (or in from outside: `topup`)."""

    time_ms: int
    what: str  # pay, refund, reverse, topup
    account: str
    out_trade_no: str
    refund_no: str
    amount_fen: int
    buyer: str
    buyer_balance_fen: int
    seller_balance_fen: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that will happen by itself at `at_ms`; `seq` breaks ties in the order of planning."""

    at_ms: int
    seq: int
    kind: str  # robot, pay, late, expire, notice, retry
    key: str
    note: str = ""


class Notice(msgspec.Struct, kw_only=True):
    """A callback under way: its business fields stay the same on every attempt."""

    id: str
    wallet: str
    account: str
    url: str
    fields: dict[str, str]
    attempts: int = 0


def trade_key(account: str, out_trade_no: str) -> str:
    """Name an order within the whole sandbox: numbers are unique per merchant only."""
    return f"{account}/{out_trade_no}"
