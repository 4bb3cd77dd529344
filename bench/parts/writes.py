"""What one paid order with a notification writes: one order at a time, so that nobody shares a commit."""

from typing import NamedTuple

import asyncpg

from bench import load
from bench.database import Database, database
from bench.findings import Bench, Finding, drive
from bench.systems import paymux

_FIRST = 10
"""The life in which the tables are made; it is not counted."""
_FEW = 20
_MANY = 220

_STATS = """
SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       (SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables),
       pg_current_wal_lsn(), (SELECT wal_fpi FROM pg_stat_wal),
       (SELECT coalesce(sum(n_tup_ins + n_tup_upd), 0) FROM pg_stat_user_tables WHERE relname = 'nodes')
"""
_WAL_COMMITS = """
SELECT sum(count) FROM pg_get_wal_stats($1::pg_lsn, $2::pg_lsn, true)
WHERE "resource_manager/record_type" = 'Transaction/COMMIT'
"""


class _Written(NamedTuple):
    """What one life of a gateway wrote."""

    transactions: int
    rows: int
    wal_bytes: int
    commits: int
    images: int
    renewals: int


def measure(bench: Bench) -> list[Finding]:
    """Two lives of a gateway, one with more orders than the other: the difference is the orders' alone.

    A commit counts when it wrote something: the log has a record of it. `transactions` counts questions, too.
    A process renews its place every second, whatever is sold: these commits of one row are taken out.
    """
    home = bench.folder / "writes"
    home.mkdir()
    home.chmod(0o711)
    with database(home) as kept:
        kept.execute("CREATE EXTENSION pg_walinspect")
        _, few, many = (_life(bench, kept, count) for count in (_FIRST, _FEW, _MANY))
    orders = _MANY - _FEW
    each = {name: (getattr(many, name) - getattr(few, name)) / orders for name in _Written._fields}
    return [
        Finding(name="commits that write, per order", unit="", values=[each["commits"] - each["renewals"]]),
        Finding(name="transactions with the questions, per order", unit="", values=[each["transactions"]]),
        Finding(name="row writes per order", unit="", values=[each["rows"] - each["renewals"]]),
        Finding(name="log per order", unit="KB", values=[each["wal_bytes"] / 1024]),
        Finding(name="whole pages in the log, per order", unit="", values=[each["images"]]),
    ]


def _life(bench: Bench, kept: Database, count: int) -> _Written:
    """Statistics are whole when every connection is closed."""
    bench.say(f"writes: {count} orders")
    kept.execute("CHECKPOINT")  # each life pays for the whole pages that follow one
    before = kept.ask(_stats)
    with paymux(bench.folder, bench.bank, "postgres", kept=kept, name="writes") as program:
        url = f"{bench.bank.url}/merchant"
        drive(program, _one_by_one(program.url, count, url))
    after = kept.ask(_stats)
    commits = kept.row(_WAL_COMMITS, before[2], after[2])[0]
    return _Written(
        transactions=after[0] - before[0],
        rows=int(after[1]) - int(before[1]),
        wal_bytes=after[2] - before[2],
        commits=int(commits),
        images=after[3] - before[3],
        renewals=int(after[4]) - int(before[4]),
    )


async def _one_by_one(url: str, count: int, notify_url: str) -> load.Work:
    """Each order is told before the next one comes."""
    for number in range(count):
        done = await load.pay(
            url, count=1, concurrency=1, prefix=f"write-{count}-{number}", notify_url=notify_url
        )
        await load.pause(0.05)
    return done


async def _stats(connection: asyncpg.Connection) -> asyncpg.Record:
    await connection.execute("SELECT pg_stat_force_next_flush()")
    return await connection.fetchrow(_STATS)
