"""Unknown payments, unfinished cancels and refunds, and a second look after a reversal.

Nothing here knows more than the flows: a due row names an order, and the same step that a till's call would
take next is taken for it. Expired QR orders come by here too: their deadline is an order's deadline.
"""

from paymux.domain.order import UNDONE, OrderKey
from paymux.flows.desk import Desk
from paymux.flows.learn import ask
from paymux.flows.pursue import step
from paymux.flows.refund import refund_step
from paymux.storage.contract import Due


async def recover(desk: Desk, due: Due) -> int:
    """Take the next step about an unsettled order; return when to look again (epoch ms), 0 = done."""
    order = await desk.store.order(_key(due))
    if order is None:
        return _orphan(desk, due)
    return (await step(desk, order, attempt=due.attempts)).look_ms


async def finish_refund(desk: Desk, due: Due) -> int:
    """Take the next step about a refund."""
    order = await desk.store.order(_key(due))
    refund = await desk.store.transaction(_key(due), due.ref)
    if order is None or refund is None:
        return _orphan(desk, due)
    return (await refund_step(desk, order, refund, first=False)).look_ms


async def watch(desk: Desk, due: Due) -> int:
    """After a reversal: ask once more whether the wallet took the money after all (late success)."""
    order = await desk.store.order(_key(due))
    if order is None:
        return _orphan(desk, due)
    if order.status not in UNDONE or order.paid:
        return 0
    await ask(desk, order)
    waits_s = desk.limits.late_watch_s
    if due.attempts >= len(waits_s):
        return 0
    return desk.clock.now_ms() + waits_s[due.attempts] * 1000


def _key(due: Due) -> OrderKey:
    return OrderKey(due.bucket, due.merchant_id, due.sn)


def _orphan(desk: Desk, due: Due) -> int:
    desk.log.error("due.orphan", alarm=True, sn=due.sn, kind=due.kind, ref=due.ref)
    return 0
