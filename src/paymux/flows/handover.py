"""A call's time is up: leave the rest to recovery, to be looked at when the call would have looked."""

from paymux.domain.order import OrderKey
from paymux.flows.desk import Desk
from paymux.storage.contract import DueKind

GRACE_MS = 5_000
"""Recovery leaves a fresh piece of work to the call that made it for the call's wait and this much longer."""


async def leave_to_recovery(desk: Desk, key: OrderKey, kind: DueKind, ref: str, *, look_ms: int) -> None:
    """Let the due row of that work run at `look_ms`; nothing happens when the work is settled."""
    for due in await desk.store.due_of(key):
        if due.kind is kind and due.ref == ref:
            await desk.store.put_off(due, run_at_ms=look_ms)
