"""The true server, spoken to in real time while everything else in the town stands still.

What is handed in is carried out before `hand_in` returns, one thing at a time: so the server's speed decides
nothing, and the same day is the same day. Only what waits for a lock that somebody else in town holds stays
under way, and is among the answers of whatever lets it go on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import asyncpg
import msgspec

from tests.harness.virtual_time import VirtualLoop
from tests.simulation.database.witness import Fact

_LOOK_S = 0.02
"""What takes longer may be waiting for a lock: then the server is asked."""
_BLOCKING = "SELECT pid, pg_blocking_pids(pid) FROM unnest($1::int[]) AS pid"

Result = TypeVar("Result")


class Session:
    """One connection's end at the server, and what was written in its transaction so far."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.pid: int = connection.get_server_pid()
        self.turn = asyncio.Lock()
        self._written: list[Fact] = []
        connection.add_log_listener(self._hear)

    def committed(self, *, undone: bool) -> list[Fact]:
        """What the statement that just ended made durable."""
        if self.connection.is_closed() or self.connection.is_in_transaction():
            return []
        facts = [] if undone else self._written.copy()
        self._written.clear()
        return facts

    def _hear(self, _: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity == "NOTICE" and message.message.startswith("["):
            name, columns = msgspec.json.decode(message.message)
            self._written.append((name, tuple(columns)))


@dataclass(eq=False, kw_only=True)
class Request:
    """One statement over one connection (or the end of it), and what came of it."""

    session: Session
    sql: str
    work: Callable[[], Awaitable[Any]]
    answered: Callable[["Request"], None]
    """Called with it once it is answered."""
    result: Any = None
    error: Exception | None = None
    facts: list[Fact] = field(default_factory=list)
    """What it committed."""

    async def carry_out(self) -> None:
        """In the order in which requests come over the connection."""
        async with self.session.turn:
            try:
                self.result = await self.work()
            except Exception as error:  # noqa: BLE001 - whoever sent it hears of it
                self.error = error
            undone = self.error is not None or self.sql == "ROLLBACK"
            self.facts = self.session.committed(undone=undone)


class Server:
    """All connections of a town to its server."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._under_way: dict[asyncio.Task[None], Request] = {}
        self._watch: asyncpg.Connection | None = None
        self._sessions: list[Session] = []

    async def open(self, dsn: str) -> None:
        """Connect the one who looks for locks, and reads for the checkers."""
        self._watch = await self._apart(asyncpg.connect(dsn))

    async def session(self, connecting: Coroutine[Any, Any, asyncpg.Connection]) -> Session:
        """Let somebody else connect."""
        session = Session(await self._apart(connecting))
        self._sessions.append(session)
        return session

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement past every fault."""
        return [tuple(row) for row in await self._apart(self._watched().fetch(sql))]

    async def execute(self, sql: str) -> None:
        """Run statements past every fault."""
        await self._apart(self._watched().execute(sql))

    def hand_in(self, request: Request) -> list[Request]:
        """Let the server carry it out; return what is answered then: this one, then who waited for it.

        Not from within a task.
        """
        return self._loop.aside(self._hand_in(request))

    async def close(self) -> None:
        """Hang up everywhere."""
        if self._watch is not None:
            await self._apart(self._watch.close())
        for session in self._sessions:
            await self._apart(session.connection.close())

    def _watched(self) -> asyncpg.Connection:
        assert self._watch is not None, "the server is not open"
        return self._watch

    def _apart(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Future[Result]":
        """Let no task run while the work is done."""
        future: asyncio.Future[Result] = self._loop.create_future()

        def do() -> None:
            try:
                result = self._loop.aside(work)
            except Exception as error:  # noqa: BLE001 - whoever waits hears of it
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self._loop.call_soon(do)
        return future

    async def _hand_in(self, request: Request) -> list[Request]:
        self._under_way[self._loop.create_task(request.carry_out())] = request
        waiting: set[int] = set()
        while moving := [
            task
            for task, one in self._under_way.items()
            if not task.done() and one.session.pid not in waiting
        ]:
            _, slow = await asyncio.wait(moving, timeout=_LOOK_S)
            if slow or waiting or len(moving) < len(self._under_way):
                waiting = await self._waiting()
        done = [self._under_way.pop(task) for task in list(self._under_way) if task.done()]
        return sorted(done, key=lambda one: one is not request)

    async def _waiting(self) -> set[int]:
        """Who waits, directly or not, for somebody whose next statement has not come yet."""
        under_way = {one.session.pid for task, one in self._under_way.items() if not task.done()}
        found = dict(await self._watched().fetch(_BLOCKING, sorted(under_way)))

        def waits(pid: int, seen: frozenset[int]) -> bool:
            return any(
                one not in seen and (one not in under_way or waits(one, seen | {one})) for one in found[pid]
            )

        return {pid for pid in under_way if waits(pid, frozenset({pid}))}
