"""Each code, status and number the three printed editions list is known to us.

Columns are the editions: the first (2016), the Chinese appendix (2018), the English one (2020). Where they
disagree on what to send, upay-v2.md §13 decides; what only an old edition has is still known.
"""

import pytest

from paymux.domain.order import FINAL, OrderStatus, TransactionStatus
from paymux.domain.payways import PAYWAY_NAMES, SubPayway
from paymux.wire.upay_v2.codes import (
    BIZ_ERRORS,
    CALL_ERRORS,
    CALL_ERRORS_BY_TABLE,
    SUB_PAYWAY_NAMES,
    ResultCode,
)

CALLS = """
400 INVALID_PARAMS             参数错误
400 INVALID_TERMINAL           终端错误
400 ILLEGAL_SIGN               签名错误
400 INVALID_BARCODE            支付条码错误
500 UNKNOWN_SYSTEM_ERROR       系统错误
500 UNEXPECTED_PROVIDER_ERROR  不识别的支付通道
"""

RESULTS = """
PAY_SUCCESS PAY_FAIL PAY_IN_PROGRESS PAY_FAIL_ERROR PAY_FAIL_IN_PROGRESS
CANCEL_SUCCESS CANCEL_ERROR CANCEL_ABORT_ERROR CANCEL_ABORT_SUCCESS CANCEL_IN_PROGRESS
CANCEL_ABORT_IN_PROGRESS
REFUND_SUCCESS REFUND_ERROR REFUND_IN_PROGRESS
PRECREATE_SUCCESS PRECREATE_FAIL PRECREATE_FAIL_ERROR PRECREATE_FAIL_IN_PROGRESS
SUCCESS FAIL
"""

BUSINESS = """
AUTHCODE_EXPIRE                二维码过期
INVALID_BARCODE                条码错误
INSUFFICIENT_FUND              账户金额不足
EXPIRED_BARCODE                过期的支付条码
BUYER_OVER_DAILY_LIMIT         付款人当日付款金额超过上限
BUYER_OVER_TRANSACTION_LIMIT   付款人单笔付款金额超过上限
SELLER_OVER_DAILY_LIMIT        收款账户当日收款金额超过上限
TRADE_NOT_EXIST                交易不存在
TRADE_HAS_SUCCESS              交易已被支付
SELLER_BALANCE_NOT_ENOUGH      卖家余额不足
REFUND_AMT_NOT_EQUAL_TOTAL     退款金额无效
TRADE_FAILED                   交易失败
UNEXPECTED_PROVIDER_ERROR      不认识的支付通道
TRADE_TIMEOUT                  交易超时自动撤单
ACCOUNT_BALANCE_NOT_ENOUGH     商户余额不足
CLIENT_SN_CONFLICT             client_sn在系统中已存在
UPAY_ORDER_NOT_EXISTS          订单不存在
UPAY_ORDER_NOT_EXIST           订单不存在
REFUND_REQUEST_CONFLICT        重复的退款请求
REFUNDABLE_AMOUNT_NOT_ENOUGH   订单可退金额不足
UPAY_TERMINAL_NOT_EXISTS       终端号在交易系统中不存在
UPAY_TERMINAL_STATUS_ABNORMAL  终端未激活
UPAY_CANCEL_ORDER_NOOP         无效操作，订单已经是撤单状态了
UPAY_CANCEL_INVALID_ORDER_STATE  当前订单状态不可撤销
UPAY_REFUND_ORDER_NOOP         无效操作，本次退款退款已经完成了
UPAY_REFUND_INVALID_ORDER_STATE  当前订单状态不可退款
UPAY_STORE_OVER_DAILY_LIMIT    商户日收款额超过上限
UPAY_TCP_ORDER_NOT_REFUNDABLE  订单参与了活动并且无法撤销
"""

ORDER_STATUSES = """
CREATED PAID PAY_CANCELED PAY_ERROR REFUNDED PARTIAL_REFUNDED REFUND_INPROGRESS REFUND_ERROR CANCELED
CANCEL_ERROR CANCEL_INPROGRESS
"""

FINAL_STATUSES = "PAID PAY_CANCELED REFUNDED PARTIAL_REFUNDED CANCELED"

STATUSES = """
SUCCESS FAIL_CANCELED FAIL_PROTOCOL_1 FAIL_IO_1 FAIL_PROTOCOL_2 FAIL_IO_2 FAIL_PROTOCOL_3 FAIL_ERROR
CANCEL_ERROR REFUND_ERROR
"""

PAYWAYS = "1 3 4 5 6 7 8 9 15 16 17 18 19 20 22 100 101"


@pytest.mark.parametrize("row", CALLS.strip().splitlines())
def test_communication_errors(row: str) -> None:
    """Number, code and text as printed; the first edition's two extra rows are sent as business errors."""
    result_code, code, text = row.split()
    if (result_code, code) in CALL_ERRORS_BY_TABLE:
        assert CALL_ERRORS_BY_TABLE[result_code, code] == text
        assert code in BIZ_ERRORS
        assert code not in CALL_ERRORS
    else:
        assert CALL_ERRORS[code] == (result_code, text)


def test_result_codes() -> None:
    """All of them, without a typing slip of the Chinese appendix and its rows that are words, not codes."""
    assert set(RESULTS.split()) <= set(ResultCode)


def test_result_codes_of_ours() -> None:
    """What we add to the printed tables: newer official texts have these three (upay-v2.md §8.2)."""
    added = {"REFUND_FAIL", "ACTIVATE_SUCCESS", "TERMINAL_CHECKIN_SUCCESS"}
    assert set(ResultCode) - set(RESULTS.split()) == added


@pytest.mark.parametrize("row", BUSINESS.strip().splitlines())
def test_business_errors(row: str) -> None:
    """Code and text as printed."""
    code, text = row.split()
    assert BIZ_ERRORS[code] == text


def test_no_business_error_of_our_own_making() -> None:
    """A till knows every error_code we send, because every one is printed somewhere."""
    assert set(BIZ_ERRORS) == {row.split()[0] for row in BUSINESS.strip().splitlines()}


def test_order_statuses() -> None:
    """Exactly the newest edition's, but for INVALID_STATUS_CODE, which only readers use."""
    assert set(OrderStatus) == set(ORDER_STATUSES.split())
    assert set(FINAL_STATUSES.split()) == set(FINAL)


def test_movement_statuses() -> None:
    """All that are printed; CREATED, IN_PROG come from the examples, FAIL_IO_3 never leaves the house."""
    assert set(TransactionStatus) - set(STATUSES.split()) == {"CREATED", "IN_PROG", "FAIL_IO_3"}
    assert set(STATUSES.split()) <= set(TransactionStatus)


def test_payways() -> None:
    """Every payway has a name; 2 is in no table, but production used it (upay-v2.md §9.1)."""
    assert set(PAYWAY_NAMES) == {*PAYWAYS.split(), "2"}
    assert all(PAYWAY_NAMES.values())


def test_sub_payways() -> None:
    """1 to 6, and the two names the first edition prints."""
    assert set(SubPayway) == set("123456") == set(SUB_PAYWAY_NAMES)
    assert (SUB_PAYWAY_NAMES["1"], SUB_PAYWAY_NAMES["2"]) == ("条码支付", "二维码支付")
