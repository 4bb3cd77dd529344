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
    """The machine's clock, held back when it is set back: our time never runs backwards in a process."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        self._latest_ms = max(self._latest_ms, time.time_ns() // 1_000_000)
        return self._latest_ms

    async def sleep(self, wait_ms: int) -> None:
        """Wait by the event loop's own clock."""
        await asyncio.sleep(max(wait_ms, 0) / 1000)
