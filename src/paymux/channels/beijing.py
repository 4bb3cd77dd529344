"""Beijing time and epoch milliseconds: Chinese wallets write times without a zone and mean GMT+8.

All payments of one second share its text, so the last ones are kept.
"""

from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

BEIJING = timezone(timedelta(hours=8))
"""China has had one zone and no summer time since 1991."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_KEPT = 64


def spaced_time(at_ms: int) -> str:
    """Write epoch ms as Alipay does: `"2019-08-29 20:14:05"`."""
    return _written(at_ms // 1000, "%Y-%m-%d %H:%M:%S")


def packed_time(at_ms: int) -> str:
    """Write epoch ms as WeChat does: `"20190829201405"`."""
    return _written(at_ms // 1000, "%Y%m%d%H%M%S")


def ms_of_spaced(text: str) -> int:
    """Read `"2019-08-29 20:14:05"` as epoch ms; 0 for anything that is no such time."""
    return _ms_of_iso(text) if len(text) == 19 else 0


def ms_of_packed(text: str) -> int:
    """Read `"20190829201405"` as epoch ms; 0 for anything that is no such time."""
    return _ms_of_iso(f"{text[:8]}T{text[8:]}") if len(text) == 14 else 0


@lru_cache(maxsize=_KEPT)
def _written(at_s: int, form: str) -> str:
    return datetime.fromtimestamp(at_s, tz=BEIJING).strftime(form)


@lru_cache(maxsize=_KEPT)
def _ms_of_iso(text: str) -> int:
    try:
        return (datetime.fromisoformat(text).replace(tzinfo=BEIJING) - _EPOCH) // _MS
    except ValueError:
        return 0
