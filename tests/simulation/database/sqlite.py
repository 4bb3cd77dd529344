"""SQLite in memory, and its disk: commits that take their time, reads that let others go first, storms."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from paymux.domain.errors import StorageFailed
from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage.contract import Store
from paymux.storage.sqlite import MEMORY, SqliteStore
from tests.simulation.database.contract import Witness
from tests.simulation.database.witness import TRIGGERS, Fact, on_sqlite
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
STORM_S_MAX = 5.0
STALL_S_MAX = 3.0
"""The longest a single write or read takes on a bad day."""


class SqliteDatabase:
    """One file in memory, which all processes write through the same connection."""

    def __init__(self, *, clock: Clock, weather: Weather, dice: Random) -> None:
        self._sqlite = SqliteStore(MEMORY, sealer=Sealer(bytes(32)), clock=clock, threaded=False)
        self.store: Store = self._sqlite
        self.storm_s_max, self.unsteady = STORM_S_MAX, False
        self._disk = _Disk(weather, dice)
        self._written: list[Fact] = []

    async def begin(self, witness: Witness) -> None:
        """Hang triggers at the writer's connection, and stand beside its commits."""
        connection = self._sqlite._writer
        for trigger in TRIGGERS:
            connection.create_function(
                trigger.tells, trigger.columns.count(",") + 1, self._listener(trigger.tells)
            )
            connection.execute(on_sqlite(trigger))
        commits, written = self._sqlite._commits, self._written
        plain_commit, plain_roll_back = commits._commit, commits._roll_back

        def commit() -> sqlite3.Error | None:
            error = self._disk.commit_fails() or plain_commit()
            if error is None:
                facts = written.copy()
                written.clear()
                witness(facts)
            return error

        def roll_back() -> None:
            written.clear()
            plain_roll_back()

        commits._commit = commit  # type: ignore[method-assign]  # the witness stands beside the writer
        commits._roll_back = roll_back  # type: ignore[method-assign]  # as above

    def way_of(self, name: str, clock: Clock) -> "_Way":
        """Let a process in; all of them share the one store, and its clock."""
        del name, clock
        return _Way(self.store, self._disk)

    def storm(self) -> str:
        """Begin to fail: every write at the door, or now and then a commit, with all that was in it."""
        return self._disk.storm()

    def abate(self) -> str:
        """The storm is over."""
        self._disk.full = self._disk.flaky = False
        return "the disk has room"

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self._disk.full = self._disk.flaky = self._disk.moody = False

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        return self._sqlite._writer.execute(sql).fetchall()

    async def close(self) -> None:
        """Let go of it."""
        await self._sqlite.close()

    def _listener(self, name: str) -> Callable[..., int]:
        def listen(*row: Any) -> int:  # noqa: ANN401 - a row
            self._written.append((name, row))
            return 0

        return listen


class _Way:
    """A process reaches the store through a disk with moods."""

    def __init__(self, store: Store, disk: "_Disk") -> None:
        self.store = store if not disk.moody else _MoodyStore(store, disk)  # type: ignore[assignment]  # it reaches through

    def tasks(self) -> set[asyncio.Task[Any]]:
        """None: the writer belongs to all."""
        return set()

    async def close(self) -> None:
        """Others go on using the store."""

    def cut(self) -> None:
        """What is in the writer's queue is committed."""


class _MoodyStore:
    """The store behind a disk with moods."""

    def __init__(self, store: Store, disk: "_Disk") -> None:
        self._store = store
        self._disk = disk

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)
        disk, writes = self._disk, name in WRITES

        async def reach(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the store takes and gives
            if disk.moody:
                await disk.before(writes=writes)
            result = await method(*args, **named)
            if disk.moody and writes:
                await disk.stall()
            return result

        setattr(self, name, reach)
        return reach


class _Disk:
    """The disk's moods, for all processes that share it."""

    def __init__(self, weather: Weather, dice: Random) -> None:
        self.full = False
        self.flaky = False
        self.moody = bool(weather.commit_slow or weather.read_slow or weather.storms)
        self._dice = dice
        self._commit_slow = weather.commit_slow
        self._read_slow = weather.read_slow

    def storm(self) -> str:
        """Begin to fail."""
        if self._dice.random() < _FLAKY:
            self.flaky = True
            return "commits fail"
        self.full = True
        return "the disk is full"

    def commit_fails(self) -> sqlite3.Error | None:
        """A COMMIT that fails leaves nothing behind: SQLite's own promise, and the batch's to keep."""
        if self.flaky and self._dice.random() < _COMMITS_FAIL:
            return sqlite3.OperationalError("disk I/O error")
        return None

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
