"""The store on SQLite: the embedded default, one file, nothing to install (DESIGN §7).

Writes go through `GroupCommit` on one connection; reads happen at once on another, in the event loop's
thread, and see committed data only. Both are bounded: every query finds its rows by an index.
"""

import hmac
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from msgspec.structs import replace

from paymux.domain.errors import ConfigurationBroken, StorageFailed
from paymux.domain.order import Order, OrderKey, OrderStatus, Transaction
from paymux.domain.people import Account, ActivationCode, Merchant, Terminal, Vendor
from paymux.domain.people import Store as Shop
from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage import rows
from paymux.storage.contract import Change, Due, DueKind, Event, Notification
from paymux.storage.group_commit import GroupCommit, explained
from paymux.storage.kept import Kept
from paymux.storage.migrate import Migration, migrations, pending
from paymux.storage.queries import SQL
from paymux.storage.rows import Row

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


class SqliteStore:
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
        self._sealer = sealer
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
        self._vendors = Kept(clock, self._by("vendor_by_sn"), self._one(rows.vendor_of))
        self._merchants = Kept(clock, self._by("merchant_by_sn"), lambda found: rows.merchant_of(found[0]))
        self._shops = Kept(clock, self._by("store_by_sn"), lambda found: rows.store_of(found[0]))
        self._terminals = Kept(clock, self._by("terminal_by_sn"), self._one(rows.terminal_of))
        self._accounts = Kept(
            clock,
            self._by("accounts_of_merchant"),
            lambda found: [rows.account_of(row, sealer) for row in found],
        )

    # -- the money path

    async def save(self, change: Change) -> bool:
        """Commit a change; False when its guard did not hold."""
        return await self._commits.submit(_save, change)

    async def add_events(self, events: tuple[Event, ...]) -> None:
        """Add history without changing an order."""
        if events:
            await self._commits.submit(_add_events, events)

    async def mark_asked(self, key: OrderKey, *, now_ms: int, gap_ms: int) -> bool:
        """Take the right to ask the channel now."""
        key_row = rows.key_row(key)
        found = self._all("asked", key_row)
        if not found or 0 < now_ms - gap_ms < found[0][0]:
            return False
        return await self._commits.submit(_takes_effect, "mark_asked", (now_ms, *key_row, now_ms - gap_ms))

    async def order(self, key: OrderKey) -> Order | None:
        """The order as it is now."""
        return self._first("order_by_key", (key.bucket, key.merchant_id, key.sn), rows.order_of)

    async def order_by_client_sn(self, bucket: int, merchant_id: str, client_sn: str) -> Order | None:
        """By the merchant's own number."""
        return self._first("order_by_client_sn", (bucket, merchant_id, client_sn), rows.order_of)

    async def order_by_trade_no(self, bucket: int, merchant_id: str, trade_no: str) -> Order | None:
        """By the channel's number."""
        return self._first("order_by_trade_no", (bucket, merchant_id, trade_no), rows.order_of)

    async def orders(self, *, status: OrderStatus | None, after: OrderKey | None, limit: int) -> list[Order]:
        """A page of orders in key order."""
        start = rows.key_row(after) if after else (-1, "", "")
        if status is None:
            found = self._all("orders_page", (*start, limit))
        elif status is OrderStatus.PAID:
            found = self._all("orders_page_paid", (*start, limit))
        else:
            found = self._all("orders_page_of_status", (status.value, *start, limit))
        return [rows.order_of(row) for row in found]

    async def transactions(self, key: OrderKey) -> list[Transaction]:
        """All movements of an order, oldest first."""
        return [rows.transaction_of(row) for row in self._all("transactions_of_order", rows.key_row(key))]

    async def transaction(self, key: OrderKey, tsn: str) -> Transaction | None:
        """One movement."""
        return self._first("transaction_by_tsn", (*rows.key_row(key), tsn), rows.transaction_of)

    async def refund(self, key: OrderKey, refund_request_no: str) -> Transaction | None:
        """The refund the merchant gave this number."""
        return self._first("refund_by_number", (*rows.key_row(key), refund_request_no), rows.transaction_of)

    async def events(self, key: OrderKey) -> list[Event]:
        """The order's history, oldest first."""
        return [rows.event_of(row) for row in self._all("events_of_order", rows.key_row(key))]

    # -- due work

    async def claim_due(
        self, *, now_ms: int, lease_ms: int, limit: int, kinds: tuple[DueKind, ...]
    ) -> list[Due]:
        """Claim what is due of these kinds, oldest first."""
        ready = [
            rows.due_of(row)
            for kind in kinds
            for row in self._all("due_ready", (kind.value, now_ms, now_ms, limit))
        ]
        if not ready:
            return []
        ready.sort(key=lambda due: (due.run_at_ms, due.ref, due.kind))
        return await self._commits.submit(_claim, ready[:limit], now_ms, now_ms + lease_ms)

    async def put_off(self, due: Due, *, run_at_ms: int) -> None:
        """Give a claimed row back for later."""
        parameters = (run_at_ms, *rows.due_key_row(due), due.attempts, due.run_at_ms)
        await self._commits.submit(_takes_effect, "put_off", parameters)

    async def drop_due(self, due: Due) -> None:
        """Delete a row whose work is done or no longer needed."""
        parameters = (*rows.due_key_row(due), due.attempts, due.run_at_ms)
        await self._commits.submit(_takes_effect, "drop_due", parameters)

    async def due_of(self, key: OrderKey) -> list[Due]:
        """What still has to be done about an order."""
        return [rows.due_of(row) for row in self._all("due_of_order", rows.key_row(key))]

    # -- notifications

    async def notification(self, bucket: int, merchant_id: str, notification_id: str) -> Notification | None:
        """One notification."""
        return self._first("notification_by_id", (bucket, merchant_id, notification_id), rows.notification_of)

    async def notifications(self, key: OrderKey) -> list[Notification]:
        """All notifications about an order, in the order of the versions they tell about."""
        return [rows.notification_of(row) for row in self._all("notifications_of_order", rows.key_row(key))]

    async def save_delivery(self, notification: Notification, *, next_ms: int | None) -> None:
        """Store an attempt's result and when to try again."""
        await self._commits.submit(_save_delivery, notification, next_ms)

    # -- people

    async def put_people(
        self,
        *,
        vendors: tuple[Vendor, ...] = (),
        merchants: tuple[Merchant, ...] = (),
        stores: tuple[Shop, ...] = (),
        codes: tuple[ActivationCode, ...] = (),
        terminals: tuple[Terminal, ...] = (),
        accounts: tuple[Account, ...] = (),
    ) -> None:
        """Insert or replace reference data, in one commit."""
        sealer = self._sealer
        writes: list[tuple[str, Row]] = [
            *(("put_vendor", rows.vendor_row(one, sealer)) for one in vendors),
            *(("put_merchant", rows.merchant_row(one)) for one in merchants),
            *(("put_store", rows.store_row(one)) for one in stores),
            *(("put_activation_code", rows.code_row(one)) for one in codes),
            *(("put_terminal", rows.terminal_row(one, sealer)) for one in terminals),
        ]
        await self._commits.submit(_put_people, writes, accounts, sealer)
        for vendor in vendors:
            self._vendors.forget(vendor.vendor_sn)
        for merchant in merchants:
            self._merchants.forget(merchant.merchant_sn)
        for shop in stores:
            self._shops.forget(shop.store_sn)
        for terminal in terminals:
            self._terminals.forget(terminal.terminal_sn)
        for account in accounts:
            self._accounts.forget(account.merchant_sn)

    async def vendor(self, vendor_sn: str) -> Vendor | None:
        """Who signs an activation."""
        return self._vendors.get(vendor_sn)

    async def merchant(self, merchant_sn: str) -> Merchant | None:
        """Whose money."""
        return self._merchants.get(merchant_sn)

    async def merchants(self) -> list[Merchant]:
        """All of them."""
        return [rows.merchant_of(row) for row in self._all("merchants", ())]

    async def shop(self, store_sn: str) -> Shop | None:
        """The store."""
        return self._shops.get(store_sn)

    async def terminal(self, terminal_sn: str, *, fresh: bool = False) -> Terminal | None:
        """One till with its keys; `fresh` bypasses the cache."""
        return self._terminals.get(terminal_sn, fresh=fresh)

    async def accounts(self, merchant_sn: str) -> list[Account]:
        """A merchant's channel accounts in the order they were given."""
        return list(self._accounts.get(merchant_sn) or ())

    async def activate(
        self, code: str, terminal: Terminal, *, now_ms: int, device_once: bool = False
    ) -> bool:
        """Spend one use of the code and add the terminal, in one commit."""
        row = rows.terminal_row(terminal, self._sealer)
        device = (terminal.merchant_sn, terminal.device_id) if device_once else None
        return await self._commits.submit(_activate, code, row, now_ms, device)

    async def knows_device(self, merchant_sn: str, device_id: str) -> bool:
        """Tell whether a device is a terminal of the merchant already."""
        return bool(self._all("terminal_of_device", (merchant_sn, device_id)))

    async def activation_code(self, code: str) -> ActivationCode | None:
        """The code as it is now."""
        return self._first("activation_code", (code,), rows.code_of)

    async def rotate_key(self, terminal: Terminal, *, signed_with: str, new_key: str) -> bool:
        """Make `new_key` current and `signed_with` last."""
        sn = terminal.terminal_sn
        keys = rows.keys_row(sn, current_key=new_key, last_key=signed_with, sealer=self._sealer)
        rotated = await self._commits.submit(_rotate_key, sn, signed_with, keys, self._sealer)
        self._terminals.forget(sn)
        return rotated

    async def close(self) -> None:
        """Finish what is waiting and let go of the files."""
        await self._commits.close()
        self._reader.close()
        self._writer.close()

    # -- reading

    def _all(self, query: str, parameters: Row) -> list[Row]:
        try:
            return self._read(SQL[query], parameters).fetchall()
        except (sqlite3.Error, ValueError) as error:
            raise explained(error) from error

    def _first(self, query: str, parameters: Row, read: Callable[[Row], Result]) -> Result | None:
        found = self._all(query, parameters)
        return read(found[0]) if found else None

    def _by(self, query: str) -> Callable[[str], list[Row]]:
        return lambda name: self._all(query, (name,))

    def _one(self, read: Callable[[Row, Sealer], Result]) -> Callable[[list[Row]], Result]:
        return lambda found: read(found[0], self._sealer)


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
        if execute(_PUT_TRANSACTION, rows.transaction_row(movement)).rowcount != 1:
            raise StorageFailed(f"movement {movement.tsn} is of another kind already")
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


def _save_delivery(cursor: sqlite3.Cursor, note: Notification, next_ms: int | None) -> None:
    key = (note.bucket, note.merchant_id, note.notification_id)
    said = (note.status.value, note.attempts, note.last_ms, note.last_answer)
    if not _takes_effect(cursor, "save_delivery", (*said, *key)):
        return
    if next_ms is None:
        cursor.execute(_DELETE_DUE, (*key, DueKind.NOTIFY.value))
    else:
        cursor.execute(_PUT_DUE, (*key, DueKind.NOTIFY.value, note.sn, next_ms, 0))


def _put_people(
    cursor: sqlite3.Cursor, writes: list[tuple[str, Row]], accounts: tuple[Account, ...], sealer: Sealer
) -> None:
    for query, row in writes:
        cursor.execute(SQL[query], row)
    of_merchant: dict[str, list[Account]] = defaultdict(list)
    for account in accounts:
        of_merchant[account.merchant_sn].append(account)
    for merchant_sn, given in of_merchant.items():
        places: dict[str, int] = dict(_rows_of(cursor, "account_places", (merchant_sn,)))
        for account, position in zip(given, _positions(given, places), strict=True):
            row = rows.account_row(account, position=position, sealer=sealer)
            cursor.execute(SQL["put_account"], row)


def _positions(given: list[Account], places: dict[str, int]) -> list[int]:
    """Accounts given together share out, in the order given, the places they had and new ones at the end.

    So a file with two accounts swapped swaps them, and one account put alone stays where it was.
    """
    names = dict.fromkeys(account.name for account in given)
    had = sorted(places[name] for name in names if name in places)
    after = max(places.values(), default=-1) + 1
    free = [*had, *range(after, after + len(names) - len(had))]
    position = dict(zip(names, free, strict=True))
    return [position[account.name] for account in given]


def _activate(cursor: sqlite3.Cursor, code: str, terminal: Row, now_ms: int, device: Row | None) -> bool:
    if device is not None and _rows_of(cursor, "terminal_of_device", device):
        return False
    if not _takes_effect(cursor, "spend_activation_code", (code, now_ms)):
        return False
    if _takes_effect(cursor, "add_terminal", terminal):
        return True
    cursor.execute(SQL["unspend_activation_code"], (code,))
    return False


def _rotate_key(
    cursor: sqlite3.Cursor, terminal_sn: str, signed_with: str, keys: Row, sealer: Sealer
) -> bool:
    found = _rows_of(cursor, "terminal_by_sn", (terminal_sn,))
    if not found:
        return False
    now = rows.terminal_of(found[0], sealer)
    known = (now.current_key.encode(), now.last_key.encode())
    if not any(hmac.compare_digest(key, signed_with.encode()) for key in known):
        return False
    return _takes_effect(cursor, "rotate_key", (*keys, terminal_sn, *found[0][-2:]))
