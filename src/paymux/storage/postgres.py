"""The store on PostgreSQL >= 15, for many processes and machines (DESIGN §7).

Hot writes go through lanes: one statement, one commit for whatever waits. Rare ones are transactions of the
same plain statements that SQLite runs. What a lost connection leaves in doubt is looked up by key, behind a
clean commit of our own. Time comes in as a parameter, and nothing waits for a lock it could hold for long.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeVar

import asyncpg
from msgspec.structs import replace

from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage import rows
from paymux.storage.batch import order_of, together
from paymux.storage.contract import Change, Due, DueKind, Event, Notification
from paymux.storage.lane import Lane, Takes
from paymux.storage.link import SESSION, Link, Links, Term, Writers, explained, is_away
from paymux.storage.migrate import Migration, migrations
from paymux.storage.postgres_schema import bring_up_to_date
from paymux.storage.queries import POSTGRES_SQL as SQL
from paymux.storage.rows import Row
from paymux.storage.sql_store import AccountsOf, SqlStore

_READERS = 4
"""A question takes a fraction of a millisecond, so few connections answer many."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Delivery = tuple[Notification, int | None, bool]
"""What an attempt came to, when to try again, and whether it stood under its sale's row."""
Write = tuple[str, Row]
Writer = Link | Writers


class PostgresStore(SqlStore):
    """A `Store` in one schema of a PostgreSQL database; made by `open`, used by one event loop."""

    _session: ClassVar[Mapping[str, str]] = SESSION

    def __init__(self, dsn: str, *, sealer: Sealer, clock: Clock) -> None:
        super().__init__(sealer=sealer, clock=clock)
        self._clock = clock
        term = Term()
        self._readers = Links(dsn, _READERS, term, self._session)
        self._intents, self._orders, self._events, self._notes, self._plain = self._writers(dsn, term)
        self._rare = Link(dsn, term, self._session)
        self._turn = asyncio.Lock()
        self._news: Takes[Change, bool] = self._lane_of_orders(self._intents)
        self._changes: Takes[Change, bool] = self._lane_of_orders(self._orders)
        self._history: Takes[tuple[Event, ...], None] = Lane(self._add_many, self._add_one, clock=clock)
        self._deliveries: Takes[Delivery, None] = Lane(
            self._deliver_many, self._deliver_one, clock=clock, about=note_of
        )
        self._writes: Takes[Write, bool] = Lane(self._write_many, self._write_one, clock=clock)

    @classmethod
    async def open(
        cls, dsn: str, *, sealer: Sealer, clock: Clock, known: tuple[Migration, ...] | None = None
    ) -> "PostgresStore":
        """Connect to a server that can be used, and bring the schema up to date.

        Raises `ConfigurationBroken` for a newer database or a wrong master key.
        """
        link = Link(dsn)
        try:
            known = migrations() if known is None else known
            await bring_up_to_date(link, sealer, known, now_ms=clock.now_ms())
        finally:
            await link.close()
        return cls(dsn, sealer=sealer, clock=clock)

    async def save(self, change: Change) -> bool:
        """Commit a change; False when its guard did not hold."""
        return await (self._news if change.before is None else self._changes).submit(change)

    async def add_events(self, events: tuple[Event, ...]) -> None:
        """Add history without changing an order."""
        if events:
            await self._history.submit(events)

    async def save_delivery(
        self, notification: Notification, *, next_ms: int | None, under_sale: bool = False
    ) -> None:
        """Store an attempt's result and when to try again."""
        await self._deliveries.submit((notification, next_ms, under_sale))

    async def close(self) -> None:
        """Finish what is waiting and hang up."""
        for lane in (self._news, self._changes, self._history, self._deliveries, self._writes):
            await lane.close()
        writers = (self._intents, self._orders, self._events, self._notes, self._plain, self._rare)
        for link in (*writers, self._readers):
            await link.close()

    def _writers(self, dsn: str, term: Term) -> tuple[Writer, Writer, Writer, Writer, Writer]:
        """Who writes new orders, changes, history, deliveries and the rest: each lane has its own link."""
        return Link(dsn, term), Link(dsn, term), Link(dsn, term), Link(dsn, term), Link(dsn, term)

    # -- what SqlStore asks of an engine

    async def _all(self, query: str, parameters: Row) -> list[Row]:
        try:
            return await self._readers.fetch(SQL[query], parameters)
        except Exception as error:
            raise explained(error) from error

    async def _write(self, query: str, parameters: Row) -> bool:
        return await self._writes.submit((query, parameters))

    async def _ready(self, kinds: tuple[DueKind, ...], now_ms: int, limit: int) -> list[Row]:
        return await self._all("due_ready_of_kinds", ([kind.value for kind in kinds], now_ms, limit))

    async def _claim(self, ready: list[Due], now_ms: int, lease_until_ms: int) -> list[Due]:
        """A claim in doubt is no claim: its rows come back when the lease is over."""
        given = sorted(rows.due_row(due) for due in ready)
        async with self._turn:
            try:
                found = await self._rare.fetch(SQL["claim_many"], given, lease_until_ms, now_ms)
            except Exception as error:
                if is_away(error):
                    return []
                raise explained(error) from error
        claimed = {tuple(row) for row in found}
        return [replace(due, attempts=due.attempts + 1) for due in ready if rows.due_key_row(due) in claimed]

    async def _put_people(self, writes: list[tuple[str, Row]], accounts: AccountsOf) -> None:
        async def put(link: Link) -> None:
            for query, row in writes:
                await link.fetch(SQL[query], *row)
            for merchant_sn, given in accounts.items():
                found = await link.fetch(SQL["account_places"], merchant_sn)
                places = {row[0]: row[1] for row in found}
                for account, position in zip(given, rows.positions(given, places), strict=True):
                    row = rows.account_row(account, position=position, sealer=self._sealer)
                    await link.fetch(SQL["put_account"], *row)

        await self._rarely(put)

    async def _activate(self, code: str, terminal: Row, now_ms: int, device: Row | None) -> bool:
        async def spend(link: Link) -> bool:
            if device is not None and await link.fetch(SQL["terminal_of_device"], *device):
                return False
            if not await takes_effect(link, "spend_activation_code", (code, now_ms)):
                return False
            if await takes_effect(link, "add_terminal", terminal):
                return True
            await link.fetch(SQL["unspend_activation_code"], code)
            return False

        return await self._rarely(spend)

    async def _rarely(self, work: Callable[[Link], Awaitable[Result]]) -> Result:
        """Do some rare work in one transaction."""
        async with self._turn:
            try:
                return await self._rare.transact(work)
            except Exception as error:
                raise explained(error) from error

    # -- changes of orders

    def _lane_of_orders(self, link: Writer) -> Lane[Change, bool]:
        """New orders and later versions go in a lane each: a statement costs what its parts cost."""
        many, one = partial(self._save_many, link), partial(self._save_one, link)
        return Lane(many, one, clock=self._clock, about=order_of)

    async def _save_many(self, link: Writer, changes: list[Change]) -> list[bool]:
        sql, arrays = together(changes)
        held = {tuple(row) for row in await link.fetch(sql, *arrays)}
        return [order_of(change) in held for change in changes]

    async def _save_one(self, link: Writer, change: Change, *, unsure: bool) -> bool:
        """Statement by statement, as SQLite does it."""

        async def write(change: Change) -> bool:
            return await link.transact(lambda link: save_plainly(link, change))

        if await _without_nul_if_need_be(write, change, Change):
            return True
        return unsure and await self._was_saved(link, change)

    async def _was_saved(self, link: Writer, change: Change) -> bool:
        """Tell, after a lost connection, whether it was this very change that moved the order.

        A new order has a number of its own, a later version a line of history of its own. What we see may
        not be on every standby yet, so a commit of our own comes after it: on the same server, which only
        one transaction makes sure of.
        """
        key = rows.key_row(change.order.key)

        async def look(link: Link) -> bool:
            if change.before is None:
                found = await link.fetch(SQL["asked"], *key)
            elif change.events:
                found = await link.fetch(SQL["event_exists"], *key, change.events[0].event_id)
            else:
                now = await link.fetch(SQL["order_by_key"], *key)
                found = [row for row in now if rows.order_of(row) == change.order]
            if found:
                await link.fetch(SQL["fence"], f"process {os.getpid()}", self._clock.now_ms())
            return bool(found)

        return await link.transact(look)

    # -- history

    async def _add_many(self, batch: list[tuple[Event, ...]]) -> list[None]:
        await self._events.fetch(
            SQL["add_events"], [rows.event_row(event) for events in batch for event in events]
        )
        return [None] * len(batch)

    async def _add_one(self, events: tuple[Event, ...], *, unsure: bool) -> None:
        async def write(events: tuple[Event, ...]) -> None:
            await self._add_many([events])

        try:
            await _without_nul_if_need_be(write, events, tuple[Event, ...])
        except asyncpg.UniqueViolationError:
            if not unsure:
                raise

    # -- deliveries of notifications

    async def _deliver_many(self, batch: list[Delivery]) -> list[None]:
        notes: list[Row] = []
        ended: list[Row] = []
        later: list[Row] = []
        for note, next_ms, under_sale in sorted(batch, key=note_of):
            done, put = rows.work_of_delivery(note, next_ms=next_ms, under_sale=under_sale)
            notes.append(rows.notification_row(note))
            ended += done
            later += put
        await self._notes.fetch(SQL["save_deliveries"], notes, sorted(ended), later)
        return [None] * len(batch)

    async def _deliver_one(self, delivery: Delivery, *, unsure: bool) -> None:
        """What stands there already is written again; that does no harm."""
        del unsure
        note, next_ms, under_sale = delivery

        async def write(note: Notification) -> None:
            await self._deliver_many([(note, next_ms, under_sale)])

        await _without_nul_if_need_be(write, note, Notification)

    # -- everything else that is one guarded statement

    async def _write_many(self, batch: list[Write]) -> list[bool]:
        if len(batch) == 1:
            return [await takes_effect(self._plain, *batch[0])]

        async def write(link: Link) -> list[bool]:
            held = {at: await takes_effect(link, *batch[at]) for at in _in_the_order_of_rows(batch)}
            return [held[at] for at in range(len(batch))]

        return await self._plain.transact(write)

    async def _write_one(self, write: Write, *, unsure: bool) -> bool:
        """In doubt the guard may answer to our own write; then somebody asks a little later than he might."""
        del unsure
        return await takes_effect(self._plain, *write)


# -- what a batch is made of


def note_of(delivery: Delivery) -> Row:
    """Which message an attempt was about."""
    note = delivery[0]
    return (note.bucket, note.merchant_id, note.notification_id)


_WRITTEN = {"mark_asked": (0, 1), "put_off": (1, 1), "drop_due": (1, 0)}
"""Query → its table, numbered as a batch of changes comes by them, and where its row's key begins."""


def _in_the_order_of_rows(batch: list[Write]) -> list[int]:
    """Whose turn it is when: processes that write the same rows must not wait for each other crosswise."""

    def row(at: int) -> Row:
        query, parameters = batch[at]
        if query not in _WRITTEN:
            return (2, query)
        table, key = _WRITTEN[query]
        return (table, *parameters[key : key + 4])

    return sorted(range(len(batch)), key=row)


# -- statement by statement


async def _without_nul_if_need_be(
    write: Callable[[Item], Awaitable[Result]],
    item: Item,
    kind: Any,  # noqa: ANN401 - as rows.without_nul has it
) -> Result:
    """Write an item; when PostgreSQL refuses a U+0000 in it, with another sign in its place."""
    try:
        return await write(item)
    except asyncpg.CharacterNotInRepertoireError:
        clean = rows.without_nul(item, kind)
        if clean == item:
            raise
        return await write(clean)


async def save_plainly(link: Link, change: Change) -> bool:
    """The guard first; the rest only if it held."""
    order = change.order
    if change.before is None:
        held = await takes_effect(link, "insert_order", rows.order_row(order))
    else:
        held = await takes_effect(link, "update_order", rows.next_order_row(order, change.before))
    if not held:
        return False
    for movement in change.transactions:
        await link.fetch(SQL["put_transaction"], *rows.transaction_row(movement))
    for ref, kind in change.done:
        await link.fetch(SQL["delete_due"], order.bucket, order.merchant_id, ref, kind.value)
    for due in change.due:
        await link.fetch(SQL["put_due"], *rows.due_row(due))
    for event in change.events:
        await link.fetch(SQL["add_event"], *rows.event_row(event))
    for note in change.notifications:
        await link.fetch(SQL["add_notification"], *rows.notification_row(note))
    return True


async def takes_effect(link: Writer, query: str, parameters: Row) -> bool:
    """Whether a guarded statement changed its row."""
    return await link.count(SQL[query], *parameters) == 1
