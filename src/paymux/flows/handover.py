"""Who looks after an order when: the call that made it, its message's teller, then recovery."""

from paymux.domain.order import Order, OrderKey, OrderStatus
from paymux.domain.payways import SubPayway
from paymux.flows.desk import Desk
from paymux.storage.contract import Due, DueKind

GRACE_MS = 5_000
"""Recovery leaves a fresh piece of work to the call that made it for the call's wait and this much longer."""


def work_ref(order: Order) -> str:
    """The `ref` of the row that keeps an unsettled order from being forgotten.

    It is the sale's own, which the intent put; of an order that was settled before, its undo's, for a message
    may stand under the sale's yet.
    """
    return order.undo_tsn if order.finish_ms else order.sn


def is_under_sale(work: Due) -> bool:
    """Whether work to tell a message has no row of its own, but stands under its sale's (flows/record.py)."""
    return work.ref == work.sn


def sale_row_stands(desk: Desk, order: Order, now_ms: int) -> bool:
    """Whether the row that a barcode pay's intent put can serve for its message as well (decision 21).

    It can as long as recovery is not meant to look after the order, and for long enough to tell the merchant.
    Where the row was put to an earlier time, recovery leaves the teller his (workers/recovery.py).
    """
    runs_ms = order.ctime_ms + desk.limits.pay_wait_s * 1000 + GRACE_MS
    fresh = order.status is OrderStatus.CREATED and order.sub_payway == SubPayway.BARCODE
    return fresh and runs_ms - now_ms >= desk.limits.notify_timeout_s * 1000


async def leave_to_recovery(desk: Desk, key: OrderKey, kind: DueKind, ref: str, *, look_ms: int) -> None:
    """Let the due row of that work run at `look_ms`, if it is still there.

    A call's time is up: recovery goes on when the call would have.
    """
    for due in await desk.store.due_of(key):
        if due.kind is kind and due.ref == ref:
            await desk.store.put_off(due, run_at_ms=look_ms)
