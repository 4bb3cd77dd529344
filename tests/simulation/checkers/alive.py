"""How soon an uncertain payment became definite once nothing stood in its way any more (M1, goal G7)."""

from dataclasses import dataclass

from tests.simulation.checkers.kept import Kept

BOUND_S = 120
_OWN_PACE_MS = {"wechat": 300_000, "alipay": 0}
"""WeChat's documents allow no close of a QR order before it is five minutes old: until then it may wait."""


@dataclass(frozen=True)
class Convergence:
    """`uncertain` payments had a fault or were undone; `late` of them took longer than the bound."""

    uncertain: int
    late: int
    slowest_s: int
    late_sns: tuple[str, ...] = ()


def convergence(kept: Kept, troubles_ms: dict[str, int], healed_ms: int) -> Convergence:
    """Measure from the last fault that touched the order, and from its own deadline, to its definite end."""
    uncertain = slowest_ms = 0
    late: list[str] = []
    for sn, order in kept.orders.items():
        if not order.definite_ms or (sn not in troubles_ms and not order.was_undoing):
            continue
        uncertain += 1
        pace_ms = _OWN_PACE_MS[order.channel] if order.sub_payway != "1" else 0
        free_ms = max(min(healed_ms, troubles_ms.get(sn, 0)), order.deadline_ms, order.ctime_ms + pace_ms)
        took_ms = max(order.definite_ms - free_ms, 0)
        slowest_ms = max(slowest_ms, took_ms)
        if took_ms > BOUND_S * 1000:
            late.append(sn)
    return Convergence(uncertain, len(late), slowest_ms // 1000, tuple(late))
