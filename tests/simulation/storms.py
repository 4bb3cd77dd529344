"""The disk: commits that take their time, reads that let others go first, storms when nothing is written."""

import asyncio
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
STALL_S_MAX = 3.0
"""The longest a single write or read takes on a bad day."""


class Disk:
    """One database and its moods, for all processes that share it."""

    def __init__(self, store: SqliteStore, weather: Weather, dice: Random) -> None:
        self.store = store
        self.full = False
        self.moody = bool(weather.commit_slow or weather.read_slow or weather.storms)
        self._dice = dice
        self._commit_slow = weather.commit_slow
        self._read_slow = weather.read_slow

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.full = self.moody = False

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
