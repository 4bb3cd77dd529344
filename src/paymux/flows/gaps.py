"""How long to wait before trying again, from how long we have been trying: no counters to keep or lose."""

from paymux.domain.limits import Limits

_DAY_MS = 86_400_000


def quick_gap_ms(gaps_s: tuple[int, ...], waited_ms: int) -> int:
    """The channel's gap that belongs to this much waiting: walk its gaps until they exceed it."""
    passed_ms = 0
    for gap_s in gaps_s:
        passed_ms += gap_s * 1000
        if passed_ms > waited_ms:
            return gap_s * 1000
    return gaps_s[-1] * 1000


def slow_gap_ms(limits: Limits, since_ms: int, now_ms: int) -> int:
    """The gap of what quick attempts could not settle: never given up, only rarer (DESIGN §4)."""
    gap_s = limits.slow_gap_s if now_ms - since_ms < _DAY_MS else limits.grave_gap_s
    return gap_s * 1000
