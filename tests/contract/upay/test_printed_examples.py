"""Every example printed in the oldest edition (支付网关2.0接入文档): our writer has each of its fields.

Broken prints are mended: blanks in names ("client sn") are underscores, trailing commas are gone, and commas
that scanning made half-width in Chinese text are full-width. We may say more than an example, never less.
"""

import json
from typing import Any

import pytest

from paymux.domain.errors import StateForbids
from paymux.domain.order import Order, OrderStatus, TransactionKind, TransactionStatus
from paymux.domain.requests import OrderAnswer
from paymux.wire.upay_v2.codes import CallRefused
from paymux.wire.upay_v2.replies import (
    Answer,
    call_error,
    cancel_answer,
    pay_answer,
    precreate_answer,
    query_answer,
    refund_answer,
    refusal_answer,
)
from paymux.wire.upay_v2.requests import read_pay
from tests.contract.upay.edge import assert_all_text
from tests.contract.upay.orders import order, refund_of
from tests.harness.town import TERMINAL
from tests.unit.wire.people import TILL


def assert_tells(answer: Answer, printed: dict[str, Any]) -> None:
    """Each field of the example is in the answer with the same value, at every depth."""
    told = json.loads(answer.body)
    assert_all_text(told)
    _assert_within(printed, told)


def _assert_within(printed: dict[str, Any], told: dict[str, Any]) -> None:
    for name, value in printed.items():
        if isinstance(value, dict):
            _assert_within(value, told[name])
        else:
            assert told[name] == value, name


def good(result: str, data: dict[str, str], **error: str) -> dict[str, Any]:
    """The example's envelope."""
    return {"result_code": "200", "biz_response": {"result_code": result, **error, "data": data}}


def test_i_pay_succeeded() -> None:
    """交易成功: the only change is that ours has more fields."""
    printed = {
        "sn": "7894259244067349",
        "client_sn": "12345677767776",
        "status": "SUCCESS",
        "payway": "3",
        "sub_payway": "1",
        "order_status": "PAID",
        "payer_uid": "okSzXt3uY4-W8fKBH7B4z8seMzBU",
        "trade_no": "1006101016201512081965934048",
        "total_amount": "1",
        "net_amount": "1",
        "finish_time": "1449569460430",
        "channel_finish_time": "1449569460000",
        "terminal_sn": "1122234-dewls02s2",
        "store_id": "00293001928483902",
        "subject": "达美乐披萨",
        "operator": "刘侃",
    }
    assert_tells(pay_answer(order()), good("PAY_SUCCESS", printed))


def test_ii_pay_is_in_progress() -> None:
    """交易进行中, whose print is lost: the newer pages' fields (upay-v2.md §4.3), and no times yet."""
    waiting = order(
        status=OrderStatus.CREATED,
        latest_status=TransactionStatus.CREATED,
        paid=0,
        trade_no="",
        finish_ms=0,
        channel_finish_ms=0,
    )
    printed = {
        "status": "IN_PROG",
        "order_status": "CREATED",
        "trade_no": "",
        "finish_time": "",
        "channel_finish_time": "",
    }
    assert_tells(pay_answer(waiting), good("PAY_IN_PROGRESS", printed))


def test_iii_pay_failed() -> None:
    """交易失败; net_amount is "0", not the example's "1": nothing was sold (upay-v2.md §13 no. 21)."""
    failed = order(
        sn="7894259244067344",
        status=OrderStatus.PAY_CANCELED,
        latest_status=TransactionStatus.FAIL_CANCELED,
        paid=0,
        error_code="EXPIRED_BARCODE",
        error_message="AUTH_CODE_EXPIRED",
        finish_ms=1449569494595,
        channel_finish_ms=0,
    )
    printed = {
        "sn": "7894259244067344",
        "client_sn": "12345677767776",
        "status": "FAIL_CANCELED",
        "payway": "3",
        "sub_payway": "1",
        "order_status": "PAY_CANCELED",
        "total_amount": "1",
        "net_amount": "0",
        "finish_time": "1449569494595",
        "channel_finish_time": "",
    }
    reason = {"error_code": "EXPIRED_BARCODE", "error_message": "过期的支付条码"}
    assert_tells(pay_answer(failed), good("PAY_FAIL", printed, **reason))


@pytest.mark.parametrize(
    ("code", "result_code", "text"),
    [
        ("TERMINAL_NOT_EXISTS", "400", "不存在这个终端"),
        ("MAINTENANCE_INPROGRESS", "500", "服务端正在升级维护，稍候5分钟"),
        ("UNKNOWN_SYSTEM_ERROR", "500", "系统错误"),
    ],
)
def test_iv_vi_vii_calls_failed(code: str, result_code: str, text: str) -> None:
    """客户端错误, 服务端错误; all three tables say 系统错误 where the example says 未知的系统错误."""
    printed = {"result_code": result_code, "error_code": code, "error_message": text}
    assert json.loads(call_error(code).body) == printed


def test_v_two_faults_are_named_together() -> None:
    """客户端错误: its very words; the code is the tables' INVALID_PARAMS, not INVALID_PARAMETER."""
    body = {"terminal_sn": TERMINAL, "total_amount": "-1", "dynamic_id": "130000000000000000", "subject": "s"}
    with pytest.raises(CallRefused) as refused:
        read_pay(json.dumps(body).encode(), TILL, client_sn_bytes_max=64)
    assert refused.value.code == "INVALID_PARAMS"
    assert refused.value.text == "client_sn不可以为空; total_amount不可以为负数"


def test_pay_with_a_bad_amount() -> None:
    """支付失败返回示例 of the pay call: INVALID_PARAMS, word for word."""
    body = {
        "terminal_sn": TERMINAL,
        "client_sn": "1",
        "total_amount": "1.5",
        "dynamic_id": "1",
        "subject": "s",
    }
    with pytest.raises(CallRefused) as refused:
        read_pay(json.dumps(body).encode(), TILL, client_sn_bytes_max=64)
    assert_tells(
        call_error(refused.value.code, refused.value.text),
        {
            "result_code": "400",
            "error_code": "INVALID_PARAMS",
            "error_message": "total_amount金额为整数，长度不超过10位，以分为单位",
        },
    )


def test_viii_refund_succeeded() -> None:
    """退款成功."""
    refunded = order(
        sn="7894259244067218",
        status=OrderStatus.REFUNDED,
        refunded=1,
        trade_no="2006101016201512080095793262",
        latest_kind=TransactionKind.REFUND,
        latest_tsn="7894259244067999",
    )
    printed = {
        "sn": "7894259244067218",
        "client_sn": "12345677767776",
        "client_tsn": "12345677767776-001",
        "status": "SUCCESS",
        "payway": "3",
        "sub_payway": "1",
        "order_status": "REFUNDED",
        "trade_no": "2006101016201512080095793262",
        "total_amount": "1",
        "net_amount": "0",
        "finish_time": "1449563206776",
        "channel_finish_time": "1449563206632",
    }
    answer = refund_answer(OrderAnswer(order=refunded, transaction=refund_of(refunded)))
    assert_tells(answer, good("REFUND_SUCCESS", printed))


def test_ix_query_of_a_canceled_order() -> None:
    """查单成功: SUCCESS though the order is canceled; its state is order_status."""
    printed = {
        "sn": "7894259244096963",
        "client_sn": "1234567",
        "ctime": "1449036464229",
        "status": "SUCCESS",
        "order_status": "CANCELED",
        "total_amount": "1",
        "net_amount": "0",
        "finish_time": "1449563206776",
        "channel_finish_time": "1449563206632",
        "payway": "3",
        "sub_payway": "1",
    }
    assert_tells(query_answer(OrderAnswer(order=_canceled(1449563206632))), good("SUCCESS", printed))


def test_x_precreate_succeeded() -> None:
    """预下单成功, whose print is lost: its table's fields; status CREATED (upay-v2.md §13 no. 22)."""
    waiting = order(
        status=OrderStatus.CREATED,
        sub_payway="2",
        latest_status=TransactionStatus.CREATED,
        paid=0,
        trade_no="",
        qr_code="weixin://wxpay/bizpayurl?pr=Zr9d5oa",
    )
    printed = {
        "sn": "7894259244067349",
        "client_sn": "12345677767776",
        "trade_no": "",
        "status": "CREATED",
        "order_status": "CREATED",
        "payway": "3",
        "sub_payway": "2",
        "qr_code": "weixin://wxpay/bizpayurl?pr=Zr9d5oa",
        "qr_code_image_url": "https://pay.example/qr",
        "total_amount": "1",
        "net_amount": "1",
        "subject": "达美乐披萨",
        "operator": "刘侃",
        "reflect": "",
    }
    answer = precreate_answer(waiting, image_url="https://pay.example/qr")
    assert_tells(answer, good("PRECREATE_SUCCESS", printed))


def test_xi_cancel_succeeded() -> None:
    """撤单成功."""
    printed = {
        "sn": "7894259244096963",
        "client_sn": "1234567",
        "status": "SUCCESS",
        "payway": "3",
        "sub_payway": "1",
        "order_status": "CANCELED",
        "total_amount": "1",
        "net_amount": "0",
        "finish_time": "1449563206776",
        "subject": "达美乐披萨",
        "store_id": "00293001928483902",
    }
    answer = cancel_answer(OrderAnswer(order=_canceled(0), before=OrderStatus.PAID))
    assert_tells(answer, good("CANCEL_SUCCESS", printed))


def test_refund_was_refused() -> None:
    """退款失败返回示例: FAIL, and no data when there is no order to show (never null)."""
    refused = StateForbids("UPAY_REFUND_INVALID_ORDER_STATE", "无法对错误的订单状态执行退款操作")
    told = json.loads(refusal_answer(refused.error_code, refused.text).body)
    assert told["biz_response"] == {
        "result_code": "FAIL",
        "error_code": "UPAY_REFUND_INVALID_ORDER_STATE",
        "error_message": "无法对错误的订单状态执行退款操作",
    }


def test_cancel_was_refused() -> None:
    """撤单失败返回示例: FAIL; the order it is about is shown."""
    answer = refusal_answer("UPAY_CANCEL_INVALID_ORDER_STATE", "当前的订单状态是3201", order())
    reason = {"error_code": "UPAY_CANCEL_INVALID_ORDER_STATE", "error_message": "当前的订单状态是3201"}
    assert_tells(answer, good("FAIL", {"sn": "7894259244067349", "order_status": "PAID"}, **reason))


def _canceled(channel_finish_ms: int) -> Order:
    return order(
        sn="7894259244096963",
        client_sn="1234567",
        status=OrderStatus.CANCELED,
        ctime_ms=1449036464229,
        finish_ms=1449563206776,
        channel_finish_ms=channel_finish_ms,
        latest_kind=TransactionKind.CANCEL,
    )
