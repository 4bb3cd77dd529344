"""What nobody disturbed must be a sale: a gateway that undoes everything would break no other promise."""

from tests.simulation.checkers.court import Court
from tests.simulation.checkers.kept import STANDS, Kept
from tests.simulation.checkers.sent import SentChecker

_PLAIN = frozenset({"00", "01", "16", "17", "18"})
"""Scripts whose buyer pays in time, and whose first messages arrive as they are."""


def check_happy(court: Court, kept: Kept, sent: SentChecker, *, undisturbed: bool) -> None:
    """An order nobody cancelled, whose buyer paid, ends as a sale.

    `undisturbed`: on such a day no process died and no disk was slow; else only what was recorded counts.
    """
    if not undisturbed:
        return
    for sn, order in kept.orders.items():
        key = (order.merchant, order.client_sn)
        sales = sent.asked.get(key, [])
        script = sales[0].barcode[-2:] if sales and sales[0].barcode else ""
        if script not in _PLAIN or sn in sent.troubles_ms or key in sent.cancels_asked:
            continue
        court.holds(
            order.status in STANDS, "M2", (sn,), "script {} and nothing in the way, {}", script, order.status
        )
