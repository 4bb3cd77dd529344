"""Old orders by the million: copies of a real sale in all its tables, as if made one after the other."""

import asyncpg

from bench.database import Database
from bench.sale import TABLES

_STEP = 100_000
_GAP_MS = 40
"""Between two old orders: what a shop at 25 sales a second makes."""


class Stock:
    """A database with so many settled orders; `order` names any of them."""

    def __init__(self, first_sn: int, size: int) -> None:
        self._first_sn = first_sn
        self.size = size

    def order(self, number: int) -> tuple[str, str]:
        """The client_sn and sn of an order, from 0 to `size` - 1."""
        return f"stock-{number}", str(self._first_sn + number)


def load(database: Database, size: int) -> Stock:
    """Fill the database with copies of its newest order that was told to the merchant, then tidy it up.

    Foreign keys and triggers are looked at when an order is sold, not here; every index is kept.
    """

    async def fill(connection: asyncpg.Connection) -> int:
        model = await connection.fetchval(
            "SELECT sn FROM orders WHERE notify_url <> '' ORDER BY sn DESC LIMIT 1"
        )
        first = int(model) - size - 1_000
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("SET synchronous_commit = off")
        for table in TABLES:
            columns = await connection.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0"
                " AND NOT attisdropped ORDER BY attnum",
                table,
            )
            copied = _copied(table, [row[0] for row in columns], size)
            for start in range(0, size, _STEP):
                last = min(start + _STEP, size) - 1
                await connection.execute(copied, model, first, start, last)
        return first

    first = database.ask(fill)
    database.execute("VACUUM (ANALYZE, PARALLEL 0)", "CHECKPOINT")
    return Stock(first, size)


def _copied(table: str, columns: list[str], size: int) -> str:
    """An INSERT of numbers $3 to $4 of one table, from the rows of order $1; $2 is the first new sn."""
    sn = "($2::bigint + g)::text"
    later_ms = f"- ({size} - g) * {_GAP_MS}"
    made = {
        "sn": sn,
        "tsn": sn,
        "latest_tsn": sn,
        "client_sn": "'stock-' || g",
        "latest_client_tsn": "'stock-' || g",
        "digest": "md5(g::text)",
        "trade_no": f"substr(r.trade_no || {sn}, 17, 28)",
        "event_id": f"{sn} || substr(r.event_id, 17)",
        "notification_id": f"{sn} || substr(r.notification_id, 17)",
    }
    made |= {name: f"r.{name} {later_ms}" for name in columns if name.endswith("_ms") and name in _TIMES}
    values = ", ".join(made.get(name, f"r.{name}") for name in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}"  # noqa: S608 - all names are ours
        f" FROM {table} AS r, generate_series($3::bigint, $4::bigint) AS g WHERE r.sn = $1 ORDER BY g"
    )


_TIMES = frozenset({"ctime_ms", "deadline_ms", "finish_ms", "channel_finish_ms", "at_ms", "last_ms"})
