"""The shop's wish to undo (cancel, revoke); it may race with a payment in flight and wins or loses as one.

upay-v2.md §7.2: an order being paid is aborted, a paid one of the same day gets its money back. The wish is
durable before the channel hears of it; from then on a success of the wallet cannot make the order PAID.
"""

from zoneinfo import ZoneInfo

from paymux.domain import judge
from paymux.domain.order import Order, OrderStatus, Transaction, UndoBy
from paymux.domain.refund_rules import check_cancel
from paymux.domain.requests import OrderAnswer, OrderRef
from paymux.domain.verdict import Verdict
from paymux.flows.desk import Desk
from paymux.flows.find import find
from paymux.flows.handover import GRACE_MS
from paymux.flows.progress import Progress
from paymux.flows.pursue import follow
from paymux.flows.record import Judge, record
from paymux.flows.undo import undo_by


async def cancel(desk: Desk, ref: OrderRef, *, operator: str = "") -> OrderAnswer:
    """Undo the order; the answer's `before` is the status the wish met.

    Raises `OrderNotFound`, and `StateForbids` when the order is undone already or may not be undone.
    """
    order = await find(desk, ref)
    met: list[OrderStatus] = []
    until_ms = desk.clock.now_ms() + desk.limits.cancel_wait_s * 1000
    tsn = desk.ids.sn()
    wish = await _wish(desk, order, operator, met, tsn=tsn)
    who = f"terminal {ref.terminal.terminal_sn}"
    order = await record(desk, order, wish, who=who, look_ms=until_ms + GRACE_MS)
    desk.crash("undo.after_intent")
    progress = Progress(order=order, look_ms=desk.clock.now_ms())
    order = await follow(desk, progress, until_ms=until_ms, own_undo=tsn)
    movement = await desk.store.transaction(order.key, order.latest_tsn)
    return OrderAnswer(order=order, transaction=movement, before=met[-1])


async def _wish(desk: Desk, order: Order, operator: str, met: list[OrderStatus], *, tsn: str) -> Judge:
    """The judgement, made anew each time somebody was faster; notes the status it met last."""
    merchant = await desk.store.merchant(order.merchant_id)
    zone = ZoneInfo(merchant.timezone if merchant else "Asia/Shanghai")
    usual = await undo_by(desk, order)

    def judged(now: Order, undo: Transaction | None, now_ms: int) -> Verdict | None:
        check_cancel(now, now_ms=now_ms, zone=zone, same_day_only=desk.cancel_same_day)
        met.append(now.status)
        paid_qr = usual is UndoBy.CLOSE and now.status is OrderStatus.PAID
        by = UndoBy.REFUND if paid_qr else usual
        return judge.cancel_asked(now, undo, now_ms, tsn=tsn, by=by, operator=operator)

    return judged
