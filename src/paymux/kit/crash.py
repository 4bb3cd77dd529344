"""Named places where a process can be told to die, to prove that another one finishes its work.

`PAYMUX_CRASH_AT=pay.after_send` kills the process with SIGKILL there, as a power cut would; `after_send`
alone means that place in every flow. Without the variable a point costs one comparison.
"""

import os
import signal

POINTS = tuple(
    f"{flow}.{place}"
    for flow in ("pay", "precreate", "undo", "refund", "notify")
    for place in ("after_intent", "after_send", "after_record")
)
"""Every place there is. `undo` covers cancel and reverse; `notify` has its intent in the order's commit."""


class CrashPoints:
    """Dies at one named place, or never."""

    def __init__(self, at: str = "") -> None:
        places = {point.partition(".")[2] for point in POINTS}
        if at and at not in POINTS and at not in places:
            message = f"no crash point is called {at!r}; there are {', '.join(POINTS)}"
            raise ValueError(message)
        self._at = at

    def __call__(self, point: str) -> None:
        """Die here if this is the place."""
        if self._at and (point == self._at or point.endswith("." + self._at)):
            os.kill(os.getpid(), signal.SIGKILL)
