"""What each reply of WeChat proves. The tables below are the promise; a cashier could read them."""

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.channels.contract import HttpResponse
from paymux.channels.wechat import codes
from paymux.channels.wechat.channel import WeChat
from paymux.channels.wechat.xml import write_xml
from paymux.domain.outcome import Outcome, Payment, Refused, Took, Unknown
from tests.unit.channels import makers

FAILURES = """
pay           USERPAYING             InProgress
pay           SYSTEMERROR            Unknown
pay           BANKERROR              Unknown
pay           ORDERPAID              AlreadyExists
pay           OUT_TRADE_NO_USED      AlreadyExists
pay           AUTHCODEEXPIRE         Refused
pay           AUTH_CODE_ERROR        Refused
pay           AUTH_CODE_INVALID      Refused
pay           NOTENOUGH              Refused
pay           NOTSUPORTCARD          Refused
pay           BUYER_MISMATCH         Refused
pay           ORDERCLOSED            Refused
pay           ORDERREVERSED          Refused
pay           TRADE_ERROR            Refused
pay           NOAUTH                 Misconfigured
pay           PARAM_ERROR            Misconfigured
pay           XML_FORMAT_ERROR       Misconfigured
pay           REQUIRE_POST_METHOD    Misconfigured
pay           SIGNERROR              Misconfigured
pay           LACK_PARAMS            Misconfigured
pay           NOT_UTF8               Misconfigured
pay           APPID_NOT_EXIST        Misconfigured
pay           MCHID_NOT_EXIST        Misconfigured
pay           APPID_MCHID_NOT_MATCH  Misconfigured
pay           INVALID_REQUEST        Misconfigured
pay           NEVER_HEARD_OF_IT      Unknown
pay           ORDERNOTEXIST          Unknown
precreate     SYSTEMERROR            Unknown
precreate     ORDERPAID              AlreadyExists
precreate     NOAUTH                 Misconfigured
query         ORDERNOTEXIST          Unknown,not_found
query         SYSTEMERROR            Unknown
query         NOTENOUGH              Unknown
query         SIGNERROR              Misconfigured
reverse       SYSTEMERROR            Unknown
reverse       USERPAYING             Unknown
reverse       TRADE_ERROR            Refused,refund
reverse       REVERSE_EXPIRE         Refused,refund
reverse       NEVER_HEARD_OF_IT      Unknown
close         ORDERPAID              Refused,refund
close         ORDERCLOSED            GaveBack
close         ORDERNOTEXIST          GaveBack
close         SYSTEMERROR            Unknown
close         NEVER_HEARD_OF_IT      Unknown
refund        SYSTEMERROR            Unknown
refund        BIZERR_NEED_RETRY      Unknown
refund        FREQUENCY_LIMITED      Unknown
refund        NOTENOUGH              Refused
refund        TRADE_OVERDUE          Refused
refund        USER_ACCOUNT_ABNORMAL  Refused
refund        INVALID_TRANSACTIONID  Refused
refund        ERROR                  Refused
refund        NEVER_HEARD_OF_IT      Unknown
refund_query  REFUNDNOTEXIST         Unknown,not_found
refund_query  SYSTEMERROR            Unknown
"""
SUCCESSES = """
pay           {}                                                Took
pay           {"fee_type":""}                                   Took
pay           {"fee_type":"HKD"}                                Unknown
pay           {"total_fee":"1235"}                              Unknown
pay           {"total_fee":"01234"}                             Unknown
pay           {"total_fee":""}                                  Unknown
pay           {"out_trade_no":"7894259244067219"}               Unknown
pay           {"appid":"wx0000000000000002"}                    Unknown
pay           {"mch_id":"1900000108"}                           Unknown
pay           {"sign_type":"HMAC-SHA256"}                       Unknown
pay           {"result_code":"MAYBE"}                           Unknown
query         {"trade_state":"SUCCESS"}                         Took
query         {"trade_state":"SUCCESS","total_fee":"1"}         Unknown
query         {"trade_state":"REFUND"}                          Took
query         {"trade_state":"NOTPAY"}                          InProgress
query         {"trade_state":"USERPAYING"}                      InProgress
query         {"trade_state":"ACCEPT"}                          InProgress
query         {"trade_state":"CLOSED"}                          Refused
query         {"trade_state":"REVOKED"}                         Refused
query         {"trade_state":"CLOSED","out_trade_no":"1"}       Unknown
query         {"trade_state":"PAYERROR"}                        Unknown
query         {"trade_state":"SOMETHING_NEW"}                   Unknown
query         {}                                                Unknown
precreate     {"trade_type":"NATIVE","code_url":"weixin://x"}   Prepared
precreate     {"trade_type":"NATIVE"}                           Unknown
precreate     {"trade_type":"JSAPI","code_url":"weixin://x"}    Unknown
reverse       {"recall":"N"}                                    GaveBack
reverse       {"recall":"Y"}                                    Unknown
reverse       {}                                                Unknown
reverse       {"recall":"N","out_trade_no":"1"}                 Unknown
close         {}                                                GaveBack
refund        {"out_refund_no":"7894259244067999"}              InProgress
refund        {"out_refund_no":"1"}                             Unknown
refund        {"refund_fee":"233"}                              Unknown
refund        {"total_fee":"1"}                                 Unknown
refund_query  {"refund_status_0":"SUCCESS"}                     GaveBack
refund_query  {"refund_status_0":"PROCESSING"}                  InProgress
refund_query  {"refund_status_0":"REFUNDCLOSE"}                 Refused
refund_query  {"refund_status_0":"CHANGE"}                      Unknown
refund_query  {"refund_status_0":"SOMETHING_NEW"}               Unknown
refund_query  {"refund_status_0":"SUCCESS","refund_fee_0":"1"}  Unknown
refund_query  {"out_refund_no_0":"1"}                           Unknown
refund_query  {"refund_status_0":"SUCCESS","out_trade_no":"1"}  Unknown
"""
OUR_ERROR_CODES = """
pay     AUTHCODEEXPIRE     EXPIRED_BARCODE
pay     AUTH_CODE_ERROR    INVALID_BARCODE
pay     AUTH_CODE_INVALID  INVALID_BARCODE
pay     NOTENOUGH          INSUFFICIENT_FUND
pay     TRADE_ERROR        TRADE_FAILED
refund  NOTENOUGH          SELLER_BALANCE_NOT_ENOUGH
refund  ERROR              TRADE_FAILED
"""
TABLES = {
    "pay": codes.OPENING,
    "precreate": codes.OPENING,
    "query": codes.QUERY,
    "reverse": codes.REVERSE,
    "close": codes.CLOSE,
    "refund": codes.REFUND,
    "refund_query": codes.REFUND_QUERY,
}
REFUND_FIELDS = {
    "out_refund_no": makers.TSN,
    "refund_fee": "234",
    "out_refund_no_0": makers.TSN,
    "refund_fee_0": "234",
    "refund_success_time_0": "2023-11-15 06:13:25",
}


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in table.strip().splitlines()]


def _read(verb: str, body: bytes) -> Outcome:
    return makers.wechat().read(makers.OPERATIONS[verb], makers.ok(body))


def _failure(verb: str, code: str) -> Outcome:
    fields = {"result_code": "FAIL", "err_code": code, "err_code_des": "说明"}
    return _read(verb, makers.wechat_reply(fields))


def _fields(changes: str) -> dict[str, str]:
    return {**makers.WECHAT_PAID, **REFUND_FIELDS, "trade_type": "NATIVE", **json.loads(changes)}


@pytest.mark.parametrize(("verb", "code", "expected"), _rows(FAILURES))
def test_failures(verb: str, code: str, expected: str) -> None:
    """A code proves what the official table settles, and nothing more."""
    assert makers.name_of(_failure(verb, code)) == expected


@pytest.mark.parametrize(("verb", "changes", "expected"), _rows(SUCCESSES))
def test_successes(verb: str, changes: str, expected: str) -> None:
    """A success counts only with our account, our numbers, our amount and the state that goes with it."""
    assert makers.name_of(_read(verb, makers.wechat_reply(_fields(changes)))) == expected


@pytest.mark.parametrize(("verb", "code", "expected"), _rows(OUR_ERROR_CODES))
def test_our_word_for_it(verb: str, code: str, expected: str) -> None:
    """The client gets one of our error codes, and WeChat's own code and words beside it."""
    assert _failure(verb, code) == Refused(error_code=expected, provider_code=code, text="说明")


def test_every_row_of_the_tables_is_tested() -> None:
    """No code is decided that the rows above do not show, but for those every verb shares."""
    shown = {(verb, code) for verb, code, _ in _rows(FAILURES)}
    shared = {code for code, verdict in codes.OPENING.items() if verdict == "MISCONFIGURED"}
    decided = {(verb, code) for verb, table in TABLES.items() if verb != "precreate" for code in table}
    assert {(verb, code) for verb, code in decided - shown if code not in shared} == set()


@given(code=st.from_regex(r"[A-Z_]{0,30}", fullmatch=True), verb=st.sampled_from(list(TABLES)))
def test_an_unlisted_code_proves_nothing(code: str, verb: str) -> None:
    """Whatever WeChat invents next is a question, not an answer."""
    if code not in TABLES[verb]:
        assert isinstance(_failure(verb, code), Unknown)


def test_a_reversal_to_be_repeated() -> None:
    """recall=Y means again, whatever the code beside it says."""
    fields = {"result_code": "FAIL", "err_code": "TRADE_ERROR", "recall": "Y"}
    assert isinstance(_read("reverse", makers.wechat_reply(fields)), Unknown)


def test_all_a_success_tells() -> None:
    """The wallet's number, the buyer, the moment, and how much a coupon paid."""
    outcome = _read("pay", makers.wechat_reply(makers.WECHAT_PAID))
    assert outcome == Took(
        trade_no="4200000000202311150000000001",
        amount=makers.AMOUNT,
        paid_at_ms=1_700_000_005_000,
        payer_uid="oBuyer000000000000000000001",
        payments=(
            Payment(type="BANKCARD_CREDIT", amount_total=1200),
            Payment(type="DISCOUNT_CHANNEL", amount_total=34),
        ),
    )


@pytest.mark.parametrize(
    ("bank_type", "expected"),
    [
        ("CFT", "WALLET_WEIXIN"),
        ("ICBC_DEBIT", "BANKCARD_DEBIT"),
        ("ABC_CREDIT", "BANKCARD_CREDIT"),
        ("OTHERS", "WALLET_WEIXIN"),
    ],
)
def test_where_the_money_came_from(bank_type: str, expected: str) -> None:
    """Each bank_type has its name in payment_list."""
    outcome = _read(
        "pay", makers.wechat_reply(makers.WECHAT_PAID | {"bank_type": bank_type, "coupon_fee": ""})
    )
    assert isinstance(outcome, Took)
    assert outcome.payments == (Payment(type=expected, amount_total=makers.AMOUNT),)


def test_one_refund_of_several() -> None:
    """A reply that lists other refunds first is read where ours stands."""
    fields = {"out_refund_no_0": "1", "refund_status_0": "REFUNDCLOSE", "refund_fee_0": "1"}
    fields |= {"out_refund_no_1": makers.TSN, "refund_status_1": "SUCCESS", "refund_fee_1": "234"}
    body = makers.wechat_reply({**makers.WECHAT_PAID, **fields})
    assert makers.name_of(_read("refund_query", body)) == "GaveBack"


# ---------------------------------------------------------------- who is speaking?


@pytest.mark.parametrize(
    ("return_msg", "code"),
    [("签名错误", "SIGNERROR"), ("invalid sign", "SIGNERROR"), ("appid不存在", "APPID_NOT_EXIST"),
     ("mch_id参数格式错误", "MCHID_NOT_EXIST"), ("系统繁忙", "FAIL"), ("", "FAIL")],
)  # fmt: skip
def test_an_unsigned_failure_is_a_doubt_with_a_hint(return_msg: str, code: str) -> None:
    """return_code FAIL carries no signature: it proves nothing, and its text only hints at the cause."""
    body = write_xml({"return_code": "FAIL", "return_msg": return_msg})
    for verb in TABLES:
        outcome = _read(verb, body)
        assert isinstance(outcome, Unknown)
        assert outcome.provider_code == code


@pytest.mark.parametrize("verb", TABLES)
@pytest.mark.parametrize("api_key", ["f" * 32, ""])
def test_a_reply_signed_with_another_key_proves_nothing(verb: str, api_key: str) -> None:
    """Neither a success nor a failure is believed without our key's signature."""
    for fields in (makers.WECHAT_PAID, {"result_code": "FAIL", "err_code": "NOTENOUGH"}):
        assert isinstance(_read(verb, makers.wechat_reply(fields, api_key=api_key)), Unknown)


def test_the_other_sign_type_is_not_ours() -> None:
    """An account that signs with HMAC-SHA256 does not fall back to MD5, and the other way round."""
    hmac = WeChat(makers.wechat_account(sign_type="HMAC-SHA256"))
    md5_body = makers.wechat_reply(makers.WECHAT_PAID)
    hmac_body = makers.wechat_reply(makers.WECHAT_PAID, sign_type="HMAC-SHA256")
    assert isinstance(hmac.read(makers.PAY, makers.ok(hmac_body)), Took)
    assert isinstance(hmac.read(makers.PAY, makers.ok(md5_body)), Unknown)
    assert isinstance(_read("pay", hmac_body), Unknown)


def test_a_sub_merchants_replies_name_it() -> None:
    """A service provider's reply must be about the same sub merchant."""
    channel = WeChat(makers.wechat_account(sub_mch_id="1900000999"))
    for sub_mch_id, expected in (("1900000999", Took), ("1900000998", Unknown), ("", Unknown)):
        body = makers.wechat_reply(makers.WECHAT_PAID | {"sub_mch_id": sub_mch_id})
        assert isinstance(channel.read(makers.PAY, makers.ok(body)), expected)


PAID_BODY = makers.wechat_reply(makers.WECHAT_PAID)


@given(at=st.integers(0, len(PAID_BODY) - 1), byte=st.integers(0, 255))
def test_no_changed_byte_makes_another_payment(at: int, byte: int) -> None:
    """Any byte of number, amount, appid or signature changed: we cannot tell, and never more than that."""
    outcome = _read("pay", PAID_BODY[:at] + bytes([byte]) + PAID_BODY[at + 1 :])
    assert isinstance(outcome, Unknown) or outcome == _read("pay", PAID_BODY)


@given(body=st.binary(max_size=300), status=st.sampled_from([200, 202, 500]))
def test_garbage_proves_nothing(body: bytes, status: int) -> None:
    """Reading never raises, whatever comes back."""
    for operation in makers.OPERATIONS.values():
        reply = HttpResponse(status=status, headers={}, body=body)
        assert isinstance(makers.wechat().read(operation, reply), Unknown)


VALUES = st.sampled_from(
    ["", "0", "1234", "234", "-1", "１２", "SUCCESS", "N", makers.SN, makers.TSN, "9" * 40]
)


@given(
    fields=st.dictionaries(
        st.sampled_from([*makers.WECHAT_PAID, *REFUND_FIELDS, "recall", "trade_state", "refund_status_0"]),
        VALUES,
    ),
    verb=st.sampled_from(list(TABLES)),
)
def test_odd_fields_never_raise(fields: dict[str, str], verb: str) -> None:
    """Even a signed reply with odd values is read without an error."""
    assert isinstance(_read(verb, makers.wechat_reply(fields)), get_args(Outcome))
