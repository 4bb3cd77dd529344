"""Named places where a process can be told to die, to prove that another one finishes its work.

`PAYMUX_CRASH_AT=pay.after_send` kills the process with SIGKILL there, as a power cut would; `after_send`
alone means that place in every flow, `pay.after_send:7` its seventh visit. Without the variable a point costs
one comparison.
"""

import os
import re
import signal

POINTS = tuple(
    f"{flow}.{place}"
    for flow in ("pay", "precreate", "undo", "refund", "notify")
    for place in ("after_intent", "after_send", "after_record")
)
"""Every place there is. `undo` covers cancel and reverse; `notify` has its intent in the order's commit."""
_AT = re.compile(r"(?P<place>[a-z_.]+)(:(?P<visit>[1-9][0-9]{0,8}))?", re.ASCII)


class CrashPoints:
    """Dies at one visit to one named place, or never."""

    def __init__(self, at: str = "") -> None:
        found = _AT.fullmatch(at)
        place = found["place"] if found else at
        if at and (found is None or place not in {*POINTS, *(point.partition(".")[2] for point in POINTS)}):
            message = (
                f"no crash point is called {at!r}; there are {', '.join(POINTS)}, each with or without :7"
            )
            raise ValueError(message)
        self._at = place
        self._visits_left = int(found["visit"] or 1) if found else 0

    def __call__(self, point: str) -> None:
        """Die here if this is the place, and the visit."""
        if self._at and (point == self._at or point.endswith("." + self._at)):
            self._visits_left -= 1
            if not self._visits_left:
                os.kill(os.getpid(), signal.SIGKILL)
