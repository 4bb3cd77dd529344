"""What each reply of Alipay proves. The tables below are the promise; a cashier could read them."""

import json
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.channels.alipay import codes
from paymux.channels.contract import HttpResponse
from paymux.domain.outcome import (
    AlreadyExists,
    GaveBack,
    Misconfigured,
    Outcome,
    Prepared,
    Refused,
    Took,
    Unknown,
)
from tests import vectors
from tests.unit.channels import makers

UNSURE = "ACQ.NEVER_HEARD_OF_IT"

FAILURES = """
pay           10003  -                                     InProgress
pay           20000  aop.ACQ.SYSTEM_ERROR                  Unknown
pay           20000  isp.unknow-error                      Unknown
pay           20001  aop.invalid-auth-token                Misconfigured
pay           40001  isv.missing-method                    Misconfigured
pay           40002  isv.invalid-signature                 Misconfigured
pay           40003  isv.insufficient-isv-permissions      Misconfigured
pay           40006  isv.insufficient-user-permissions     Misconfigured
pay           40004  ACQ.SYSTEM_ERROR                      Unknown
pay           40004  ACQ.PULL_MOBILE_CASHIER_FAIL          Unknown
pay           40004  ACQ.PAYMENT_FAIL                      Unknown
pay           40004  ACQ.TRADE_HAS_SUCCESS                 AlreadyExists
pay           40004  ACQ.TRADE_HAS_CLOSE                   AlreadyExists
pay           40004  ACQ.CONTEXT_INCONSISTENT              AlreadyExists
pay           40004  ACQ.PAYMENT_AUTH_CODE_INVALID         Refused
pay           40004  ACQ.BUYER_BALANCE_NOT_ENOUGH          Refused
pay           40004  ACQ.SELLER_BEEN_BLOCKED               Refused
pay           40004  ACQ.NEVER_HEARD_OF_IT                 Unknown
pay           40004  -                                     Unknown
pay           99999  ACQ.BUYER_BALANCE_NOT_ENOUGH          Unknown
pay           40004  ACQ.APPLY_PC_MERCHANT_CODE_ERROR      Unknown
precreate     40004  ACQ.APPLY_PC_MERCHANT_CODE_ERROR      Refused
precreate     40004  ACQ.PAYMENT_AUTH_CODE_INVALID         Unknown
precreate     40004  ACQ.TRADE_HAS_SUCCESS                 AlreadyExists
precreate     40004  ACQ.SYSTEM_ERROR                      Unknown
create        40004  ACQ.OPEN_ID_NOT_TINY_APP              Refused
create        40004  ACQ.SYSTEM_ERROR                      Unknown
create        40004  ACQ.APPLY_PC_MERCHANT_CODE_ERROR      Unknown
query         40004  ACQ.TRADE_NOT_EXIST                   Unknown,not_found
query         40004  ACQ.SYSTEM_ERROR                      Unknown
query         40004  ACQ.INVALID_PARAMETER                 Unknown
query         40002  isv.invalid-signature                 Misconfigured
reverse       40004  ACQ.SYSTEM_ERROR                      Unknown
reverse       40004  AQC.SYSTEM_ERROR                      Unknown
reverse       20000  aop.ACQ.SYSTEM_ERROR                  Unknown
reverse       40004  ACQ.TRADE_CANCEL_TIME_OUT             Refused,refund
reverse       40004  ACQ.TRADE_HAS_FINISHED                Refused,refund
reverse       40004  ACQ.CANCEL_NOT_ALLOWED                Refused,refund
reverse       40004  ACQ.REASON_TRADE_REFUND_FEE_ERR       Refused,refund
reverse       40004  ACQ.SELLER_BALANCE_NOT_ENOUGH         Refused
reverse       40004  ACQ.REASON_TRADE_BEEN_FREEZEN         Refused
reverse       40004  ACQ.INVALID_PARAMETER                 Unknown
close         40004  ACQ.TRADE_NOT_EXIST                   GaveBack
close         40004  ACQ.REASON_TRADE_STATUS_INVALID       Refused,refund
close         40004  ACQ.REASON_ILLEGAL_STATUS             Refused,refund
close         40004  ACQ.TRADE_STATUS_ERROR                Refused,refund
close         40004  ACQ.SYSTEM_ERROR                      Unknown
refund        40004  ACQ.SYSTEM_ERROR                      Unknown
refund        20000  aop.ACQ.SYSTEM_ERROR                  Unknown
refund        40004  ACQ.SELLER_BALANCE_NOT_ENOUGH         Refused
refund        40004  ACQ.REFUND_AMT_NOT_EQUAL_TOTAL        Refused
refund        40004  ACQ.TRADE_NOT_EXIST                   Refused
refund        40004  ACQ.DISCORDANT_REPEAT_REQUEST         Refused
refund        40004  ACQ.NEVER_HEARD_OF_IT                 Unknown
refund_query  40004  ACQ.TRADE_NOT_EXIST                   Unknown,not_found
refund_query  40004  TRADE_NOT_EXIST                       Unknown,not_found
refund_query  40004  ACQ.SYSTEM_ERROR                      Unknown
"""
SUCCESSES = """
pay           {}                                                              Took
pay           {"trade_status":"TRADE_SUCCESS"}                                Took
pay           {"trade_status":"WAIT_BUYER_PAY"}                               Unknown
pay           {"total_amount":"12.35"}                                        Unknown
pay           {"total_amount":"1234"}                                         Unknown
pay           {"total_amount":12.34}                                          Unknown
pay           {"total_amount":""}                                             Unknown
pay           {"out_trade_no":"7894259244067219"}                             Unknown
pay           {"out_trade_no":""}                                             Unknown
query         {"trade_status":"TRADE_SUCCESS"}                                Took
query         {"trade_status":"TRADE_FINISHED"}                               Took
query         {"trade_status":"TRADE_SUCCESS","total_amount":"0.01"}          Unknown
query         {"trade_status":"WAIT_BUYER_PAY"}                               InProgress
query         {"trade_status":"WAIT_BUYER_PAY","out_trade_no":""}             Unknown
query         {"trade_status":"TRADE_CLOSED"}                                 Refused
query         {"trade_status":"TRADE_CLOSED","out_trade_no":"1"}              Unknown
query         {"trade_status":"TRADE_CLOSED","out_trade_no":""}               Unknown
query         {"trade_status":"SOMETHING_NEW"}                                Unknown
query         {}                                                              Unknown
precreate     {"qr_code":"https://qr.alipay.com/bax1"}                        Prepared
precreate     {}                                                              Unknown
create        {}                                                              Prepared
create        {"trade_no":""}                                                 Unknown
reverse       {"retry_flag":"N","action":"close"}                             GaveBack
reverse       {"retry_flag":"N","action":"refund"}                            GaveBack
reverse       {"retry_flag":"N"}                                              GaveBack
reverse       {"retry_flag":"Y","action":"close"}                             Unknown
reverse       {}                                                              Unknown
reverse       {"retry_flag":"N","out_trade_no":"1"}                           Unknown
close         {}                                                              GaveBack
close         {"out_trade_no":"1"}                                            Unknown
refund        {"fund_change":"Y","refund_fee":"2.34"}                         GaveBack
refund        {"fund_change":"Y","refund_fee":"10.00"}                        GaveBack
refund        {"fund_change":"Y","refund_fee":"2.33"}                         Unknown
refund        {"fund_change":"Y"}                                             Unknown
refund        {"fund_change":"N","refund_fee":"2.34"}                         InProgress
refund        {}                                                              InProgress
refund        {"fund_change":"Y","refund_fee":"2.34","out_trade_no":"1"}      Unknown
refund_query  {"refund_status":"REFUND_SUCCESS"}                              GaveBack
refund_query  {"refund_status":"REFUND_SUCCESS","refund_amount":"2.33"}       Unknown
refund_query  {"refund_status":"REFUND_SUCCESS","out_request_no":"1"}         Unknown
refund_query  {}                                                              Unknown,not_found
refund_query  {"refund_status":"REFUND_FAIL"}                                 Unknown
"""
OUR_ERROR_CODES = """
pay     ACQ.PAYMENT_AUTH_CODE_INVALID              EXPIRED_BARCODE
pay     ACQ.BUYER_BALANCE_NOT_ENOUGH               INSUFFICIENT_FUND
pay     ACQ.BUYER_BANKCARD_BALANCE_NOT_ENOUGH      INSUFFICIENT_FUND
pay     ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR   BUYER_OVER_DAILY_LIMIT
pay     ACQ.BEYOND_PER_RECEIPT_DAY_RESTRICTION     SELLER_OVER_DAILY_LIMIT
pay     ACQ.TOTAL_FEE_EXCEED                       BUYER_OVER_TRANSACTION_LIMIT
pay     ACQ.SELLER_BEEN_BLOCKED                    TRADE_FAILED
refund  ACQ.SELLER_BALANCE_NOT_ENOUGH              SELLER_BALANCE_NOT_ENOUGH
refund  ACQ.REFUND_AMT_NOT_EQUAL_TOTAL             REFUND_AMT_NOT_EQUAL_TOTAL
refund  ACQ.TRADE_NOT_EXIST                        TRADE_NOT_EXIST
"""


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]


def _failure(verb: str, code: str, sub_code: str) -> Outcome:
    fields = {"code": code, "msg": "Business Failed", "sub_msg": "说明"}
    fields |= {} if sub_code == "-" else {"sub_code": sub_code}
    return _read(verb, makers.alipay_reply(verb, fields))


def _read(verb: str, body: bytes) -> Outcome:
    return makers.alipay().read(makers.OPERATIONS[verb], makers.ok(body))


@pytest.mark.parametrize(("verb", "code", "sub_code", "expected"), _rows(FAILURES))
def test_failures(verb: str, code: str, sub_code: str, expected: str) -> None:
    """A code proves what the documents settle, and nothing more."""
    assert makers.name_of(_failure(verb, code, sub_code)) == expected


@pytest.mark.parametrize(("verb", "changes", "expected"), _rows(SUCCESSES))
def test_successes(verb: str, changes: str, expected: str) -> None:
    """A success counts only with our number, our amount and the state that goes with it."""
    fields = {**makers.ALIPAY_PAID, "out_request_no": makers.TSN, "refund_amount": "2.34"}
    outcome = _read(verb, makers.alipay_reply(verb, fields | json.loads(changes)))
    assert makers.name_of(outcome) == expected


@pytest.mark.parametrize(("verb", "sub_code", "expected"), _rows(OUR_ERROR_CODES))
def test_our_word_for_it(verb: str, sub_code: str, expected: str) -> None:
    """The client gets one of our error codes, and Alipay's own code and words beside it."""
    assert _failure(verb, "40004", sub_code) == Refused(
        error_code=expected, provider_code=sub_code, text="说明"
    )


@pytest.mark.parametrize(("action", "had_taken"), [("refund", True), ("close", False), ("", None)])
def test_a_reversal_says_whether_money_had_been_taken(action: str, had_taken: bool | None) -> None:  # noqa: FBT001 - a column of the table above
    """Alipay's `action` tells; an order it never knew has none."""
    fields = {
        "code": "10000",
        "out_trade_no": makers.SN,
        "retry_flag": "N",
        "action": action,
        "trade_no": "9",
    }
    outcome = _read("reverse", makers.alipay_reply("reverse", fields))
    assert outcome == GaveBack(trade_no="9", had_taken=had_taken)


def test_all_a_success_tells() -> None:
    """The wallet's number, the buyer, the moment and where the money came from."""
    outcome = _read("pay", makers.alipay_reply("pay", makers.ALIPAY_PAID))
    assert isinstance(outcome, Took)
    assert (outcome.trade_no, outcome.amount) == ("2023111522001400000000000001", makers.AMOUNT)
    assert (outcome.payer_uid, outcome.payer_login) == ("2088000011112222", "kim***@example.com")
    assert outcome.paid_at_ms == 1_700_000_005_000
    assert [(one.type, one.amount_total) for one in outcome.payments] == [
        ("ALIPAY_HUABEI", 1000),
        ("HONGBAO_CHANNEL", 234),
    ]


@pytest.mark.parametrize(
    ("bill", "expected"),
    [
        ({"fund_channel": "ALIPAYACCOUNT", "amount": "1"}, "WALLET_ALIPAY"),
        ({"fund_channel": "BANKCARD", "fund_type": "CREDIT_CARD", "amount": "1"}, "BANKCARD_CREDIT"),
        ({"fund_channel": "BANKCARD", "fund_type": "DEBIT_CARD", "amount": "1"}, "BANKCARD_DEBIT"),
        ({"fund_channel": "POINT", "amount": "1"}, "ALIPAY_POINT"),
        ({"fund_channel": "FINANCEACCOUNT", "amount": "1"}, "WALLET_ALIPAY_FINANCE"),
        ({"fund_channel": "SOMETHING_NEW", "amount": "1"}, "WALLET_ALIPAY"),
    ],
)
def test_where_the_money_came_from(bill: dict[str, str], expected: str) -> None:
    """Each source has its name in payment_list; a new one is at least Alipay's."""
    outcome = _read("pay", makers.alipay_reply("pay", {**makers.ALIPAY_PAID, "fund_bill_list": [bill]}))
    assert isinstance(outcome, Took)
    assert [one.type for one in outcome.payments] == [expected]


@pytest.mark.parametrize("bills", [None, "x", [1], [[]], [{"amount": "x"}], {"amount": "1.00"}])
def test_an_odd_list_of_sources_does_not_hide_a_payment(bills: object) -> None:
    """The payment is proven by number and amount; the ornament is left out."""
    outcome = _read("pay", makers.alipay_reply("pay", {**makers.ALIPAY_PAID, "fund_bill_list": bills}))
    assert isinstance(outcome, Took)
    assert outcome.payments == ()


def test_what_the_buyer_needs() -> None:
    """A QR code to show, or the trade number the front end opens."""
    fields = {"code": "10000", "out_trade_no": makers.SN, "qr_code": "https://qr.alipay.com/bax1"}
    assert _read("precreate", makers.alipay_reply("precreate", fields)) == Prepared(
        qr_code="https://qr.alipay.com/bax1"
    )
    fields = {"code": "10000", "out_trade_no": makers.SN, "trade_no": "2023"}
    assert _read("create", makers.alipay_reply("create", fields)) == Prepared(
        wap_pay_request='{"tradeNO":"2023"}', trade_no="2023"
    )


# ---------------------------------------------------------------- every code of the official lists

LISTS = {
    "pay": ("AlipayTradePay", 95),
    "precreate": ("AlipayTradePrecreate", 40),
    "create": ("AlipayTradeCreate", 49),
    "query": ("AlipayTradeQuery", 4),
    "reverse": ("AlipayTradeCancel", 9),
    "close": ("AlipayTradeClose", 6),
    "refund": ("AlipayTradeRefund", 31),
    "refund_query": ("AlipayTradeFastpayRefundQuery", 5),
}
TABLES = {
    "pay": codes.PAY,
    "precreate": codes.PRECREATE,
    "create": codes.CREATE,
    "query": codes.QUERY,
    "reverse": codes.CANCEL,
    "close": codes.CLOSE,
    "refund": codes.REFUND,
    "refund_query": codes.REFUND_QUERY,
}


@pytest.mark.parametrize("verb", LISTS)
def test_every_listed_code_is_decided(verb: str) -> None:
    """Our table and Alipay's list name the same codes: none forgotten, none invented."""
    home = vectors.folder()
    listed = home and home.parent / "spec" / "channels" / "alipay_error_codes.json"
    if not listed or not listed.is_file():
        pytest.skip("no list of Alipay's error codes beside the signature vectors")
    name, count = LISTS[verb]
    official = set(json.loads(listed.read_bytes())["codes"][name])
    assert len(official) == count
    assert set(TABLES[verb]) == official


def test_how_many_codes_are_decided() -> None:
    """The tables have as many rows as the official lists, also where those lists are not at hand."""
    assert {verb: len(table) for verb, table in TABLES.items()} == {verb: n for verb, (_, n) in LISTS.items()}


@pytest.mark.parametrize("sub_code", codes.PAY)
def test_every_listed_code_of_a_pay(sub_code: str) -> None:
    """All but seven listed codes refuse; system trouble proves nothing, a used number must be asked for."""
    unknown = {"ACQ.SYSTEM_ERROR", "ACQ.PULL_MOBILE_CASHIER_FAIL", "ACQ.PAYMENT_FAIL"}
    exists = {"ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_CLOSE", "ACQ.CONTEXT_INCONSISTENT"}
    expected = Unknown if sub_code in unknown else AlreadyExists if sub_code in exists else Refused
    assert isinstance(_failure("pay", "40004", sub_code), expected)


@given(
    sub_code=st.from_regex(r"(ACQ\.|AQC\.|isv\.|)[A-Z_]{1,40}", fullmatch=True),
    verb=st.sampled_from(list(LISTS)),
)
def test_an_unlisted_code_proves_nothing(sub_code: str, verb: str) -> None:
    """Whatever Alipay invents next is a question, not an answer."""
    if sub_code not in TABLES[verb]:
        assert isinstance(_failure(verb, "40004", sub_code), Unknown)


# ---------------------------------------------------------------- who is speaking?


@pytest.mark.parametrize("verb", makers.ALIPAY_METHODS)
def test_a_reply_signed_by_somebody_else_proves_nothing(verb: str) -> None:
    """Only Alipay's key counts, for successes as for failures."""
    for fields in (makers.ALIPAY_PAID, {"code": "40004", "sub_code": "ACQ.BUYER_BALANCE_NOT_ENOUGH"}):
        assert isinstance(_read(verb, makers.alipay_reply(verb, fields, signed_by="mallory")), Unknown)


@pytest.mark.parametrize("verb", makers.ALIPAY_METHODS)
def test_an_unsigned_success_proves_nothing(verb: str) -> None:
    """No signature, no success, and no business failure."""
    for fields in (makers.ALIPAY_PAID, {"code": "40004", "sub_code": "ACQ.BUYER_BALANCE_NOT_ENOUGH"}):
        assert isinstance(_read(verb, makers.alipay_reply(verb, fields, signed_by="")), Unknown)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("40001", Misconfigured), ("40002", Misconfigured), ("40003", Misconfigured), ("40006", Misconfigured),
     ("20000", Unknown), ("20001", Unknown), ("40004", Unknown), ("10003", Unknown)],
)  # fmt: skip
def test_the_gateway_refuses_at_the_door_unsigned(code: str, expected: type) -> None:
    """The 4000x errors of the gateway itself come without a signature; nothing else is believed so."""
    body = msgspec.json.encode({"error_response": {"code": code, "msg": "no", "sub_code": "isv.x"}})
    assert isinstance(_read("pay", body), expected)


def test_a_signed_error_response_counts_as_signed() -> None:
    """The gateway may answer under `error_response` and sign it."""
    content = b'{"code":"40004","sub_code":"ACQ.BUYER_BALANCE_NOT_ENOUGH"}'
    body = b'{"error_response":%s,"sign":"%s"}' % (content, makers.rsa_sign(content).encode())
    assert isinstance(_read("pay", body), Refused)


def test_the_signature_covers_the_raw_bytes() -> None:
    r"""Blanks, order and `\/` of a reply stay as Alipay wrote them; we do not write it again to verify."""
    content = (
        f'{{ "out_trade_no":"{makers.SN}", "total_amount":"12.34", "code":"10000", "u":"http:\\/\\/x" }}'
    )
    signature = makers.rsa_sign(content.encode())
    body = f'{{"sign":"{signature}", "alipay_trade_pay_response": {content} }}'
    assert isinstance(_read("pay", body.encode()), Took)


PAID_BODY = makers.alipay_reply("pay", makers.ALIPAY_PAID)


@given(at=st.integers(0, len(PAID_BODY) - 1), byte=st.integers(0, 255))
def test_no_changed_byte_makes_another_payment(at: int, byte: int) -> None:
    """Any byte of number, amount, code or signature changed: we cannot tell, and never more than that."""
    body = PAID_BODY[:at] + bytes([byte]) + PAID_BODY[at + 1 :]
    outcome = _read("pay", body)
    assert isinstance(outcome, Unknown) or outcome == _read("pay", PAID_BODY)


@given(
    body=st.binary(max_size=300) | st.text(max_size=300).map(str.encode),
    status=st.sampled_from([200, 202, 500]),
)
def test_garbage_proves_nothing(body: bytes, status: int) -> None:
    """Reading never raises, whatever comes back."""
    for operation in makers.OPERATIONS.values():
        reply = HttpResponse(status=status, headers={}, body=body)
        assert isinstance(makers.alipay().read(operation, reply), Unknown)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    fields=st.dictionaries(
        st.sampled_from([*makers.ALIPAY_PAID, "sub_code", "retry_flag", "refund_fee"]), JSON
    ),
    verb=st.sampled_from(list(LISTS)),
)
def test_odd_fields_never_raise(fields: dict[str, object], verb: str) -> None:
    """Even a signed reply with fields of any kind is read without an error."""
    outcome = _read(verb, makers.alipay_reply(verb, fields))
    assert isinstance(outcome, get_args(Outcome))


@pytest.mark.parametrize("status", [202, 302, 404, 500, 502])
def test_only_http_200_is_read(status: int) -> None:
    """A proxy's error page proves nothing, even with a reply in it."""
    reply = HttpResponse(status=status, headers={}, body=PAID_BODY)
    assert isinstance(makers.alipay().read(makers.PAY, reply), Unknown)


def test_nesting_without_end_proves_nothing() -> None:
    """A reply that nests a hundred thousand times is garbage, not a crash."""
    assert isinstance(_read("pay", b'{"alipay_trade_pay_response":' + b"[" * 100_000), Unknown)
