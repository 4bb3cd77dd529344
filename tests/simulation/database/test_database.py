"""Both engines look alike to a town; and on PostgreSQL the worst moments really happen."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import asyncpg
import pytest
from msgspec.structs import replace

from tests.contract.storage.makers import a_notification, an_order, intent, paid, reserved
from tests.harness.virtual_time import VirtualClock, VirtualLoop, run_virtually
from tests.simulation.database.contract import Database
from tests.simulation.database.moods import AT_ONCE, Journey, Loss, Moods
from tests.simulation.database.opener import ENGINES, POSTGRESQL, database_for
from tests.simulation.database.postgres import PostgresDatabase
from tests.simulation.database.witness import Fact
from tests.simulation.history import History
from tests.simulation.weather import forecast

Commits = list[list[Fact]]
RENAME = "UPDATE orders SET subject = '{}' WHERE client_sn = 'c{}'"


class Fated(Moods):
    """Moods that lose the first change that is written, and nothing else."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(forecast(1, 1), Random("fated"))
        self._fates = [Journey(0.001, 0.001, loss)]

    def journey(self, sql: str) -> Journey:
        """What will become of a statement."""
        return self._fates.pop() if self._fates and sql.startswith("WITH held") else AT_ONCE

    def refuses(self) -> bool:
        """Never."""
        return False


def told(engine: str, story: Callable[[Database, VirtualClock], Awaitable[None]]) -> Commits:
    """Tell a story over an empty database; return what the witness saw of each commit."""
    loop, commits = VirtualLoop(), Commits()

    async def whole() -> None:
        clock = VirtualClock(loop)
        database = database_for(
            engine, loop=loop, clock=clock, weather=forecast(1, 1), seed=1, history=History(clock.now_ms)
        )
        try:
            await database.begin(lambda facts: commits.append(facts) if facts else None)
            await story(database, clock)
        finally:
            await database.close()

    run_virtually(whole(), loop)
    return commits


@pytest.mark.postgres
def test_the_witness_sees_the_same_on_both() -> None:
    """Each row with its commit, and nothing of what was undone."""

    async def story(database: Database, _: VirtualClock) -> None:
        first = an_order(1)
        assert await database.store.save(intent(first))
        assert not await database.store.save(intent(first))
        second = paid(first)
        assert await database.store.save(replace(second, notifications=(a_notification(second.order, "n1"),)))
        assert await database.store.save(reserved(second.order, 40, "1"))
        assert not await database.store.save(reserved(second.order, 50, "2"))
        assert await database.rows("SELECT kind || ' ' || sn FROM due") == [("refund " + first.sn,)]

    sqlite, postgres = ([sorted(facts) for facts in told(engine, story)] for engine in ENGINES)
    assert sqlite == postgres
    names = [[name for name, _ in facts] for facts in sqlite]
    assert names == [
        ["kept_order"],
        ["kept_change", "kept_movement", "kept_note"],
        ["kept_change", "kept_movement"],
    ]


@pytest.mark.postgres
@pytest.mark.parametrize("loss", Loss)
def test_a_change_is_written_once_whatever_gets_lost(loss: Loss) -> None:
    """The statement, its answer, or the connection under it: the store tries again, and finds out."""

    async def story(database: Database, clock: VirtualClock) -> None:
        assert isinstance(database, PostgresDatabase)
        database._moods = fated = Fated(loss)
        store = database.way_of("gateway", clock).store
        order = an_order(1)
        assert await store.save(intent(order))
        assert fated._fates == [], "nothing was lost"
        assert await store.save(paid(order))
        assert await database.store.order(order.key) == paid(order).order

    assert [[name for name, _ in facts] for facts in told(POSTGRESQL, story)] == [
        ["kept_order"],
        ["kept_change", "kept_movement"],
    ]


@pytest.mark.postgres
def test_a_dead_process_sends_nothing_more_and_hears_nothing() -> None:
    """What it had sent arrives; its open transaction is undone, and its locks are free."""

    async def story(database: Database, clock: VirtualClock) -> None:
        assert isinstance(database, PostgresDatabase)
        way = database.way_of("gateway", clock)
        await database.store.save(intent(an_order(1)))
        cable = await way.connect()
        await cable.execute("BEGIN")
        sending = asyncio.ensure_future(cable.execute(RENAME.format("tea", 1)))
        await asyncio.sleep(0)
        way.cut()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await sending
        await asyncio.sleep(1)
        await (await database.cable()).execute(RENAME.format("milk", 1))
        assert await database.rows("SELECT subject FROM orders") == [("milk",)]

    told(POSTGRESQL, story)


@pytest.mark.postgres
def test_whoever_waits_for_a_lock_goes_on_when_it_is_free() -> None:
    """Meanwhile the town lives, and what is committed first is seen first."""

    async def story(database: Database, _: VirtualClock) -> None:
        assert isinstance(database, PostgresDatabase)
        await database.store.save(intent(an_order(1)))
        one, other = await database.cable(), await database.cable()
        await one.execute("BEGIN")
        await one.execute("UPDATE orders SET paid = 100")
        waiting = asyncio.ensure_future(other.execute("UPDATE orders SET version = version + 1"))
        await asyncio.sleep(5)
        assert not waiting.done()
        await one.execute("COMMIT")
        await waiting

    commits = told(POSTGRESQL, story)[1:]
    assert [[(name, row[4:6]) for name, row in facts] for facts in commits] == [
        [("kept_change", (1, 100))],
        [("kept_change", (2, 100))],
    ]


@pytest.mark.postgres
def test_two_that_wait_crosswise_are_parted_by_the_server() -> None:
    """Always the same one gives way: whoever closed the circle."""

    async def story(database: Database, _: VirtualClock) -> None:
        assert isinstance(database, PostgresDatabase)
        for number in (1, 2):
            await database.store.save(intent(an_order(number)))
        one, other = await database.cable(), await database.cable()
        for number, cable in ((1, one), (2, other)):
            await cable.execute("BEGIN")
            await cable.execute(RENAME.format("tea", number))
        waiting = asyncio.ensure_future(one.execute(RENAME.format("milk", 2)))
        await asyncio.sleep(5)
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await other.execute(RENAME.format("milk", 1))
        await waiting

    told(POSTGRESQL, story)
