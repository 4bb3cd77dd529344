"""Take an order back at the channel until the answer is definite: the shop's cancel and our reversal (冲正).

The wish is durable before this runs (`order.undo_tsn`), so every step may be repeated by anybody: reversal
and close are idempotent by our order number, the refund by the undo movement's tsn. Sources:
00-principles.md §2 (4, 5); channels/01-alipay.md, 03-wechat.md ("Cancel", "Reverse").
"""

from paymux.channels.contract import Close, Operation, Refund, RefundQuery, Reverse
from paymux.domain import judge
from paymux.domain.judge import UNSETTLED
from paymux.domain.order import Order, OrderStatus, Transaction, UndoBy
from paymux.domain.outcome import GaveBack, InProgress, Outcome, Refused, Took, Trouble, Unknown
from paymux.domain.payways import SubPayway
from paymux.flows.call import Said, call
from paymux.flows.desk import Desk
from paymux.flows.gaps import quick_gap_ms, slow_gap_ms
from paymux.flows.learn import ask
from paymux.flows.progress import Progress
from paymux.flows.record import fresh, record

_STEPS_MAX = 3
"""Reverse, then ask, then refund: what one look may do in a row."""


async def begin_reversal(desk: Desk, order: Order, reason: Refused) -> Order:
    """Decide, durably, to undo an order we cannot resolve; from here it cannot become PAID by itself."""
    tsn, by = desk.ids.sn(), await undo_by(desk, order)
    order = await record(
        desk, order, lambda now, undo, ms: judge.give_up(now, undo, ms, tsn=tsn, by=by, reason=reason)
    )
    desk.crash("undo.after_intent")
    return order


async def undo_by(desk: Desk, order: Order) -> UndoBy:
    """How this channel takes back an order of this kind."""
    channel = await desk.wallets.of(order)
    return channel.capabilities.undo[SubPayway(order.sub_payway)]


async def undo_step(desk: Desk, order: Order) -> Progress:
    """Try once to finish the undo under way; say when to look again."""
    outcome: Outcome | None = None
    for _ in range(_STEPS_MAX):
        undo = await desk.store.transaction(order.key, order.undo_tsn)
        if undo is None or order.status not in UNSETTLED:
            return Progress(order=await fresh(desk, order.key))
        earliest_ms = await _earliest_ms(desk, order, undo)
        if desk.clock.now_ms() < earliest_ms:
            return Progress(order=order, look_ms=earliest_ms)
        said = await call(desk, order, _operation(desk, order, undo, outcome))
        desk.crash("undo.after_send")
        order, outcome, again = await _conclude(desk, order, undo, said)
        desk.crash("undo.after_record")
        if order.status not in UNSETTLED or not order.undo_tsn:
            return Progress(order=order)
        if not again:
            break
    return await _later(desk, order, outcome)


def _operation(desk: Desk, order: Order, undo: Transaction, last: Outcome | None) -> Operation:
    if undo.undo_by == UndoBy.REVERSE:
        return Reverse(out_trade_no=order.sn)
    if undo.undo_by == UndoBy.CLOSE:
        return Close(out_trade_no=order.sn)
    if isinstance(last, InProgress):
        return RefundQuery(out_trade_no=order.sn, refund_no=undo.tsn, amount=undo.amount)
    return Refund(
        out_trade_no=order.sn,
        refund_no=undo.tsn,
        amount=undo.amount,
        total=order.total,
        reason="撤单",
        notify_url=desk.callback_url(order, refund_tsn=undo.tsn),
    )


async def _conclude(
    desk: Desk, order: Order, undo: Transaction, said: Said
) -> tuple[Order, Outcome | None, bool]:
    """Record what an attempt to undo said; the flag asks for another operation at once."""
    outcome = said.outcome
    if isinstance(outcome, GaveBack):
        done = outcome
        order = await record(
            desk, order, lambda now, un, ms: judge.undone(now, un, ms, done), heard=said.event
        )
        return order, None, False
    await desk.store.add_events((said.event,))
    if isinstance(outcome, Refused):
        return await _refused(desk, order, undo, outcome)
    accepted = isinstance(outcome, InProgress) and undo.undo_by == UndoBy.REFUND
    return order, outcome, accepted


async def _refused(
    desk: Desk, order: Order, undo: Transaction, refused: Refused
) -> tuple[Order, Outcome | None, bool]:
    """The wallet will not undo it this way: ask what is true, then refund, let the sale stand, or go on."""
    order, outcome = await ask(desk, order)
    if order.status not in UNSETTLED or not isinstance(outcome, Took) or outcome.given_back:
        return order, outcome, False
    took = outcome
    if refused.refund_instead and undo.undo_by != UndoBy.REFUND:
        order = await record(desk, order, lambda now, un, ms: judge.refund_instead(now, un, ms, took))
        return order, None, True
    order = await record(desk, order, lambda now, un, ms: judge.undo_refused(now, un, ms, refused))
    return order, refused, False


async def _later(desk: Desk, order: Order, outcome: Outcome | None) -> Progress:
    """Quick gaps within the budget; then PAY_ERROR or CANCEL_ERROR, an alarm, and slow gaps."""
    undo = await desk.store.transaction(order.key, order.undo_tsn)
    if undo is None:
        return Progress(order=await fresh(desk, order.key))
    now_ms = desk.clock.now_ms()
    waited_ms = now_ms - await _earliest_ms(desk, order, undo)
    if waited_ms < desk.limits.undo_budget_s * 1000:
        gaps = (await desk.wallets.of(order)).capabilities.schedule.undo_gaps_s
        return Progress(order=order, look_ms=now_ms + quick_gap_ms(gaps, waited_ms))
    if order.status in {OrderStatus.CREATED, OrderStatus.CANCEL_INPROGRESS}:
        trouble = _trouble(outcome)
        order = await record(desk, order, lambda now, un, ms: judge.undo_spent(now, un, ms, trouble))
    return Progress(order=order, look_ms=now_ms + slow_gap_ms(desk.limits, undo.ctime_ms, now_ms))


def _trouble(outcome: Outcome | None) -> Trouble | None:
    return outcome.trouble if isinstance(outcome, Unknown) else None


async def _earliest_ms(desk: Desk, order: Order, undo: Transaction) -> int:
    """A channel's rule: not before so long after the order went out (WeChat: 15 s; close: 300 s)."""
    schedule = (await desk.wallets.of(order)).capabilities.schedule
    waits = {UndoBy.REVERSE: schedule.reverse_wait_s, UndoBy.CLOSE: schedule.close_wait_s}
    wait_s = waits.get(UndoBy(undo.undo_by), 0)
    return max(order.ctime_ms + wait_s * 1000, undo.ctime_ms)
