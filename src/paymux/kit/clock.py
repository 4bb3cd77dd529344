"""The only place that knows the time. Everything else is handed a clock, so tests can turn it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Epoch milliseconds, and a way to wait."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, never going back within a process."""

    async def sleep(self, wait_ms: int) -> None:
        """Wait; zero or less gives others a turn."""


class SystemClock:
    """The machine's clock as it was at the start, and from then on the time that really passed.

    Setting the machine's clock, ahead or back, moves nothing here: no deadline comes early, none stands
    still. (Its rate is still steered by NTP; a clock that was wrong at the start is mended by a restart.)
    """

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return (time.monotonic_ns() + self._offset_ns) // 1_000_000

    async def sleep(self, wait_ms: int) -> None:
        """Wait by the event loop's own clock."""
        await asyncio.sleep(max(wait_ms, 0) / 1000)
