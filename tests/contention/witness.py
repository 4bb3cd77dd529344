"""A witness in the database: a trigger that writes down what really becomes of each row of due work.

It stands outside the product's tables and knows none of its queries. A row's changes wait for each other, so
the numbers it gives are in their true order.
"""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from tests.contention.journal import Holding
from tests.harness.postgres import fetch

_TABLE = """
CREATE TABLE witness (
    number BIGSERIAL PRIMARY KEY, at_ms BIGINT, ref TEXT, kind TEXT,
    old_run_at_ms BIGINT, old_attempts INTEGER, old_lease_ms BIGINT,
    run_at_ms BIGINT, attempts INTEGER, lease_ms BIGINT)
"""
_FUNCTION = """
CREATE FUNCTION bear_witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness (
        at_ms, ref, kind, old_run_at_ms, old_attempts, old_lease_ms, run_at_ms, attempts, lease_ms
    ) VALUES (
        floor(extract(epoch FROM clock_timestamp()) * 1000),
        coalesce(NEW.ref, OLD.ref), coalesce(NEW.kind, OLD.kind),
        OLD.run_at_ms, OLD.attempts, OLD.lease_until_ms, NEW.run_at_ms, NEW.attempts, NEW.lease_until_ms
    );
    RETURN NULL;
END $$
"""
_TRIGGER = """
CREATE TRIGGER bear_witness AFTER INSERT OR UPDATE OR DELETE ON due
FOR EACH ROW EXECUTE FUNCTION bear_witness()
"""


class Deed(StrEnum):
    """What a change of a row was."""

    LAID = "laid"
    CLAIMED = "claimed"
    PUT_OFF = "put_off"
    PUT_ANEW = "put_anew"
    DROPPED = "dropped"
    STRANGE = "strange"
    """None of these."""


class Seen(msgspec.Struct, frozen=True):
    """One change of a row. None: the row was not there before, or is not there after."""

    at_ms: int
    ref: str
    kind: str
    old_run_at_ms: int | None
    old_attempts: int | None
    old_lease_ms: int | None
    run_at_ms: int | None
    attempts: int | None
    lease_ms: int | None

    @property
    def deed(self) -> Deed:
        """What it was, by its columns alone."""
        if self.old_attempts is None:
            return Deed.LAID
        if self.attempts is None:
            return Deed.DROPPED
        if self.attempts == self.old_attempts + 1 and self.run_at_ms == self.old_run_at_ms and self.lease_ms:
            return Deed.CLAIMED
        if self.lease_ms:
            return Deed.STRANGE
        if self.attempts == self.old_attempts and self.attempts:
            return Deed.PUT_OFF
        return Deed.PUT_ANEW if self.attempts == 0 else Deed.STRANGE

    @property
    def before(self) -> Holding:
        """The turn that was on when it happened."""
        assert self.old_run_at_ms is not None
        assert self.old_attempts is not None
        return Holding(self.ref, self.kind, self.old_run_at_ms, self.old_attempts)

    @property
    def after(self) -> Holding:
        """The turn that is on since."""
        assert self.run_at_ms is not None
        assert self.attempts is not None
        return Holding(self.ref, self.kind, self.run_at_ms, self.attempts)


def call_witness(dsn: str) -> None:
    """Let everything that happens to due work be written down from now on."""
    for statement in (_TABLE, _FUNCTION, _TRIGGER):
        fetch(dsn, statement)


def forget_testimony(dsn: str) -> None:
    """Begin anew."""
    fetch(dsn, "TRUNCATE witness")


def testimony(dsn: str) -> Iterator[Seen]:
    """All of it, in the order in which it happened to each row."""
    columns = "at_ms, ref, kind, old_run_at_ms, old_attempts, old_lease_ms, run_at_ms, attempts, lease_ms"
    return (Seen(*row) for row in fetch(dsn, f"SELECT {columns} FROM witness ORDER BY number"))  # noqa: S608 - a constant
