"""What the edges ask of the flows, read and checked: domain words only, whatever dialect it came in.

Amounts are fen. Texts are "" when not given. `detail` is canonical JSON text of what only a channel
understands (extended, goods_details, longitude, latitude, device_id), "" when there is none.
"""

import msgspec

from paymux.domain.order import Order, OrderStatus, Transaction
from paymux.domain.payways import SubPayway
from paymux.domain.people import Terminal


class PayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Barcode pay, B扫C (upay-v2.md §4)."""

    terminal: Terminal
    client_sn: str
    total: int
    dynamic_id: str
    subject: str
    payway: str = ""
    operator: str = ""
    description: str = ""
    reflect: str = ""
    notify_url: str = ""
    detail: str = ""


class PrecreateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """QR and front-end orders, C扫B (upay-v2.md §5)."""

    terminal: Terminal
    client_sn: str
    total: int
    payway: str
    subject: str
    sub_payway: SubPayway = SubPayway.QR
    payer_uid: str = ""
    operator: str = ""
    description: str = ""
    reflect: str = ""
    notify_url: str = ""
    detail: str = ""


class OrderRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which order is meant: sn first, then client_sn, under the terminal's merchant (upay-v2.md §6)."""

    terminal: Terminal
    sn: str = ""
    client_sn: str = ""


class RefundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Give `amount` fen back, once per refund_request_no (upay-v2.md §7.1)."""

    ref: OrderRef
    refund_request_no: str
    amount: int
    operator: str = ""


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The order as recorded, with the movement the answer is about (None: the pay itself).

    `before` is the status a cancel met: it decides between CANCEL_* and CANCEL_ABORT_*.
    """

    order: Order
    transaction: Transaction | None = None
    before: OrderStatus | None = None
