"""The only writer of order status: verdict → rows, due work, history and notification, in one commit.

Compare-and-set: when somebody was faster, the order is read again and judged anew from what is true now.
Callers go on from the order that is returned, never from the one they came with (RELIABILITY §0.4).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec.structs import replace

from paymux.domain.errors import OrderNotFound
from paymux.domain.order import Order, OrderKey, Transaction, TransactionKind, TransactionStatus
from paymux.domain.order_states import Contradiction
from paymux.domain.verdict import UNSETTLED, Verdict, is_unfinished
from paymux.flows.desk import Desk, Hands
from paymux.flows.handover import is_under_sale, sale_row_stands, work_ref
from paymux.flows.history import joined
from paymux.storage.contract import Change, Due, DueKind, Event, Notification

Judge = Callable[[Order, Transaction | None, int], Verdict | None]
"""(order as it is, the movement concerned, now_ms) → what to write, or None when nothing changes."""
FindMovement = Callable[[Order], Awaitable[Transaction | None]]


async def record(
    desk: Desk,
    order: Order,
    judge: Judge,
    *,
    about: FindMovement | None = None,
    who: str = "gateway",
    heard: Event | None = None,
    look_ms: int = 0,
) -> Order:
    """Judge and commit until it holds; return the order as it is then.

    `about` finds the movement the judge wants, anew each time; by default the undo under way. `heard`: a
    transcript to keep in the conclusion's line, or alone when nothing changes. `look_ms`: when due work that
    begins here runs first (0: at once). What the judge raises, other than `Contradiction`, goes through.
    """
    while True:
        movement = await (about(order) if about else _undo(desk, order))
        now_ms = desk.clock.now_ms()
        try:
            verdict = judge(order, movement, now_ms)
        except Contradiction as error:
            verdict = None
            heard = _contradiction(desk, order, heard, str(error))
        if verdict is None:
            if heard is not None:
                await desk.store.add_events((heard,))
            return order
        message = _message(desk, order, verdict, now_ms)
        change = _change(desk, order, verdict, message, who=who, heard=heard, now_ms=now_ms, look_ms=look_ms)
        if await desk.store.save(change):
            _tell(desk, verdict, message)
            return verdict.order
        order = await fresh(desk, order.key)


def about_tsn(desk: Desk, tsn: str) -> FindMovement:
    """Find a movement by its number, anew each time."""

    async def find_it(now: Order) -> Transaction | None:
        return await desk.store.transaction(now.key, tsn)

    return find_it


async def fresh(desk: Desk, key: OrderKey) -> Order:
    """The order as it is now; raises `OrderNotFound`."""
    order = await desk.store.order(key)
    if order is None:
        raise OrderNotFound
    return order


def event(desk: Desk, order: Order, *, who: str, what: str, text: str = "") -> Event:
    """A line of history about an order, now."""
    return Event(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        event_id=desk.ids.event_id(),
        at_ms=desk.clock.now_ms(),
        who=who,
        what=what,
        text=text,
    )


async def _undo(desk: Desk, order: Order) -> Transaction | None:
    return await desk.store.transaction(order.key, order.undo_tsn) if order.undo_tsn else None


@dataclass(frozen=True, slots=True)
class _Message:
    """A message to write, and the work to tell it: `hands` begin on it at once, else it is anybody's."""

    note: Notification
    work: Due
    hands: Hands | None


def _change(
    desk: Desk,
    before: Order,
    verdict: Verdict,
    message: _Message | None,
    *,
    who: str,
    heard: Event | None,
    now_ms: int,
    look_ms: int,
) -> Change:
    said = event(desk, before, who=who, what=verdict.what, text=verdict.text)
    due, done = _work(before, verdict, look_ms=look_ms or now_ms)
    due += _watch(desk, verdict, now_ms)
    if message is not None and is_under_sale(message.work):
        done.remove((before.sn, DueKind.RECOVER))
    elif message is not None:
        due.append(message.work)
    return Change(
        order=verdict.order,
        before=before,
        transactions=verdict.transactions,
        due=tuple(due),
        done=tuple(done),
        events=(joined(heard, said) if heard else said,),
        notifications=(message.note,) if message else (),
    )


def _work(before: Order, verdict: Verdict, *, look_ms: int) -> tuple[list[Due], list[tuple[str, DueKind]]]:
    """Uncertainty that begins gets its due row in the same commit; what has ended loses it."""
    order = verdict.order
    due: list[Due] = []
    done: list[tuple[str, DueKind]] = []
    if order.status not in UNSETTLED and before.status in UNSETTLED:
        done.append((work_ref(before), DueKind.RECOVER))
    elif order.status in UNSETTLED and before.status not in UNSETTLED:
        due.append(_due(order, DueKind.RECOVER, work_ref(order), look_ms))
    for movement in verdict.transactions:
        if movement.kind not in {TransactionKind.REFUND, TransactionKind.LATE_REFUND}:
            continue
        if movement.status is TransactionStatus.CREATED:
            due.append(_due(order, DueKind.REFUND, movement.tsn, look_ms))
        elif not is_unfinished(movement):
            done.append((movement.tsn, DueKind.REFUND))
    return due, done


def _watch(desk: Desk, verdict: Verdict, now_ms: int) -> list[Due]:
    if not verdict.watch or not desk.limits.late_watch_s:
        return []
    first_ms = now_ms + desk.limits.late_watch_s[0] * 1000
    return [_due(verdict.order, DueKind.WATCH, verdict.watch, first_ms)]


def _due(order: Order, kind: DueKind, ref: str, run_at_ms: int) -> Due:
    return Due(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        ref=ref,
        kind=kind,
        sn=order.sn,
        run_at_ms=run_at_ms,
    )


def _message(desk: Desk, before: Order, verdict: Verdict, now_ms: int) -> _Message | None:
    """What the merchant is told. Its work is nobody else's for a lease, where hands are free to begin on it.

    If they fail to, the row they stand under brings it to somebody.
    """
    order = verdict.order
    if not verdict.notify or not order.notify_url:
        return None
    movement = next((one for one in verdict.transactions if one.tsn == order.latest_tsn), None)
    note = Notification(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        notification_id=desk.ids.event_id(),
        url=order.notify_url,
        body=desk.notification_body(order, movement),
        ctime_ms=now_ms,
        order_version=order.version,
    )
    hands = desk.bell.free_hands(DueKind.NOTIFY)
    settled = order.status not in UNSETTLED
    under_sale = hands is not None and settled and sale_row_stands(desk, before, now_ms)
    ref = order.sn if under_sale else note.notification_id
    run_at_ms = now_ms + desk.limits.lease_s * 1000 if hands else now_ms
    # As if claimed, so that who gives it back late takes nothing that was put anew meanwhile.
    work = replace(_due(order, DueKind.NOTIFY, ref, run_at_ms), attempts=1 if hands else 0)
    return _Message(note=note, work=work, hands=hands)


def _tell(desk: Desk, verdict: Verdict, message: _Message | None) -> None:
    order = verdict.order
    desk.bell.ring(order.key)
    if message is not None and message.hands is not None:
        message.hands.take(message.work)
    elif message is not None:
        desk.bell.ring_work(DueKind.NOTIFY)
    if verdict.alarm:
        desk.log.error(verdict.what, alarm=True, sn=order.sn, merchant=order.merchant_id, text=verdict.text)


def _contradiction(desk: Desk, order: Order, heard: Event | None, text: str) -> Event:
    """Keep what was heard, and call an operator: the grid says it cannot be."""
    desk.log.error("order.contradiction", alarm=True, sn=order.sn, merchant=order.merchant_id, text=text)
    said = event(desk, order, who="gateway", what="order.contradiction", text=text)
    return joined(heard, said) if heard else said
