"""One sale as paymux itself wrote it, taken from its database: the model for pgbench and for old orders."""

import asyncpg
from msgspec.structs import replace

from bench.database import Database
from paymux.domain.judge import pay_movement
from paymux.domain.order import Order, OrderStatus, TransactionStatus
from paymux.storage import rows
from paymux.storage.contract import Due, DueKind
from paymux.storage.queries import POSTGRES_SQL, QUERIES
from paymux.storage.rows import Row

Statement = tuple[str, Row]
"""The name of a query, and its parameters."""

TABLES = ("orders", "transactions", "events", "notifications")
"""Where a settled order is kept; it has no due work any more."""


class Sale:
    """The rows of a sale, and the two commits that wrote them."""

    def __init__(self, order: Order, events: list[Row]) -> None:
        self.order = order
        self.first = replace(
            order,
            status=OrderStatus.CREATED,
            version=1,
            paid=0,
            trade_no="",
            payer_uid="",
            payer_login="",
            payment_list="",
            finish_ms=0,
            channel_finish_ms=0,
            latest_status=TransactionStatus.CREATED,
        )
        paid = pay_movement(order, TransactionStatus.SUCCESS, order.finish_ms)
        self.movement = rows.transaction_row(paid)
        self.due = rows.due_row(
            Due(
                bucket=order.bucket,
                merchant_id=order.merchant_id,
                ref=order.sn,
                kind=DueKind.RECOVER,
                sn=order.sn,
                run_at_ms=order.deadline_ms,
            )
        )
        self.events = events

    def intent(self) -> list[Statement]:
        """What the first commit writes, statement by statement."""
        return [
            ("insert_order", rows.order_row(self.first)),
            ("put_due", self.due),
        ]

    def outcome(self) -> list[Statement]:
        """What the second commit writes, likewise."""
        order = self.order
        return [
            ("update_order", rows.next_order_row(order, self.first)),
            ("put_transaction", self.movement),
            ("delete_due", (order.bucket, order.merchant_id, order.sn, DueKind.RECOVER.value)),
            *(("add_event", event) for event in self.events),
        ]


def newest(database: Database) -> Sale:
    """Read the newest order of a paymux that has just sold something without a notification."""

    async def read(connection: asyncpg.Connection) -> Sale:
        columns = columns_of("order_by_key")
        found = await connection.fetchrow(
            f"SELECT {columns} FROM orders WHERE notify_url = '' ORDER BY sn DESC LIMIT 1"  # noqa: S608 - our own columns
        )
        order = rows.order_of(tuple(found))
        events = await connection.fetch(
            POSTGRES_SQL["events_of_order"], order.bucket, order.merchant_id, order.sn
        )
        return Sale(order, [tuple(event) for event in events])

    return database.ask(read)


def columns_of(query: str) -> str:
    """The columns that a query of one table reads."""
    return QUERIES[query].sql.removeprefix("SELECT ").partition(" FROM ")[0]
