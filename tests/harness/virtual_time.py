"""An event loop whose time jumps: whenever nobody can run, the clock moves to the next timer.

No thread may take part (nothing would wake the loop), so stores run inline. Virtual time starts near zero,
because big floats lose small steps; the clock adds an epoch for people.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

EPOCH_MS = 1_790_000_000_000
"""A morning in September 2026, far from a change of day in Shanghai for some hours."""

T = TypeVar("T")


class DeadlockedError(AssertionError):
    """Nobody can run and no timer is set: somebody waits for ever."""


class _JumpingSelector(selectors.SelectSelector):
    """Never sleeps: what the loop would have waited is added to its time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Report what is ready; else jump ahead by the time the loop wanted to wait."""
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise DeadlockedError
        self.now_s += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on virtual time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumping.now_s


class VirtualClock:
    """`Clock` of a virtual loop, with a skew for processes whose clocks are wrong."""

    def __init__(self, loop: VirtualLoop, *, skew_ms: int = 0) -> None:
        self._loop = loop
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Virtual milliseconds since 1970."""
        return EPOCH_MS + round(self._loop.time() * 1000) + self.skew_ms

    async def sleep(self, wait_ms: int) -> None:
        """Wait in virtual time."""
        await asyncio.sleep(max(wait_ms, 0) / 1000)


def run_virtually(story: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run a story to its end on a virtual loop and close it."""
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(story)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
