"""Take an order back at the channel until the answer is definite: the shop's cancel and our reversal (冲正).

The wish is durable before this runs (`order.undo_tsn`), so every step may be repeated by anybody: reversal
and close are idempotent by our order number, the refund by the undo movement's tsn. A refusal counts only
when no earlier request can still be on its way (`doubt.py`). Sources: 00-principles.md §2 (4, 5);
channels/01-alipay.md, 03-wechat.md ("Cancel", "Reverse").
"""

from paymux.channels.contract import Close, Operation, RefundQuery, Reverse
from paymux.domain import judge, refund_judge
from paymux.domain.order import Order, OrderStatus, Transaction, TransactionStatus, UndoBy
from paymux.domain.outcome import GaveBack, InProgress, Outcome, Refused, Took, Trouble, Unknown
from paymux.domain.payways import SubPayway
from paymux.domain.verdict import UNSETTLED, Verdict
from paymux.flows.call import Said, call
from paymux.flows.desk import Desk
from paymux.flows.doubt import is_definite, keep_doubt, leaves_doubt, not_before_ms
from paymux.flows.gaps import quick_gap_ms, slow_gap_ms
from paymux.flows.learn import ask
from paymux.flows.progress import Progress
from paymux.flows.record import about_tsn, fresh, record
from paymux.flows.refund import refund_request

_REASON = "撤单"
_START_MS = 15_000
"""Longer than any start waits for its reply, and than clocks of two processes differ."""
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


async def undo_step(desk: Desk, order: Order, *, first: bool = False) -> Progress:
    """Try once to finish the undo under way; say when to look again.

    `first`: the caller has just recorded the wish himself, so nothing was sent for it before.
    """
    async with desk.turns.of(order.key):
        return await _step(desk, await fresh(desk, order.key), first=first)


async def _step(desk: Desk, order: Order, *, first: bool) -> Progress:
    outcome: Outcome | None = None
    for _ in range(_STEPS_MAX):
        undo = await desk.store.transaction(order.key, order.undo_tsn)
        if undo is None or order.status not in UNSETTLED:
            return Progress(order=await fresh(desk, order.key))
        begun_ms = await _begun_ms(desk, order, undo)
        earliest_ms = not_before_ms(undo, first=first or _is_accepted(undo), begun_ms=begun_ms)
        if desk.clock.now_ms() < earliest_ms:
            return Progress(order=order, look_ms=earliest_ms)
        said = await call(desk, order, _operation(desk, order, undo))
        desk.crash("undo.after_send")
        first = is_definite(desk, undo, first=first, begun_ms=begun_ms)
        order, outcome, again = await _conclude(desk, order, undo, said, sure=first)
        desk.crash("undo.after_record")
        first = again and outcome is None  # a new movement of ours; what was accepted is only asked about
        if order.status not in UNSETTLED or not order.undo_tsn:
            return Progress(order=order)
        if not again:
            break
    return await _later(desk, order, outcome)


def _operation(desk: Desk, order: Order, undo: Transaction) -> Operation:
    if undo.undo_by == UndoBy.REVERSE:
        return Reverse(out_trade_no=order.sn)
    if undo.undo_by == UndoBy.CLOSE:
        return Close(out_trade_no=order.sn)
    if undo.status is not TransactionStatus.CREATED:  # accepted, or past its budget: ask before sending again
        return RefundQuery(out_trade_no=order.sn, refund_no=undo.tsn, amount=undo.amount)
    return refund_request(desk, order, undo, reason=_REASON)


async def _conclude(
    desk: Desk, order: Order, undo: Transaction, said: Said, *, sure: bool
) -> tuple[Order, Outcome | None, bool]:
    """Record what an attempt to undo said; `sure`: a refusal of it counts.

    The flag asks for another operation at once; without an outcome it is the first of its kind, and ours.
    """
    outcome = said.outcome
    if isinstance(outcome, GaveBack):
        return await _undone(desk, order, undo, said, outcome), None, False
    if undo.undo_by == UndoBy.REFUND and isinstance(outcome, InProgress):
        return await _accepted(desk, order, undo, said), outcome, undo.status is TransactionStatus.CREATED
    if isinstance(outcome, Refused):
        closing = undo.undo_by == UndoBy.CLOSE and outcome.refund_instead
        if closing or sure:
            await desk.store.add_events((said.event,))
            return await _refused(desk, order, undo, outcome)
        return await keep_doubt(desk, order, undo, said), outcome, False
    if isinstance(outcome, Unknown) and outcome.not_found and undo.undo_by == UndoBy.REFUND:
        await desk.store.add_events((said.event,))
        said = await call(desk, order, refund_request(desk, order, undo, reason=_REASON))
        return await _conclude(desk, order, undo, said, sure=False)
    if leaves_doubt(outcome):
        return await keep_doubt(desk, order, undo, said), outcome, False
    await desk.store.add_events((said.event,))
    return order, outcome, False


async def _undone(desk: Desk, order: Order, undo: Transaction, said: Said, done: GaveBack) -> Order:
    return await record(
        desk,
        order,
        lambda now, found, ms: judge.undone(now, found, ms, done),
        about=about_tsn(desk, undo.tsn),
        heard=said.event,
    )


async def _accepted(desk: Desk, order: Order, undo: Transaction, said: Said) -> Order:
    return await record(
        desk,
        order,
        lambda now, found, ms: refund_judge.refund_accepted(now, found, ms) if found else None,
        about=about_tsn(desk, undo.tsn),
        heard=said.event,
    )


async def _refused(
    desk: Desk, order: Order, undo: Transaction, refused: Refused
) -> tuple[Order, Outcome | None, bool]:
    """The wallet will not undo it this way: ask what is true, then refund, let the sale stand, or go on."""
    if undo.undo_by == UndoBy.REFUND:
        query = RefundQuery(out_trade_no=order.sn, refund_no=undo.tsn, amount=undo.amount)
        asked = await call(desk, order, query)
        if isinstance(asked.outcome, GaveBack):
            return await _undone(desk, order, undo, asked, asked.outcome), None, False
        await desk.store.add_events((asked.event,))
        known = isinstance(asked.outcome, Unknown) and asked.outcome.not_found
        if not known and not isinstance(asked.outcome, Refused):
            return order, asked.outcome, False
    order, outcome = await ask(desk, order)
    if order.status not in UNSETTLED or not isinstance(outcome, Took):
        return order, outcome, False
    took = outcome
    if refused.refund_instead and undo.undo_by != UndoBy.REFUND:
        return await _refund_instead(desk, order, took)
    order = await record(desk, order, lambda now, un, ms: judge.undo_refused(now, un, ms, refused))
    return order, refused, False


async def _refund_instead(desk: Desk, order: Order, took: Took) -> tuple[Order, Outcome | None, bool]:
    """Switch to a refund; who was faster sends it."""
    ours = False

    def judged(now: Order, undo: Transaction | None, now_ms: int) -> Verdict | None:
        nonlocal ours
        verdict = judge.refund_instead(now, undo, now_ms, took)
        ours = verdict is not None
        return verdict

    order = await record(desk, order, judged)
    return order, None, ours


def _is_accepted(undo: Transaction) -> bool:
    """The wallet works on the refund already: it is only asked about, and that may anybody."""
    return undo.undo_by == UndoBy.REFUND and undo.status is not TransactionStatus.CREATED


async def _later(desk: Desk, order: Order, outcome: Outcome | None) -> Progress:
    """Quick gaps within the budget; then PAY_ERROR or CANCEL_ERROR, an alarm, and slow gaps."""
    undo = await desk.store.transaction(order.key, order.undo_tsn)
    if undo is None:
        return Progress(order=await fresh(desk, order.key))
    now_ms = desk.clock.now_ms()
    waited_ms = now_ms - await _begun_ms(desk, order, undo)
    if waited_ms < desk.limits.undo_budget_s * 1000:
        gaps = (await desk.wallets.of(order)).capabilities.schedule.undo_gaps_s
        return Progress(order=order, look_ms=now_ms + quick_gap_ms(gaps, waited_ms))
    on_its_way = isinstance(outcome, InProgress) and undo.undo_by == UndoBy.REFUND
    if order.status in {OrderStatus.CREATED, OrderStatus.CANCEL_INPROGRESS} and not on_its_way:
        trouble = _trouble(outcome)
        order = await record(desk, order, lambda now, un, ms: judge.undo_spent(now, un, ms, trouble))
    return Progress(order=order, look_ms=now_ms + slow_gap_ms(desk.limits, undo.ctime_ms, now_ms))


def _trouble(outcome: Outcome | None) -> Trouble | None:
    return outcome.trouble if isinstance(outcome, Unknown) else None


async def _begun_ms(desk: Desk, order: Order, undo: Transaction) -> int:
    """When an undo may first be sent.

    A channel's rule: not before so long after the order went out (WeChat: 15 s; close: 300 s). And ours: not
    while the start may be on its way, or the undo could arrive first and find nothing. Where the start is
    ours, its turn is over now; another process's has an end when its reply is known, or its time is up.
    """
    schedule = (await desk.wallets.of(order)).capabilities.schedule
    waits = {UndoBy.REVERSE: schedule.reverse_wait_s, UndoBy.CLOSE: schedule.close_wait_s}
    wait_ms = waits.get(UndoBy(undo.undo_by), 0) * 1000
    if not (desk.ids.made(order.sn) or order.qr_code or order.wap_pay_request or order.paid):
        wait_ms = max(wait_ms, _START_MS)
    return max(order.ctime_ms + wait_ms, undo.ctime_ms)
