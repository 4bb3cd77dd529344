"""Migrations add up to schema.sql, survive a kill and never run backwards; every query is in use."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from paymux.domain.errors import ConfigurationBroken, StorageFailed
from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.storage.contract import Due, DueKind, Event, Notification, NotificationStatus, Store
from paymux.storage.migrate import Migration, migrations, pending, statements
from paymux.storage.queries import QUERIES, load
from paymux.storage.sqlite import SqliteStore
from tests.contract.storage.conftest import SEALER, Engine
from tests.contract.storage.makers import TurnedClock, an_order, intent

STORAGE = files("paymux.storage")


@pytest.fixture
def engine(sqlite_engine: Engine) -> Engine:
    """SQLite only."""
    return sqlite_engine


def _schema(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: " ".join(re.sub(r"--.*", "", sql).split()) for name, sql in found if name != "migrations"}


async def _nothing(_store: object) -> None:
    return None


def test_schema_sql_is_what_the_migrations_add_up_to(engine: Engine, tmp_path: Path) -> None:
    """A reader of schema.sql sees the database as it is."""
    engine.run(_nothing)
    with closing(sqlite3.connect(tmp_path / "schema.db")) as database:
        database.executescript(STORAGE.joinpath("schema.sql").read_text("utf-8"))
    assert _schema(engine.path) == _schema(tmp_path / "schema.db")


def test_migrations_are_numbered_without_gaps() -> None:
    """1, 2, 3 …, each with at least one statement."""
    assert [one.number for one in migrations()] == list(range(1, len(migrations()) + 1))
    assert all(one.statements for one in migrations())


def test_the_dialect_is_the_portable_one() -> None:
    """Neither migrations nor queries use what only one engine has."""
    texts = [text for one in migrations() for text in one.statements]
    sql = " ".join([re.sub(r"--.*", "", text) for text in texts] + [query.sql for query in QUERIES.values()])
    for word in ("now()", "random()", "for update", "serial", "autoincrement", "datetime(", "rowid", "real"):
        assert word not in sql.lower(), word
    kinds = re.findall(r"^ {4}\w+ +(TEXT|BIGINT|INTEGER|\w+) +NOT NULL", "\n".join(texts), re.MULTILINE)
    assert set(kinds) == {"TEXT", "BIGINT", "INTEGER"}


def test_bucket_and_merchant_are_part_of_every_key_of_the_money_path(engine: Engine) -> None:
    """Primary, unique and foreign keys can all be held by one shard (DESIGN §7)."""
    engine.run(_nothing)
    with closing(sqlite3.connect(engine.path)) as database:
        for table in ("orders", "transactions", "events", "due", "notifications"):
            for _, index, unique, *_ in database.execute(f"PRAGMA index_list({table})").fetchall():
                columns = [row[2] for row in database.execute(f"PRAGMA index_info({index})")]
                assert not unique or columns[-2:] == ["merchant_id", "bucket"], index
            keys = database.execute(f"PRAGMA foreign_key_list({table})").fetchall()
            held = ["merchant_id", "bucket"] if table == "transactions" else []
            assert [key[3] for key in keys][-2:] == held


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("orders", "status", OrderStatus),
        ("transactions", "status", TransactionStatus),
        ("transactions", "kind", TransactionKind),
        ("due", "kind", DueKind),
        ("notifications", "status", NotificationStatus),
    ],
)
def test_the_database_knows_every_value(
    engine: Engine, table: str, column: str, values: type[OrderStatus]
) -> None:
    """The values a CHECK allows are exactly the domain's."""
    engine.run(_nothing)
    allowed = re.findall(rf"\b{column} = '(\w+)'", _schema(engine.path)[table])
    assert sorted(allowed) == sorted(value.value for value in values)


@pytest.mark.parametrize(
    ("query", "record"),
    [
        ("order_by_key", Order),
        ("transaction_by_tsn", Transaction),
        ("events_of_order", Event),
        ("due_of_order", Due),
        ("notifications_of_order", Notification),
    ],
)
def test_columns_stand_in_the_order_of_the_records(query: str, record: type[Order]) -> None:
    """rows.py reads by position: a query names the record's fields, all of them, in their order."""
    columns = QUERIES[query].sql.removeprefix("SELECT ").split(" FROM ")[0].split(", ")
    assert tuple(columns) == record.__struct_fields__


def test_every_query_is_used() -> None:
    """A query nobody asks is dead weight."""
    code = "".join(file.read_text("utf-8") for file in STORAGE.iterdir() if file.name.endswith(".py"))
    assert [name for name in QUERIES if f'"{name}"' not in code] == []


def test_every_query_is_valid(engine: Engine) -> None:
    """Each compiles against the schema, with as many parameters as it has question marks."""
    engine.run(_nothing)
    with closing(sqlite3.connect(engine.path)) as database:
        for name, query in QUERIES.items():
            database.execute(f"EXPLAIN {query.sql}", (None,) * query.sql.count("?"))
            assert query.description, name


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a\nSELECT 1;",
        "-- name: a\n-- A.\n",
        "-- name: a\n-- A.\nSELECT 1;\n-- name: a\n-- B.\nSELECT 2;",
    ],
)
def test_a_query_without_words_or_name_is_refused(text: str) -> None:
    """No description, no SQL, or a name used twice."""
    with pytest.raises(ValueError, match="a must have"):
        load(text)


def test_a_database_of_other_tables_is_refused(engine: Engine) -> None:
    """Before the first release columns stood in another order, and batches go by their position."""
    engine.run(_nothing)
    with closing(sqlite3.connect(engine.path)) as database, database:
        database.execute("UPDATE migrations SET name = 'orders' WHERE number = 1")
    with pytest.raises(ConfigurationBroken, match=r"0001_orders.*another one"):
        engine.run(_nothing)


def test_a_newer_database_is_refused_untouched(engine: Engine) -> None:
    """The text says what to do; the older code writes nothing."""
    engine.run(_nothing)
    with closing(sqlite3.connect(engine.path)) as database, database:
        database.execute("INSERT INTO migrations VALUES (999, 'tomorrow', 0)")
    before = engine.path.read_bytes()
    with pytest.raises(ConfigurationBroken, match=r"0999_tomorrow.*newer one.*backup"):
        asyncio.run(engine.open())
    assert engine.path.read_bytes() == before


def test_pending_is_what_is_left() -> None:
    """Forward only: known and not yet applied, in order; a renamed one is another one."""
    one, two = (Migration(number=n, name=f"n{n}", statements=("x",)) for n in (1, 2))
    assert pending((one, two), []) == (one, two)
    assert pending((one, two), [(1, "n1")]) == (two,)
    with pytest.raises(ConfigurationBroken):
        pending((one, two), [(1, "other")])


def test_statements_end_where_a_line_ends_with_a_semicolon() -> None:
    """Comments stay with the statement they explain."""
    assert statements("-- A.\nCREATE TABLE a (b);\n\nCREATE\nTABLE c;  \n-- end\n") == (
        "-- A.\nCREATE TABLE a (b)",
        "CREATE\nTABLE c",
        "-- end",
    )


BROKEN = Migration(
    number=len(migrations()) + 1,
    name="half",
    statements=("CREATE TABLE half (a TEXT)", "INSERT INTO half VALUES ('x')", "CREATE nonsense"),
)


def test_a_failing_migration_leaves_nothing_and_can_be_repeated(engine: Engine) -> None:
    """All or nothing; the next start, with a better paymux, does it again."""
    with pytest.raises(StorageFailed):
        SqliteStore(engine.dsn, sealer=SEALER, clock=TurnedClock(), known=(*migrations(), BROKEN))
    assert "half" not in _schema(engine.path)
    whole = Migration(number=BROKEN.number, name="half", statements=BROKEN.statements[:2])
    SqliteStore(engine.dsn, sealer=SEALER, clock=TurnedClock(), known=(*migrations(), whole))
    assert "half" in _schema(engine.path)


KILLED = """
import os, signal, sqlite3, sys
from paymux.kit.clock import SystemClock
from paymux.kit.seal import Sealer
from paymux.storage import sqlite
number = int(sys.argv[2])
plain = sqlite._opened
def opened(path):
    connection = plain(path)
    seen = [0]
    def trace(statement):
        seen[0] += 1
        if seen[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
    connection.set_trace_callback(trace)
    return connection
sqlite._opened = opened
sqlite.SqliteStore(sys.argv[1], sealer=Sealer(b"k" * 32), clock=SystemClock(), threaded=False)
"""


@pytest.mark.parametrize("statement", [2, 4, 6, 9, 12, 15, 18, 21, 24, 26])
def test_a_migration_killed_anywhere_is_done_by_the_next_start(engine: Engine, statement: int) -> None:
    """Kill -9 at a statement of the first start: the second start ends with the whole schema."""
    command = [sys.executable, "-c", KILLED, engine.dsn, str(statement)]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    order = an_order()

    async def story(store: Store) -> None:
        assert await store.save(intent(order))

    engine.run(story)
    with closing(sqlite3.connect(engine.path)) as database:
        applied = database.execute("SELECT number FROM migrations ORDER BY number").fetchall()
        assert [number for (number,) in applied] == [one.number for one in migrations()]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
