"""What may be refunded or cancelled, and when a repeat is the same request (promises M3, M7).

Sources: upay-v2.md §7.1, §7.2, §13 no. 8 and 20.
"""

from datetime import datetime, timedelta, timezone, tzinfo

from paymux.domain.errors import RefundRequestConflict, RefundTooLarge, StateForbids
from paymux.domain.order import Order, OrderStatus, Transaction
from paymux.domain.verdict import is_refused

_REFUNDABLE = frozenset({OrderStatus.PAID, OrderStatus.PARTIAL_REFUNDED, OrderStatus.REFUND_INPROGRESS})
_CANCELABLE = frozenset(
    {
        OrderStatus.CREATED,
        OrderStatus.PAID,
        OrderStatus.PAY_ERROR,
        OrderStatus.CANCEL_INPROGRESS,
        OrderStatus.CANCEL_ERROR,
    }
)


def is_repeat(refund: Transaction, amount: int) -> bool:
    """Tell whether this is the same refund asked for again, to be answered by what became of it.

    Raises `RefundRequestConflict` when the number was used for another amount. A refund that was definitely
    refused is tried again under its number, so it is no repeat.
    """
    if refund.amount != amount:
        raise RefundRequestConflict
    return not is_refused(refund)


def check_refund(order: Order, amount: int) -> None:
    """Raise `StateForbids` or `RefundTooLarge` when `amount` fen cannot be refunded now."""
    if order.status is OrderStatus.REFUNDED:
        raise StateForbids("UPAY_REFUND_INVALID_ORDER_STATE", "订单已全额退款,可退金额不足")
    if order.status not in _REFUNDABLE:
        raise StateForbids("UPAY_REFUND_INVALID_ORDER_STATE", f"当前的订单{order.sn}状态是{order.status}")
    if amount > order.refundable:
        raise RefundTooLarge


def check_cancel(order: Order, *, now_ms: int, zone: tzinfo, same_day_only: bool) -> None:
    """Raise `StateForbids` when the shop may not cancel the order now.

    A paid order can be cancelled on its own calendar day in the merchant's time zone, before any refund.
    """
    if order.status in {OrderStatus.CANCELED, OrderStatus.PAY_CANCELED}:
        raise StateForbids("UPAY_CANCEL_ORDER_NOOP", "无效操作，订单已经是撤单状态了")
    wrong_day = (
        order.status is OrderStatus.PAID and same_day_only and not _same_day(order.ctime_ms, now_ms, zone)
    )
    if order.status not in _CANCELABLE or wrong_day or order.refunded or order.refunding:
        if order.undo_tsn:
            return
        raise StateForbids("UPAY_CANCEL_INVALID_ORDER_STATE", f"当前的订单{order.sn}状态是{order.status}")


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - `timezone` is clearer beside `tzinfo`


def _same_day(one_ms: int, other_ms: int, zone: tzinfo) -> bool:
    def day(moment_ms: int) -> object:
        return (_EPOCH + timedelta(milliseconds=moment_ms)).astimezone(zone).date()

    return day(one_ms) == day(other_ms)
