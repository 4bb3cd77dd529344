"""One connection to PostgreSQL that comes back by itself, and says honestly what it does not know.

A connection lost while a statement ran leaves its commit in doubt: `Lost`. So does a commit that the server
stopped waiting for its standbys with (a warning). Patience ends by closing the socket, never by a cancel
request: that could hit a COMMIT that waits for its standbys, and leave it half safe (RELIABILITY §2, R5).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from paymux.domain.errors import ConfigurationBroken, PaymuxError, StorageFailed
from paymux.kit.clock import Clock
from paymux.kit.dsn import without_password
from paymux.storage.rows import Row

Result = TypeVar("Result")

_CONNECT_S = 2
"""A host of ours takes a connection within milliseconds; one that stands still never does, and nothing must
wait for it long."""
_UNREACHED = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.TargetServerAttributeNotMatched)
"""How opening one may fail, beside the ways of networks; the last: all answer, and none takes writes yet."""
_ANSWER_S = 10
"""No statement of ours takes a second on a healthy server; a till gives up after some more."""
_OLDEST = 15
SESSION = {
    "application_name": "paymux",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "30s",
    # Plans are made once, and never by walking through a table: every query finds its rows by an index,
    # and statistics that are not there yet must not talk a plan out of it (DESIGN §11).
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""What each connection asks for."""
CITUS_SESSION = {name: value for name, value in SESSION.items() if name != "plan_cache_mode"} | {
    # What a shard's server warns of at COMMIT reaches us only so: Citus passes it on as a remark.
    "client_min_messages": "debug1",
}
"""The same where Citus plans: without their parameters most statements have no plan there."""
_PROMISED = ("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")
_RECOVERY_MS = 30_000
_RECOVERY_LOOK_MS = 250
_IS_DISTRIBUTED = (
    "SELECT EXISTS (SELECT FROM pg_dist_partition"
    " WHERE logicalrelid = to_regclass('orders') AND partmethod = 'h')"
)
_SUSPECT = frozenset({"01000", "57P01"})
"""What the server's warning about a commit without its standbys is filed under, in every language."""


class Lost(Exception):
    """The connection or the standbys failed while a commit may have been under way."""


class Term:
    """Counts the terms of leaders, for all links of a store.

    A leader that stood still goes on, when it wakes up, as if it led yet: a link that nobody used meanwhile
    would read from it what was true then. So when one link is lost, the others are not trusted either.
    """

    def __init__(self) -> None:
        self.number = 0

    def may_be_over(self, number: int) -> None:
        """A connection of that term was lost; of several such, the first one counts."""
        if number == self.number:
            self.number += 1


class Link:
    """One statement at a time; opened at the first one, opened again after a loss."""

    def __init__(self, dsn: str, term: Term | None = None, session: Mapping[str, str] = SESSION) -> None:
        self._dsn = dsn
        self._term = term or Term()
        self._session = session
        self._opened_in = 0
        self._connection: asyncpg.Connection | None = None
        self._prepared: dict[str, asyncpg.prepared_stmt.PreparedStatement] = {}
        self._warned = False
        self._amid = False

    async def fetch(self, sql: str, *parameters: object) -> list[Row]:
        """Run one statement, which commits by itself. Raises `Lost`, or what the server said."""
        return await self._patiently(self._fetch, sql, *parameters)

    async def count(self, sql: str, *parameters: object) -> int:
        """Run one statement as `fetch` does; how many rows it wrote."""
        return await self._patiently(self._count, sql, *parameters)

    async def transact(self, work: Callable[["Link"], Awaitable[Result]]) -> Result:
        """Run what `work` fetches in one transaction. Raises as `fetch` does."""
        await self.fetch("BEGIN")
        self._amid = True
        try:
            result = await work(self)
            await self.fetch("COMMIT")
        except Lost:
            raise  # so is the transaction
        except BaseException:
            with suppress(Exception):
                await self.fetch("ROLLBACK")
            raise
        finally:
            self._amid = False
        return result

    async def execute(self, sql: str) -> None:
        """Run a statement that is not worth preparing, such as one of a migration."""

        async def run(connection: asyncpg.Connection) -> None:
            await connection.execute(sql)

        await self._patiently(run)

    def drop(self) -> None:
        """Let go of the socket at once."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Say goodbye."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(Exception):
                await connection.close(timeout=1)

    async def _fetch(self, connection: asyncpg.Connection, sql: str, *parameters: object) -> list[Row]:
        statement = self._prepared.get(sql) or await self._prepare(connection, sql)
        found: list[Row] = await statement.fetch(*parameters)
        return found

    async def _count(self, connection: asyncpg.Connection, sql: str, *parameters: object) -> int:
        statement = self._prepared.get(sql) or await self._prepare(connection, sql)
        await statement.fetch(*parameters)
        return int(statement.get_statusmsg().rpartition(" ")[2])

    async def _prepare(
        self, connection: asyncpg.Connection, sql: str
    ) -> asyncpg.prepared_stmt.PreparedStatement:
        """Under a name: a nameless statement would be planned anew each time."""
        statement = await connection.prepare(sql, name=f"paymux_{len(self._prepared)}")
        self._prepared[sql] = statement
        return statement

    async def _patiently(self, run: Callable[..., Awaitable[Result]], *args: object) -> Result:
        connection = await self._current()
        self._warned = False
        patience = asyncio.get_running_loop().call_later(_ANSWER_S, connection.terminate)
        try:
            result = await run(connection, *args)
        except Exception as error:
            lost = is_lost(error)
            if lost or isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                told = isinstance(error, asyncpg.PostgresConnectionError) and not connection.is_closed()
                self.drop()
                if not told:  # then the server is there, and speaks of a server behind it
                    self._term.may_be_over(self._opened_in)
            if lost:
                raise Lost(str(error)) from error
            raise
        finally:
            patience.cancel()
        if self._warned:
            self.drop()
            raise Lost("the server did not wait for its standbys")
        return result

    async def _current(self) -> asyncpg.Connection:
        """The connection, a new one if need be; but never a new one for the rest of a transaction."""
        connection = self._connection
        if connection is not None and not connection.is_closed():
            if self._amid or self._opened_in == self._term.number:
                return connection
            self.drop()
        if self._amid:
            raise Lost("the connection ended amid a transaction")
        return await self._connect()

    async def _connect(self) -> asyncpg.Connection:
        self._prepared = {}
        self._opened_in = self._term.number
        connection = await connect(self._dsn, self._session)
        connection.add_log_listener(self._hear)
        self._connection = connection
        return connection

    def _hear(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        self._warned = self._warned or message.sqlstate in _SUSPECT


class _Pool:
    """Some links, each used by one at a time."""

    def __init__(
        self, dsn: str, size: int, term: Term | None = None, session: Mapping[str, str] = SESSION
    ) -> None:
        self._free = [Link(dsn, term, session) for _ in range(size)]
        self._all = tuple(self._free)
        self._places = asyncio.Semaphore(size)
        self._closed = False

    async def close(self) -> None:
        """Close all of them, for good."""
        self._closed = True
        for link in self._all:
            await link.close()


class Links(_Pool):
    """Some links for reading."""

    async def fetch(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        """Read; once more when the connection is lost, for it may have been closed long ago."""
        async with self._places:
            if self._closed:
                raise StorageFailed("the database is closed")
            link = self._free.pop()
            try:
                try:
                    return await link.fetch(sql, *parameters)
                except Lost:
                    return await link.fetch(sql, *parameters)
            except asyncio.CancelledError:
                link.drop()
                raise
            finally:
                self._free.append(link)


class Writers(_Pool):
    """Some links for writing; whoever writes gets a free one, and asks for things as of a `Link`."""

    async def fetch(self, sql: str, *parameters: object) -> list[Row]:
        """Run one statement, as `Link.fetch` does."""
        async with self._one() as link:
            return await link.fetch(sql, *parameters)

    async def count(self, sql: str, *parameters: object) -> int:
        """Run one statement, as `Link.count` does."""
        async with self._one() as link:
            return await link.count(sql, *parameters)

    async def transact(self, work: Callable[[Link], Awaitable[Result]]) -> Result:
        """Run one transaction, as `Link.transact` does."""
        async with self._one() as link:
            return await link.transact(work)

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Link]:
        async with self._places:
            link = self._free.pop()
            try:
                yield link
            except asyncio.CancelledError:
                link.drop()
                raise
            finally:
                self._free.append(link)


async def connect(dsn: str, session: Mapping[str, str] = SESSION) -> asyncpg.Connection:
    """Open a connection as we want it, to the first host that answers and is as the address asks.

    All are tried at once: a host that stands still takes calls and says nothing, and must not hide the
    others. Raises `OSError`, `TimeoutError`, `TargetServerAttributeNotMatched` or what the server said.
    """
    trying = {asyncio.create_task(_connect(one, session)) for one in _each_host(dsn)}
    try:
        while True:
            done, trying = await asyncio.wait(trying, return_when=asyncio.FIRST_COMPLETED)
            first = done.pop()
            trying |= done
            try:
                return first.result()
            except Exception:
                if not trying:
                    raise
    finally:
        for one in trying:
            one.add_done_callback(_hang_up)
            one.cancel()


async def _connect(dsn: str, session: Mapping[str, str]) -> asyncpg.Connection:
    return await asyncpg.connect(
        dsn, timeout=_CONNECT_S, server_settings=dict(session), statement_cache_size=0
    )


def _each_host(dsn: str) -> list[str]:
    """The address once for each host it names before its path."""
    parts = urlsplit(dsn)
    user, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in hosts.split(",")]


def _hang_up(task: asyncio.Task[asyncpg.Connection]) -> None:
    """Another host was quicker."""
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


async def until_it_is_up(dsn: str, clock: Clock) -> None:
    """Wait while the server says itself that it is about to be there, after a crash for instance."""
    until_ms = clock.now_ms() + _RECOVERY_MS
    while clock.now_ms() < until_ms:
        try:
            connection = await connect(dsn)
        except asyncpg.CannotConnectNowError:
            await clock.sleep(_RECOVERY_LOOK_MS)
        except Exception:  # noqa: BLE001 - whoever needs it next says what is wrong
            return
        else:
            await connection.close()
            return


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself; `settings` are those a promise depends on, as it prints them.

    `is_distributed`: it is a Citus coordinator, and our tables of the money path are spread over its workers.
    """

    version: str
    is_standby: bool
    is_distributed: bool
    settings: dict[str, str]


async def facts_of(dsn: str) -> ServerFacts:
    """Knock at the server; raises `ConfigurationBroken`, which never repeats the password."""
    try:
        connection = await connect(dsn)
    except (OSError, ValueError, *_UNREACHED) as error:
        text = f"the database {without_password(dsn)} cannot be opened: {error or type(error).__name__}"
        raise ConfigurationBroken(text) from None
    try:
        version = connection.get_server_version()
        if version.major < _OLDEST:
            raise ConfigurationBroken(f"PostgreSQL {_OLDEST} or newer is needed, this is {version.major}")
        found = await connection.fetch(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1)", list(_PROMISED)
        )
        standby = await connection.fetchval("SELECT pg_is_in_recovery()")
        has_citus = await connection.fetchval("SELECT to_regclass('pg_dist_partition') IS NOT NULL")
        return ServerFacts(
            version=await connection.fetchval("SHOW server_version"),
            is_standby=standby,
            is_distributed=has_citus and await connection.fetchval(_IS_DISTRIBUTED),
            settings={row[0]: row[1] for row in found},
        )
    finally:
        await connection.close()


def is_lost(error: BaseException) -> bool:
    """Whether a statement that ended so may have been committed, or may yet be."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError)  # that is a parameter of a wrong kind
    return isinstance(
        error,
        OSError
        | TimeoutError
        | asyncpg.InternalClientError  # the driver does not know any more what it waits for
        | asyncpg.PostgresConnectionError
        | asyncpg.OperatorInterventionError
        | asyncpg.StatementCompletionUnknownError,
    )


def is_away(error: BaseException) -> bool:
    """Whether the very same statement may do when it is tried again a little later."""
    return isinstance(error, (Lost, *_PASSING)) or is_lost(error)


_PASSING = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,  # this server is not the leader any more
    asyncpg.TooManyConnectionsError,
)


def explained(error: Exception) -> PaymuxError:
    """The error in our words, its cause kept. The server's may quote a row, so only its kind is told."""
    if isinstance(error, PaymuxError):
        return error
    kind = f"{type(error).__name__} {getattr(error, 'constraint_name', None) or ''}".strip()
    failed = StorageFailed(f"the database did not do it: {kind}")
    failed.__cause__ = error
    return failed
