"""The error tree of the house. Names are facts in the past tense; the docstring is the message.

PaymuxError
├── RequestRefused            the caller asked for something we will not do; nothing was touched
│   ├── ClientSnConflict
│   ├── OrderNotFound
│   ├── PaywayNotServed
│   ├── BarcodeUnknown
│   ├── StateForbids
│   ├── RefundTooLarge
│   └── RefundRequestConflict
├── ConfigurationBroken       a setting, key or file is wrong; the text says what to do
└── StorageFailed             the database did not take the write: no money was moved for it
"""


class PaymuxError(Exception):
    """Something paymux can explain."""


class RequestRefused(PaymuxError):
    """The request was refused before anything was touched.

    `error_code` and the text are what a Upay client is told (upay-v2.md §8.3).
    """

    error_code = "FAIL"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class ClientSnConflict(RequestRefused):
    """The merchant used this client_sn before, for order `sn`.

    `field` names the first difference, "" when all is equal.
    """

    error_code = "CLIENT_SN_CONFLICT"

    def __init__(self, client_sn: str, *, field: str, sn: str) -> None:
        super().__init__(f"client_sn {client_sn} 在系统中已经存在")
        self.field = field
        self.sn = sn


class OrderNotFound(RequestRefused):
    """No such order under this merchant."""

    error_code = "UPAY_ORDER_NOT_EXISTS"

    def __init__(self) -> None:
        super().__init__("订单不存在")


class PaywayNotServed(RequestRefused):
    """The merchant has no channel account for this payway and sub_payway."""

    error_code = "UNEXPECTED_PROVIDER_ERROR"


class BarcodeUnknown(RequestRefused):
    """No wallet is known for this barcode."""

    error_code = "INVALID_BARCODE"

    def __init__(self) -> None:
        super().__init__("条码错误")


class StateForbids(RequestRefused):
    """The order's status does not allow this; `error_code` says which operation."""

    def __init__(self, error_code: str, text: str) -> None:
        super().__init__(text)
        self.error_code = error_code


class RefundTooLarge(RequestRefused):
    """More was asked back than is left."""

    error_code = "REFUNDABLE_AMOUNT_NOT_ENOUGH"

    def __init__(self) -> None:
        super().__init__("订单可退金额不足")


class RefundRequestConflict(RequestRefused):
    """This refund_request_no was used before with another amount."""

    error_code = "REFUND_REQUEST_CONFLICT"

    def __init__(self) -> None:
        super().__init__("重复的退款请求")


class ConfigurationBroken(PaymuxError):
    """A setting, key or file is wrong; the text says which one and what to do."""


class StorageFailed(PaymuxError):
    """The database did not take the write."""
