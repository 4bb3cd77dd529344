"""The store on a Citus coordinator, its tables of the money path distributed by bucket (citus_schema.py).

A bucket lies on one shard, so each transaction here is about one bucket, in the plain statements of
queries.sql that name it: Citus hands them through to the shard's server, and COMMIT is that server's own.
What one statement does for many buckets at once on PostgreSQL would visit every shard there, or is refused
(decision 17). Buckets have lanes of their own: one whose server is away holds up none of the others.
"""

import asyncio
import re
from collections.abc import Hashable, Mapping
from typing import ClassVar

from msgspec.structs import replace

from paymux.domain.people import BUCKETS
from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage import rows
from paymux.storage.batch import order_of
from paymux.storage.contract import Change, Due, DueKind, Event
from paymux.storage.lane import Lane, Lanes
from paymux.storage.link import CITUS_SESSION, Link, Term, Writers, explained, is_away
from paymux.storage.postgres import (
    Delivery,
    PostgresStore,
    Write,
    Writer,
    note_of,
    save_plainly,
    takes_effect,
)
from paymux.storage.queries import POSTGRES_SQL as SQL
from paymux.storage.rows import Row

_WRITERS = 8
"""Statements of this many buckets are under way at once; each waits for a journey to the shard and back."""
_BUCKET = re.compile(r"bucket = \$(\d+)")


class CitusStore(PostgresStore):
    """A `Store` whose orders lie on several servers; made by `open`, used by one event loop."""

    _session: ClassVar[Mapping[str, str]] = CITUS_SESSION

    def __init__(self, dsn: str, *, sealer: Sealer, clock: Clock) -> None:
        super().__init__(dsn, sealer=sealer, clock=clock)
        self._news = self._changes = Lanes(
            lambda: self._lane_of_orders(self._orders), apart=lambda change: change.order.bucket
        )
        self._history = Lanes(
            lambda: Lane(self._add_many, self._add_one, clock=clock), apart=lambda events: events[0].bucket
        )
        self._deliveries = Lanes(
            lambda: Lane(self._deliver_many, self._deliver_one, clock=clock, about=note_of),
            apart=lambda delivery: delivery[0].bucket,
        )
        self._writes = Lanes(lambda: Lane(self._write_many, self._write_one, clock=clock), apart=_bucket_of)

    def _writers(self, dsn: str, term: Term) -> tuple[Writer, Writer, Writer, Writer, Writer]:
        """The lanes are many, so they share some links."""
        shared = Writers(dsn, _WRITERS, term, self._session)
        return shared, shared, shared, shared, shared

    # -- due work

    async def _ready(self, kinds: tuple[DueKind, ...], now_ms: int, limit: int) -> list[Row]:
        """Look at all shards at once; while one of their servers is away, at one bucket after the other."""
        try:
            asked = [("due_ready", (kind.value, now_ms, now_ms, limit)) for kind in kinds]
            found = [await self._readers.fetch(SQL[query], given) for query, given in asked]
        except Exception as error:
            if not is_away(error):
                raise explained(error) from error
            found = await self._ready_by_bucket(kinds, now_ms, limit)
        return [row for some in found for row in some]

    async def _ready_by_bucket(self, kinds: tuple[DueKind, ...], now_ms: int, limit: int) -> list[list[Row]]:
        async def of(bucket: int) -> list[Row]:
            given = (bucket, [kind.value for kind in kinds], now_ms, limit)
            try:
                return await self._readers.fetch(SQL["due_ready_of_bucket"], given)
            except Exception as error:
                if is_away(error):
                    return []
                raise explained(error) from error

        return await asyncio.gather(*(of(bucket) for bucket in range(BUCKETS)))

    async def _claim(self, ready: list[Due], now_ms: int, lease_until_ms: int) -> list[Due]:
        """Each by itself, for each may lie elsewhere. A claim in doubt is no claim, as on PostgreSQL."""

        async def claim(due: Due) -> bool:
            guard = (now_ms, due.attempts, due.run_at_ms)
            try:
                return await takes_effect(
                    self._plain, "claim_due", (lease_until_ms, *rows.due_key_row(due), *guard)
                )
            except Exception as error:
                if is_away(error):
                    return False
                raise explained(error) from error

        taken = await asyncio.gather(*(claim(due) for due in ready))
        return [
            replace(due, attempts=due.attempts + 1) for due, took in zip(ready, taken, strict=True) if took
        ]

    # -- batches of one bucket, in one transaction each

    async def _save_many(self, link: Writer, changes: list[Change]) -> list[bool]:
        async def write(link: Link) -> dict[Row, bool]:
            in_order = sorted(changes, key=order_of)
            return {order_of(change): await save_plainly(link, change) for change in in_order}

        held = await link.transact(write)
        return [held[order_of(change)] for change in changes]

    async def _add_many(self, batch: list[tuple[Event, ...]]) -> list[None]:
        async def write(link: Link) -> list[None]:
            for events in batch:
                for event in events:
                    await link.fetch(SQL["add_event"], *rows.event_row(event))
            return [None] * len(batch)

        return await self._events.transact(write)

    async def _deliver_many(self, batch: list[Delivery]) -> list[None]:
        async def write(link: Link) -> list[None]:
            for delivery in sorted(batch, key=note_of):
                await _deliver(link, delivery)
            return [None] * len(batch)

        return await self._notes.transact(write)


async def _deliver(link: Link, delivery: Delivery) -> None:
    """The message first; what is due about it only if it is there."""
    note, next_ms, under_sale = delivery
    if not await takes_effect(link, "save_delivery", rows.delivery_row(note)):
        return
    done, put = rows.work_of_delivery(note, next_ms=next_ms, under_sale=under_sale)
    for row in done:
        await link.fetch(SQL["delete_due"], *row[:4])
    for row in put:
        await link.fetch(SQL["put_due"], *row)


def _bucket_of(write: Write) -> Hashable:
    """The bucket that a guarded write names; None for one of what the coordinator keeps."""
    query, parameters = write
    place = _BUCKET.search(SQL[query])
    return parameters[int(place[1]) - 1] if place else None
