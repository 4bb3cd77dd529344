"""So much at once for one party, and no more: a frozen wallet or a dead merchant holds up only itself."""

from collections.abc import Iterator
from contextlib import contextmanager


class Bulkhead:
    """Counts what is under way per party, and spreads out in time what finds no room."""

    def __init__(self, *, at_once: int) -> None:
        self._at_once = at_once
        self._under_way: dict[str, int] = {}
        self._next_ms: dict[str, int] = {}

    def full_until_ms(self, party: str, now_ms: int) -> int:
        """0 when there is room, else when to try again: each one that asks is told a later moment."""
        if self._under_way.get(party, 0) < self._at_once:
            return 0
        at_ms = max(self._next_ms.get(party, 0), now_ms + _FIRST_GAP_MS) + _SPREAD_MS
        self._next_ms[party] = at_ms
        return at_ms

    @contextmanager
    def room(self, party: str) -> Iterator[None]:
        """Take a place for one piece of work."""
        self._under_way[party] = self._under_way.get(party, 0) + 1
        try:
            yield
        finally:
            self._under_way[party] -= 1
            if not self._under_way[party]:
                del self._under_way[party]
                self._next_ms.pop(party, None)


_FIRST_GAP_MS = 1_000
_SPREAD_MS = 50
"""Twenty deferred pieces of work a second: ten thousand that wait cost next to nothing."""
