"""Callbacks from WeChat: signed ones about payments, encrypted ones about refunds."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from hypothesis import given
from hypothesis import strategies as st

from paymux.channels.contract import CallbackForged
from paymux.channels.wechat.channel import WeChat
from paymux.channels.wechat.xml import read_xml, write_xml
from paymux.domain.outcome import Took, Unknown
from tests.unit.channels import makers

PAID = makers.wechat_reply(makers.WECHAT_PAID)
REFUNDED = {
    "out_trade_no": makers.SN,
    "out_refund_no": makers.TSN,
    "refund_fee": "234",
    "total_fee": "1234",
    "refund_status": "SUCCESS",
}


def _req_info(inner: bytes, *, api_key: str = makers.API_KEY) -> str:
    padder = PKCS7(128).padder()
    padded = padder.update(inner) + padder.finalize()
    key = hashlib.md5(api_key.encode(), usedforsecurity=False).hexdigest().encode()
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - WeChat prescribes ECB
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def _refund_body(req_info: str, **changes: str) -> bytes:
    named = {
        "return_code": "SUCCESS",
        "appid": "wx0000000000000001",
        "mch_id": "1900000109",
        "nonce_str": "n",
    }
    return write_xml({**named, "req_info": req_info, **changes})


def _root(fields: dict[str, str]) -> bytes:
    return write_xml(fields).replace(b"<xml>", b"<root>\n").replace(b"</xml>", b"\n</root>")


def test_a_payment() -> None:
    """Number and amount are as WeChat signed them."""
    fact = makers.wechat().verify(makers.post(PAID))
    assert (fact.out_trade_no, fact.refund_no, fact.amount) == (makers.SN, "", makers.AMOUNT)
    assert isinstance(fact.outcome, Took)
    assert fact.outcome.trade_no == "4200000000202311150000000001"


@pytest.mark.parametrize(
    "changes",
    [{"result_code": "FAIL", "err_code": "SYSTEMERROR"}, {"fee_type": "USD"}, {"return_code": "FAIL"}],
)
def test_no_payment(changes: dict[str, str]) -> None:
    """A signed callback about anything but a payment in CNY tells nothing."""
    fact = makers.wechat().verify(makers.post(makers.wechat_reply(makers.WECHAT_PAID | changes)))
    assert isinstance(fact.outcome, Unknown)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xml/>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><xml><sign>&a;</sign></xml>',
        makers.wechat_reply(makers.WECHAT_PAID, api_key="f" * 32),
        makers.wechat_reply(makers.WECHAT_PAID, sign_type="HMAC-SHA256"),
        makers.wechat_reply(makers.WECHAT_PAID | {"appid": "wx0000000000000002"}),
        makers.wechat_reply(makers.WECHAT_PAID | {"mch_id": "1"}),
        makers.wechat_reply(makers.WECHAT_PAID | {"out_trade_no": ""}),
        makers.wechat_reply(makers.WECHAT_PAID | {"total_fee": "12.34"}),
        PAID.replace(b"<total_fee>1234", b"<total_fee>1235"),
    ],
)
def test_a_forged_callback(body: bytes) -> None:
    """No XML, no or another's signature, another account, no number, no amount: refused."""
    with pytest.raises(CallbackForged):
        makers.wechat().verify(makers.post(body))


def test_an_empty_field_says_nothing() -> None:
    """WeChat's signature leaves empty fields out: put into a reply of ours, they make no payment of it."""
    refund_query = {name: value for name, value in makers.WECHAT_PAID.items() if name != "time_end"}
    reply = makers.wechat_reply(refund_query | {"refund_id_0": "50000000382019052709732678859"})
    for body in (reply, reply.replace(b"</xml>", b"<time_end></time_end></xml>")):
        fact = makers.wechat().verify(makers.post(body))
        assert isinstance(fact.outcome, Unknown)


@given(at=st.integers(0, len(PAID) - 1), byte=st.integers(0, 255))
def test_no_changed_byte_tells_another_story(at: int, byte: int) -> None:
    """Any changed byte is refused, or changes nothing that was signed."""
    try:
        fact = makers.wechat().verify(makers.post(PAID[:at] + bytes([byte]) + PAID[at + 1 :]))
    except CallbackForged:
        return
    assert fact == makers.wechat().verify(makers.post(PAID))


@pytest.mark.parametrize("status", ["SUCCESS", "CHANGE", "REFUNDCLOSE"])
def test_a_refund_is_a_hint(status: str) -> None:
    """req_info is encrypted, not signed: it says which refund to ask about, and does not end it."""
    body = _refund_body(_req_info(_root(REFUNDED | {"refund_status": status})))
    fact = makers.wechat().verify(makers.post(body))
    assert (fact.out_trade_no, fact.refund_no, fact.amount) == (makers.SN, makers.TSN, 234)
    assert isinstance(fact.outcome, Unknown)
    assert status in fact.outcome.text


@pytest.mark.parametrize(
    "body",
    [
        _refund_body("not base64 ✗"),
        _refund_body("YWJj"),
        _refund_body(_req_info(_root(REFUNDED), api_key="f" * 32)),
        _refund_body(_req_info(b"no xml")),
        _refund_body(_req_info(_root({"out_trade_no": makers.SN}))),
        _refund_body(_req_info(_root(REFUNDED)), mch_id="1900000108"),
    ],
)
def test_a_forged_refund_callback(body: bytes) -> None:
    """What our key does not open, or what names another account or no refund, is refused."""
    with pytest.raises(CallbackForged):
        makers.wechat().verify(makers.post(body))


def test_the_words_wechat_waits_for() -> None:
    """SUCCESS, and FAIL makes it come again."""
    assert read_xml(WeChat.ack.body) == {"return_code": "SUCCESS", "return_msg": "OK"}
    assert read_xml(WeChat.nack.body)["return_code"] == "FAIL"
