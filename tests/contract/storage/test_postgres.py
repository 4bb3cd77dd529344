"""What is PostgreSQL's own: lost connections, commits without a known end, batches, plans, many at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import pytest
from msgspec.structs import replace

from paymux.domain.errors import ConfigurationBroken, StorageFailed
from paymux.domain.order import Order, OrderStatus
from paymux.kit.clock import SystemClock
from paymux.storage import lane, link
from paymux.storage.contract import Store
from paymux.storage.migrate import migrations
from paymux.storage.opener import open_store
from paymux.storage.postgres import PostgresStore
from paymux.storage.queries import POSTGRES_SQL
from tests.contract.storage.conftest import SEALER, Engine
from tests.contract.storage.makers import NOW_MS, a_due, an_event, an_order, intent, next_version, paid
from tests.harness.cable import Cable, cable_to
from tests.harness.postgres import fetch, private_server

pytestmark = pytest.mark.postgres
Found = TypeVar("Found")


@pytest.fixture
def engine(postgres_engine: Engine) -> Engine:
    """PostgreSQL only."""
    return postgres_engine


async def on_cable(engine: Engine, story: Callable[[Cable, Store], Awaitable[None]]) -> None:
    """A store whose connections can be cut."""
    async with cable_to(engine.dsn) as (cable, dsn):
        store = await open_store(dsn, sealer=SEALER, clock=SystemClock())
        try:
            await store.save(intent(an_order(0)))  # so that the connection is there, its statement prepared
            await story(cable, store)
        finally:
            await store.close()


async def asked(dsn: str, sql: str) -> list[tuple[object, ...]]:
    """Ask the database past the store."""
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def eventually(look: Callable[[], Awaitable[Found]]) -> Found:
    """Look until there is something."""
    for _ in range(1_000):
        if found := await look():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


# ---------------------------------------------------------------- lost connections


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_connection_loses_and_doubles_nothing(engine: Engine, lost: str, times: int) -> None:
    """Whether the commit had happened or not: each change is told as done, and is there once."""

    async def story(cable: Cable, store: Store) -> None:
        orders = [an_order(number) for number in range(1, 40)]
        (cable.lose_requests if lost == "request" else cable.lose_answers)(times)
        assert all(await asyncio.gather(*(store.save(intent(order)) for order in orders)))
        (cable.lose_requests if lost == "request" else cable.lose_answers)(times)
        assert all(await asyncio.gather(*(store.save(paid(order)) for order in orders)))
        assert cable.cuts == 2 * times
        for order in orders:
            now = await store.order(order.key)
            assert now is not None
            assert (now.status, now.version) == (OrderStatus.PAID, 2)
            assert len(await store.events(order.key)) == 1
            assert len(await store.transactions(order.key)) == 1

    asyncio.run(on_cable(engine, story))


def test_a_guard_that_does_not_hold_stays_so(engine: Engine) -> None:
    """The answer "somebody was faster" is lost, too: it is not mistaken for our own success."""

    async def story(cable: Cable, store: Store) -> None:
        order = an_order(0)
        assert await store.save(paid(order))
        cable.lose_answers(1)
        late = next_version(order, status=OrderStatus.PAY_CANCELED)
        assert not await store.save(replace(late, events=(an_event(order, "late"),)))
        cable.lose_answers(1)
        assert not await store.save(next_version(order, status=OrderStatus.PAY_CANCELED))
        cable.lose_answers(1)
        taken = an_order(1, client_sn=order.client_sn)
        assert not await store.save(intent(taken))
        assert cable.cuts == 3

    asyncio.run(on_cable(engine, story))


def test_a_change_is_known_though_others_went_on_from_it(engine: Engine) -> None:
    """Between our commit and our look-up another process made the next version: ours still counts as done."""

    async def story(cable: Cable, store: Store) -> None:
        order, other = an_order(0), await engine.open()
        cable.lose_answers(1)
        saving = asyncio.ensure_future(store.save(paid(order)))
        now = paid(order).order
        reserved = next_version(now, status=OrderStatus.REFUND_INPROGRESS, refunding=1)
        assert await eventually(lambda: other.save(reserved))
        assert await saving
        await other.close()

    asyncio.run(on_cable(engine, story))


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_history_and_rights_survive_a_lost_connection(engine: Engine, lost: str) -> None:
    """Lines of history are there once; a right to ask is taken by one."""

    async def story(cable: Cable, store: Store) -> None:
        order = an_order(0)
        await store.add_events((an_event(order, "before"),))
        assert await store.mark_asked(order.key, now_ms=5_000, gap_ms=0)
        (cable.lose_requests if lost == "request" else cable.lose_answers)(1)
        await store.add_events((an_event(order, "a"), an_event(order, "b")))
        (cable.lose_requests if lost == "request" else cable.lose_answers)(1)
        await store.mark_asked(order.key, now_ms=9_000, gap_ms=1)
        assert [one.event_id for one in await store.events(order.key)] == ["a", "b", "before"]

    asyncio.run(on_cable(engine, story))


def test_a_silent_server_is_left_and_no_cancel_is_sent(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience ends by hanging up; the write is looked for over a new connection."""
    monkeypatch.setattr(link, "_ANSWER_S", 0.3)

    async def story(cable: Cable, store: Store) -> None:
        with cable.silent():
            saving = asyncio.ensure_future(store.save(paid(an_order(0))))
            await asyncio.sleep(0.6)
            assert not saving.done()
        assert await saving
        assert len(await store.events(an_order(0).key)) == 1

    asyncio.run(on_cable(engine, story))


def test_without_a_server_writes_fail_in_time(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiter is told when his patience is over; afterwards everything works again."""
    monkeypatch.setattr(lane, "_PATIENCE_MS", 400)

    async def story(cable: Cable, store: Store) -> None:
        cable.lose_requests(1_000)
        results = await asyncio.gather(
            *(store.save(intent(an_order(number))) for number in range(1, 30)), return_exceptions=True
        )
        assert all(isinstance(one, StorageFailed) for one in results)
        cable.lose_requests(0)
        assert await store.save(intent(an_order(99)))

    asyncio.run(on_cable(engine, story))


def test_connections_ended_by_the_server_come_back() -> None:
    """An administrator ends all of them while tills sell: nothing that was acknowledged is missing."""

    async def story(dsn: str) -> None:
        store = await open_store(dsn, sealer=SEALER, clock=SystemClock())

        async def end_all() -> None:
            for _ in range(20):
                await asked(
                    dsn,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'paymux' AND pid <> pg_backend_pid()",
                )
                await asyncio.sleep(0.02)

        async def sell(number: int) -> None:
            order = an_order(number)
            assert await store.save(intent(order))
            assert await store.save(paid(order))

        ending = asyncio.create_task(end_all())
        await asyncio.gather(*(sell(number) for number in range(1, 300)))
        await ending
        for number in range(1, 300):
            now = await store.order(an_order(number).key)
            assert now is not None
            assert now.status is OrderStatus.PAID
        await store.close()

    with private_server() as own:  # the others' connections are not ours to end
        asyncio.run(story(own.dsn))


def test_a_commit_without_its_standbys_is_not_acknowledged() -> None:
    """The server gives up waiting for a standby, and calls that a success: we go on until one has it."""
    names = "ALTER SYSTEM SET synchronous_standby_names = '{}'"

    async def waiting(dsn: str) -> list[tuple[object, ...]]:
        return await asked(dsn, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")

    async def story(dsn: str) -> None:
        store = await open_store(dsn, sealer=SEALER, clock=SystemClock())
        order = an_order(1)
        await store.save(intent(order))
        await asked(dsn, names.format("nobody"))
        await asked(dsn, "SELECT pg_reload_conf()")
        saving = asyncio.ensure_future(store.save(paid(order)))
        for _ in range(3):
            for (pid,) in await eventually(lambda: waiting(dsn)):
                await asked(dsn, f"SELECT pg_cancel_backend({pid})")
            await asyncio.sleep(0.1)
            assert not saving.done()
        await asked(dsn, names.format(""))
        await asked(dsn, "SELECT pg_reload_conf()")
        assert await saving
        await store.close()

    with private_server(durable=True) as own:
        asyncio.run(story(own.dsn))


# ---------------------------------------------------------------- batches and plans


def test_what_waits_shares_a_commit(engine: Engine) -> None:
    """One alone is committed at once, those that come meanwhile together."""

    async def story(store: Store) -> None:
        await store.save(intent(an_order(0)))
        saves = [asyncio.ensure_future(store.save(intent(an_order(number)))) for number in range(1, 31)]
        assert all(await asyncio.gather(*saves))
        commits = await asked(engine.dsn, "SELECT DISTINCT xmin::text FROM orders")
        assert len(commits) == 2

    engine.run(story)


def test_processes_that_write_the_same_rows_never_wait_crosswise() -> None:
    """Rights to ask and due work in one batch, in opposite orders."""

    async def story(one: Store, other: Store) -> None:
        orders = [an_order(number) for number in range(40)]
        assert all(await asyncio.gather(*(one.save(intent(order)) for order in orders)))

        async def write(store: Store, its: list[Order], at_ms: int) -> None:
            rows = [store.put_off(a_due(order), run_at_ms=at_ms) for order in its]
            rights = [store.mark_asked(order.key, now_ms=at_ms, gap_ms=0) for order in reversed(its)]
            await asyncio.gather(*rows, *rights)

        for at_ms in range(NOW_MS + 1, NOW_MS + 30):
            await asyncio.gather(write(one, orders, at_ms), write(other, orders[::-1], at_ms))

    async def told(dsn: str) -> None:
        stores = [await open_store(dsn, sealer=SEALER, clock=SystemClock()) for _ in range(2)]
        await story(*stores)
        for store in stores:
            await store.close()

    with private_server() as server:
        asyncio.run(told(server.dsn))
        assert fetch(server.dsn, "SELECT sum(deadlocks) FROM pg_stat_database") == [(0,)]


def test_a_process_older_than_the_schema_loses_only_speed(engine: Engine) -> None:
    """A migration of a newer one adds a column: the old one's batches are refused, its writes are not."""

    async def story(store: Store) -> None:
        assert await store.save(intent(an_order(0)))
        await asked(engine.dsn, "ALTER TABLE orders ADD COLUMN tomorrow TEXT NOT NULL DEFAULT ''")
        orders = [an_order(number) for number in range(1, 10)]
        assert all(await asyncio.gather(*(store.save(intent(order)) for order in orders)))
        assert all(await asyncio.gather(*(store.save(paid(order)) for order in orders)))
        assert await store.order(orders[3].key) == paid(orders[3]).order

    engine.run(story)


def test_no_plan_walks_through_a_table_or_a_merchant(engine: Engine) -> None:
    """Without any statistics, on empty tables: every look-up goes by the one index that is meant for it."""
    wanted = {
        "order_by_key": "orders_pkey",
        "update_order": "orders_pkey",
        "mark_asked": "orders_pkey",
        "order_by_client_sn": "client_sn_once",
        "order_by_trade_no": "pays_by_trade_no",
        "transaction_by_tsn": "transactions_pkey",
        "transactions_of_order": "transactions_pkey",
        "events_of_order": "events_pkey",
        "due_ready": "due_by_time",
        "due_ready_of_kinds": "due_by_time",
        "claim_due": "due_pkey",
        "delete_due": "due_pkey",
        "claim_many": "due_pkey",
        "save_delivery": "notifications_pkey",
        "notifications_of_order": "notifications_pkey",
    }

    async def story(_store: Store) -> None:
        connection = await link.connect(engine.dsn)
        for name, index in wanted.items():
            sql = POSTGRES_SQL[name]
            count = max(number for number in range(60) if f"${number}" in sql)
            await connection.execute(f"PREPARE plan_{name} AS {sql}")
            nothing = ", ".join(["NULL"] * count)
            rows = await connection.fetch(f"EXPLAIN EXECUTE plan_{name}({nothing})")
            plan = "\n".join(row[0] for row in rows)
            assert f"using {index} on" in plan, plan
            assert "Seq Scan" not in plan
        await connection.close()

    engine.run(story)


# ---------------------------------------------------------------- many at once


def test_many_processes_start_at_once(engine: Engine) -> None:
    """One migrates, the others wait for it; none stumbles."""

    async def story() -> None:
        stores = await asyncio.gather(*(engine.open() for _ in range(8)))
        applied = await asked(engine.dsn, "SELECT number FROM migrations ORDER BY number")
        assert [number for (number,) in applied] == [one.number for one in migrations()]
        await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(story())


def test_a_newer_database_is_refused(engine: Engine) -> None:
    """As on SQLite, in the same words."""

    async def story() -> None:
        await (await engine.open()).close()
        await asked(engine.dsn, "INSERT INTO migrations VALUES (999, 'tomorrow', 0)")
        with pytest.raises(ConfigurationBroken, match=r"0999_tomorrow.*newer one.*backup"):
            await engine.open()

    asyncio.run(story())


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:canary@127.0.0.1:1/d",
        "postgresql://u:canary@/d?host=/nowhere",
        "postgres://u@127.0.0.1:1/d?password=canary",
        "postgresql://u:canary@h:port/d",
    ],
)
def test_a_server_that_cannot_be_reached_is_named_without_its_password(dsn: str) -> None:
    """The text says which, and why."""
    with pytest.raises(ConfigurationBroken, match="cannot be opened") as refused:
        asyncio.run(open_store(dsn, sealer=SEALER, clock=SystemClock()))
    assert "canary" not in str(refused.value)


def test_texts_postgresql_cannot_hold_do_not_stop_the_truth(engine: Engine) -> None:
    """A wallet's reply with a NUL in it is kept with another sign in its place; the order moves on."""

    async def story(store: Store) -> None:
        order = an_order(0, subject="tea\0")
        assert await store.save(intent(order))
        change = paid(replace(order, subject="tea"))
        heard = an_event(order, "heard", text='< "\0" \\u0000')
        assert await store.save(replace(change, events=(heard,)))
        await store.add_events((an_event(order, "more", text="\0"),))
        assert [one.text for one in await store.events(order.key)] == ['< "\ufffd" \\ufffd', "\ufffd"]

    engine.run(story)


def test_the_store_is_the_one_of_the_address(engine: Engine) -> None:
    """`postgresql://` opens this engine."""

    async def story(store: Store) -> None:
        assert isinstance(store, PostgresStore)

    engine.run(story)
