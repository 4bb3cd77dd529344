"""Many changes as one statement for PostgreSQL, made of the parts that have rows (queries.postgres.sql)."""

from collections.abc import Callable, Iterable
from typing import Any

from paymux.domain.order import OrderStatus, Transaction
from paymux.storage import rows
from paymux.storage.contract import Change, Due, DueKind
from paymux.storage.queries import POSTGRES_PARTS as PARTS
from paymux.storage.queries import numbered
from paymux.storage.rows import Row

_RowsOf = Callable[[Change], Iterable[Row]]


def together(changes: list[Change]) -> tuple[str, list[list[Any]]]:
    """SQL and its parameters for changes that are all about new orders, or all about later versions.

    The statement returns the keys of the orders whose guard held. Rows come in the order of keys: no two
    batches shall wait crosswise.
    """
    ordered = sorted(changes, key=order_of)
    if ordered[0].before is None:
        head, arrays, parts = "new_orders", [_new_orders(ordered)], _FIRST
    else:
        head, arrays, parts = "next_orders", _next_orders(ordered), _LATER
    names = [head]
    for name, rows_of, is_sorted in parts:
        found = [row for change in ordered for row in rows_of(change)]
        if found:
            names.append(name)
            arrays.append(sorted(found) if is_sorted else found)
    return statement(tuple(names)), arrays


def order_of(change: Change) -> Row:
    """The key of the order that a change is about."""
    return rows.key_row(change.order.key)


def _new_orders(changes: list[Change]) -> list[Any]:
    return [rows.order_row(change.order) for change in changes]


def _next_orders(changes: list[Change]) -> list[list[Any]]:
    """The orders, and the versions and statuses they must have had."""
    before = [change.before for change in changes if change.before is not None]
    return [_new_orders(changes), [one.version for one in before], [one.status.value for one in before]]


def _new_movements(change: Change) -> Iterable[Row]:
    """Movements that cannot be there yet."""
    return [rows.transaction_row(one) for one in change.transactions if _is_first(change, one)]


def _movements(change: Change) -> Iterable[Row]:
    """The others, which may be known and written anew."""
    return [rows.transaction_row(one) for one in change.transactions if not _is_first(change, one)]


def _is_first(change: Change, movement: Transaction) -> bool:
    """Whether a movement is a pay of which nothing was known: it is written with the first word about it.

    Were that wrong, the server would refuse the batch, and each change be written alone, over what is there.
    """
    before = change.before
    waited = before is None or (before.status is OrderStatus.CREATED and not before.undo_tsn)
    return waited and movement.tsn == movement.sn


def _done(change: Change) -> Iterable[Row]:
    """What is done and not put anew in the same change: one statement cannot delete a row and write it."""
    put = {(one.ref, one.kind) for one in change.due}
    return [_ended(change, ref, kind) for ref, kind in change.done if (ref, kind) not in put]


def _ended(change: Change, ref: str, kind: DueKind) -> Row:
    order = change.order
    return (order.bucket, order.merchant_id, ref, kind.value, order.sn, 0, 0, 0)


def _new_work(change: Change) -> Iterable[Row]:
    """Due rows that cannot be there yet."""
    return [rows.due_row(due) for due in change.due if _is_new(change, due)]


def _work(change: Change) -> Iterable[Row]:
    """The others, which may be known and put anew."""
    return [rows.due_row(due) for due in change.due if not _is_new(change, due)]


def _is_new(change: Change, due: Due) -> bool:
    """Whether due work is about a new order or a new message."""
    return change.before is None or any(due.ref == note.notification_id for note in change.notifications)


def _history(change: Change) -> Iterable[Row]:
    return [rows.event_row(event) for event in change.events]


def _messages(change: Change) -> Iterable[Row]:
    return [rows.notification_row(note) for note in change.notifications]


_LATER: tuple[tuple[str, _RowsOf, bool], ...] = (
    ("new_movements", _new_movements, False),
    ("movements", _movements, False),
    ("done", _done, True),
    ("new_due", _new_work, True),
    ("due", _work, True),
    ("history", _history, False),
    ("messages", _messages, False),
)
"""Part, its rows, and whether they have keys of their own to be sorted by."""
_FIRST: tuple[tuple[str, _RowsOf, bool], ...] = (
    ("new_movements", _new_movements, False),
    ("movements", _movements, False),
    ("new_due", _new_work, True),
    ("history", _history, False),
    ("messages", _messages, False),
)


_STATEMENTS: dict[tuple[str, ...], str] = {}


def statement(names: tuple[str, ...]) -> str:
    """The parts of these names as one statement; the first says which guards held."""
    known = _STATEMENTS.get(names)
    if known is None:
        parts = ", ".join(f"{name} AS ({PARTS[name]})" for name in names[1:])
        comma = ", " if parts else ""
        sql = f"WITH held AS ({PARTS[names[0]]}){comma}{parts} SELECT bucket, merchant_id, sn FROM held"  # noqa: S608 - our own parts
        known = _STATEMENTS[names] = numbered(sql)
    return known
