"""What a merchant's server is told: the flat order object, without envelope (upay-v2.md §11). Pure."""

import msgspec

from paymux.domain.order import Order, Transaction
from paymux.wire.upay_v2.replies import order_data

_JSON = msgspec.json.Encoder()


def order_body(order: Order, transaction: Transaction | None = None) -> bytes:
    """Return the notification's body, exactly as it is signed and sent.

    It has the fields an answer's `data` has (§4.3): of the newest movement, or of `transaction`.
    """
    return _JSON.encode(order_data(order, transaction))
