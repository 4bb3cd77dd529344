"""Unknown payments, unfinished cancels and refunds, and a second look after what was decided in doubt.

What a sale has to tell may stand under its row as well: then telling it is left to who tells (decision 21).

Nothing here knows more than the flows: a due row names an order, and the same step that a till's call would
take next is taken for it. Expired QR orders come by here too: their deadline is an order's deadline.
"""

from paymux.channels.contract import Query, RefundQuery, Reverse
from paymux.domain import judge
from paymux.domain.order import UNDONE, Order, OrderKey, Transaction, TransactionKind, UndoBy
from paymux.domain.outcome import GaveBack, Misconfigured, Outcome, Refused, Unknown
from paymux.domain.verdict import Verdict
from paymux.flows.call import call
from paymux.flows.desk import Desk
from paymux.flows.gaps import slow_gap_ms
from paymux.flows.handover import work_ref
from paymux.flows.learn import ask
from paymux.flows.pursue import step
from paymux.flows.record import about_tsn, record
from paymux.flows.refund import check_refused, refund_step
from paymux.flows.undo import undo_by
from paymux.storage.contract import Due, DueKind, NotificationStatus
from paymux.workers.bulkhead import Bulkhead


class Recovery:
    """Works on due rows about money, so much at once per channel account."""

    def __init__(self, *, per_account: int) -> None:
        self._bulkhead = Bulkhead(at_once=per_account)

    async def work(self, desk: Desk, due: Due) -> int:
        """Take the next step; return when to look again (epoch ms), 0 when it is done."""
        order = await desk.store.order(OrderKey(due.bucket, due.merchant_id, due.sn))
        if order is None:
            return _orphan(desk, due)
        if due.kind is DueKind.RECOVER and due.ref != work_ref(order):
            return await _see_to_message(desk, order, due)
        account = f"{order.merchant_id}/{order.account}"
        full_until_ms = self._bulkhead.full_until_ms(account, desk.clock.now_ms())
        if full_until_ms:
            return full_until_ms
        with self._bulkhead.room(account):
            if due.kind is DueKind.RECOVER:
                return await _recover(desk, order, due)
            movement = await desk.store.transaction(order.key, due.ref) if due.ref != due.sn else None
            if due.kind is DueKind.REFUND:
                return await _finish_refund(desk, order, movement, due)
            return await _watch(desk, order, movement)


async def _recover(desk: Desk, order: Order, due: Due) -> int:
    """Take the next step about the payment; when nothing is left of it, see to what stands under its row."""
    progress = await step(desk, order, attempt=due.attempts)
    return progress.look_ms or await _see_to_message(desk, progress.order, due)


async def _see_to_message(desk: Desk, order: Order, due: Due) -> int:
    """A message may stand under its sale's row (decision 21): give it one of its own, which ends the sale's.

    Whoever began to tell it has had his time: he died, or is so slow that it may be told twice.
    """
    if due.ref != order.sn:
        return 0
    left = {(one.kind, one.ref) for one in await desk.store.due_of(order.key)}
    if (DueKind.RECOVER, order.sn) not in left:
        return 0
    now_ms = desk.clock.now_ms()
    for note in await desk.store.notifications(order.key):
        if note.status is not NotificationStatus.WAITING or (DueKind.NOTIFY, note.notification_id) in left:
            continue
        its_time_ms = note.ctime_ms + desk.limits.notify_timeout_s * 1000
        if now_ms < its_time_ms:
            return its_time_ms
        await desk.store.save_delivery(note, next_ms=note.ctime_ms, under_sale=True)  # before younger ones
        desk.bell.ring_work(DueKind.NOTIFY)
    return 0


async def _finish_refund(desk: Desk, order: Order, refund: Transaction | None, due: Due) -> int:
    if refund is None:
        return _orphan(desk, due)
    return (await refund_step(desk, order, refund, first=False)).look_ms


async def _watch(desk: Desk, order: Order, movement: Transaction | None) -> int:
    """Ask once more whether the wallet took the money, or carried out what it refused, after all.

    Only an answer counts as a look: while the wallet is silent the row stays.
    """
    if movement is None:
        if order.status not in UNDONE or order.paid:
            return 0
        since_ms = order.finish_ms
        _, outcome = await ask(desk, order)
        if not _is_answer(outcome) and await undo_by(desk, order) is UndoBy.REVERSE:
            outcome = await _reverse_again(desk, order)
    else:
        since_ms = movement.finish_ms
        outcome = await _look_at(desk, order, movement)
    now_ms = desk.clock.now_ms()
    if not _is_answer(outcome):
        return now_ms + slow_gap_ms(desk.limits, since_ms, now_ms)
    looks_ms = _looks_ms(desk, since_ms)
    return next((at_ms for at_ms in looks_ms if at_ms > now_ms), 0)


async def _reverse_again(desk: Desk, order: Order) -> Outcome:
    """The wallet will not tell: a reversal may be repeated at any time, and its "done" is an answer, too."""
    said = await call(desk, order, Reverse(out_trade_no=order.sn))
    await desk.store.add_events((said.event,))
    return said.outcome


async def _look_at(desk: Desk, order: Order, movement: Transaction) -> Outcome:
    """Ask about a movement we called refused though a request for it had been lost."""
    if movement.kind in {TransactionKind.REFUND, TransactionKind.LATE_REFUND}:
        return await check_refused(desk, order, movement)
    return await _look_at_undo(desk, order, movement)


async def _look_at_undo(desk: Desk, order: Order, undo: Transaction) -> Outcome:
    """Ask whether a refused cancel of an order that stands was carried out after all."""
    if undo.undo_by == UndoBy.REFUND:
        query = RefundQuery(out_trade_no=order.sn, refund_no=undo.tsn, amount=undo.amount)
        said = await call(desk, order, query)
        carried_out = isinstance(said.outcome, GaveBack)
    else:
        said = await call(desk, order, Query(out_trade_no=order.sn, amount=order.total))
        carried_out = isinstance(said.outcome, Refused)
    if not carried_out:
        await desk.store.add_events((said.event,))
        return said.outcome

    def after_all(now: Order, found: Transaction | None, now_ms: int) -> Verdict | None:
        return judge.undone(now, found, now_ms, GaveBack())

    await record(desk, order, after_all, about=about_tsn(desk, undo.tsn), heard=said.event)
    return said.outcome


def _looks_ms(desk: Desk, since_ms: int) -> list[int]:
    looks_ms, at_ms = [], since_ms
    for wait_s in desk.limits.late_watch_s:
        at_ms += wait_s * 1000
        looks_ms.append(at_ms)
    return looks_ms


def _is_answer(outcome: Outcome) -> bool:
    silent = isinstance(outcome, Unknown) and not outcome.not_found
    return not silent and not isinstance(outcome, Misconfigured)


def _orphan(desk: Desk, due: Due) -> int:
    desk.log.error("due.orphan", alarm=True, sn=due.sn, kind=due.kind, ref=due.ref)
    return 0
