"""What has to be written about an order, and the pieces every judgement makes it from."""

import msgspec
from msgspec.structs import replace

from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.domain.outcome import Refused

UNSETTLED = frozenset(
    {OrderStatus.CREATED, OrderStatus.CANCEL_INPROGRESS, OrderStatus.PAY_ERROR, OrderStatus.CANCEL_ERROR}
)
"""Statuses in which recovery has something to do about the payment itself."""

OPEN = UNSETTLED | {OrderStatus.REFUND_INPROGRESS, OrderStatus.REFUND_ERROR}
"""Statuses that wait for something: work is due about such an order."""

OPEN_REFUND = frozenset({TransactionStatus.CREATED, TransactionStatus.IN_PROG})
"""A refund whose amount is reserved and whose end is not known."""


TIMEOUT = Refused(error_code="TRADE_TIMEOUT", text="交易超时自动撤单")
"""Nobody paid in time."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be written. `what` and `text` go into the history; `alarm` calls an operator.

    `notify`: the merchant is to be told. `watch`: the sn or tsn to ask about again later, "" for none: did
    the wallet take the money, or carry out what it refused, after all?
    """

    order: Order
    transactions: tuple[Transaction, ...] = ()
    what: str
    text: str = ""
    notify: bool = False
    alarm: bool = False
    watch: str = ""


def is_refused(refund: Transaction) -> bool:
    """Whether a refund ended with a no, its reservation given up; without a code it is only stuck."""
    return refund.status is TransactionStatus.REFUND_ERROR and bool(refund.error_code)


def is_unfinished(refund: Transaction) -> bool:
    """Whether a refund still has its amount reserved: under way, or stuck and tried slowly."""
    stuck = refund.status is TransactionStatus.REFUND_ERROR and not refund.error_code
    return refund.status in OPEN_REFUND or stuck


def bump(order: Order) -> Order:
    """The order's next version."""
    return replace(order, version=order.version + 1)


def movement(order: Order, *, tsn: str, kind: TransactionKind, amount: int, now_ms: int) -> Transaction:
    """A new movement of the order's money."""
    return Transaction(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        tsn=tsn,
        kind=kind,
        status=TransactionStatus.CREATED,
        amount=amount,
        ctime_ms=now_ms,
    )
