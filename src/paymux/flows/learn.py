"""Ask the channel what became of a payment, and record what it says: replies, queries and callbacks alike."""

from paymux.channels.contract import Query
from paymux.domain import judge, refund_judge
from paymux.domain.order import UNDONE, Order
from paymux.domain.outcome import Misconfigured, Outcome, Refused, Took, Unknown
from paymux.flows.call import Said, call
from paymux.flows.desk import Desk
from paymux.flows.record import record
from paymux.storage.contract import DueKind


async def ask(desk: Desk, order: Order) -> tuple[Order, Outcome]:
    """Ask the channel what became of the payment, and record it."""
    await desk.store.mark_asked(order.key, now_ms=desk.clock.now_ms(), gap_ms=0)
    said = await call(desk, order, Query(out_trade_no=order.sn, amount=order.total))
    return await learn(desk, order, said), said.outcome


async def learn(desk: Desk, order: Order, said: Said) -> Order:
    """Record what a channel said about the payment; return the order as it is then.

    What is no definite answer changes nothing: only its transcript is kept (promise M6).
    """
    outcome = said.outcome
    if isinstance(outcome, Took):
        took = outcome
        order = await record(desk, order, lambda now, _, ms: judge.took(now, ms, took), heard=said.event)
        if order.status in UNDONE and not order.paid:
            return await _late_success(desk, order)
        return order
    if isinstance(outcome, Refused):
        return await refuse(desk, order, outcome, said)
    await desk.store.add_events((said.event,))
    return order


async def refuse(desk: Desk, order: Order, refused: Refused, said: Said) -> Order:
    """Record that no money was taken for the order."""
    return await record(
        desk, order, lambda now, undo, ms: judge.refused(now, undo, ms, refused), heard=said.event
    )


def not_started(outcome: Outcome) -> Refused | None:
    """The refusal that follows when the wallet processed nothing: our fault, or nobody could be reached."""
    if isinstance(outcome, Misconfigured):
        return Refused(error_code="TRADE_FAILED", text=f"支付通道配置错误: {outcome.provider_code}")
    if isinstance(outcome, Unknown) and not outcome.sent:
        return Refused(error_code="TRADE_FAILED", text="支付通道无法连接，未发起支付")
    return None


async def _late_success(desk: Desk, order: Order) -> Order:
    """Money for an order we called undone: what we heard may be older than that, so ask anew, then refund."""
    said = await call(desk, order, Query(out_trade_no=order.sn, amount=order.total))
    await desk.store.add_events((said.event,))
    if not isinstance(said.outcome, Took):
        return order
    took, tsn = said.outcome, desk.ids.sn()
    order = await record(
        desk, order, lambda now, _, ms: refund_judge.late_refund(now, ms, tsn=tsn, said=took)
    )
    desk.bell.ring_work(DueKind.REFUND)
    return order
