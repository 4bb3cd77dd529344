"""What will happen by itself, in order of time; ties go to what was planned first."""

from __future__ import annotations

import heapq

from paymux.sandbox.records import Event


class Agenda:
    """A queue of timed happenings, all plain data."""

    def __init__(self) -> None:
        """Start with nothing planned."""
        self._heap: list[tuple[int, int, Event]] = []
        self._planned = 0

    def plan(self, at_ms: int, kind: str, key: str, note: str = "") -> None:
        """Let `kind` happen to the order or notice `key` at `at_ms`."""
        self.restore([Event(at_ms=at_ms, seq=self._planned + 1, kind=kind, key=key, note=note)])

    def next_ms(self) -> int | None:
        """Return when the next thing happens, or None."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_ms: int) -> Event | None:
        """Take the next thing whose time has come."""
        if self._heap and self._heap[0][0] <= now_ms:
            return heapq.heappop(self._heap)[2]
        return None

    def events(self) -> list[Event]:
        """List everything planned, for a snapshot."""
        return [event for _, _, event in sorted(self._heap, key=lambda entry: entry[:2])]

    def restore(self, events: list[Event]) -> None:
        """Plan events taken from a snapshot, keeping their order."""
        for event in events:
            self._planned = max(self._planned, event.seq)
            heapq.heappush(self._heap, (event.at_ms, event.seq, event))
