"""Examples: requests as a till writes them, and answers as the gateway's own writer writes them."""

import json
from typing import Any

from msgspec.structs import replace

from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.domain.people import Merchant, Store, Terminal, bucket_of
from paymux.domain.requests import OrderAnswer
from paymux.wire.openapi import fields
from paymux.wire.upay_v2 import replies
from paymux.wire.upay_v2.replies import Answer
from paymux.wire.upay_v2.requests import CLIENT_SN_BYTES_MAX

_MERCHANT = Merchant(merchant_sn="1680000000000001", name="茶馆")
_STORE = Store(store_sn="1580000000000001", merchant_sn=_MERCHANT.merchant_sn, name="一号店")
_TERMINAL = Terminal(
    terminal_sn="100111220000000001",
    merchant_sn=_MERCHANT.merchant_sn,
    store_sn=_STORE.store_sn,
    current_key="7d1d5cb1d8a34ff1b1a8b3a3f3f0c1e2",
)
_SN, _TSN = "7024962095120384", "7024962095120385"
_PAID = Order(
    bucket=bucket_of(_MERCHANT.merchant_sn),
    merchant_id=_MERCHANT.merchant_sn,
    sn=_SN,
    client_sn="A1001",
    store_sn=_STORE.store_sn,
    terminal_sn=_TERMINAL.terminal_sn,
    account="alipay",
    channel="alipay",
    payway="1",
    sub_payway="1",
    total=100,
    paid=100,
    status=OrderStatus.PAID,
    digest="",
    subject="咖啡",
    operator="ann",
    trade_no="2026112122001690100240000020",
    payer_uid="2088187244000001",
    payer_login="buy***a@sandbox.example",
    payment_list='[{"type":"WALLET_ALIPAY","amount_total":100}]',
    ctime_ms=1_795_222_836_973,
    deadline_ms=0,
    finish_ms=1_795_222_836_976,
    channel_finish_ms=1_795_222_837_000,
    latest_tsn=_SN,
    latest_status=TransactionStatus.SUCCESS,
    latest_operator="ann",
    latest_client_tsn="A1001",
)
"""A coffee for one yuan."""


def _with(**change: object) -> Order:
    return replace(_PAID, **change)


_TO_SCAN = _with(
    payway="3",
    channel="wechat",
    sub_payway="2",
    status=OrderStatus.CREATED,
    paid=0,
    trade_no="",
    payer_uid="",
    payer_login="",
    payment_list="",
    qr_code="weixin://wxpay/bizpayurl?pr=1a2b3c",
    latest_status=TransactionStatus.CREATED,
)
_CANCELED = _with(status=OrderStatus.CANCELED, paid=0)
_REFUNDED = _with(status=OrderStatus.PARTIAL_REFUNDED, refunded=30)
_REFUND = Transaction(
    bucket=_PAID.bucket,
    merchant_id=_PAID.merchant_id,
    sn=_SN,
    tsn=_TSN,
    kind=TransactionKind.REFUND,
    status=TransactionStatus.SUCCESS,
    amount=30,
    operator="ann",
    refund_request_no="R1",
    ctime_ms=_PAID.ctime_ms,
    finish_ms=1_795_226_000_000,
    channel_finish_ms=1_795_226_000_000,
)


def _said(answer: Answer) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(answer.body)
    return said


_CANCELLED = _said(replies.cancel_answer(OrderAnswer(order=_CANCELED, before=OrderStatus.PAID)))
_IMAGE_URL = "https://pay.example/upay/qrcode?content=weixin%3A%2F%2Fwxpay%2Fbizpayurl%3Fpr%3D1a2b3c"

ORDER: dict[str, Any] = _said(replies.pay_answer(_PAID))["biz_response"]["data"]
"""The order as answers and notifications show it."""

ANSWERS = {
    "pay": _said(replies.pay_answer(_PAID)),
    "precreate": _said(replies.precreate_answer(_TO_SCAN, image_url=_IMAGE_URL)),
    "query": _said(replies.query_answer(OrderAnswer(order=_PAID))),
    "refund": _said(replies.refund_answer(OrderAnswer(order=_REFUNDED, transaction=_REFUND))),
    "cancel": _CANCELLED,
    "revoke": _CANCELLED,
    "activate": _said(replies.activate_answer(_TERMINAL, _MERCHANT, _STORE)),
    "checkin": _said(replies.checkin_answer(_TERMINAL, _MERCHANT, _STORE)),
    "uploadLog": _said(replies.upload_answer()),
}
"""Call → what the gateway says when all went well."""

REQUESTS = {
    "pay": fields.example(fields.pay_fields(CLIENT_SN_BYTES_MAX), "operator"),
    "precreate": fields.example(fields.precreate_fields(CLIENT_SN_BYTES_MAX), "sub_payway"),
    "query": fields.example(fields.QUERY_FIELDS, "terminal_sn", "client_sn"),
    "refund": fields.example(fields.REFUND_FIELDS, "client_sn"),
    "cancel": fields.example(fields.CANCEL_FIELDS, "client_sn"),
    "revoke": fields.example(fields.CANCEL_FIELDS, "client_sn"),
    "activate": fields.example(fields.ACTIVATE_FIELDS, "app_id"),
    "checkin": fields.example(fields.CHECKIN_FIELDS),
}
"""Call → a body with what is needed and what one usually sends."""
