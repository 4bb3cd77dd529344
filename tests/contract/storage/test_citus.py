"""Orders distributed by bucket: the script for Citus, and a store that keeps to Citus's rules.

On a server without Citus its functions are stood in for. Its rules are held up by a judge on any server
(tests/harness/citus_rules.py), beside every test of this folder with the engine `by-bucket`, too.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from paymux.cli.main import main
from paymux.domain.errors import StorageFailed
from paymux.domain.people import bucket_of
from paymux.kit.clock import SystemClock
from paymux.storage import link
from paymux.storage.citus import CitusStore
from paymux.storage.citus_schema import DISTRIBUTED, ON_COORDINATOR, REFERENCE, SHARDS, distribution
from paymux.storage.contract import DueKind, Store
from paymux.storage.link import CITUS_SESSION, Link, connect, facts_of
from paymux.storage.opener import open_store
from paymux.storage.postgres import PostgresStore
from paymux.storage.rows import Row
from tests.contract.storage.conftest import SEALER, Engine
from tests.contract.storage.makers import NOW_MS, a_due, an_event, an_order, intent, next_version, paid
from tests.harness.cable import cable_to
from tests.harness.citus_rules import Judge, buckets_of, distribute, watch
from tests.harness.postgres import drop_schema, new_schema, server

pytestmark = pytest.mark.postgres
Result = TypeVar("Result")

NEAR, FAR = "m1", "m2"
"""Two merchants whose orders lie in different buckets."""


@pytest.fixture
def plain() -> Iterator[Engine]:
    """An empty schema, not distributed."""
    dsn = new_schema(server())
    yield Engine(dsn)
    drop_schema(dsn)


@pytest.fixture
def engine(plain: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A distributed one, with a judge beside it."""
    distribute(plain.dsn, SEALER)
    judge = watch(monkeypatch)
    yield plain
    assert judge.breaches == []


def asked(dsn: str, sql: str, *given: object) -> list[Row]:
    """Ask the database past the store."""

    async def ask() -> list[Row]:
        connection = await asyncpg.connect(dsn)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *given)]
        finally:
            await connection.close()

    return asyncio.run(ask())


@pytest.fixture
def stand_ins(plain: Engine) -> None:
    """For a test that looks at what stands in for Citus."""
    if asked(plain.dsn, "SELECT FROM pg_extension WHERE extname = 'citus'"):
        pytest.skip("this server has Citus itself")


def tables_of(dsn: str) -> set[str]:
    """Return the names of the tables in a schema, without the stand-ins."""
    found = asked(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return {name for (name,) in found} - {"pg_dist_partition"}


# ---------------------------------------------------------------- the script


def test_every_table_has_its_place(engine: Engine) -> None:
    """Whoever adds a table decides where Citus keeps it: here is the list he forgot."""
    placed = (*DISTRIBUTED, *REFERENCE, *ON_COORDINATOR)
    assert len(placed) == len(set(placed))
    assert tables_of(engine.dsn) == set(placed)


def test_what_has_a_bucket_is_distributed_and_nothing_else(engine: Engine) -> None:
    """The column is there, not null, and of one type: else the tables cannot lie together."""
    found = asked(
        engine.dsn,
        "SELECT table_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND column_name = 'bucket'",
    )
    assert sorted(found) == sorted((table, "integer", "NO") for table in DISTRIBUTED)


def test_every_unique_key_of_a_distributed_table_has_the_bucket(engine: Engine) -> None:
    """Citus cannot hold up any other."""
    found = asked(
        engine.dsn,
        "SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text,"
        " array_agg(a.attname::text) FROM pg_index AS i"
        " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indisunique AND i.indrelid = ANY($1::text[]::regclass[]) GROUP BY 1, 2",
        list(DISTRIBUTED),
    )
    assert {table for table, *_ in found} == set(DISTRIBUTED)
    assert [index for _, index, columns in found if "bucket" not in columns] == []


def test_no_foreign_key_costs_a_movement_a_look_at_its_order(engine: Engine) -> None:
    """On a server there are none: the statement that writes a movement has just written its order."""
    found = asked(
        engine.dsn,
        "SELECT conname FROM pg_constraint"
        " WHERE contype = 'f' AND connamespace = current_schema()::regnamespace",
    )
    assert found == []


@pytest.mark.usefixtures("stand_ins")
def test_the_script_runs_and_puts_all_of_it_together(engine: Engine) -> None:
    """By bucket, in as many shards as there are buckets, whichever table."""
    found = asked(
        engine.dsn,
        "SELECT logicalrelid::text, partmethod::text, partkey, colocated_with::text, shard_count"
        " FROM pg_dist_partition",
    )
    together = [(table, "h", "bucket", "orders", None) for table in DISTRIBUTED]
    together[0] = ("orders", "h", "bucket", "orders", SHARDS)
    everywhere = [(table, "n", None, None, None) for table in REFERENCE]
    assert found == together + everywhere


def test_the_command_prints_the_script() -> None:
    """As it is, and without any database."""
    printed = CliRunner().invoke(main, ["admin", "citus"])
    assert printed.exit_code == 0
    assert printed.output == distribution()


# ---------------------------------------------------------------- which store


def test_a_distributed_database_opens_as_one(engine: Engine) -> None:
    """And plans each statement with its parameters: Citus has no plan without."""

    async def story() -> None:
        store = await engine.open()
        assert isinstance(store, CitusStore)
        await store.close()
        assert (await facts_of(engine.dsn)).is_distributed
        connection = await connect(engine.dsn, CITUS_SESSION)
        assert await connection.fetchval("SHOW plan_cache_mode") == "auto"
        await connection.close()

    asyncio.run(story())


@pytest.mark.usefixtures("stand_ins")
def test_citus_alone_changes_nothing(plain: Engine) -> None:
    """Until the orders are distributed it is a PostgreSQL like any other."""

    async def story() -> None:
        connection = await asyncpg.connect(plain.dsn)
        await connection.execute('CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char")')
        await connection.close()
        for _ in range(2):  # before there are tables, and after
            store = await plain.open()
            assert type(store) is PostgresStore
            await store.close()

    asyncio.run(story())


def test_the_doctor_says_so(engine: Engine, tmp_path: Path) -> None:
    """Whoever ran the script sees that it took effect."""
    given = {"DATABASE": engine.dsn, "DATA_DIR": str(tmp_path), "MASTER_KEY": (b"k" * 32).hex()}
    environ = {name: None for name in os.environ if name.startswith("PAYMUX_")}
    environ |= {f"PAYMUX_{name}": value for name, value in given.items()}
    told = CliRunner().invoke(main, ["doctor"], env=environ)
    assert "its orders distributed by Citus" in told.output


# ---------------------------------------------------------------- the judge


def test_the_judge_refuses_what_the_other_store_sends(plain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever distributes a database behind the back of a running gateway: its batches would not do."""
    judge = watch(monkeypatch)

    async def story(store: Store) -> None:
        assert await store.save(intent(an_order(1)))  # by the plain path, after its batch was refused
        await store.claim_due(now_ms=NOW_MS, lease_ms=1, limit=1, kinds=(DueKind.RECOVER,))

    with pytest.raises(StorageFailed):
        plain.run(story)
    assert {"unnest" in breach for breach in judge.breaches} == {True}
    assert len(judge.breaches) == 2


@pytest.mark.parametrize(
    ("sql", "given"),
    [
        ("UPDATE orders SET paid = $1 WHERE sn = $2", (1, "7")),
        ("SELECT 1 FROM orders JOIN events USING (sn) WHERE orders.sn = $1", ("7",)),
        ("SELECT 1 FROM orders WHERE bucket = $1 AND sn IN (SELECT sn FROM events)", (1,)),
        (
            "SELECT 1 FROM orders WHERE bucket = $1 AND sn IN (SELECT sn FROM events WHERE bucket = $2)",
            (1, 2),
        ),
        ("INSERT INTO events SELECT * FROM unnest($1::events[])", ([],)),
    ],
)
def test_the_judge_knows_the_rules(sql: str, given: Row) -> None:
    """Each is broken once."""
    with pytest.raises(AssertionError):
        Judge().hear(Link("nowhere"), sql, given)


def test_the_judge_looks_at_whole_transactions() -> None:
    """One bucket after the other is two shards."""
    judge, somewhere, sql = Judge(), Link("nowhere"), "DELETE FROM due WHERE bucket = $1"
    judge.hear(somewhere, "BEGIN", ())
    judge.hear(somewhere, sql, (1,))
    judge.hear(somewhere, sql, (1,))
    with pytest.raises(AssertionError, match="several buckets"):
        judge.hear(somewhere, sql, (2,))
    judge.hear(somewhere, "ROLLBACK", ())
    judge.hear(somewhere, sql, (2,))
    assert judge.heard == 4
    assert len(judge.breaches) == 1


# ---------------------------------------------------------------- many buckets at once


def test_many_buckets_at_once(engine: Engine) -> None:
    """Orders of many merchants, each told right, and each commit about one bucket."""

    async def story(store: Store) -> None:
        orders = [an_order(number, merchant=f"m{number % 50}") for number in range(1, 300)]
        assert all(await asyncio.gather(*(store.save(intent(order)) for order in orders)))
        again = [store.save(intent(replace(order, sn=f"8{order.sn[1:]}"))) for order in orders]
        assert not any(await asyncio.gather(*again))
        assert all(await asyncio.gather(*(store.save(paid(order)) for order in orders)))
        await asyncio.gather(*(store.add_events((an_event(order, "more"),)) for order in orders))
        for order in orders[::37]:
            now = await store.order(order.key)
            assert now is not None
            assert now.version == 2
            assert len(await store.events(order.key)) == 2

    engine.run(story)
    commits = asked(
        engine.dsn,
        "SELECT count(*) FROM (SELECT xmin::text FROM orders GROUP BY 1 HAVING count(DISTINCT bucket) > 1)"
        " AS mixed",
    )
    assert commits == [(0,)]


async def while_away(merchants: set[str], story: Callable[[], Awaitable[Result]]) -> Result:
    """Tell a story while the server of some merchants' buckets is away, as a coordinator puts it."""
    away, plain = {bucket_of(merchant) for merchant in merchants}, Link._patiently

    async def patiently(self: Link, run: Callable[..., Awaitable[Row]], *given: object) -> Row:
        sql = given[0] if given and isinstance(given[0], str) else ""
        of_orders = [table for table in DISTRIBUTED if f" {table} " in sql]
        if of_orders and away & (buckets_of(sql, given[1:], sql.count("bucket = $")) or away):
            sql, given = "DO $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '08006'; END $$", ()
            return await plain(self, run, sql)
        return await plain(self, run, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "_patiently", patiently)
        return await story()


def test_a_bucket_whose_server_is_away_holds_up_no_other(engine: Engine) -> None:
    """What is about it waits, and is done when it is back; what is about others is done at once."""
    assert bucket_of(NEAR) != bucket_of(FAR)

    async def told() -> None:
        store = await open_store(engine.dsn, sealer=SEALER, clock=SystemClock())
        waiting: list[asyncio.Future[bool]] = []

        async def away() -> None:
            waiting.extend(
                asyncio.ensure_future(store.save(intent(an_order(number, merchant=FAR))))
                for number in range(20)
            )
            await asyncio.sleep(0.1)
            near = [an_order(number, merchant=NEAR) for number in range(20)]
            assert all(await asyncio.gather(*(store.save(intent(order)) for order in near)))
            assert not any(one.done() for one in waiting)

        await while_away({FAR}, away)
        assert all(await asyncio.gather(*waiting))
        await store.close()

    asyncio.run(told())


def test_due_work_of_the_others_goes_on(engine: Engine) -> None:
    """A look at all shards fails when one cannot be asked; then each bucket is asked by itself."""

    async def story(store: Store) -> None:
        for merchant in (NEAR, FAR):
            order = an_order(1, merchant=merchant)
            await store.save(replace(intent(order), due=(a_due(order),)))

        async def claim() -> list[str]:
            claimed = await store.claim_due(now_ms=NOW_MS, lease_ms=1, limit=9, kinds=tuple(DueKind))
            return sorted(due.merchant_id for due in claimed)

        assert await while_away({FAR}, claim) == [NEAR]
        assert await claim() == [FAR]

    engine.run(story)


# ---------------------------------------------------------------- commits in doubt


def test_what_a_shard_warned_of_is_looked_into(engine: Engine) -> None:
    """Citus passes a server's warning about its COMMIT on as a remark: it is heard, and is no yes."""

    async def story(store: Store) -> None:
        assert await store.save(intent(an_order(1)))
        connection = await asyncpg.connect(engine.dsn)
        await connection.execute(
            "CREATE FUNCTION remark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE DEBUG 'canceling wait for synchronous replication' USING ERRCODE = '01000';"
            " RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION remark()"
        )
        assert await connection.fetchval("SELECT count(*) FROM fences") == 0
        assert await store.save(paid(an_order(1)))
        assert await connection.fetchval("SELECT count(*) FROM fences") == 1
        assert not await store.save(paid(an_order(1)))
        await connection.close()

    engine.run(story)


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_a_lost_connection_loses_and_doubles_nothing(engine: Engine, lost: str) -> None:
    """As on PostgreSQL, over all the buckets that shared it."""

    async def story() -> None:
        async with cable_to(engine.dsn) as (cable, dsn):
            store = await open_store(dsn, sealer=SEALER, clock=SystemClock())
            orders = [an_order(number, merchant=f"m{number % 9}") for number in range(40)]
            assert await store.save(intent(orders[0]))
            (cable.lose_requests if lost == "request" else cable.lose_answers)(3)
            assert all(await asyncio.gather(*(store.save(intent(order)) for order in orders[1:])))
            (cable.lose_requests if lost == "request" else cable.lose_answers)(3)
            assert all(await asyncio.gather(*(store.save(paid(order)) for order in orders)))
            for order in orders:
                now = await store.order(order.key)
                assert now is not None
                assert now.version == 2
                assert len(await store.transactions(order.key)) == 1
            assert not await store.save(next_version(orders[0]))
            await store.close()

    asyncio.run(story())


def test_a_server_that_speaks_of_another_is_not_left(plain: Engine) -> None:
    """A shard's server is away: the coordinator says so, and its other connections stay as they are."""

    async def story() -> None:
        term = link.Term()
        one, other = Link(plain.dsn, term), Link(plain.dsn, term)
        [[before]] = await other.fetch("SELECT pg_backend_pid()")
        with pytest.raises(link.Lost):
            await one.fetch("DO $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = '08006'; END $$")
        assert await other.fetch("SELECT pg_backend_pid()") == [(before,)]
        assert len(await one.fetch("SELECT 1")) == 1
        for used in (one, other):
            await used.close()

    asyncio.run(story())
