"""An operator decides what no wallet would tell, and tells a merchant again; each with an audit entry.

DESIGN §4: `*_ERROR` are not graves. A human who has looked into the wallet's own books may end the waiting;
the name and the reason are kept in the order's history.
"""

from collections.abc import Callable

from msgspec.structs import replace

from paymux.domain import judge, refund_judge
from paymux.domain.errors import StateForbids
from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.domain.outcome import GaveBack, Refused
from paymux.domain.verdict import Verdict
from paymux.flows.desk import Desk
from paymux.flows.record import about_tsn, event, record
from paymux.storage.contract import NotificationStatus

_UNCLEAR = frozenset({OrderStatus.PAY_ERROR, OrderStatus.CANCEL_ERROR})


async def keep_sale(desk: Desk, order: Order, *, who: str, why: str) -> Order:
    """The wallet holds the money and the sale stands: PAID. Raises `StateForbids` unless it is unclear."""
    return await _decide(desk, order, judge.sale_stands, who=who, why=why)


async def give_up_sale(desk: Desk, order: Order, *, who: str, why: str) -> Order:
    """The wallet holds nothing of it: the sale is over. Raises `StateForbids` unless it is unclear."""

    def nothing_held(now: Order, undo: Transaction | None, now_ms: int) -> Verdict | None:
        return judge.undone(now, undo, now_ms, GaveBack())

    return await _decide(desk, order, nothing_held, who=who, why=why)


async def end_refund(
    desk: Desk, order: Order, refund: Transaction, *, done: bool, who: str, why: str
) -> Order:
    """The refund has reached the buyer, or never will. Raises `StateForbids` unless it is unclear."""
    if refund.status is not TransactionStatus.REFUND_ERROR or refund.error_code:
        raise StateForbids(
            "UPAY_REFUND_INVALID_ORDER_STATE", f"refund {refund.tsn} is {refund.status}, not unclear"
        )
    if refund.kind is TransactionKind.LATE_REFUND and not done:
        raise StateForbids(
            "FAIL", "this money came after the sale was undone: it goes back, and attempts go on"
        )

    def ended(now: Order, found: Transaction | None, now_ms: int) -> Verdict | None:
        if found is None:
            return None
        if done:
            return refund_judge.refund_done(now, found, now_ms, GaveBack())
        said_no = Refused(error_code="TRADE_FAILED", text="人工确认未退款")
        verdict = refund_judge.refund_refused(now, found, now_ms, said_no)
        return verdict and replace(verdict, watch=found.tsn)  # people may err

    said = event(desk, order, who=who, what="operator.resolved", text=why)
    return await record(desk, order, ended, about=about_tsn(desk, refund.tsn), who=who, heard=said)


async def tell_again(desk: Desk, order: Order, *, who: str) -> int:
    """Send the order's newest notification once more; return how many there are to send (0 or 1)."""
    notes = await desk.store.notifications(order.key)
    if not notes:
        return 0
    again = replace(notes[-1], status=NotificationStatus.WAITING)
    await desk.store.save_delivery(again, next_ms=desk.clock.now_ms())
    await desk.store.add_events((event(desk, order, who=who, what="notification.sent_again"),))
    return 1


async def _decide(
    desk: Desk,
    order: Order,
    decision: Callable[[Order, Transaction | None, int], Verdict | None],
    *,
    who: str,
    why: str,
) -> Order:
    def judged(now: Order, undo: Transaction | None, now_ms: int) -> Verdict | None:
        if now.status not in _UNCLEAR:
            raise StateForbids(
                "FAIL", f"order {now.sn} is {now.status}: only what is unclear can be resolved"
            )
        return decision(now, undo, now_ms)

    said = event(desk, order, who=who, what="operator.resolved", text=why)
    return await record(desk, order, judged, who=who, heard=said)
