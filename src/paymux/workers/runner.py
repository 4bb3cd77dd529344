"""One loop shape for everything that time must not forget: claim due rows, act, give back or drop.

Two lanes, so that merchants' slow servers can never hold up money: one for recovery, refunds and watches, one
for notifications. A handler that fails is tried again later and calls an operator; nothing ends a lane.
"""

import asyncio
from collections.abc import Awaitable, Callable

from paymux.flows.desk import Desk
from paymux.storage.contract import Due, DueKind
from paymux.workers.notifications import WRITTEN, Notifier, NotifyRules
from paymux.workers.recovery import Recovery

Handler = Callable[[Desk, Due], Awaitable[int]]
"""(desk, work that is ours) → epoch ms of the next look; 0: drop it; `WRITTEN`: settled already."""

MONEY_AT_ONCE = 128
NOTIFY_AT_ONCE = 64
_FAILED_GAP_S_MAX = 60


class Workers:
    """Starts the lanes and ends them, letting what is under way finish."""

    def __init__(self, desk: Desk, rules: NotifyRules) -> None:
        recovery = Recovery(per_account=desk.limits.per_account_at_once)
        money: dict[DueKind, Handler] = {
            DueKind.RECOVER: recovery.work,
            DueKind.REFUND: recovery.work,
            DueKind.WATCH: recovery.work,
        }
        telling: dict[DueKind, Handler] = {DueKind.NOTIFY: Notifier(desk, rules).deliver}
        self._lanes = (Lane(desk, money, at_once=MONEY_AT_ONCE), Lane(desk, telling, at_once=NOTIFY_AT_ONCE))
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to work in the running event loop."""
        self._tasks = [asyncio.create_task(lane.run()) for lane in self._lanes]

    async def stop(self, *, drain_s: int) -> None:
        """Claim nothing more, wait `drain_s` for what is under way, then let go (leases bring it back)."""
        for lane in self._lanes:
            lane.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []


class Lane:
    """Claims rows of some kinds and works on up to `at_once` of them together.

    What this process commits it may begin on at once, while there is room (`Hands`): that spares a claim.
    """

    def __init__(self, desk: Desk, handlers: dict[DueKind, Handler], *, at_once: int) -> None:
        self._desk = desk
        self._handlers = handlers
        self._at_once = at_once
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._free = asyncio.Event()
        self._stopping = False
        self._bell = asyncio.Event()
        desk.bell.hire(self, handlers)

    async def run(self) -> None:
        """Work until stopped."""
        while not self._stopping:
            try:
                full = await self.turn()
            except Exception:
                self._desk.log.exception("worker.claim_failed", alarm=True)
                full = False
            await self._pause(full=full)
        if self._under_way:
            await asyncio.wait(list(self._under_way))

    async def turn(self) -> bool:
        """Claim what is due and start on it; True when there is no room or probably more to claim."""
        room = self._at_once - len(self._under_way)
        if room <= 0:
            return True
        now_ms, lease_ms = self._desk.clock.now_ms(), self._desk.limits.lease_s * 1000
        rows = await self._desk.store.claim_due(
            now_ms=now_ms, lease_ms=lease_ms, limit=room, kinds=tuple(self._handlers)
        )
        for row in rows:
            self.take(row)
        return len(rows) == room

    @property
    def free(self) -> bool:
        """Whether one more piece of work would be begun at once."""
        return not self._stopping and len(self._under_way) < self._at_once

    def take(self, due: Due) -> None:
        """Begin on work that is ours. A few more than `at_once` may come from commits that were under way."""
        task = asyncio.create_task(self._work(due))
        self._under_way[task] = None
        task.add_done_callback(self._finished)

    def look(self) -> None:
        """There may be due work: look."""
        self._bell.set()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self._bell.set()
        self._free.set()

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._free.set()

    async def _pause(self, *, full: bool) -> None:
        """Wait for room when full, else for new work or the next look."""
        event = self._free if full else self._bell
        if not self._stopping:
            try:
                async with asyncio.timeout(self._desk.limits.worker_gap_s):
                    await event.wait()
            except TimeoutError:
                pass
        self._free.clear()
        self._bell.clear()

    async def _work(self, row: Due) -> None:
        try:
            look_ms = await self._handlers[row.kind](self._desk, row)
        except Exception:
            gap_s = min(2**row.attempts, _FAILED_GAP_S_MAX)
            self._desk.log.exception("worker.failed", alarm=True, kind=row.kind, sn=row.sn, ref=row.ref)
            look_ms = self._desk.clock.now_ms() + gap_s * 1000
        if look_ms == WRITTEN:
            return
        if look_ms:
            await self._desk.store.put_off(row, run_at_ms=look_ms)
        else:
            await self._desk.store.drop_due(row)
