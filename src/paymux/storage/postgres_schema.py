"""Brings a PostgreSQL schema up to date, however many processes start at once."""

import re

import asyncpg

from paymux.domain.errors import StorageFailed
from paymux.kit.seal import Sealer
from paymux.storage.link import Link, Lost
from paymux.storage.migrate import Migration, pending
from paymux.storage.queries import POSTGRES_SQL as SQL

_SEAL = "paymux"
BESIDES = {
    "money": (
        "ALTER TABLE orders SET (fillfactor = 50)",
        "ALTER TABLE transactions DROP CONSTRAINT transactions_sn_merchant_id_bucket_fkey",
    ),
}
"""Migration → what PostgreSQL gets besides (decision 20).

Pages of orders are filled by half, which leaves each order the room for its outcome: under load all orders of
a page are taken in before the first of them is paid. And the server need not look up and lock the order of
each movement: the statement that writes a movement has just written its order, under the same guard.
"""
_TRIES = 10
_TEXT = re.compile(r" TEXT( +)NOT NULL")


async def bring_up_to_date(link: Link, sealer: Sealer, known: tuple[Migration, ...], *, now_ms: int) -> None:
    """Migrate, one transaction each, then make sure that the master key is the database's."""
    try:
        await _make_table(link)
        while await link.transact(lambda link: _next(link, known, now_ms)):
            pass
        await link.fetch(SQL["put_seal"], _SEAL, sealer.seal(_SEAL, "seals", _SEAL))
        found = await link.fetch(SQL["seal_by_name"], _SEAL)
    except (asyncpg.PostgresError, Lost) as error:
        raise StorageFailed(f"the database could not be brought up to date: {error}") from error
    sealer.unseal(found[0][0], "seals", _SEAL)


def of_postgres(statement: str) -> str:
    """A statement of a migration as PostgreSQL gets it: texts are compared byte by byte, as SQLite does.

    So keys sort alike on both engines, quickly, and no index breaks when the system's locales change.
    """
    return _TEXT.sub(r' TEXT COLLATE "C"\1NOT NULL', statement)


async def _make_table(link: Link) -> None:
    """Make the table of migrations; of several that try at once one may trip over the other."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return await link.execute(SQL["migrations_table"])
        except (
            asyncpg.UniqueViolationError,
            asyncpg.DuplicateTableError,
            asyncpg.DuplicateObjectError,
        ):
            if not tries_left:
                raise
    return None


async def _next(link: Link, known: tuple[Migration, ...], now_ms: int) -> bool:
    """Apply the next migration that is pending; False when none is. One process at a time."""
    await link.execute("LOCK TABLE migrations IN EXCLUSIVE MODE")
    left = pending(known, [(row[0], row[1]) for row in await link.fetch(SQL["migrations_applied"])])
    for migration in left[:1]:
        for statement in (*migration.statements, *BESIDES.get(migration.name, ())):
            await link.execute(of_postgres(statement))
        await link.fetch(SQL["migration_applied"], migration.number, migration.name, now_ms)
    return bool(left)
