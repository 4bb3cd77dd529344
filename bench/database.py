"""PostgreSQL servers of the benchmark's own, one for each system: so their CPU time can be told apart."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import asyncpg

from bench.cpu import children, family_ns, living_ns, title
from tests.harness.postgres import private_server

Result = TypeVar("Result")

_CLIENT = "postgres: paymux "
"""How the process of a client's connection calls itself: it begins with the user's name."""


class Database(NamedTuple):
    """A running server. `pid` is its first process, the parent of all others."""

    dsn: str
    pid: int
    folder: Path

    def cpu_ns(self) -> int:
        """CPU time of all its processes until now, those that ended too."""
        return family_ns(self.pid)

    def background_ns(self) -> int:
        """The same without the clients that are connected: checkpoints, log writer, vacuum and the rest."""
        return family_ns(self.pid) - sum(map(living_ns, self._clients()))

    def is_left(self) -> bool:
        """Whether every client has gone, and been counted."""
        return not self._clients()

    def ask(self, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
        """Do something over a connection of its own."""

        async def asked() -> Result:
            connection = await asyncpg.connect(self.dsn)
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(asked())

    def execute(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""

        async def work(connection: asyncpg.Connection) -> None:
            for statement in statements:
                await connection.execute(statement)

        self.ask(work)

    def row(self, statement: str, *parameters: object) -> tuple[Any, ...]:
        """Return the one row a question has."""

        async def work(connection: asyncpg.Connection) -> tuple[Any, ...]:
            return tuple(await connection.fetchrow(statement, *parameters))

        return self.ask(work)

    def _clients(self) -> list[int]:
        return [pid for pid in children(self.pid) if title(pid).startswith(_CLIENT)]


@contextmanager
def database(folder: Path, *, shared_buffers: str = "") -> Iterator[Database]:
    """Run a server in a folder; every commit waits for the disk, as PostgreSQL does by itself.

    `shared_buffers`: how much it keeps in its own memory, if not the little of a test's server.
    """
    with private_server(durable=True, folder=folder, shared_buffers=shared_buffers) as server:
        assert server.folder is not None
        yield Database(server.dsn, server.pid, server.folder)
