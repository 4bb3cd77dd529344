"""Where an order is, and when to look again: what every step of a flow returns."""

import msgspec

from paymux.domain.order import Order


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`look_ms`: epoch milliseconds of the next look, 0 when nothing is left to do."""

    order: Order
    look_ms: int = 0
