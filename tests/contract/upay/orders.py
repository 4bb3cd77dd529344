"""Orders as the printed examples describe them."""

from typing import Any

from msgspec.structs import replace

from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus

PAID_ORDER = Order(
    bucket=1,
    merchant_id="m",
    sn="7894259244067349",
    client_sn="12345677767776",
    store_sn="00293001928483902",
    terminal_sn="1122234-dewls02s2",
    account="a",
    channel="wechat",
    payway="3",
    sub_payway="1",
    total=1,
    paid=1,
    status=OrderStatus.PAID,
    digest="d",
    subject="达美乐披萨",
    operator="刘侃",
    trade_no="1006101016201512081965934048",
    payer_uid="okSzXt3uY4-W8fKBH7B4z8seMzBU",
    ctime_ms=1449569450000,
    deadline_ms=1449569495000,
    finish_ms=1449569460430,
    channel_finish_ms=1449569460000,
    latest_tsn="7894259244067349",
    latest_status=TransactionStatus.SUCCESS,
    latest_operator="刘侃",
    latest_client_tsn="12345677767776",
)
"""The order of the example 交易成功."""


def order(**changes: object) -> Order:
    """The paid order with these changes."""
    return replace(PAID_ORDER, **changes)


def refund_of(of: Order, **changes: object) -> Transaction:
    """A refund of all of the order, done."""
    usual: dict[str, Any] = {
        "bucket": of.bucket,
        "merchant_id": of.merchant_id,
        "sn": of.sn,
        "tsn": "7894259244067999",
        "kind": TransactionKind.REFUND,
        "status": TransactionStatus.SUCCESS,
        "amount": of.total,
        "operator": "ann",
        "refund_request_no": "001",
        "ctime_ms": 1449563206000,
        "finish_ms": 1449563206776,
        "channel_finish_ms": 1449563206632,
    }
    return Transaction(**(usual | changes))
