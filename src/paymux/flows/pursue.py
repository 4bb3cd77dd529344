"""Go on until we know: the loop that calls and recovery share, so that a crash is resumed by the same code.

One `step` looks at the order, does the next thing about it at the channel (ask, or undo), records what was
learned, and says when to look again. Schedules are the channel's data (00-principles.md §2).
"""

from paymux.channels.contract import Schedule
from paymux.domain.order import Order
from paymux.domain.outcome import InProgress, Outcome
from paymux.domain.payways import SubPayway
from paymux.domain.verdict import TIMEOUT, UNSETTLED
from paymux.flows.desk import Desk
from paymux.flows.handover import leave_to_recovery, work_ref
from paymux.flows.learn import ask
from paymux.flows.progress import Progress
from paymux.flows.record import fresh
from paymux.flows.undo import begin_reversal, undo_step
from paymux.storage.contract import DueKind


async def follow(desk: Desk, progress: Progress, *, until_ms: int, own_undo: str = "") -> Order:
    """Step until the order is settled, time is up or the process ends; then leave the rest to recovery.

    `own_undo`: the tsn of the undo that this very call has begun.
    """
    attempt = 0
    while progress.look_ms and progress.look_ms <= until_ms and not desk.bell.closing:
        progress = await _wait(desk, progress, progress.look_ms)
        if progress.look_ms and not desk.bell.closing:
            attempt += 1
            progress = await step(desk, progress.order, attempt=attempt, own_undo=own_undo)
    progress = await _wait(desk, progress, until_ms)
    if progress.look_ms:
        order, look_ms = progress.order, progress.look_ms
        await leave_to_recovery(desk, order.key, DueKind.RECOVER, work_ref(order), look_ms=look_ms)
    return progress.order


async def step(desk: Desk, order: Order, *, attempt: int, own_undo: str = "") -> Progress:
    """Do the next thing about an order; `attempt` counts from 1 and chooses the gap that follows."""
    if order.status not in UNSETTLED:
        return Progress(order=order)
    if order.undo_tsn:
        return await undo_step(desk, order, first=order.undo_tsn == own_undo)
    order, outcome = await ask(desk, order)
    if order.status not in UNSETTLED:
        return Progress(order=order)
    if desk.clock.now_ms() < order.deadline_ms:
        return await look_again(desk, order, outcome, attempt=attempt)
    order = await begin_reversal(desk, order, TIMEOUT)
    return await undo_step(desk, order, first=True) if order.undo_tsn else Progress(order=order)


async def look_again(desk: Desk, order: Order, outcome: Outcome, *, attempt: int) -> Progress:
    """When to ask next: after the channel's gap, but never later than the order's deadline."""
    if order.status not in UNSETTLED:
        return Progress(order=order)
    gaps = desk.limits.precreate_gaps_s
    if order.sub_payway == SubPayway.BARCODE:
        gaps = _gaps_s((await desk.wallets.of(order)).capabilities.schedule, outcome)
    look_ms = desk.clock.now_ms() + gaps[min(attempt, len(gaps) - 1)] * 1000
    return Progress(order=order, look_ms=min(look_ms, order.deadline_ms))


def _gaps_s(schedule: Schedule, outcome: Outcome) -> tuple[int, ...]:
    return schedule.paying_gaps_s if isinstance(outcome, InProgress) else schedule.unknown_gaps_s


async def _wait(desk: Desk, progress: Progress, until_ms: int) -> Progress:
    """Wait, unless the order is settled sooner; others' attempts ring too, and do not shorten the gap."""
    while progress.look_ms and desk.clock.now_ms() < until_ms and not desk.bell.closing:
        await desk.bell.wait(progress.order.key, until_ms - desk.clock.now_ms())
        order = await fresh(desk, progress.order.key)
        progress = Progress(order=order, look_ms=progress.look_ms if order.status in UNSETTLED else 0)
    return progress
