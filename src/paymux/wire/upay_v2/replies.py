"""What callers are told: the strict writer. Every value is text but payment_list and a caller's `reflect`.

Fields as in upay-v2.md §4.3; what is not known yet is "" (§13 no. 19), error fields are "" on success
(no. 24), and `data` is left out when there is no order: null breaks two official clients (§2).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from paymux.domain.order import (
    FINAL,
    Order,
    OrderStatus,
    Transaction,
    TransactionKind,
    TransactionStatus,
)
from paymux.domain.outcome import Payment
from paymux.domain.payways import PAYWAY_NAMES, SubPayway
from paymux.domain.people import Merchant, Store, Terminal
from paymux.domain.requests import OrderAnswer
from paymux.wire.upay_v2.codes import CALL_ERRORS, ResultCode, biz_text
from paymux.wire.upay_v2.requests import REFLECT_MARK

_JSON = msgspec.json.Encoder()
_PAYMENTS = msgspec.json.Decoder(list[Payment])


class Answer(NamedTuple):
    """A reply: `outcome` is the code that counts in the metrics, `body` what is sent."""

    outcome: str
    body: bytes


# -- answers about orders


def pay_answer(order: Order) -> Answer:
    """A barcode pay came to this (§4)."""
    return _about(order, _PAY[order.status], order_data(order))


def precreate_answer(order: Order, *, image_url: str) -> Answer:
    """A precreate came to this (§5). `image_url` + urlencoded qr_code shows the code as a picture."""
    data = order_data(order)
    payable = order.status is OrderStatus.CREATED and not order.undo_tsn
    ready = payable and bool(order.qr_code or order.wap_pay_request)
    result = ResultCode.PRECREATE_SUCCESS if ready else _PRECREATE[order.status]
    if result is ResultCode.PRECREATE_SUCCESS:
        data["qr_code"] = order.qr_code
        if order.qr_code:
            data["qr_code_image_url"] = image_url
        if order.wap_pay_request:
            data["wap_pay_request"] = order.wap_pay_request
    return _about(order, result, data)


def query_answer(answer: OrderAnswer) -> Answer:
    """SUCCESS whatever the order's state: that is in data.order_status (§6)."""
    return _biz(ResultCode.SUCCESS, data=order_data(answer.order, answer.transaction))


def cancel_answer(answer: OrderAnswer) -> Answer:
    """A cancel or revoke came to this; ABORT when it met a payment under way (§7.2)."""
    results = _ABORT if answer.before in _UNDER_WAY else _CANCEL
    return _about(answer.order, results[answer.order.status], order_data(answer.order))


def refund_answer(answer: OrderAnswer) -> Answer:
    """A refund came to this (§7.1); an equal repeat is told the same again (§13 no. 8)."""
    order, refund = answer.order, answer.transaction
    data = order_data(order, refund)
    if refund is None or refund.status in {TransactionStatus.CREATED, TransactionStatus.IN_PROG}:
        return _biz(ResultCode.REFUND_IN_PROGRESS, data=data)
    if refund.status is TransactionStatus.SUCCESS:
        return _biz(ResultCode.REFUND_SUCCESS, data=data)
    code, text = refund.error_code, biz_text(refund.error_code, refund.error_message)
    if code:
        return _biz(ResultCode.REFUND_FAIL, error_code=code, error_message=text, data=data)
    unsure = biz_text("TRADE_FAILED", "退款结果未知，系统会继续处理")
    return _biz(ResultCode.REFUND_ERROR, error_code="TRADE_FAILED", error_message=unsure, data=data)


def refusal_answer(error_code: str, text: str, order: Order | None = None) -> Answer:
    """Refused before anything was touched: FAIL, with the order it is about when there is one."""
    data = order_data(order) if order is not None else None
    message = text or biz_text(error_code, "")
    answer = _biz(ResultCode.FAIL, error_code=error_code, error_message=message, data=data)
    return answer._replace(outcome=error_code)


# -- answers about terminals


def activate_answer(terminal: Terminal, merchant: Merchant | None, shop: Store | None) -> Answer:
    """The new terminal and its key (§3.1)."""
    return _terminal_answer(ResultCode.ACTIVATE_SUCCESS, terminal, merchant, shop)


def checkin_answer(terminal: Terminal, merchant: Merchant | None, shop: Store | None) -> Answer:
    """The terminal's new key (§3.2)."""
    return _terminal_answer(ResultCode.TERMINAL_CHECKIN_SUCCESS, terminal, merchant, shop)


def upload_answer() -> Answer:
    """A terminal's log has arrived; this call alone says SUCCESS in error_code (§3.3)."""
    reply = {"result_code": "200", "error_code": "SUCCESS", "error_message": "ok"}
    return Answer("SUCCESS", _JSON.encode(reply))


# -- the call itself failed


def call_error(code: str, text: str = "", *, incident: str = "") -> Answer:
    """The communication level's no (§8.1). `incident` finds the reason in our log."""
    result_code, printed = CALL_ERRORS[code]
    reply = {"result_code": result_code, "error_code": code, "error_message": text or printed}
    if incident:
        reply["error_code_standard"] = incident
    return Answer(code, _JSON.encode(reply))


# -- an order's fields


def order_data(order: Order, transaction: Transaction | None = None) -> dict[str, Any]:
    """Return the order as callers see it: of its newest movement, or of the refund `transaction`."""
    if transaction is None or transaction.kind is not TransactionKind.REFUND:
        final = order.status in FINAL
        succeeded = order.latest_status is TransactionStatus.SUCCESS
        tsn, client_tsn = order.latest_tsn, order.latest_client_tsn
        operator = order.latest_operator
        status = _shown_status(order, order.latest_status, order.latest_kind)
        finish_ms = order.finish_ms if final else 0
        channel_finish_ms = order.channel_finish_ms if final and succeeded else 0
    else:
        tsn, client_tsn = transaction.tsn, _client_tsn(order, transaction)
        operator = transaction.operator
        status = _shown_status(order, transaction.status, TransactionKind.REFUND)
        finish_ms = transaction.finish_ms
        succeeded = transaction.status is TransactionStatus.SUCCESS
        channel_finish_ms = transaction.channel_finish_ms if succeeded else 0
    return {
        "terminal_sn": order.terminal_sn,
        "sn": order.sn,
        "tsn": tsn,
        "client_sn": order.client_sn,
        "client_tsn": client_tsn,
        "trade_no": order.trade_no,
        "ctime": str(order.ctime_ms),
        "status": status,
        "order_status": order.status,
        "payway": order.payway,
        "payway_name": PAYWAY_NAMES.get(order.payway, ""),
        "sub_payway": order.sub_payway,
        "payer_uid": order.payer_uid,
        "payer_login": order.payer_login,
        "total_amount": str(order.total),
        "net_amount": str(order.net),
        "subject": order.subject,
        "description": order.description,
        "operator": operator or order.operator,
        "reflect": _reflect(order.reflect),
        "store_id": order.store_sn,
        "terminal_id": order.terminal_sn,
        "finish_time": str(finish_ms) if finish_ms else "",
        "channel_finish_time": str(channel_finish_ms) if channel_finish_ms else "",
        "payment_list": _payment_list(order.payment_list) if order.payment_list else [],
    }


def _shown_status(order: Order, status: TransactionStatus, kind: TransactionKind) -> str:
    """Return a movement's status in words the printed tables have (§8.5).

    CREATED is an order that waits to be scanned (§13 no. 22); any other movement that has begun is IN_PROG.
    FAIL_IO_3 is in no table: readers with an enumeration know FAIL_IO_2, which asks the same of them.
    """
    if status is TransactionStatus.CREATED:
        waits = kind is TransactionKind.PAY and order.sub_payway != SubPayway.BARCODE
        return TransactionStatus.CREATED if waits else TransactionStatus.IN_PROG
    return TransactionStatus.FAIL_IO_2 if status is TransactionStatus.FAIL_IO_3 else status


def _client_tsn(order: Order, transaction: Transaction) -> str:
    number = transaction.refund_request_no
    return f"{order.client_sn}-{number}" if number else ""


def _reflect(kept: str) -> str | msgspec.Raw:
    """Return `reflect` in the type it was sent in."""
    return msgspec.Raw(kept.removeprefix(REFLECT_MARK)) if kept.startswith(REFLECT_MARK) else kept


def _payment_list(text: str) -> list[dict[str, str]]:
    return [{"type": one.type, "amount_total": str(one.amount_total)} for one in _PAYMENTS.decode(text)]


# -- status → result code (§8.2)

_PAY: Mapping[OrderStatus, ResultCode] = {
    OrderStatus.CREATED: ResultCode.PAY_IN_PROGRESS,
    OrderStatus.PAID: ResultCode.PAY_SUCCESS,
    OrderStatus.PAY_CANCELED: ResultCode.PAY_FAIL,
    OrderStatus.PAY_ERROR: ResultCode.PAY_FAIL_ERROR,
    OrderStatus.REFUNDED: ResultCode.PAY_SUCCESS,
    OrderStatus.PARTIAL_REFUNDED: ResultCode.PAY_SUCCESS,
    OrderStatus.REFUND_INPROGRESS: ResultCode.PAY_SUCCESS,
    OrderStatus.REFUND_ERROR: ResultCode.PAY_SUCCESS,
    OrderStatus.CANCELED: ResultCode.PAY_FAIL,
    OrderStatus.CANCEL_INPROGRESS: ResultCode.PAY_FAIL_IN_PROGRESS,
    OrderStatus.CANCEL_ERROR: ResultCode.PAY_FAIL_ERROR,
}

_PRECREATE: Mapping[OrderStatus, ResultCode] = {
    OrderStatus.CREATED: ResultCode.PRECREATE_FAIL_IN_PROGRESS,  # with a code to scan: PRECREATE_SUCCESS
    OrderStatus.PAID: ResultCode.PRECREATE_SUCCESS,
    OrderStatus.PAY_CANCELED: ResultCode.PRECREATE_FAIL,
    OrderStatus.PAY_ERROR: ResultCode.PRECREATE_FAIL_ERROR,
    OrderStatus.REFUNDED: ResultCode.PRECREATE_SUCCESS,
    OrderStatus.PARTIAL_REFUNDED: ResultCode.PRECREATE_SUCCESS,
    OrderStatus.REFUND_INPROGRESS: ResultCode.PRECREATE_SUCCESS,
    OrderStatus.REFUND_ERROR: ResultCode.PRECREATE_SUCCESS,
    OrderStatus.CANCELED: ResultCode.PRECREATE_FAIL,
    OrderStatus.CANCEL_INPROGRESS: ResultCode.PRECREATE_FAIL_IN_PROGRESS,
    OrderStatus.CANCEL_ERROR: ResultCode.PRECREATE_FAIL_ERROR,
}

_UNDER_WAY = frozenset({OrderStatus.CREATED, OrderStatus.PAY_ERROR})
"""Whoever cancels such an order tries to end a payment under way."""

_CANCEL: Mapping[OrderStatus, ResultCode] = {
    OrderStatus.CREATED: ResultCode.CANCEL_IN_PROGRESS,
    OrderStatus.PAID: ResultCode.CANCEL_ERROR,
    OrderStatus.PAY_CANCELED: ResultCode.CANCEL_SUCCESS,
    OrderStatus.PAY_ERROR: ResultCode.CANCEL_ERROR,
    OrderStatus.REFUNDED: ResultCode.CANCEL_ERROR,
    OrderStatus.PARTIAL_REFUNDED: ResultCode.CANCEL_ERROR,
    OrderStatus.REFUND_INPROGRESS: ResultCode.CANCEL_ERROR,
    OrderStatus.REFUND_ERROR: ResultCode.CANCEL_ERROR,
    OrderStatus.CANCELED: ResultCode.CANCEL_SUCCESS,
    OrderStatus.CANCEL_INPROGRESS: ResultCode.CANCEL_IN_PROGRESS,
    OrderStatus.CANCEL_ERROR: ResultCode.CANCEL_ERROR,
}

_ABORT: Mapping[OrderStatus, ResultCode] = {
    status: ResultCode(result.replace("CANCEL_", "CANCEL_ABORT_", 1)) for status, result in _CANCEL.items()
}

PLAIN = frozenset(result for result in ResultCode if result.endswith("SUCCESS")) | {ResultCode.PAY_FAIL}
"""Answers that only repeat what the call itself has just recorded."""

_UNTROUBLED = frozenset(result for result in ResultCode if result.endswith(("SUCCESS", "_IN_PROGRESS")))
"""Result codes that need no reason."""


# -- envelopes


def _about(order: Order, result: ResultCode, data: dict[str, Any]) -> Answer:
    """Answer with the order, and with its reason when the result is not what the caller wanted."""
    if result in _UNTROUBLED:
        return _biz(result, data=data)
    code = order.error_code or "TRADE_FAILED"
    return _biz(result, error_code=code, error_message=biz_text(code, order.error_message), data=data)


def _biz(
    result: ResultCode, *, error_code: str = "", error_message: str = "", data: dict[str, Any] | None = None
) -> Answer:
    biz: dict[str, Any] = {"result_code": result, "error_code": error_code, "error_message": error_message}
    if data is not None:
        biz["data"] = data
    return Answer(result, _good(biz))


def _terminal_answer(
    result: ResultCode, terminal: Terminal, merchant: Merchant | None, shop: Store | None
) -> Answer:
    """Flat fields as old clients read them, and nested ones as newer ones do (§13 no. 2)."""
    fields = {
        "terminal_sn": terminal.terminal_sn,
        "terminal_key": terminal.current_key,
        "merchant_sn": terminal.merchant_sn,
        "merchant_name": merchant.name if merchant else "",
        "store_sn": terminal.store_sn,
        "store_name": shop.name if shop else "",
    }
    biz = {"result_code": result, "error_code": "", "error_message": "", **fields, "data": fields}
    return Answer(result, _good(biz))


def _good(biz: dict[str, Any]) -> bytes:
    return _JSON.encode({"result_code": "200", "error_code": "", "error_message": "", "biz_response": biz})
