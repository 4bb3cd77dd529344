"""Order: one sale, from the first wish to pay to the last fen given back.

Amounts are fen, times are epoch milliseconds (0 = not yet). Field names are the specification's
(upay-v2.md §4.3) where it has one. Records are frozen; `domain/judge.py` makes the next version.
"""

from enum import StrEnum

import msgspec


class OrderStatus(StrEnum):
    """Exactly the seeds' statuses (upay-v2.md §8.4). INVALID_STATUS_CODE is for readers only."""

    CREATED = "CREATED"
    PAID = "PAID"
    PAY_CANCELED = "PAY_CANCELED"
    PAY_ERROR = "PAY_ERROR"
    REFUNDED = "REFUNDED"
    PARTIAL_REFUNDED = "PARTIAL_REFUNDED"
    REFUND_INPROGRESS = "REFUND_INPROGRESS"
    REFUND_ERROR = "REFUND_ERROR"
    CANCELED = "CANCELED"
    CANCEL_INPROGRESS = "CANCEL_INPROGRESS"
    CANCEL_ERROR = "CANCEL_ERROR"


FINAL = frozenset(
    {
        OrderStatus.PAID,
        OrderStatus.PAY_CANCELED,
        OrderStatus.REFUNDED,
        OrderStatus.PARTIAL_REFUNDED,
        OrderStatus.CANCELED,
    }
)
"""What a client may stop polling on (upay-v2.md §8.4)."""

UNDONE = frozenset({OrderStatus.PAY_CANCELED, OrderStatus.CANCELED})
"""The client was told that the buyer's money is back or was never taken (promise M4)."""


class TransactionStatus(StrEnum):
    """Statuses of one movement, 流水状态 (upay-v2.md §8.5, DESIGN §4)."""

    CREATED = "CREATED"
    IN_PROG = "IN_PROG"
    SUCCESS = "SUCCESS"
    FAIL_CANCELED = "FAIL_CANCELED"
    FAIL_PROTOCOL_1 = "FAIL_PROTOCOL_1"
    FAIL_PROTOCOL_2 = "FAIL_PROTOCOL_2"
    FAIL_PROTOCOL_3 = "FAIL_PROTOCOL_3"
    FAIL_IO_1 = "FAIL_IO_1"
    FAIL_IO_2 = "FAIL_IO_2"
    FAIL_IO_3 = "FAIL_IO_3"
    FAIL_ERROR = "FAIL_ERROR"
    CANCEL_ERROR = "CANCEL_ERROR"
    REFUND_ERROR = "REFUND_ERROR"


class TransactionKind(StrEnum):
    """What a movement wants. `cancel`: the shop asked; `reverse` (冲正): we undo a pay we cannot resolve."""

    PAY = "pay"
    CANCEL = "cancel"
    REVERSE = "reverse"
    REFUND = "refund"
    LATE_REFUND = "late_refund"


class UndoBy(StrEnum):
    """How the channel takes an order back: reverse it, close the unpaid QR order, or refund what was paid."""

    REVERSE = "reverse"
    CLOSE = "close"
    REFUND = "refund"


class OrderKey(msgspec.Struct, frozen=True, order=True):
    """Where an order lives: every money table's key starts with bucket and merchant_id (DESIGN §7)."""

    bucket: int
    merchant_id: str
    sn: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to move an order's money (流水). `tsn` is also the refund number at the channel.

    `doubt_ms` is when the latest request for it went out whose end we do not know (0: none): as long as that
    one may still arrive, a refusal of another one decides nothing.
    """

    bucket: int
    merchant_id: str
    sn: str
    tsn: str
    kind: TransactionKind
    status: TransactionStatus
    amount: int
    operator: str = ""
    refund_request_no: str = ""
    undo_by: str = ""
    trade_no: str = ""
    error_code: str = ""
    error_message: str = ""
    ctime_ms: int
    finish_ms: int = 0
    channel_finish_ms: int = 0
    doubt_ms: int = 0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One sale.

    Three amounts tell where the buyer's money is: `paid` is what the wallet took and has not voided (0 or
    `total`), `refunded` what went back, `refunding` what is reserved for refunds under way. The database
    holds `refunded + refunding <= paid <= total` (promise M3).

    `undo_tsn` names the cancel or reverse under way, "" when there is none: once it is set the order can
    no longer become PAID by a mere success of the wallet. `digest` covers the content of the request that
    made the order (promise M7). `latest_*` describe the newest movement, so that one row answers a query.
    """

    bucket: int
    merchant_id: str
    sn: str
    client_sn: str
    store_sn: str
    terminal_sn: str
    account: str
    channel: str
    payway: str
    sub_payway: str
    currency: str = "CNY"
    digest: str
    subject: str
    description: str = ""
    operator: str = ""
    reflect: str = ""
    notify_url: str = ""
    detail: str = ""
    qr_code: str = ""
    wap_pay_request: str = ""
    undo_tsn: str = ""
    error_code: str = ""
    error_message: str = ""
    latest_tsn: str
    latest_kind: TransactionKind = TransactionKind.PAY
    latest_operator: str = ""
    latest_client_tsn: str = ""
    total: int
    ctime_ms: int
    deadline_ms: int
    asked_ms: int = 0
    refunded: int = 0
    refunding: int = 0
    paid: int = 0
    version: int = 1
    finish_ms: int = 0
    channel_finish_ms: int = 0
    status: OrderStatus = OrderStatus.CREATED
    latest_status: TransactionStatus = TransactionStatus.CREATED
    trade_no: str = ""
    payer_uid: str = ""
    payer_login: str = ""
    payment_list: str = ""

    @property
    def key(self) -> OrderKey:
        """The order's place in the database."""
        return OrderKey(self.bucket, self.merchant_id, self.sn)

    @property
    def net(self) -> int:
        """What the merchant keeps, in fen: total less refunds; 0 once the sale is undone (§13 no. 21)."""
        return 0 if self.status in UNDONE else self.total - self.refunded

    @property
    def refundable(self) -> int:
        """What may still be promised back, in fen."""
        return self.paid - self.refunded - self.refunding
