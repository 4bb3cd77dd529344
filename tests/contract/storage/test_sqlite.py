"""What is SQLite's own: a full disk, another process's lock, the log, no thread where none is wanted."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, suppress

import pytest

from paymux.domain.errors import ConfigurationBroken, StorageFailed
from paymux.storage import group_commit
from paymux.storage.contract import Store
from paymux.storage.opener import open_store
from paymux.storage.sqlite import SqliteStore
from tests.contract.storage.conftest import SEALER, Engine
from tests.contract.storage.makers import TurnedClock, an_event, an_order, intent, paid


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """SQLite only."""
    return sqlite_engine


def _inside(store: Store) -> SqliteStore:
    assert isinstance(store, SqliteStore)
    return store


def test_a_full_disk_fails_the_write_and_nothing_else(engine: Engine) -> None:
    """No room: `StorageFailed`; the database stays whole, reads go on, and writes too once there is room."""

    async def story(store: Store) -> None:
        await store.save(intent(an_order()))
        writer = _inside(store)._writer
        pages = writer.execute("PRAGMA page_count").fetchone()[0]
        writer.execute(f"PRAGMA max_page_count = {pages}")
        big = tuple(an_event(an_order(), f"e{n}", text="x" * 100_000) for n in range(3))
        results = await asyncio.gather(*(store.add_events((one,)) for one in big), return_exceptions=True)
        assert all(isinstance(one, StorageFailed) for one in results)
        assert await store.events(an_order().key) == []
        assert await store.order(an_order().key) == an_order()
        writer.execute("PRAGMA max_page_count = 1000000")
        assert await store.save(paid(an_order()))
        await store.add_events(big)
        assert writer.execute("PRAGMA integrity_check").fetchone()[0] == "ok"

    engine.run(story)


def test_a_tool_beside_the_gateway_takes_no_data_away(engine: Engine) -> None:
    """Another process opens and closes the file: the log stays, and all see what is committed after."""
    look = (
        "import sqlite3, sys; found = sqlite3.connect(sys.argv[1]);"
        "print(*found.execute('SELECT count(*) FROM orders').fetchone()); found.close()"
    )

    def looked() -> str:
        command = [sys.executable, "-c", look, str(engine.path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    async def story(store: Store) -> None:
        assert await store.save(intent(an_order(1)))
        assert looked() == "1"
        assert engine.path.with_name(engine.path.name + "-wal").exists()
        assert await store.save(intent(an_order(2)))
        assert looked() == "2"

    engine.run(story)


def test_a_short_lock_is_waited_out(engine: Engine) -> None:
    """Another process writes for a moment: ours waits, without stopping the loop, and succeeds."""

    async def story(store: Store) -> None:
        with closing(sqlite3.connect(engine.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            saving = asyncio.create_task(store.save(intent(an_order())))
            for _ in range(3):
                await asyncio.sleep(0.005)
                assert await store.order(an_order().key) is None
            assert not saving.done()
            other.execute("COMMIT")
            assert await saving

    engine.run(story)


def test_a_long_lock_fails_the_write(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process never lets go: everybody waiting is told, and the store works once it has."""
    monkeypatch.setattr(group_commit, "_BUSY_GAP_S", 0)

    async def story(store: Store) -> None:
        with closing(sqlite3.connect(engine.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            saving = (store.save(intent(an_order(n))) for n in range(3))
            results = await asyncio.gather(*saving, return_exceptions=True)
            assert all(isinstance(one, StorageFailed) and "locked" in str(one) for one in results)
            other.execute("COMMIT")
        assert await store.save(intent(an_order()))

    engine.run(story)


def test_commits_are_synced_and_logged(engine: Engine) -> None:
    """WAL, synchronous FULL and foreign keys on the writing connection."""

    async def story(store: Store) -> None:
        writer = _inside(store)._writer
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
        assert {name: writer.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted} == wanted

    engine.run(story)


def test_a_read_lets_go_of_the_log(engine: Engine) -> None:
    """An idle store holds no snapshot: the log can be emptied while it is open."""

    async def story(store: Store) -> None:
        await store.save(intent(an_order()))
        await store.order(an_order().key)
        await store.orders(status=None, after=None, limit=1)
        busy, *_ = _inside(store)._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0

    engine.run(story)


def test_the_files_are_the_owners_alone(engine: Engine) -> None:
    """Database and log are readable by nobody else."""

    async def story(store: Store) -> None:
        await store.save(intent(an_order()))
        modes = {stat.S_IMODE(file.stat().st_mode) for file in engine.path.parent.iterdir()}
        assert modes == {0o600}

    engine.run(story)


def test_a_closed_store_leaves_one_file(engine: Engine) -> None:
    """After `close` the log is back in the database: one file to copy."""

    async def story(store: Store) -> None:
        await store.save(intent(an_order()))

    engine.run(story)
    assert [file.name for file in engine.path.parent.iterdir()] == ["paymux.db"]


def test_inline_uses_no_thread_and_memory() -> None:
    """For simulations: no thread, no file, and writes of one turn of the loop share a commit."""
    commits: list[str] = []

    async def story() -> None:
        before = threading.active_count()
        store = await open_store("sqlite:///:memory:", sealer=SEALER, clock=TurnedClock(), threaded=False)
        _inside(store)._writer.set_trace_callback(commits.append)
        assert all(await asyncio.gather(*(store.save(intent(an_order(n))) for n in range(20))))
        assert threading.active_count() == before
        assert await store.order(an_order(7).key) == an_order(7)
        await store.close()

    asyncio.run(story())
    assert commits.count("COMMIT") == 2  # the twenty, and the empty last one of close()


def test_whatever_waits_during_a_commit_shares_the_next(engine: Engine) -> None:
    """Adaptive: one alone is committed at once, those that come meanwhile together."""
    commits: list[str] = []

    async def story(store: Store) -> None:
        _inside(store)._writer.set_trace_callback(commits.append)
        first = asyncio.create_task(store.save(intent(an_order(0))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rest = [asyncio.create_task(store.save(intent(an_order(n)))) for n in range(1, 30)]
        assert all(await asyncio.gather(first, *rest))
        assert commits.count("COMMIT") == 2

    engine.run(story)


def test_pages_of_a_rare_status_use_their_index(engine: Engine) -> None:
    """No query of the hot tables walks through all of them."""
    from paymux.storage.queries import QUERIES  # noqa: PLC0415 - beside its only use

    async def story(store: Store) -> None:
        writer = _inside(store)._writer
        for name, query in QUERIES.items():
            if name.endswith("_table") or name in {"migrations_applied", "merchants"}:
                continue  # these are meant to be read whole
            plan = writer.execute(
                f"EXPLAIN QUERY PLAN {query.sql}", (None,) * query.sql.count("?")
            ).fetchall()
            assert not [row[3] for row in plan if row[3].startswith("SCAN")], name

    engine.run(story)


@pytest.mark.parametrize("dsn", ["mysql://u:canary@h/d", "", "sqlite:///"])
def test_an_unknown_dsn_is_refused_without_its_password(dsn: str) -> None:
    """The text names what is possible, and never repeats what may be a secret."""
    with pytest.raises(ConfigurationBroken, match="sqlite:///") as refused:
        asyncio.run(open_store(dsn, sealer=SEALER, clock=TurnedClock()))
    assert "canary" not in str(refused.value)


def test_memory_cannot_be_shared_with_a_thread() -> None:
    """A database in memory has one connection."""
    with pytest.raises(ConfigurationBroken):
        asyncio.run(open_store(":memory:", sealer=SEALER, clock=TurnedClock()))


def test_a_file_that_is_no_database_is_refused(engine: Engine) -> None:
    """Nor is one in a folder that does not exist; neither is touched."""
    engine.path.write_bytes(b"a letter to my aunt, and quite a long one\n" * 30)
    with pytest.raises(ConfigurationBroken, match=r"paymux\.db"):
        asyncio.run(engine.open())
    assert engine.path.read_bytes().startswith(b"a letter")
    nowhere = str(engine.path.parent / "nowhere" / "x.db")
    with pytest.raises(ConfigurationBroken, match="nowhere"):
        asyncio.run(open_store(nowhere, sealer=SEALER, clock=TurnedClock()))


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "#1.db", "数据.db"])
def test_any_file_name_will_do(engine: Engine, name: str) -> None:
    """The path is a path, not an address to be decoded."""
    path = engine.path.with_name(name)

    async def story() -> None:
        store = await open_store(
            f"sqlite:///{path}", sealer=SEALER, clock=TurnedClock(), threaded=engine.threaded
        )
        await store.close()

    asyncio.run(story())
    assert path.exists()


def test_a_loop_that_ends_early_loses_no_write(engine: Engine) -> None:
    """The waiter is cancelled and its loop closed at once: the store serves the next loop, write included."""
    order = an_order()
    store = asyncio.run(engine.open())

    async def hand_in() -> None:
        task = asyncio.create_task(store.save(intent(order)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def later() -> None:
        assert await store.save(intent(an_order(2)))
        assert await store.order(order.key) == order
        await store.close()

    asyncio.run(hand_in())
    asyncio.run(later())
