"""The rules of Citus on a plain PostgreSQL: a schema that looks distributed, and a judge of what is sent.

What Citus is known to do with a statement (docs/scaling.md, decision 17) is written down as rules, and each
statement that a store sends is held against them. Where the server has Citus, the schema is distributed.

- one about tables of the money path names one bucket, in each table it touches, and so goes to one shard;
- all of a transaction name the same bucket, so its COMMIT is that of one server;
- a question that names none is a plain one about a single table, by itself, and asks all shards.

Neither WITH nor LATERAL nor arrays of rows are among what goes to one shard.
"""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

import asyncpg
import pytest

from paymux.kit.clock import SystemClock
from paymux.kit.seal import Sealer
from paymux.storage.citus_schema import DISTRIBUTED, distribution
from paymux.storage.link import Link
from paymux.storage.opener import open_store

Result = TypeVar("Result")

STAND_INS = """
CREATE TABLE pg_dist_partition (logicalrelid regclass PRIMARY KEY, partmethod "char" NOT NULL, partkey text,
                                colocated_with regclass, shard_count integer);
CREATE FUNCTION create_distributed_table(table_name regclass, distribution_column text,
                                         colocate_with text DEFAULT 'default',
                                         shard_count integer DEFAULT NULL)
RETURNS void LANGUAGE sql BEGIN ATOMIC
    INSERT INTO pg_dist_partition VALUES (table_name, 'h', distribution_column,
                                          CASE colocate_with WHEN 'none' THEN table_name
                                                             ELSE colocate_with::regclass END, shard_count);
END;
CREATE FUNCTION create_reference_table(table_name regclass)
RETURNS void LANGUAGE sql BEGIN ATOMIC
    INSERT INTO pg_dist_partition VALUES (table_name, 'n');
END;
"""
"""Citus's functions and the catalogue they write, with its names and meanings."""

_HAS_CITUS = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_TABLE = re.compile(rf"\b(?:FROM|UPDATE|INTO|JOIN|USING) ({'|'.join(DISTRIBUTED)})\b")
_NAMED = re.compile(r"\bbucket = \$(\d+)")
_INSERTED = re.compile(r"INSERT INTO \w+ \(bucket, [^()]*\) VALUES \(\$1, ")
_WITHOUT_A_SHARD = re.compile(r"\b(?:WITH|LATERAL|unnest)\b")


def distribute(dsn: str, sealer: Sealer) -> None:
    """Make our tables in an empty schema, and distribute them, if only in looks."""

    async def made() -> None:
        await (await open_store(dsn, sealer=sealer, clock=SystemClock())).close()
        connection = await asyncpg.connect(dsn)
        try:
            if not await connection.fetchval(_HAS_CITUS):
                await connection.execute(STAND_INS)
            await connection.execute(distribution())
        finally:
            await connection.close()

    asyncio.run(made())


class Judge:
    """Hears every statement of every link; one that breaks a rule is refused, and remembered."""

    def __init__(self) -> None:
        self._buckets: WeakKeyDictionary[Link, set[object]] = WeakKeyDictionary()
        self.heard = 0
        """How many statements were about the money path."""
        self.breaches: list[str] = []
        """What was refused: a store may well try something else after a refusal."""

    def hear(self, link: Link, sql: str, parameters: tuple[object, ...]) -> None:
        """Hold one statement against the rules; raises `AssertionError`."""
        try:
            self._hear(link, sql, parameters)
        except AssertionError as breach:
            self.breaches.append(str(breach))
            raise

    def _hear(self, link: Link, sql: str, parameters: tuple[object, ...]) -> None:
        if sql == "BEGIN":
            self._buckets[link] = set()
        elif sql in {"COMMIT", "ROLLBACK"}:
            self._buckets.pop(link, None)
        elif tables := _TABLE.findall(sql):
            self.heard += 1
            assert not _WITHOUT_A_SHARD.search(sql), f"goes to no single shard: {sql}"
            self._hear_of(link, sql, tables, buckets_of(sql, parameters, len(tables)))

    def _hear_of(self, link: Link, sql: str, tables: list[str], buckets: set[object]) -> None:
        before = self._buckets.get(link)
        if not buckets:
            alone = before is None and len(tables) == 1 and sql.startswith("SELECT ")
            assert alone, f"asks all shards, and is no plain question: {sql}"
        elif before is not None:
            before |= buckets
            assert len(before) == 1, f"a transaction about several buckets: {before}"


def buckets_of(sql: str, parameters: tuple[object, ...], tables: int) -> set[object]:
    """The one bucket a statement goes to; empty for a statement that names none."""
    if _INSERTED.match(sql):
        return {parameters[0]}
    named = [parameters[int(place) - 1] for place in _NAMED.findall(sql)]
    assert len(named) in {0, tables}, f"not every table has its bucket named: {sql}"
    assert len(set(named)) <= 1, f"a statement about several buckets: {sql}"
    return set(named)


def watch(patch: pytest.MonkeyPatch) -> Judge:
    """Put a judge beside every link, until the test is over."""
    judge, plain = Judge(), Link._patiently

    @functools.wraps(plain)
    async def patiently(link: Link, run: Callable[..., Awaitable[Result]], *given: object) -> Result:
        if given and isinstance(given[0], str):
            judge.hear(link, given[0], given[1:])
        return await plain(link, run, *given)

    patch.setattr(Link, "_patiently", patiently)
    return judge
