"""What inputs are made of: names wallets and tills use, values nobody should, and ways to write them."""

import functools
import json
import re
from collections.abc import Sequence
from urllib.parse import quote_plus

from tests.fuzz.trial import Pairs

# ---------------------------------------------------------------- JSON, its values as tokens

ODD_TOKENS = (
    "null",
    "true",
    "false",
    '""',
    '" "',
    "0",
    "-0",
    "-1",
    "1",
    "01",
    "1.0",
    "1e2",
    "1e999999999999999999",
    "1e9999999999999999999",
    "9999999999",
    "10000000000",
    "18446744073709551616",
    "9" * 400,
    "NaN",
    "-Infinity",
    "[]",
    "{}",
    "[[[[[]]]]]",
    '{"a":{"b":{"c":[1]}}}',
    '{"a":1,"a":2}',
    "[1,2",
    '"0"',
    '"1"',
    '"-1"',
    '"1_0"',
    '"１２"',
    '"1.00"',
    '"12.340"',
    '"1e2"',
    '"+1"',
    '" 1"',
    '"00000000001"',
    '"9999999999"',
    '"10000000000"',
    '"\\u0000"',
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"茶"',
    '"\\r\\n"',
    '"<!DOCTYPE x>"',
    '"a&b=c"',
    '"' + "x" * 300 + '"',
    '"http://127.0.0.1:80/"',
    '"http://[::1"',
    '"//x"',
)


def as_token(raw: bytes) -> str:
    """Make a JSON text of any bytes, or let them stand as they are."""
    text = raw.decode("latin-1")
    return text[1:] if text[:1] == "=" else json.dumps(text)


def json_object(pairs: Pairs) -> bytes:
    """Write the pairs as one object, whatever their values are."""
    inner = ",".join(f"{json.dumps(name)}:{token}" for name, token in pairs)
    return f"{{{inner}}}".encode(errors="surrogatepass")


# ---------------------------------------------------------------- Alipay

_ALIPAY_CODES = (
    "10000",
    "10003",
    "20000",
    "20001",
    "40001",
    "40002",
    "40004",
    "40006",
)
_ALIPAY_SUB_CODES = (
    "ACQ.SYSTEM_ERROR",
    "ACQ.TRADE_NOT_EXIST",
    "ACQ.TRADE_HAS_SUCCESS",
    "ACQ.BUYER_BALANCE_NOT_ENOUGH",
    "ACQ.TRADE_CANCEL_TIME_OUT",
    "ACQ.SELLER_BALANCE_NOT_ENOUGH",
)
ALIPAY_STATUSES = ("TRADE_SUCCESS", "TRADE_FINISHED", "TRADE_CLOSED", "WAIT_BUYER_PAY", "REFUND_SUCCESS")
_ALIPAY_TEXTS = (
    *_ALIPAY_CODES,
    *_ALIPAY_SUB_CODES,
    *ALIPAY_STATUSES,
    "12.34",
    "2.34",
    "12.35",
    "0.01",
    "1234",
    "Y",
    "N",
    "refund",
    "close",
    "2026-09-21 22:13:20",
    "0001-01-01 00:00:00",
    "7100000000000001",
)
ALIPAY_VALUES = (
    *(json.dumps(text) for text in _ALIPAY_TEXTS),
    '[{"amount":"12.34","fund_channel":"COUPON"}]',
    '[{"amount":1}]',
    '"[{]"',
    *ODD_TOKENS,
)
ALIPAY_NAMES = (
    "code",
    "sub_code",
    "msg",
    "sub_msg",
    "out_trade_no",
    "trade_no",
    "trade_status",
    "total_amount",
    "refund_fee",
    "fund_change",
    "refund_status",
    "out_request_no",
    "refund_amount",
    "retry_flag",
    "action",
    "gmt_payment",
    "send_pay_date",
    "gmt_refund_pay",
    "fund_bill_list",
    "buyer_user_id",
    "qr_code",
    "sign",
)

# ---------------------------------------------------------------- forms


def form_body(pairs: Pairs, charset: str) -> bytes:
    """Write a form; what the charset cannot say becomes a question mark."""
    return "&".join([f"{_quoted(name, charset)}={_quoted(value, charset)}" for name, value in pairs]).encode()


@functools.lru_cache(maxsize=4096)
def _quoted(text: str, charset: str) -> str:
    return quote_plus(text, encoding=charset, errors="replace")


# ---------------------------------------------------------------- WeChat's flat XML

WECHAT_NAMES = (
    "return_code",
    "return_msg",
    "result_code",
    "err_code",
    "err_code_des",
    "appid",
    "mch_id",
    "sub_mch_id",
    "sign_type",
    "out_trade_no",
    "transaction_id",
    "total_fee",
    "fee_type",
    "coupon_fee",
    "trade_state",
    "trade_type",
    "time_end",
    "recall",
    "out_refund_no",
    "out_refund_no_0",
    "out_refund_no_1",
    "refund_fee",
    "refund_fee_0",
    "refund_fee_1",
    "refund_status_0",
    "refund_status_1",
    "refund_success_time_0",
    "refund_id",
    "req_info",
    "bank_type",
    "code_url",
    "prepay_id",
    "mweb_url",
    "openid",
)
WECHAT_VALUES = (
    "SUCCESS",
    "FAIL",
    "REFUND",
    "NOTPAY",
    "USERPAYING",
    "CLOSED",
    "REVOKED",
    "PAYERROR",
    "PROCESSING",
    "REFUNDCLOSE",
    "CHANGE",
    "SYSTEMERROR",
    "ORDERPAID",
    "ORDERNOTEXIST",
    "ORDERCLOSED",
    "NOTENOUGH",
    "TRADE_ERROR",
    "Y",
    "N",
    "MD5",
    "HMAC-SHA256",
    "CNY",
    "USD",
    "NATIVE",
    "1234",
    "234",
    "1235",
    "0",
    "-1",
    "１２３４",
    "1_234",
    "12.34",
    "01234",
    "99999999999",
    "7100000000000001",
    "20260921221320",
    "00010101000000",
    "2026-09-21 22:13:20",
    "ICBC_CREDIT",
    "",
    " ",
    "茶",
    "]]>",
    "<a>",
    "&amp;",
    "a&b=c",
    "\x00",
    "\ufffe",
    "x" * 300,
)
_PLAIN = re.compile(r"<(\w+)><!\[CDATA\[(.*?)\]\]></\1>", re.DOTALL)


def as_text(raw: bytes) -> str:
    """Return bytes as text, each as one character."""
    return raw.decode("latin-1")


def xml_pairs(body: bytes) -> Pairs:
    """Read a genuine document of the sandbox with nothing but a pattern."""
    return _PLAIN.findall(body.decode())


def xml_document(pairs: Sequence[tuple[str, str]], style: int) -> bytes:
    """Write flat XML: with CDATA, escaped, mixed, with references, or spaced; all mean the same."""
    write = (_cdata, _escaped, _mixed, _references, _cdata)[style]
    gap = "\n  " if style == 4 else ""
    inner = "".join([f"{gap}<{name}>{write(value)}</{name}>" for name, value in pairs])
    head = '<?xml version="1.0" encoding="UTF-8"?>\n' if style == 4 else ""
    return f"{head}<xml>{inner}{gap[:1]}</xml>".encode(errors="surrogatepass")


def _cdata(value: str) -> str:
    return "<![CDATA[" + value.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def _escaped(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mixed(value: str) -> str:
    return _escaped(value[:1]) + _cdata(value[1:])


def _references(value: str) -> str:
    return "".join([f"&#{ord(char)};" for char in value[:3]]) + _escaped(value[3:])


_SIGN = re.compile(rb',"sign":"[^"]*"|<sign>.*?</sign>|&?sign=[^&]*')


def unsigned(body: bytes) -> bytes:
    """Return a genuine reply or callback without its signature."""
    return _SIGN.sub(b"", body)


WALLET_WORDS = tuple(
    word.encode()
    for word in (
        '"sign":"',
        '"error_response":',
        '"alipay_trade_query_response":',
        '"out_trade_no":"',
        '"total_amount":"12.34"',
        '"trade_status":"TRADE_SUCCESS"',
        "<xml>",
        "</xml>",
        "<![CDATA[",
        "]]>",
        "<sign_type>MD5</sign_type>",
        "<out_trade_no>",
        "<total_fee>1234</total_fee>",
        "&#0;",
        "&amp;",
        "\\ud800",
        "\ufeff",
        "sign=",
        "&sign_type=RSA2",
        "%00",
        "%ff",
    )
)
"""A small dictionary for both wallets."""
