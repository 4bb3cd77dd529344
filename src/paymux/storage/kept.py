"""Keeps opened reference records for a moment: opening a terminal means unsealing its keys."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from paymux.kit.clock import Clock
from paymux.storage.rows import Row

LIFE_MS = 2_000
"""How long another process's change may go unseen; a failed signature check reads afresh at once."""

Record = TypeVar("Record")


class _Entry(msgspec.Struct, Generic[Record]):
    rows: list[Row]
    record: Record
    until_ms: int


class Kept(Generic[Record]):
    """Records by name. `read` fetches a name's rows, `opened` makes the record from them.

    As long as the rows stay the same, so does the record, the very object: what others derive from it
    (parsed keys, opened channels) may be kept beside it.
    """

    def __init__(
        self, clock: Clock, read: Callable[[str], Awaitable[list[Row]]], opened: Callable[[list[Row]], Record]
    ) -> None:
        self._clock = clock
        self._read = read
        self._opened = opened
        self._entries: dict[str, _Entry[Record]] = {}

    async def get(self, name: str, *, fresh: bool = False) -> Record | None:
        """The record, None when there is none; `fresh` looks into the database first."""
        now_ms = self._clock.now_ms()
        entry = self._entries.get(name)
        if entry is not None and not fresh and now_ms < entry.until_ms:
            return entry.record
        rows = await self._read(name)
        if not rows:
            self._entries.pop(name, None)
            return None
        record = entry.record if entry is not None and entry.rows == rows else self._opened(rows)
        self._entries[name] = _Entry(rows=rows, record=record, until_ms=now_ms + LIFE_MS)
        return record

    def forget(self, name: str) -> None:
        """Written through: the next reader looks into the database."""
        entry = self._entries.get(name)
        if entry is not None:
            entry.until_ms = 0
