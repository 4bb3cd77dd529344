"""The tables, as ORM classes, and the database they live in, every commit on the disk.

SQLite with a log, or PostgreSQL with a connection for each till of the load.
"""

from typing import ClassVar

from sqlalchemy import BigInteger, ForeignKey, Integer, Text, UniqueConstraint, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import ConnectionPoolEntry


class Base(DeclarativeBase):
    """What all tables share: numbers are wide enough for milliseconds."""

    type_annotation_map: ClassVar = {int: BigInteger().with_variant(Integer, "sqlite")}


class Terminal(Base):
    """One till and the key it signs with."""

    __tablename__ = "terminals"

    sn: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str]
    merchant_sn: Mapped[str]
    store_sn: Mapped[str]


class Order(Base):
    """One sale."""

    __tablename__ = "orders"
    __table_args__ = (UniqueConstraint("merchant_sn", "client_sn"),)

    sn: Mapped[str] = mapped_column(primary_key=True)
    merchant_sn: Mapped[str]
    client_sn: Mapped[str]
    store_sn: Mapped[str]
    terminal_sn: Mapped[str]
    payway: Mapped[str]
    sub_payway: Mapped[str]
    total: Mapped[int]
    refunded: Mapped[int] = mapped_column(default=0)
    status: Mapped[str] = mapped_column(default="CREATED")
    subject: Mapped[str]
    operator: Mapped[str]
    trade_no: Mapped[str] = mapped_column(default="")
    payer_uid: Mapped[str] = mapped_column(default="")
    bank_type: Mapped[str] = mapped_column(default="")
    ctime_ms: Mapped[int]
    finish_ms: Mapped[int] = mapped_column(default=0)
    channel_finish_ms: Mapped[int] = mapped_column(default=0)


class Transaction(Base):
    """One movement of an order's money."""

    __tablename__ = "transactions"

    tsn: Mapped[str] = mapped_column(primary_key=True)
    order_sn: Mapped[str] = mapped_column(ForeignKey("orders.sn"), index=True)
    kind: Mapped[str]
    status: Mapped[str] = mapped_column(default="CREATED")
    amount: Mapped[int]
    ctime_ms: Mapped[int]
    finish_ms: Mapped[int] = mapped_column(default=0)
    order: Mapped[Order] = relationship()


class Due(Base):
    """What a recovery job would pick up when this process dies."""

    __tablename__ = "due"

    order_sn: Mapped[str] = mapped_column(ForeignKey("orders.sn"), primary_key=True)
    run_at_ms: Mapped[int] = mapped_column(index=True)
    order: Mapped[Order] = relationship()


class Transcript(Base):
    """What was said between us and the wallet."""

    __tablename__ = "transcripts"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_sn: Mapped[str] = mapped_column(ForeignKey("orders.sn"), index=True)
    at_ms: Mapped[int]
    request: Mapped[str] = mapped_column(Text)
    response: Mapped[str] = mapped_column(Text)
    order: Mapped[Order] = relationship()


def open_engine(where: str) -> AsyncEngine:
    """Return the engine over a server's address or one SQLite file.

    A server gets a pool of connections; those of SQLite queue for the write lock for up to 30 s.
    """
    if where.startswith("postgresql://"):
        url = where.replace("postgresql://", "postgresql+asyncpg://", 1)
        return create_async_engine(url, pool_size=32, max_overflow=0)
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{where}", connect_args={"timeout": 30}, pool_size=5, max_overflow=0
    )
    event.listen(engine.sync_engine, "connect", _configure)
    return engine


def _configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
