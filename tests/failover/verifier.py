"""Holds what writers were told against what the leader's books say, key by key."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import asyncpg
import msgspec

from tests.failover.told import Line, Outcome, What

_AT_ONCE = 2_000
_ORDERS = "SELECT sn, version, paid, refunded, refunding FROM orders WHERE sn = ANY($1)"
_MOVEMENTS = "SELECT sn, tsn, kind, status, amount FROM transactions WHERE sn = ANY($1)"
_EVENTS = "SELECT sn, event_id FROM events WHERE sn = ANY($1)"
_DUE = "SELECT sn, ref, kind FROM due WHERE sn = ANY($1)"


class Breach(StrEnum):
    """Which promise was broken."""

    LOST = "lost"
    DOUBLED = "doubled"
    OVERDRAWN = "overdrawn"
    HALF = "half written"
    UNTRUE = "refused, yet written"
    UPSET = "upset"


class Finding(msgspec.Struct, frozen=True):
    """A promise that was broken, by which change."""

    breach: Breach
    key: str
    text: str = ""


class Movement(msgspec.Struct, frozen=True):
    """A movement as it stands in the books."""

    kind: str
    status: str
    amount: int


class Entry(msgspec.Struct, kw_only=True):
    """All that the books say of one order."""

    version: int
    paid: int
    refunded: int = 0
    refunding: int = 0
    movements: dict[str, Movement] = msgspec.field(default_factory=dict)
    events: Counter[str] = msgspec.field(default_factory=Counter)
    due: set[tuple[str, str]] = msgspec.field(default_factory=set)


Books = dict[str, Entry]


def weigh(told: Iterable[Line], books: Books) -> list[Finding]:
    """Every broken promise: acknowledged and not there, refused and there, doubled, overdrawn, in halves."""
    findings = [finding for line in told for finding in _as_told(line, books.get(line.sn))]
    findings += [finding for sn, entry in books.items() for finding in _sound(sn, entry)]
    return findings


async def books_of(dsn: str, sns: Sequence[str]) -> Books:
    """What a server's books say of these orders, all as of one moment."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    books: Books = {}
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for start in range(0, len(sns), _AT_ONCE):
                await _read(connection, books, sns[start : start + _AT_ONCE])
    finally:
        await connection.close(timeout=10)
    return books


async def _read(connection: asyncpg.Connection, books: Books, sns: Sequence[str]) -> None:
    for sn, version, paid, refunded, refunding in await connection.fetch(_ORDERS, sns):
        books[sn] = Entry(version=version, paid=paid, refunded=refunded, refunding=refunding)
    for sn, tsn, *movement in await connection.fetch(_MOVEMENTS, sns):
        books[sn].movements[tsn] = Movement(*movement)
    for sn, event_id in await connection.fetch(_EVENTS, sns):
        books[sn].events[event_id] += 1
    for sn, ref, kind in await connection.fetch(_DUE, sns):
        books[sn].due.add((ref, kind))


def _as_told(line: Line, entry: Entry | None) -> Iterator[Finding]:
    """What a writer was told of one change is so."""
    if line.what is What.READ:
        return
    there = entry is not None and _stands(line, entry)
    if line.outcome is Outcome.DONE and not there:
        yield Finding(Breach.LOST, line.key, f"{line.what} of {line.sn} was acknowledged at {line.at_ms}")
    if line.outcome is Outcome.REFUSED and there:
        yield Finding(Breach.UNTRUE, line.key, f"{line.what} of {line.sn} was refused at {line.at_ms}")


def _stands(line: Line, entry: Entry) -> bool:
    if line.what is What.INTENT:
        return True
    if line.what is What.PAID:
        return entry.paid == line.amount and line.key in entry.events
    movement = entry.movements.get(line.key)
    return movement is not None and movement.amount == line.amount


def _sound(sn: str, entry: Entry) -> Iterator[Finding]:
    """An order agrees with itself: each change was written once, as a whole, and within what was paid."""
    refunds = {tsn: one for tsn, one in entry.movements.items() if one.kind == "refund"}
    if entry.refunded + entry.refunding > entry.paid:
        yield Finding(Breach.OVERDRAWN, sn, str(entry))
    back = sum(one.amount for one in refunds.values())
    versions = 1 + entry.events.total()  # each later one brings a line of history
    doubled = [event for event, times in entry.events.items() if times > 1]
    if entry.refunded + entry.refunding > back or entry.version > versions or doubled:
        yield Finding(Breach.DOUBLED, sn, str(entry))
    pay = entry.movements.get(sn)
    whole = (
        (pay is not None and pay.status == "SUCCESS") == bool(entry.paid)
        and ((sn, "recover") in entry.due) != bool(entry.paid)
        and {(tsn, "refund") for tsn in refunds} <= entry.due
        and (entry.refunded + entry.refunding, entry.version) == (back, versions)
    )
    if not whole:
        yield Finding(Breach.HALF, sn, str(entry))
