"""Every status becomes the right result code, and every field is text a till can read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.domain.requests import OrderAnswer
from paymux.wire.notify_body import order_body
from paymux.wire.upay_v2.codes import BIZ_ERRORS, CALL_ERRORS, biz_text
from paymux.wire.upay_v2.replies import (
    Answer,
    call_error,
    cancel_answer,
    order_data,
    pay_answer,
    precreate_answer,
    query_answer,
    refund_answer,
)
from tests.contract.upay.edge import assert_all_text
from tests.contract.upay.orders import PAID_ORDER, order, refund_of

TABLE = """
                   pay                   precreate                   canceled
CREATED            PAY_IN_PROGRESS       PRECREATE_FAIL_IN_PROGRESS  IN_PROGRESS
PAID               PAY_SUCCESS           PRECREATE_SUCCESS           ERROR
PAY_CANCELED       PAY_FAIL              PRECREATE_FAIL              SUCCESS
PAY_ERROR          PAY_FAIL_ERROR        PRECREATE_FAIL_ERROR        ERROR
REFUNDED           PAY_SUCCESS           PRECREATE_SUCCESS           ERROR
PARTIAL_REFUNDED   PAY_SUCCESS           PRECREATE_SUCCESS           ERROR
REFUND_INPROGRESS  PAY_SUCCESS           PRECREATE_SUCCESS           ERROR
REFUND_ERROR       PAY_SUCCESS           PRECREATE_SUCCESS           ERROR
CANCELED           PAY_FAIL              PRECREATE_FAIL              SUCCESS
CANCEL_INPROGRESS  PAY_FAIL_IN_PROGRESS  PRECREATE_FAIL_IN_PROGRESS  IN_PROGRESS
CANCEL_ERROR       PAY_FAIL_ERROR        PRECREATE_FAIL_ERROR        ERROR
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()[1:]]


def told(answer: Answer) -> dict[str, Any]:
    """The business part of an answer, flat."""
    reply = json.loads(answer.body)
    assert_all_text(reply)
    biz: dict[str, Any] = reply["biz_response"]
    assert biz["result_code"] == answer.outcome
    data: dict[str, Any] = biz.pop("data")
    return biz | data


def test_the_table_has_every_status() -> None:
    """No status is forgotten."""
    assert {row[0] for row in ROWS} == set(OrderStatus)


@pytest.mark.parametrize("row", ROWS)
def test_result_codes(row: list[str]) -> None:
    """As the table says, with ABORT for a payment under way; only success and "wait" need no reason."""
    status, pay, precreate, cancel = row
    one = order(status=OrderStatus(status))
    answers = [
        pay_answer(one),
        precreate_answer(one, image_url=""),
        cancel_answer(OrderAnswer(order=one, before=OrderStatus.PAID)),
        cancel_answer(OrderAnswer(order=one, before=OrderStatus.CREATED)),
    ]
    assert [one.outcome for one in answers] == [pay, precreate, f"CANCEL_{cancel}", f"CANCEL_ABORT_{cancel}"]
    for answer in answers:
        happy = answer.outcome.endswith(("SUCCESS", "IN_PROGRESS"))
        assert (told(answer)["error_code"] == "") == happy
        assert (told(answer)["error_message"] == "") == happy


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"qr_code": "wxp://1"}, "PRECREATE_SUCCESS"),
        ({"wap_pay_request": "{}"}, "PRECREATE_SUCCESS"),
        ({}, "PRECREATE_FAIL_IN_PROGRESS"),
        ({"qr_code": "wxp://1", "undo_tsn": "7"}, "PRECREATE_FAIL_IN_PROGRESS"),
    ],
)
def test_a_code_is_given_only_while_it_can_be_paid(changes: dict[str, str], result: str) -> None:
    """An order that is being undone shows no code, whatever it has."""
    waiting = order(
        status=OrderStatus.CREATED, sub_payway="2", latest_status=TransactionStatus.CREATED, **changes
    )
    data = told(precreate_answer(waiting, image_url="https://pay.example/qr"))
    assert data["result_code"] == result
    assert ("qr_code" in data) == (result == "PRECREATE_SUCCESS")
    assert ("qr_code_image_url" in data) == (result == "PRECREATE_SUCCESS" and "qr_code" in changes)
    assert ("wap_pay_request" in data) == ("wap_pay_request" in changes)


@pytest.mark.parametrize(
    ("refund", "result", "error_code", "status"),
    [
        ({"status": TransactionStatus.SUCCESS}, "REFUND_SUCCESS", "", "SUCCESS"),
        ({"status": TransactionStatus.CREATED, "finish_ms": 0}, "REFUND_IN_PROGRESS", "", "IN_PROG"),
        ({"status": TransactionStatus.IN_PROG, "finish_ms": 0}, "REFUND_IN_PROGRESS", "", "IN_PROG"),
        ({"status": TransactionStatus.REFUND_ERROR}, "REFUND_ERROR", "TRADE_FAILED", "REFUND_ERROR"),
        (
            {"status": TransactionStatus.REFUND_ERROR, "error_code": "SELLER_BALANCE_NOT_ENOUGH"},
            "REFUND_FAIL",
            "SELLER_BALANCE_NOT_ENOUGH",
            "REFUND_ERROR",
        ),
    ],
)
def test_refunds(refund: dict[str, object], result: str, error_code: str, status: str) -> None:
    """The movement decides: a definite refusal is REFUND_FAIL, not knowing is REFUND_ERROR."""
    movement = refund_of(PAID_ORDER, **refund)
    data = told(refund_answer(OrderAnswer(order=PAID_ORDER, transaction=movement)))
    assert (data["result_code"], data["error_code"], data["status"]) == (result, error_code, status)
    assert bool(data["error_message"]) == bool(error_code)
    if result == "REFUND_FAIL":
        assert data["error_message"] == BIZ_ERRORS[error_code]
    assert bool(data["channel_finish_time"]) == (result == "REFUND_SUCCESS")


def test_a_query_about_one_refund() -> None:
    """That movement's number, status, operator and times; the order's own state beside it (§6)."""
    refunding = order(status=OrderStatus.REFUND_INPROGRESS, refunded=0, latest_tsn="7000000000000009")
    data = told(query_answer(OrderAnswer(order=refunding, transaction=refund_of(refunding))))
    assert data["result_code"] == "SUCCESS"
    assert (data["tsn"], data["client_tsn"]) == ("7894259244067999", "12345677767776-001")
    assert (data["status"], data["order_status"]) == ("SUCCESS", "REFUND_INPROGRESS")
    assert (data["operator"], data["finish_time"]) == ("ann", "1449563206776")


@pytest.mark.parametrize(
    ("status", "kind", "sub_payway", "shown"),
    [
        ("CREATED", "pay", "1", "IN_PROG"),
        ("CREATED", "pay", "2", "CREATED"),
        ("CREATED", "pay", "4", "CREATED"),
        ("CREATED", "cancel", "2", "IN_PROG"),
        ("FAIL_IO_3", "pay", "1", "FAIL_IO_2"),
        ("FAIL_PROTOCOL_3", "pay", "1", "FAIL_PROTOCOL_3"),
    ],
)
def test_movement_statuses_are_printed_ones(status: str, kind: str, sub_payway: str, shown: str) -> None:
    """CREATED waits to be scanned, what has begun is IN_PROG; FAIL_IO_3 is in no table, so it is not sent."""
    one = order(
        latest_status=TransactionStatus(status), latest_kind=TransactionKind(kind), sub_payway=sub_payway
    )
    assert order_data(one)["status"] == shown


def test_times_are_told_only_when_they_are_final() -> None:
    """finish_time: the order's status is final; channel_finish_time: and it was a success (§13 no. 19)."""
    refunding = order_data(
        order(status=OrderStatus.REFUND_INPROGRESS, latest_status=TransactionStatus.IN_PROG)
    )
    assert (refunding["finish_time"], refunding["channel_finish_time"]) == ("", "")
    failed = order_data(order(status=OrderStatus.PAY_CANCELED, latest_status=TransactionStatus.FAIL_CANCELED))
    assert (bool(failed["finish_time"]), failed["channel_finish_time"]) == (True, "")


@pytest.mark.parametrize(
    ("kept", "sent"),
    [
        ("", ""),
        ("abc", "abc"),
        ('{"a":1}', '{"a":1}'),
        ('json:{"a":1}', {"a": 1}),
        ('json:"json:x"', "json:x"),
    ],
)
def test_reflect(kept: str, sent: object) -> None:
    """Text is text though it looks like JSON; what was an object is an object."""
    assert json.loads(pay_answer(order(reflect=kept)).body)["biz_response"]["data"]["reflect"] == sent


def test_payment_list() -> None:
    """Amounts are text, as everything is; an order without parts has an empty list."""
    kept = '[{"type":"WALLET_WEIXIN","amount_total":1}]'
    assert order_data(order(payment_list=kept))["payment_list"] == [
        {"type": "WALLET_WEIXIN", "amount_total": "1"}
    ]
    assert order_data(PAID_ORDER)["payment_list"] == []


@pytest.mark.parametrize(
    ("code", "said", "text"),
    [
        ("EXPIRED_BARCODE", "AUTH_CODE_INVALID", "过期的支付条码"),
        ("TRADE_FAILED", "付款人账户被冻结", "付款人账户被冻结"),
        ("TRADE_FAILED", "", "交易失败"),
        ("NEW_CODE", "said", "said"),
        ("NEW_CODE", "", ""),
    ],
)
def test_error_texts(code: str, said: str, text: str) -> None:
    """The printed text, but the wallet's own words where the printed one says nothing."""
    assert biz_text(code, said) == text


@pytest.mark.parametrize("code", CALL_ERRORS)
def test_call_errors(code: str) -> None:
    """Three texts, no business part; an incident number only where there is one."""
    result_code, text = CALL_ERRORS[code]
    plain = {"result_code": result_code, "error_code": code, "error_message": text}
    assert json.loads(call_error(code).body) == plain
    assert json.loads(call_error(code, "x", incident="7").body) == plain | {
        "error_message": "x",
        "error_code_standard": "7",
    }


def test_a_notification_is_the_flat_order() -> None:
    """The same fields as an answer's data, without any envelope (§11)."""
    body = json.loads(order_body(PAID_ORDER))
    assert body == json.loads(pay_answer(PAID_ORDER).body)["biz_response"]["data"]
    assert {"tsn", "client_tsn", "store_id", "terminal_id", "payment_list", "description"} <= body.keys()
    refunded = replace(PAID_ORDER, status=OrderStatus.REFUNDED, refunded=1)
    assert json.loads(order_body(refunded, refund_of(refunded)))["client_tsn"] == "12345677767776-001"


_ORDERS = st.builds(
    Order,
    bucket=st.just(1),
    status=st.sampled_from(OrderStatus),
    latest_status=st.sampled_from(TransactionStatus),
    latest_kind=st.sampled_from(TransactionKind),
    total=st.integers(1, 9_999_999_999),
    refunded=st.just(0),
    payment_list=st.just(""),
    subject=st.text(st.characters(exclude_categories=["Cs"]), max_size=64),
)
_MOVEMENTS = st.none() | st.builds(Transaction, bucket=st.just(1), status=st.sampled_from(TransactionStatus))


@given(_ORDERS, _MOVEMENTS)
def test_any_order_can_be_told(one: Order, movement: Transaction | None) -> None:
    """Whatever is stored, the answer is text in every field, and the amounts are numeric."""
    for answer in (
        pay_answer(one),
        precreate_answer(one, image_url=""),
        query_answer(OrderAnswer(order=one, transaction=movement)),
        cancel_answer(OrderAnswer(order=one, transaction=movement, before=one.status)),
        refund_answer(OrderAnswer(order=one, transaction=movement)),
    ):
        data = told(answer)
        assert int(data["total_amount"]) == one.total
        assert data["net_amount"].isdecimal()
        assert data["subject"] == one.subject
