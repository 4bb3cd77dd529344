"""The disk: commits that take their time, reads that let others go first, storms when nothing is written."""

import asyncio
import sqlite3
from random import Random

from paymux.domain.errors import StorageFailed
from paymux.storage.sqlite import SqliteStore
from tests.simulation.weather import Weather

WRITES = frozenset(
    {
        "save",
        "add_events",
        "mark_asked",
        "claim_due",
        "put_off",
        "drop_due",
        "save_delivery",
        "put_people",
        "activate",
        "rotate_key",
    }
)
_FLAKY, _COMMITS_FAIL = 0.5, 0.3
STALL_S_MAX = 3.0
"""The longest a single write or read takes on a bad day."""


class Disk:
    """One database and its moods, for all processes that share it."""

    def __init__(self, store: SqliteStore, weather: Weather, dice: Random) -> None:
        self.store = store
        self.full = False
        self.flaky = False
        self.moody = bool(weather.commit_slow or weather.read_slow or weather.storms)
        self._dice = dice
        self._commit_slow = weather.commit_slow
        self._read_slow = weather.read_slow
        self._let_commits_fail(store)

    def storm(self) -> str:
        """Begin to fail: every write at the door, or now and then a commit, with all that was in it."""
        if self._dice.random() < _FLAKY:
            self.flaky = True
            return "commits fail"
        self.full = True
        return "the disk is full"

    def abate(self) -> None:
        """The storm is over."""
        self.full = self.flaky = False

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.full = self.flaky = self.moody = False

    async def before(self, *, writes: bool) -> None:
        """What comes before a call; raises `StorageFailed` for a write while the disk is full."""
        if not writes:
            if self._dice.random() < self._read_slow:
                await self._wait()
            return
        if self.full:
            raise StorageFailed("the disk is full")
        await self.stall()

    async def stall(self) -> None:
        """A write takes its time, before its commit or after it."""
        if self._dice.random() < self._commit_slow:
            await self._wait()

    async def _wait(self) -> None:
        await asyncio.sleep(self._dice.random() ** 4 * STALL_S_MAX)

    def _let_commits_fail(self, store: SqliteStore) -> None:
        """A COMMIT that fails leaves nothing behind: SQLite's own promise, and the batch's to keep."""
        commits = store._commits
        plain = commits._commit

        def commit() -> sqlite3.Error | None:
            if self.flaky and self._dice.random() < _COMMITS_FAIL:
                return sqlite3.OperationalError("disk I/O error")
            return plain()

        commits._commit = commit  # type: ignore[method-assign]  # the disk stands below the writer
