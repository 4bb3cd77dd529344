"""What we know; the channel is asked only when we do not know, and not too often.

DESIGN §5; upay-v2.md §6.
"""

from paymux.channels.contract import Query
from paymux.domain.errors import OrderNotFound
from paymux.domain.order import Order, OrderStatus
from paymux.domain.requests import OrderAnswer, OrderRef
from paymux.flows.call import call
from paymux.flows.desk import Desk
from paymux.flows.find import find
from paymux.flows.learn import learn


async def query(desk: Desk, ref: OrderRef, *, refund_request_no: str = "") -> OrderAnswer:
    """The order as it is, with the refund of that number when one is named; raises `OrderNotFound`."""
    order = await find(desk, ref)
    if _worth_asking(order) and await _may_ask(desk, order):
        said = await call(desk, order, Query(out_trade_no=order.sn, amount=order.total))
        order = await learn(desk, order, said)
    if not refund_request_no:
        return OrderAnswer(order=order)
    refund = await desk.store.refund(order.key, refund_request_no)
    if refund is None:
        raise OrderNotFound
    return OrderAnswer(order=order, transaction=refund)


def _worth_asking(order: Order) -> bool:
    """Only a payment we know nothing of; while it is being undone, recovery asks what it needs."""
    return order.status is OrderStatus.CREATED and not order.undo_tsn


async def _may_ask(desk: Desk, order: Order) -> bool:
    """Take the right to ask now. A just-created order is left to the call that made it."""
    now_ms, gap_ms = desk.clock.now_ms(), desk.limits.query_min_gap_s * 1000
    if now_ms - max(order.asked_ms, order.ctime_ms) < gap_ms:
        return False
    return await desk.store.mark_asked(order.key, now_ms=now_ms, gap_ms=gap_ms)
