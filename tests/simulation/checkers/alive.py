"""How soon an uncertain payment became definite once nothing stood in its way any more (M1, goal G7)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.simulation.checkers.court import Court
from tests.simulation.checkers.kept import Kept

BOUND_S = 120
"""What 999 of a thousand keep."""
PATIENCE_S = 900
"""What all of them keep."""
_OWN_PACE_MS = {"wechat": 300_000, "alipay": 0}
"""WeChat's documents allow no close of a QR order before it is five minutes old: until then it may wait."""


@dataclass(frozen=True)
class Convergence:
    """`uncertain` payments had a fault or were undone; `late` of them took longer than the bound."""

    uncertain: int
    late: int
    slowest_s: int


def convergence(kept: Kept, troubles_ms: dict[str, int], healed_ms: int) -> Convergence:
    """Count the uncertain payments, and those that took longer than the bound."""
    took = [
        ms
        for sn, ms in _waits(kept, troubles_ms, healed_ms)
        if sn in troubles_ms or kept.orders[sn].was_undoing
    ]
    late = sum(ms > BOUND_S * 1000 for ms in took)
    return Convergence(len(took), late, max(took, default=0) // 1000)


def check_alive(court: Court, kept: Kept, troubles_ms: dict[str, int], healed_ms: int) -> None:
    """No payment whatever may stay open for long once nothing stands in its way."""
    for sn, took_ms in _waits(kept, troubles_ms, healed_ms):
        if took_ms > PATIENCE_S * 1000:
            court.breach("M1", (sn,), f"was definite only {took_ms // 1000} s after its last trouble")


def _waits(kept: Kept, troubles_ms: dict[str, int], healed_ms: int) -> Iterator[tuple[str, int]]:
    """From the last fault that touched an order, and from its own deadline, to its definite end, in ms."""
    for sn, order in kept.orders.items():
        if not order.definite_ms:
            continue
        pace_ms = _OWN_PACE_MS[order.channel] if order.sub_payway != "1" else 0
        troubled_ms = min(healed_ms, troubles_ms.get(sn, 0))
        free_ms = max(troubled_ms, order.deadline_ms, order.ctime_ms + pace_ms, order.begun_ms)
        yield sn, max(order.definite_ms - free_ms, 0)
