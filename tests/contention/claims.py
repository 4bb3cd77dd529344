"""Claims: processes that all see the same due rows and all want them; each may go to one, and all must go.

First the long leases: whoever gets a row keeps it, so every row is claimed exactly once. Then the short ones:
work is late, given back, put anew, finished by owners whose turn is over, or never finished at all.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from paymux.kit.clock import SystemClock
from paymux.storage.contract import Change, DueKind, Store
from paymux.storage.opener import open_store
from tests.contention.claimant import SEALER, keep, labour
from tests.contention.claims_checker import Checker, Tally, kept
from tests.contention.findings import Breach, Finding
from tests.contention.journal import now_ms, read
from tests.contention.witness import Seen, call_witness, forget_testimony, testimony
from tests.contract.storage.makers import a_due, a_movement, an_order
from tests.harness.children import Child
from tests.harness.postgres import Server, fetch, new_schema

PROCESSES = 4
WAVE = 2_000
"""Rows that fall due at once. Rows with long leases stay in the way of every look, so a wave is cleared away
when all of it is claimed."""
LABOUR_SHARE = 5
"""One row in so many more is worked on with short leases."""
_MERCHANTS = 7
_AGE_MS = 10_000
_LOOK_S = 0.02
_WITHIN_S = 300
CONTENDED_MIN = 10
"""Percent of the rows that two at least must have wanted at once; of turns that must have run out."""


class ClaimFigures(msgspec.Struct, kw_only=True):
    """Both halves, and what was found; `deadlocks` as the server counts them."""

    processes: int
    long: Tally
    short: Tally
    deadlocks: int
    findings: list[Finding]


async def contend_for_claims(server: Server, folder: Path, *, rows: int, seed: str) -> ClaimFigures:
    """Let processes claim so many rows, and some more with short leases, and weigh it."""
    dsn = new_schema(server)
    findings: list[Finding] = []
    store = await open_store(dsn, sealer=SEALER, clock=SystemClock())
    try:
        call_witness(dsn)
        town = _Town(store, dsn, folder, random.Random(seed))
        seen = await town.half("keepers", keep, rows, seed, done="attempts > 0")
        findings += kept(seen)
        long = _weigh(folder / "keepers", seen, findings)
        seen = await town.half("labourers", labour, -(-rows // LABOUR_SHARE), seed, done="FALSE")
        short = _weigh(folder / "labourers", seen, findings)
        findings += town.findings
    finally:
        await store.close()
    if 100 * long.contended < CONTENDED_MIN * long.rows:
        findings.append(Finding(Breach.IDLE, "keepers", f"only {long.contended} rows were contended"))
    if not 100 * short.too_late >= CONTENDED_MIN * short.rows <= 100 * short.reclaimed:
        findings.append(Finding(Breach.IDLE, "labourers", f"{short}"))
    [(deadlocks,)] = fetch(dsn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    if deadlocks:
        findings.append(Finding(Breach.UPSET, "the server", f"{deadlocks} deadlocks"))
    return ClaimFigures(processes=PROCESSES, long=long, short=short, deadlocks=deadlocks, findings=findings)


def _weigh(folder: Path, seen: list[Seen], findings: list[Finding]) -> Tally:
    checker = Checker(map(read, folder.glob("*.journal")), seen)
    findings += checker.findings()
    return checker.tally


class _Town:
    """Lays out work and watches it go; `findings` are rows that nobody came for."""

    def __init__(self, store: Store, dsn: str, folder: Path, dice: random.Random) -> None:
        self._store = store
        self._dsn = dsn
        self._folder = folder
        self._dice = dice
        self._orders = 0
        self.findings: list[Finding] = []

    async def half(
        self, name: str, work: Callable[..., None], rows: int, seed: str, *, done: str
    ) -> list[Seen]:
        """Let claimants do their work on so many rows; `done` is SQL that is true of rows nobody will claim.

        What is done is cleared away unseen by the witness, whose testimony is taken when all have gone home.
        """
        forget_testimony(self._dsn)
        async with _connected(self._dsn) as connection, self._claimants(name, work, seed):
            for wave in range(0, rows, WAVE):
                await self._lay(min(WAVE, rows - wave))
                await self._until_done(connection, done)
                await connection.execute(f"DELETE FROM due WHERE {done}")  # noqa: S608 - our own words
        return list(testimony(self._dsn))

    @asynccontextmanager
    async def _claimants(self, name: str, work: Callable[..., None], seed: str) -> AsyncIterator[None]:
        folder = self._folder / name
        folder.mkdir()
        children = [
            Child(work, self._dsn, folder, f"{name}{number}", seed, log=folder / f"{number}.log")
            for number in range(PROCESSES)
        ]
        try:
            for child in children:
                await child.said("claimant.ready")
            yield
            (folder / "stop").touch()
            for child in children:
                assert await child.ended() == 0, child.text
        finally:
            for child in children:
                child.end()

    async def _until_done(self, connection: asyncpg.Connection, done: str) -> None:
        left = f"SELECT ref, kind, attempts FROM due WHERE NOT ({done})"  # noqa: S608 - as above
        deadline_s = time.monotonic() + _WITHIN_S
        while (rows := await connection.fetch(left)) and time.monotonic() < deadline_s:  # noqa: ASYNC110 - others do it
            await asyncio.sleep(_LOOK_S)
        self.findings += [
            Finding(Breach.INDEFINITE, f"{kind} {ref}", f"it is there after {attempts} claims")
            for ref, kind, attempts in rows
        ]

    async def _lay(self, rows: int) -> None:
        """Work of every kind, in the product's own way: with the orders it is about, four rows for each."""
        kinds = tuple(DueKind)
        changes = []
        for first in range(0, rows, len(kinds)):
            self._orders += 1
            order = an_order(self._orders, merchant=f"m{self._orders % _MERCHANTS}")
            due = [
                a_due(
                    order,
                    kind=kind,
                    ref=f"{kind}-{order.sn}",
                    run_at_ms=now_ms() - self._dice.randrange(_AGE_MS),
                )
                for kind in kinds[: rows - first]
            ]
            changes.append(Change(order=order, transactions=(a_movement(order),), due=tuple(due)))
        assert all(await asyncio.gather(*map(self._store.save, changes)))


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection whose doings fire no trigger."""
    connection = await asyncpg.connect(dsn, server_settings={"session_replication_role": "replica"})
    try:
        yield connection
    finally:
        await connection.close()
