"""An event loop whose time jumps: whenever nobody can run, the clock moves to the next timer.

No thread and no socket may take part (nothing would wake the loop), so stores run inline. But what is
counted as `outside` stops the time, while somebody waits for a database server; and what is done `aside`
stops everybody else, too. Timers of the same moment run in the order in which they were set, whatever the
machine: the same story is the same every time. Virtual time starts near zero, because big floats lose small
steps; the clock adds an epoch for people.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, TypeVar

EPOCH_MS = 1_790_000_000_000
"""A morning in September 2026, far from a change of day in Shanghai for some hours."""

T = TypeVar("T")


class DeadlockedError(AssertionError):
    """Nobody can run and no timer is set: somebody waits for ever."""


class _Handle(asyncio.TimerHandle):
    """What is to run soon or later, without asyncio's debugging: a simulation makes millions of them."""

    __slots__ = ()
    _repr = _source_traceback = None
    _scheduled = False

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[object, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._when = when
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False

    def cancel(self) -> None:
        """Let go of it: it will not run."""
        self._cancelled = True
        self._callback = self._args = None


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time: the ready queue and the timers of asyncio, without its waiting."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 1.0
        self.now_ms = EPOCH_MS + 1_000
        """Virtual milliseconds since 1970."""
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._set = 0
        self.outside = 0
        """How many wait for something that takes real time."""
        self._elsewhere: tuple[deque[asyncio.Handle], list[tuple[float, int, asyncio.TimerHandle]]] = (
            deque(),
            [],
        )
        self._empty_context = Context()

    def time(self) -> float:
        """Virtual seconds."""
        return self._now_s

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer; at equal times the one set first runs first."""
        timer = _Handle(when, callback, args, self, context)
        self._set += 1
        heapq.heappush(self._timers, (when, self._set, timer))
        return timer

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        """Let something run in the next round."""
        handle = _Handle(self._now_s, callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]  # asyncio's own queue
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer from now on."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def aside(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that takes real time, at once, while everybody else stands still.

        Whoever takes part has callbacks and timers of his own, which wait from one call to the next. Nothing
        of the caller's context goes along; and he must not be a task, for two cannot run at once.
        """
        self._change_sides()
        try:
            task = asyncio.Task(work, loop=self, context=self._empty_context)
            while not task.done():
                self._run_once_aside()
            return task.result()
        finally:
            self._change_sides()

    def _change_sides(self) -> None:
        here = self._ready, self._timers  # type: ignore[has-type]  # asyncio's own queue
        (self._ready, self._timers), self._elsewhere = self._elsewhere, here

    def _run_once_aside(self) -> None:
        """Run what is ready; when nothing is, wait for sockets, and as long as the next timer says."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        self._listen(0 if ready else timers[0][0] - self._now_s if timers else None)
        if not ready and timers:
            ready.append(heapq.heappop(timers)[2])
        self._run(ready)

    def _run_once(self) -> None:
        """Until told to stop: run what is ready; when nothing is, jump to the next timer."""
        ready = self._ready  # type: ignore[attr-defined]  # asyncio's own queue
        while not self._stopping:  # type: ignore[attr-defined]  # asyncio's own, too
            if self.outside:
                self._listen(None if not ready else 0)
            elif not ready:
                self._jump(ready)
            self._run(ready)

    def _run(self, ready: deque[asyncio.Handle]) -> None:
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _listen(self, timeout_s: float | None) -> None:
        """Take what sockets have brought, and wait for it when there is nothing else to do."""
        self._process_events(self._selector.select(timeout_s))  # type: ignore[attr-defined]  # asyncio's own

    def _jump(self, ready: Any) -> None:  # noqa: ANN401 - as above
        timers = self._timers
        while timers and not ready:
            when, _, timer = heapq.heappop(timers)
            if not timer.cancelled():
                self._now_s = max(self._now_s, when)
                ready.append(timer)
        if not ready:
            raise DeadlockedError
        self.now_ms = EPOCH_MS + round(self._now_s * 1000)
        while timers and timers[0][0] <= self._now_s:
            ready.append(heapq.heappop(timers)[2])


class VirtualClock:
    """`Clock` of a virtual loop, with a skew for processes whose clocks are wrong."""

    def __init__(self, loop: VirtualLoop, *, skew_ms: int = 0) -> None:
        self._loop = loop
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Virtual milliseconds since 1970."""
        return self._loop.now_ms + self.skew_ms

    async def sleep(self, wait_ms: int) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(max(wait_ms, 0) / 1000)


@contextmanager
def real_time() -> Iterator[None]:
    """What is done within takes real time, and no virtual one; on other loops it changes nothing."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        yield
        return
    loop.outside += 1
    try:
        yield
    finally:
        loop.outside -= 1


def run_virtually(story: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run a story to its end on a virtual loop and close it."""
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(story)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
