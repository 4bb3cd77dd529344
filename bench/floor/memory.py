"""The floor's one table, on both engines: group commit of one row a write, and one prepared SELECT."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Awaitable
from typing import Protocol

import asyncpg

_COLUMNS = (
    "sn TEXT PRIMARY KEY, client_sn TEXT NOT NULL, total {int} NOT NULL, "
    "status TEXT NOT NULL, ctime_ms {int} NOT NULL, finish_ms {int} NOT NULL"
)
_SELECT = "SELECT client_sn, total, status, ctime_ms, finish_ms FROM pays WHERE sn = "
_Row = tuple[object, ...]


class Memory(Protocol):
    """What the floor remembers; a write is done once it is durable."""

    def create(self, sn: str, client_sn: str, total: int, now_ms: int) -> Awaitable[None]:
        """Write a pay down before the wallet is called."""

    def settle(self, sn: str, now_ms: int) -> Awaitable[None]:
        """Write down that it is paid."""

    async def read(self, sn: str) -> _Row:
        """Return one pay."""


async def open_memory(where: str) -> Memory:
    """Open a database that is still empty: a file's path, or a server's address."""
    if not where.startswith("postgresql://"):
        return SqliteMemory(where)
    links = [await asyncpg.connect(where, server_settings=_SESSION) for _ in range(1 + _READERS)]
    await links[0].execute(f"CREATE TABLE pays ({_COLUMNS.format(int='BIGINT')})")
    writing = await links[0].prepare(_BOTH)
    return PostgresMemory(writing, [await link.prepare(f"{_SELECT}$1") for link in links[1:]], links)


# ---------------------------------------------------------------- SQLite

_INSERT = "INSERT INTO pays VALUES (?, ?, ?, 'CREATED', ?, 0)"
_UPDATE = "UPDATE pays SET status = 'PAID', finish_ms = ? WHERE sn = ?"
_Batch = list[tuple[str, _Row, "asyncio.Future[None]"]]


class SqliteMemory:
    """What waits while one transaction runs is the next one; one thread writes, the loop's reads."""

    def __init__(self, path: str) -> None:
        self._writer = _opened(path)
        self._writer.execute(f"CREATE TABLE pays ({_COLUMNS.format(int='INTEGER')})")
        self._read = _opened(path).cursor().execute
        self._loop = asyncio.get_running_loop()
        self._waiting: _Batch = []
        self._busy = False
        self._jobs: queue.SimpleQueue[_Batch] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def create(self, sn: str, client_sn: str, total: int, now_ms: int) -> asyncio.Future[None]:
        """Write a pay down before the wallet is called."""
        return self._write(_INSERT, (sn, client_sn, total, now_ms))

    def settle(self, sn: str, now_ms: int) -> asyncio.Future[None]:
        """Write down that it is paid."""
        return self._write(_UPDATE, (now_ms, sn))

    async def read(self, sn: str) -> _Row:
        """Return one pay."""
        row: _Row = self._read(f"{_SELECT}?", (sn,)).fetchone()
        return row

    def _write(self, sql: str, row: _Row) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((sql, row, future))
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        batch, self._waiting = self._waiting, []
        self._jobs.put(batch)

    def _serve(self) -> None:
        execute = self._writer.cursor().execute
        while True:
            batch = self._jobs.get()
            execute("BEGIN IMMEDIATE")
            for sql, row, _ in batch:
                execute(sql, row)
            execute("COMMIT")
            self._loop.call_soon_threadsafe(self._done, batch)

    def _done(self, batch: _Batch) -> None:
        for _, _, future in batch:
            future.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._hand_over)
        else:
            self._busy = False


def _opened(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


# ---------------------------------------------------------------- PostgreSQL

_READERS = 4
_SESSION = {
    # Plans are made once, and go by the index also while the table is young.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_BOTH = """
WITH created AS (
    INSERT INTO pays SELECT sn, client_sn, total, 'CREATED', now_ms, 0
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS n (sn, client_sn, total, now_ms)
)
UPDATE pays AS p SET status = 'PAID', finish_ms = n.now_ms
FROM unnest($5::text[], $6::bigint[]) AS n (sn, now_ms) WHERE p.sn = n.sn
"""


class PostgresMemory:
    """What waits while one statement runs is in the next one, which commits by itself."""

    def __init__(
        self,
        writing: asyncpg.prepared_stmt.PreparedStatement,
        reading: list[asyncpg.prepared_stmt.PreparedStatement],
        links: list[asyncpg.Connection],
    ) -> None:
        self._writing = writing
        self._reading = reading
        self._links = links
        self._places = asyncio.Semaphore(len(reading))
        self._loop = asyncio.get_running_loop()
        self._new: list[tuple[str, str, int, int]] = []
        self._paid: list[tuple[str, int]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._serving: asyncio.Task[None] | None = None

    def create(self, sn: str, client_sn: str, total: int, now_ms: int) -> asyncio.Future[None]:
        """Write a pay down before the wallet is called."""
        self._new.append((sn, client_sn, total, now_ms))
        return self._written()

    def settle(self, sn: str, now_ms: int) -> asyncio.Future[None]:
        """Write down that it is paid."""
        self._paid.append((sn, now_ms))
        return self._written()

    async def read(self, sn: str) -> _Row:
        """Return one pay."""
        async with self._places:
            statement = self._reading.pop()
            try:
                row: _Row = await statement.fetchrow(sn)
            finally:
                self._reading.append(statement)
        return row

    def _written(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        if self._serving is None:
            self._serving = self._loop.create_task(self._serve())
        return future

    async def _serve(self) -> None:
        while self._waiting:
            new, paid, waiting = self._new, self._paid, self._waiting
            self._new, self._paid, self._waiting = [], [], []
            columns = [list(column) for column in zip(*new, strict=True)] or [[], [], [], []]
            ended = [list(column) for column in zip(*paid, strict=True)] or [[], []]
            await self._writing.fetch(*columns, *ended)
            for future in waiting:
                future.set_result(None)
        self._serving = None
