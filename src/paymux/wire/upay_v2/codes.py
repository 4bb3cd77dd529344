"""The tables the specification prints, as data (upay-v2.md §8, §9), and the one way to refuse a call.

Where the printed editions disagree, §13 decides; what only an older edition has stays here as readable data
and is marked "not sent".
"""

from enum import StrEnum


class CallRefused(Exception):
    """The call itself is wrong (result_code 400): nothing was touched. `code` and `text` go to the caller."""

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text or CALL_ERRORS[code][1])
        self.code = code
        self.text = text or CALL_ERRORS[code][1]


CALL_ERRORS = {
    "INVALID_PARAMS": ("400", "参数错误"),
    "INVALID_PARAMETER": ("400", "参数错误"),  # an old sample's spelling; not sent
    "INVALID_TERMINAL": ("400", "终端错误"),
    "TERMINAL_NOT_EXISTS": ("400", "不存在这个终端"),
    "ILLEGAL_SIGN": ("400", "签名错误"),
    "ACTIVATE_FAIL": ("400", "激活信息异常"),
    "UNKNOWN_SYSTEM_ERROR": ("500", "系统错误"),
    "MAINTENANCE_INPROGRESS": ("500", "服务端正在升级维护，稍候5分钟"),
}
"""Communication errors: error_code → (result_code, error_message) (§8.1).

Who calls with a terminal_sn nobody knows hears TERMINAL_NOT_EXISTS, as the printed sample has it; a wrong
signature or vendor is ILLEGAL_SIGN; a terminal that is switched off, or signs for another one, is
INVALID_TERMINAL.
"""

CALL_ERRORS_BY_TABLE = {
    ("400", "INVALID_BARCODE"): "支付条码错误",
    ("500", "UNEXPECTED_PROVIDER_ERROR"): "不识别的支付通道",
}
"""Printed as communication errors by the oldest edition only: sent as business errors (§13 no. 10)."""


class ResultCode(StrEnum):
    """biz_response.result_code (§8.2)."""

    PAY_SUCCESS = "PAY_SUCCESS"
    PAY_FAIL = "PAY_FAIL"
    PAY_IN_PROGRESS = "PAY_IN_PROGRESS"
    PAY_FAIL_ERROR = "PAY_FAIL_ERROR"
    PAY_FAIL_IN_PROGRESS = "PAY_FAIL_IN_PROGRESS"
    CANCEL_SUCCESS = "CANCEL_SUCCESS"
    CANCEL_ERROR = "CANCEL_ERROR"
    CANCEL_IN_PROGRESS = "CANCEL_IN_PROGRESS"
    CANCEL_ABORT_SUCCESS = "CANCEL_ABORT_SUCCESS"
    CANCEL_ABORT_ERROR = "CANCEL_ABORT_ERROR"
    CANCEL_ABORT_IN_PROGRESS = "CANCEL_ABORT_IN_PROGRESS"
    REFUND_SUCCESS = "REFUND_SUCCESS"
    REFUND_ERROR = "REFUND_ERROR"
    REFUND_IN_PROGRESS = "REFUND_IN_PROGRESS"
    REFUND_FAIL = "REFUND_FAIL"
    PRECREATE_SUCCESS = "PRECREATE_SUCCESS"
    PRECREATE_FAIL = "PRECREATE_FAIL"
    PRECREATE_FAIL_ERROR = "PRECREATE_FAIL_ERROR"
    PRECREATE_FAIL_IN_PROGRESS = "PRECREATE_FAIL_IN_PROGRESS"
    ACTIVATE_SUCCESS = "ACTIVATE_SUCCESS"
    TERMINAL_CHECKIN_SUCCESS = "TERMINAL_CHECKIN_SUCCESS"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


BIZ_ERRORS = {
    "INVALID_BARCODE": "条码错误",
    "AUTHCODE_EXPIRE": "二维码过期",
    "EXPIRED_BARCODE": "过期的支付条码",
    "INSUFFICIENT_FUND": "账户金额不足",
    "BUYER_OVER_DAILY_LIMIT": "付款人当日付款金额超过上限",
    "BUYER_OVER_TRANSACTION_LIMIT": "付款人单笔付款金额超过上限",
    "SELLER_OVER_DAILY_LIMIT": "收款账户当日收款金额超过上限",
    "UPAY_STORE_OVER_DAILY_LIMIT": "商户日收款额超过上限",
    "TRADE_NOT_EXIST": "交易不存在",
    "TRADE_HAS_SUCCESS": "交易已被支付",
    "SELLER_BALANCE_NOT_ENOUGH": "卖家余额不足",
    "ACCOUNT_BALANCE_NOT_ENOUGH": "商户余额不足",
    "REFUND_AMT_NOT_EQUAL_TOTAL": "退款金额无效",
    "TRADE_FAILED": "交易失败",
    "TRADE_TIMEOUT": "交易超时自动撤单",
    "UNEXPECTED_PROVIDER_ERROR": "不认识的支付通道",
    "CLIENT_SN_CONFLICT": "client_sn在系统中已存在",
    "UPAY_ORDER_NOT_EXISTS": "订单不存在",
    "UPAY_ORDER_NOT_EXIST": "订单不存在",  # the other spelling (§13 no. 1); not sent
    "REFUND_REQUEST_CONFLICT": "重复的退款请求",
    "REFUNDABLE_AMOUNT_NOT_ENOUGH": "订单可退金额不足",
    "UPAY_TERMINAL_NOT_EXISTS": "终端号在交易系统中不存在",
    "UPAY_TERMINAL_STATUS_ABNORMAL": "终端未激活",
    "UPAY_CANCEL_ORDER_NOOP": "无效操作，订单已经是撤单状态了",
    "UPAY_CANCEL_INVALID_ORDER_STATE": "当前订单状态不可撤销",
    "UPAY_REFUND_ORDER_NOOP": "无效操作，本次退款退款已经完成了",
    "UPAY_REFUND_INVALID_ORDER_STATE": "当前订单状态不可退款",
    "UPAY_TCP_ORDER_NOT_REFUNDABLE": "订单参与了活动并且无法撤销",
}
"""biz_response.error_code → error_message (§8.3)."""

SUB_PAYWAY_NAMES = {
    "1": "条码支付",
    "2": "二维码支付",
    "3": "wap支付",
    "4": "小程序支付",
    "5": "APP支付",
    "6": "H5支付",
}
"""二级支付方式 (§9.2)."""


def biz_text(code: str, said: str) -> str:
    """Return the printed text of a business error; for TRADE_FAILED the wallet's own words."""
    if said and (code == "TRADE_FAILED" or code not in BIZ_ERRORS):
        return said
    return BIZ_ERRORS.get(code, "")
