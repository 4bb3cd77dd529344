"""The store on SQLite: the embedded default, one file, nothing to install (DESIGN §7).

Writes go through `GroupCommit` on one connection; reads happen at once on another, in the event loop's
thread, and see committed data only. Both are bounded: every query finds its rows by an index.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from paymux.domain.errors import ConfigurationBroken, StorageFailed
from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage import rows
from paymux.storage.contract import Change, Due, DueKind, Event, Notification
from paymux.storage.group_commit import GroupCommit, explained
from paymux.storage.migrate import Migration, migrations, pending
from paymux.storage.queries import SQL
from paymux.storage.rows import Row
from paymux.storage.sql_store import AccountsOf, SqlStore

MEMORY = ":memory:"
"""A database that ends with its store; for simulations."""

_OLDEST = (3, 40, 0)
_OPEN_WAIT_MS = 5_000
"""How long opening waits for another process that migrates or checkpoints."""
_STATEMENTS = 256
"""More than there are queries: each is prepared once."""
_CHECKPOINT_PAGES = 4_000
"""16 MB of log between checkpoints: hot pages are copied back once instead of four times."""
_CACHE_KB = 16_000
"""Holds the inner pages of every index, so that a write touches the disk's cache for leaves only."""
_SEAL = "paymux"

Result = TypeVar("Result")


class SqliteStore(SqlStore):
    """A `Store` in one SQLite file (mode 0600, beside it -wal and -shm).

    `threaded=False` uses neither thread nor second connection, and allows `:memory:`. Opening migrates.
    Raises `ConfigurationBroken` for a file that cannot be used, a newer database, or a wrong master key.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sealer: Sealer,
        clock: Clock,
        threaded: bool = True,
        known: tuple[Migration, ...] | None = None,
    ) -> None:
        if threaded and str(path) == MEMORY:
            raise ConfigurationBroken("a database in memory has no file to share with a thread: name a file")
        super().__init__(sealer=sealer, clock=clock)
        self._writer = _opened(str(path))
        try:
            _prepare(self._writer, sealer, migrations() if known is None else known, now_ms=clock.now_ms())
            self._reader = _opened(str(path)) if threaded else self._writer
        except BaseException:
            self._writer.close()
            raise
        self._writer.execute("PRAGMA busy_timeout = 0")
        self._commits = GroupCommit(self._writer, threaded=threaded)
        self._read = self._reader.cursor().execute

    async def save(self, change: Change) -> bool:
        """Commit a change; False when its guard did not hold."""
        return await self._commits.submit(_save, change)

    async def add_events(self, events: tuple[Event, ...]) -> None:
        """Add history without changing an order."""
        if events:
            await self._commits.submit(_add_events, events)

    async def save_delivery(
        self, notification: Notification, *, next_ms: int | None, under_sale: bool = False
    ) -> None:
        """Store an attempt's result and when to try again."""
        await self._commits.submit(_save_delivery, notification, next_ms, under_sale)

    async def close(self) -> None:
        """Finish what is waiting and let go of the files."""
        await self._commits.close()
        self._reader.close()
        self._writer.close()

    async def _all(self, query: str, parameters: Row) -> list[Row]:
        try:
            return self._read(SQL[query], parameters).fetchall()
        except (sqlite3.Error, ValueError) as error:
            raise explained(error) from error

    async def _write(self, query: str, parameters: Row) -> bool:
        return await self._commits.submit(_takes_effect, query, parameters)

    async def _ready(self, kinds: tuple[DueKind, ...], now_ms: int, limit: int) -> list[Row]:
        return [
            row for kind in kinds for row in await self._all("due_ready", (kind.value, now_ms, now_ms, limit))
        ]

    async def _claim(self, ready: list[Due], now_ms: int, lease_until_ms: int) -> list[Due]:
        return await self._commits.submit(_claim, ready, now_ms, lease_until_ms)

    async def _put_people(self, writes: list[tuple[str, Row]], accounts: AccountsOf) -> None:
        await self._commits.submit(_put_people, writes, accounts, self._sealer)

    async def _activate(self, code: str, terminal: Row, now_ms: int, device: Row | None) -> bool:
        return await self._commits.submit(_activate, code, terminal, now_ms, device)


# -- opening


def _opened(path: str) -> sqlite3.Connection:
    """A connection as we want it; `ConfigurationBroken` names the file."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ConfigurationBroken(f"SQLite 3.40 or newer is needed, this is {sqlite3.sqlite_version}")
    try:
        if path != MEMORY:
            _make_private(path)
        connection = sqlite3.connect(
            path if path == MEMORY else f"file:{quote(str(Path(path).absolute()))}",
            uri=path != MEMORY,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationBroken(f"the database {path} cannot be opened: {error}") from error
    try:
        _configure(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            text = f"the database {path} cannot be used: {error}. Is it a SQLite file on a writable disk?"
            raise ConfigurationBroken(text) from error
        raise
    return connection


def _make_private(path: str) -> None:
    """Make a new file that is only ours; never touch one that is there.

    Closing *any* descriptor of a file drops all of this process's POSIX locks on it. Were that the database,
    the next tool to close it would think itself the last user and delete the log we still write to.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _configure(connection: sqlite3.Connection, path: str) -> None:
    """Durable (FULL: every commit is on the disk), readers beside the writer (WAL), foreign keys held."""
    connection.execute(f"PRAGMA busy_timeout = {_OPEN_WAIT_MS}")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal" and path != MEMORY:
        raise ConfigurationBroken(f"the database {path} cannot keep a log (WAL): put it on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")


def _prepare(
    connection: sqlite3.Connection, sealer: Sealer, known: tuple[Migration, ...], *, now_ms: int
) -> None:
    """Migrate, one transaction each, then make sure that the master key is the database's."""
    execute = connection.execute
    try:
        execute(SQL["migrations_table"])
        while pending(known, execute(SQL["migrations_applied"])):
            with _Transaction(connection):
                for migration in pending(known, execute(SQL["migrations_applied"]))[:1]:
                    for statement in migration.statements:
                        execute(statement)
                    execute(SQL["migration_applied"], (migration.number, migration.name, now_ms))
        execute(SQL["put_seal"], (_SEAL, sealer.seal(_SEAL, "seals", _SEAL)))
        sealer.unseal(execute(SQL["seal_by_name"], (_SEAL,)).fetchone()[0], "seals", _SEAL)
    except sqlite3.Error as error:
        raise StorageFailed(f"the database could not be brought up to date: {error}") from error


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when something is raised."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")


# -- what is done within a transaction of the writer


def _save(cursor: sqlite3.Cursor, change: Change) -> bool:
    """The guard first; the rest only if it held. What is done goes before what is put: work is never lost."""
    order, execute = change.order, cursor.execute
    if change.before is None:
        execute(_INSERT_ORDER, rows.order_row(order))
    else:
        execute(_UPDATE_ORDER, rows.next_order_row(order, change.before))
    if cursor.rowcount != 1:
        return False
    for movement in change.transactions:
        execute(_PUT_TRANSACTION, rows.transaction_row(movement))
    for ref, kind in change.done:
        execute(_DELETE_DUE, (order.bucket, order.merchant_id, ref, kind.value))
    for due in change.due:
        execute(_PUT_DUE, rows.due_row(due))
    for event in change.events:
        execute(_ADD_EVENT, rows.event_row(event))
    for note in change.notifications:
        execute(_ADD_NOTIFICATION, rows.notification_row(note))
    return True


_INSERT_ORDER, _UPDATE_ORDER = SQL["insert_order"], SQL["update_order"]
_PUT_TRANSACTION, _PUT_DUE, _DELETE_DUE = SQL["put_transaction"], SQL["put_due"], SQL["delete_due"]
_ADD_EVENT, _ADD_NOTIFICATION = SQL["add_event"], SQL["add_notification"]


def _add_events(cursor: sqlite3.Cursor, events: tuple[Event, ...]) -> None:
    for event in events:
        cursor.execute(_ADD_EVENT, rows.event_row(event))


def _takes_effect(cursor: sqlite3.Cursor, query: str, parameters: Row) -> bool:
    return cursor.execute(SQL[query], parameters).rowcount == 1


def _rows_of(cursor: sqlite3.Cursor, query: str, parameters: Row) -> list[Row]:
    return cursor.execute(SQL[query], parameters).fetchall()


def _claim(cursor: sqlite3.Cursor, ready: list[Due], now_ms: int, lease_until_ms: int) -> list[Due]:
    """Take each by its own key: one statement for all would walk through everything due in their buckets."""
    claimed = []
    for due in ready:
        guard = (now_ms, due.attempts, due.run_at_ms)
        if _takes_effect(cursor, "claim_due", (lease_until_ms, *rows.due_key_row(due), *guard)):
            claimed.append(replace(due, attempts=due.attempts + 1))
    return claimed


def _save_delivery(
    cursor: sqlite3.Cursor,
    note: Notification,
    next_ms: int | None,
    under_sale: bool,  # noqa: FBT001 - handed on by position
) -> None:
    if not _takes_effect(cursor, "save_delivery", rows.delivery_row(note)):
        return
    done, put = rows.work_of_delivery(note, next_ms=next_ms, under_sale=under_sale)
    for row in done:
        cursor.execute(_DELETE_DUE, row[:4])
    for row in put:
        cursor.execute(_PUT_DUE, row)


def _put_people(
    cursor: sqlite3.Cursor, writes: list[tuple[str, Row]], accounts: AccountsOf, sealer: Sealer
) -> None:
    for query, row in writes:
        cursor.execute(SQL[query], row)
    for merchant_sn, given in accounts.items():
        places: dict[str, int] = dict(_rows_of(cursor, "account_places", (merchant_sn,)))
        for account, position in zip(given, rows.positions(given, places), strict=True):
            row = rows.account_row(account, position=position, sealer=sealer)
            cursor.execute(SQL["put_account"], row)


def _activate(cursor: sqlite3.Cursor, code: str, terminal: Row, now_ms: int, device: Row | None) -> bool:
    if device is not None and _rows_of(cursor, "terminal_of_device", device):
        return False
    if not _takes_effect(cursor, "spend_activation_code", (code, now_ms)):
        return False
    if _takes_effect(cursor, "add_terminal", terminal):
        return True
    cursor.execute(SQL["unspend_activation_code"], (code,))
    return False
