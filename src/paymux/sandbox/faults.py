"""Faults: one-off ones armed by a tester, and how a fault spoils a reply."""

from __future__ import annotations

import msgspec

from paymux.sandbox.messages import Reply
from paymux.sandbox.scripts import Fault

SLOW_MS = 8_000
ARMED_MAX = 1_000
#: What a tester may arm: the faults of the road, not those of the wallet's mind.
ARMABLE = (
    Fault.LOST_REPLY,
    Fault.LOST_REQUEST,
    Fault.HTTP_500,
    Fault.GARBAGE,
    Fault.BAD_SIGN,
    Fault.SLOW,
)
_NOT_A_REPLY = b'\x1f\x8b<!-- \xff\xfe gateway busy: 5\x00{"code":10'
_SERVER_ERROR = b"<html><head><title>500 Internal Server Error</title></head><body>500</body></html>"


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A fault about to hit one call."""

    fault: Fault
    slow_ms: int = SLOW_MS


class Armed(msgspec.Struct, kw_only=True):
    """A fault waiting for its call; an empty number or operation matches any."""

    fault: Fault
    operation: str = ""
    out_trade_no: str = ""
    slow_ms: int = SLOW_MS
    times: int = 1


class FaultBox:
    """The armed faults, first come first hit."""

    def __init__(self) -> None:
        """Start unarmed."""
        self.armed: list[Armed] = []

    def arm(self, fault: Armed) -> None:
        """Arm one fault; the oldest goes when there are too many."""
        self.armed = [*self.armed, fault][-ARMED_MAX:]

    def take(self, operation: str, out_trade_no: str) -> Trouble | None:
        """Return the fault that hits this call, used up once."""
        for fault in self.armed:
            if fault.operation in ("", operation) and fault.out_trade_no in ("", out_trade_no):
                fault.times -= 1
                self.armed = [other for other in self.armed if other.times > 0]
                return Trouble(fault=fault.fault, slow_ms=fault.slow_ms)
        return None


def spoil(reply: Reply, trouble: Trouble | None) -> Reply:
    """Return the reply as the fault leaves it; signatures and codes are the wallet's own affair."""
    match trouble.fault if trouble else None:
        case Fault.LOST_REPLY | Fault.LOST_REQUEST:
            return msgspec.structs.replace(reply, lost=True, body=b"")
        case Fault.HTTP_500:
            return Reply(status=500, headers={"content-type": "text/html"}, body=_SERVER_ERROR)
        case Fault.GARBAGE:
            return msgspec.structs.replace(reply, body=_NOT_A_REPLY)
        case Fault.SLOW if trouble:
            return msgspec.structs.replace(reply, delay_ms=trouble.slow_ms)
    return reply
