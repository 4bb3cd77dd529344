"""A connection to the server as a link of the store sees it (`paymux.storage.link`), in virtual time.

Statements of a connection arrive in the order in which they were sent. Whatever ends it at this end (a
death, lost patience, a cut cable), the server hears of that only behind what was sent before, as sockets do.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg

from tests.simulation.database.moods import AT_ONCE, Journey, Loss, Moods
from tests.simulation.database.server import Request, Session

Post = Callable[[Request], None]
"""Hands a request in at the server, now."""
Work = Callable[[], Awaitable[Any]]
HANG_UP = "hang up"
_WARNING = asyncpg.PostgresLogMessage.new(
    {"S": "WARNING", "C": "01000", "M": "canceling wait for synchronous replication"}, ""
)
"""What a server says that has no standbys any more (its SQLSTATE is what counts)."""


class Cable:
    """What `Link` uses of an `asyncpg.Connection`. Without moods everything happens at once.

    `lost` is told what was lost with a cut, and the statement.
    """

    def __init__(
        self, session: Session, post: Post, moods: Moods | None, *, lost: Callable[[str, str], None]
    ) -> None:
        self._session = session
        self._post = post
        self._moods = moods
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._arrives_s = 0.0
        self._closed = self._torn = False
        self._listeners: list[Callable[..., None]] = []

    # -- what a link calls

    def is_closed(self) -> bool:
        """Whether it is of any use."""
        return self._closed

    def add_log_listener(self, listener: Callable[..., None]) -> None:
        """Let somebody hear of the server's warnings."""
        self._listeners.append(listener)

    def get_server_version(self) -> Any:  # noqa: ANN401 - asyncpg's own record
        """Which PostgreSQL it is."""
        return self._session.connection.get_server_version()

    async def prepare(self, sql: str, *, name: str) -> "_Prepared":
        """Prepare a statement under a name."""
        work = partial(self._session.connection.prepare, sql, name=name)
        return _Prepared(self, sql, await self.ask("prepare", work))

    async def execute(self, sql: str) -> str:
        """Run a statement without answer."""
        return str(await self.ask(sql, partial(self._session.connection.execute, sql)))

    async def fetch(self, sql: str, *parameters: object) -> list[Any]:
        """Run a statement without preparing it."""
        return list(await self.ask(sql, partial(self._session.connection.fetch, sql, *parameters)))

    async def fetchval(self, sql: str) -> Any:  # noqa: ANN401 - whatever was asked for
        """Run a statement that answers with one value."""
        return await self.ask(sql, partial(self._session.connection.fetchval, sql))

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's own name
        """Say goodbye, and do not wait for an answer."""
        del timeout
        self.terminate()

    def terminate(self) -> None:
        """Let go of it: the server hears of that behind all that was sent; nobody hears anything back."""
        if self._closed:
            return
        self._closed = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(asyncpg.ConnectionDoesNotExistError("the connection was cut"))
        self._waiting.clear()
        self._send(HANG_UP, self._session.connection.close, _nobody, AT_ONCE)

    def tear(self) -> None:
        """Cut it: what is on the road either way is lost."""
        self._torn = True
        self.terminate()

    # -- the road

    async def ask(self, sql: str, work: Work) -> Any:  # noqa: ANN401 - what the work gives
        """Send a statement, and wait for its answer. Raises what the server said, or that it is cut."""
        if self._closed:
            raise asyncpg.InterfaceError("the connection is closed")
        journey = AT_ONCE if self._moods is None else self._moods.journey(sql)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[answer] = None
        self._send(sql, work, partial(self._answered, answer, journey), journey)
        try:
            return await answer
        finally:
            self._waiting.pop(answer, None)

    def _send(self, sql: str, work: Work, answered: Callable[[Request], None], journey: Journey) -> None:
        request = Request(session=self._session, sql=sql, work=work, answered=answered)
        if self._moods is None:
            self._loop.call_soon(self._post, request)
            return
        sent_s, go_s = self._loop.time(), journey.go_s
        if journey.loss is not None:
            self._lost(journey.loss, sql)
        if journey.loss is Loss.REQUEST:
            self._loop.call_later(go_s, self.tear)
            return
        if journey.loss is Loss.LATE:
            self._loop.call_later(go_s, self.terminate)
            go_s += self._moods.late_s()
        self._arrives_s = max(self._arrives_s, sent_s + go_s)
        self._loop.call_at(self._arrives_s, self._arrive, request)

    def _arrive(self, request: Request) -> None:
        if not self._torn or request.sql == HANG_UP:
            self._post(request)

    def _answered(self, answer: "asyncio.Future[Any]", journey: Journey, request: Request) -> None:
        if journey.loss is Loss.ANSWER:
            self._loop.call_later(journey.back_s, self.terminate)
        elif journey.loss in (None, Loss.DOUBT) and journey.back_s:
            self._loop.call_later(journey.back_s, self._deliver, answer, journey, request)
        elif journey.loss in (None, Loss.DOUBT):
            self._deliver(answer, journey, request)

    def _deliver(self, answer: "asyncio.Future[Any]", journey: Journey, request: Request) -> None:
        if answer.done():
            return
        for listener in self._listeners if journey.loss is Loss.DOUBT else ():
            listener(self, _WARNING)
        if request.error is None:
            answer.set_result(request.result)
        else:
            answer.set_exception(request.error)


class _Prepared:
    """What `Link` uses of a prepared statement."""

    def __init__(self, cable: Cable, sql: str, there: asyncpg.prepared_stmt.PreparedStatement) -> None:
        self._cable = cable
        self._sql = sql
        self._there = there

    async def fetch(self, *parameters: object) -> list[Any]:
        """Run it."""
        return list(await self._cable.ask(self._sql, partial(self._there.fetch, *parameters)))

    def get_statusmsg(self) -> str:
        """What it did last, as the server words it."""
        return str(self._there.get_statusmsg())


def _nobody(_: Request) -> None:
    """Nobody waits for a goodbye."""
