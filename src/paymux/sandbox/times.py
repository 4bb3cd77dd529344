"""Time in the sandbox: a clock that can be moved and sped up; the wallets' ways to write Beijing time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BEIJING = timezone(timedelta(hours=8))
DASHED = "%Y-%m-%d %H:%M:%S"
COMPACT = "%Y%m%d%H%M%S"
DAY_MS = 86_400_000


class MovableClock:
    """The sandbox's own clock, in ms since the epoch, driven by a source clock.

    With `rate` 1 and no advance it is the source clock exactly, so a simulation keeps full control.
    """

    def __init__(self, source: Callable[[], int]) -> None:
        """Start in step with `source` (ms)."""
        self._source = source
        self._source_anchor_ms = source()
        self._anchor_ms = self._source_anchor_ms
        self.rate: float = 1

    def now_ms(self) -> int:
        """Return the sandbox's time in ms."""
        passed_ms = self._source() - self._source_anchor_ms
        return self._anchor_ms + (passed_ms if self.rate == 1 else int(passed_ms * self.rate))

    def move(self, *, advance_ms: int = 0, rate: float | None = None) -> None:
        """Jump forward by `advance_ms` and run at `rate` from now on; time never goes back."""
        self._anchor_ms = self.now_ms() + max(advance_ms, 0)
        self._source_anchor_ms = self._source()
        self.rate = self.rate if rate is None else rate


def beijing(time_ms: int) -> datetime:
    """Return the Beijing time of an epoch ms."""
    return datetime.fromtimestamp(time_ms // 1000, BEIJING)


def dashed(time_ms: int) -> str:
    """Write Alipay's form, `2026-01-02 03:04:05`."""
    return beijing(time_ms).strftime(DASHED)


def compact(time_ms: int) -> str:
    """Write WeChat's form, `20260102030405`."""
    return beijing(time_ms).strftime(COMPACT)


def read_time(text: str, form: str) -> int | None:
    """Read Beijing time written in `form`; ms, or None when it is not of that form."""
    try:
        moment = datetime.strptime(text, form).replace(tzinfo=BEIJING)
    except ValueError:
        return None
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return int((moment - epoch) / timedelta(milliseconds=1))
