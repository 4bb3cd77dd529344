"""A claimant: one process with a store and an event loop of its own, which reaches for whatever is due.

All of them see the same rows, the oldest first, and ask for a few at a time. A keeper holds what it gets; a
labourer works with short leases, is late now and then, and acts all the same.
"""

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path

from msgspec.structs import replace

from paymux.domain.order import OrderKey
from paymux.kit.clock import SystemClock
from paymux.kit.seal import Sealer
from paymux.storage.contract import Change, Due, DueKind
from paymux.storage.postgres import PostgresStore
from tests.contention.journal import Holding, Journal, Line, What, holding_of, now_ms

SEALER = Sealer(b"k" * 32)
LIMITS = (1, 2, 3, 5, 8, 13, 21, 34)
"""How many rows a claim asks for."""
LONG_MS = 3_600_000
SHORT_MS = (60, 250)
"""The leases of keepers, and the least and longest ones of labourers."""
HABITS = {"done": 40, "later": 14, "late": 14, "late, later": 14, "anew, then done": 6, "gone": 12}
"""What a labourer does with a row, and how often: within its lease, or after it."""
_AT_ONCE = 64
_LOOK_S = 0.001
_PATIENCE_MS = 150
"""How long after its lease a late one still means to act; until when work is put off, at most."""


class WatchedStore(PostgresStore):
    """The product's store; `missed` is what its last claim had seen free and did not get."""

    missed: list[Due]

    async def _claim(self, ready: list[Due], now_ms: int, lease_until_ms: int) -> list[Due]:
        claimed = await super()._claim(ready, now_ms, lease_until_ms)
        got = {(due.ref, due.kind) for due in claimed}
        self.missed = [due for due in ready if (due.ref, due.kind) not in got]
        return claimed


class Claimant:
    """What keepers and labourers have in common: they claim, and note it."""

    def __init__(self, store: WatchedStore, journal: Journal, dice: random.Random) -> None:
        self.store = store
        self.journal = journal
        self.dice = dice
        self._clock = SystemClock()

    async def claim(self, lease_ms: int) -> list[Due]:
        """Claim a few of the oldest rows of all kinds."""
        asked_ms, at_ms = now_ms(), self._clock.now_ms()
        self.store.missed = []
        claimed = await self.store.claim_due(
            now_ms=at_ms, lease_ms=lease_ms, limit=self.dice.choice(LIMITS), kinds=tuple(DueKind)
        )
        missed = [replace(due, attempts=due.attempts + 1) for due in self.store.missed]
        for what, rows in ((What.CLAIMED, claimed), (What.MISSED, missed)):
            for due in rows:
                times = (asked_ms, now_ms(), at_ms, at_ms + lease_ms)
                self.journal.note(Line(what, holding_of(due), *times))
        if not claimed and not missed:
            await asyncio.sleep(_LOOK_S)
        return claimed


class Labourer(Claimant):
    """Works on what it claimed, on many rows at once."""

    def __init__(self, store: WatchedStore, journal: Journal, dice: random.Random) -> None:
        super().__init__(store, journal, dice)
        self._under_way: set[asyncio.Task[None]] = set()

    async def labour(self, stop: Path) -> None:
        """Claim and work until told to stop."""
        while not _is_there(stop):
            if len(self._under_way) >= _AT_ONCE:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            lease_ms = self.dice.randint(*SHORT_MS)
            for due in await self.claim(lease_ms):
                [habit] = self.dice.choices(list(HABITS), list(HABITS.values()))
                task = asyncio.create_task(self._work(due, habit, lease_ms))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _work(self, due: Due, habit: str, lease_ms: int) -> None:
        """Do with a row as the habit says; whether it is still ours nobody asks."""
        late_ms = lease_ms + self.dice.randint(1, _PATIENCE_MS)
        within_ms = self.dice.randint(0, lease_ms // 2)
        await asyncio.sleep((late_ms if habit.startswith("late") else within_ms) / 1000)
        later_ms = self._clock.now_ms() + self.dice.randint(1, _PATIENCE_MS)
        holding = holding_of(due)
        if habit.endswith("later"):
            await self._note(What.PUT_OFF, holding, self.store.put_off(due, run_at_ms=later_ms))
        if habit.startswith("anew"):
            await self._put_anew(due, later_ms)
        if habit.endswith(("done", "late")):
            await self._note(What.DROP, holding, self.store.drop_due(due))

    async def _put_anew(self, due: Due, run_at_ms: int) -> None:
        """As a flow does that has more to do: in the order's next commit, with attempts that begin again."""
        key = OrderKey(due.bucket, due.merchant_id, due.sn)
        order = await self.store.order(key)
        assert order is not None
        again = replace(due, run_at_ms=run_at_ms, attempts=0)
        await self.store.save(
            Change(order=replace(order, version=order.version + 1), before=order, due=(again,))
        )

    async def _note(self, what: What, holding: Holding, doing: Awaitable[None]) -> None:
        asked_ms = now_ms()
        await doing
        self.journal.note(Line(what, holding, asked_ms, now_ms()))


def keep(dsn: str, folder: Path, name: str, seed: str) -> None:
    """Work of a child: keep what it can get, until there is a file `stop` in the folder."""
    asyncio.run(_claim(dsn, folder, name, random.Random(f"{seed} {name}"), keep=True))


def labour(dsn: str, folder: Path, name: str, seed: str) -> None:
    """Work of a child: claim and work, until there is a file `stop` in the folder."""
    asyncio.run(_claim(dsn, folder, name, random.Random(f"{seed} {name}"), keep=False))


async def _claim(dsn: str, folder: Path, name: str, dice: random.Random, *, keep: bool) -> None:
    store = await WatchedStore.open(dsn, sealer=SEALER, clock=SystemClock())
    assert isinstance(store, WatchedStore)
    stop = folder / "stop"
    try:
        with Journal(folder / f"{name}.journal") as journal:
            print("claimant.ready", flush=True)
            if not keep:
                await Labourer(store, journal, dice).labour(stop)
                return
            claimant = Claimant(store, journal, dice)
            while not _is_there(stop):
                await claimant.claim(LONG_MS)
    finally:
        await store.close()


def _is_there(file: Path) -> bool:
    return file.exists()
