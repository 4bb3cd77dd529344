"""Notifications from Alipay: who signed them, for whom they are, and what they tell."""

from collections.abc import Mapping
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.channels.alipay.channel import Alipay
from paymux.channels.contract import CallbackFact, CallbackForged
from paymux.domain.outcome import InProgress, Payment, Refused, Took, Unknown
from tests.unit.channels import makers


def _verified(fields: Mapping[str, str]) -> CallbackFact:
    return makers.alipay().verify(makers.post(makers.alipay_notification(fields)))


def test_a_payment() -> None:
    """Number, amount, buyer, moment and sources are as Alipay signed them."""
    fact = _verified(makers.ALIPAY_NOTIFIED)
    assert (fact.out_trade_no, fact.refund_no, fact.amount) == (makers.SN, "", makers.AMOUNT)
    assert fact.outcome == Took(
        trade_no="2023111522001400000000000001",
        amount=makers.AMOUNT,
        paid_at_ms=1_700_000_005_000,
        payer_uid="2088000011112222",
        payments=(Payment(type="WALLET_ALIPAY", amount_total=makers.AMOUNT),),
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("TRADE_FINISHED", Took),
        ("WAIT_BUYER_PAY", InProgress),
        ("TRADE_CLOSED", Refused),
        ("NEW", Unknown),
        ("", Unknown),
    ],
)
def test_the_other_states(status: str, expected: type) -> None:
    """A closed trade was not paid; a state we do not know tells nothing."""
    assert isinstance(_verified(makers.ALIPAY_NOTIFIED | {"trade_status": status}).outcome, expected)


@pytest.mark.parametrize("status", ["TRADE_SUCCESS", "TRADE_CLOSED"])
def test_a_refund_is_a_hint(status: str) -> None:
    """refund_fee counts all refunds of the trade, so the notification says which to ask for, not its end."""
    fields = {
        "trade_status": status,
        "refund_fee": "2.34",
        "gmt_refund": "2023-11-15",
        "out_biz_no": makers.TSN,
    }
    fact = _verified(makers.ALIPAY_NOTIFIED | fields)
    assert (fact.refund_no, fact.amount) == (makers.TSN, 234)
    assert isinstance(fact.outcome, Unknown)


def test_sign_type_may_be_signed() -> None:
    """Some kinds of notification cover sign_type; both ways verify."""
    body = makers.alipay_notification(makers.ALIPAY_NOTIFIED, sign_type_signed=True)
    assert makers.alipay().verify(makers.post(body)).out_trade_no == makers.SN


@pytest.mark.parametrize(
    "changes",
    [
        {"app_id": "2021000000000002"},
        {"seller_id": "2088000000000008"},
        {"out_trade_no": ""},
        {"total_amount": "x"},
    ],
)
def test_a_notification_for_others_is_forged(changes: dict[str, str]) -> None:
    """Signed by Alipay, yet about another app or seller, or about nothing: not for us."""
    channel = Alipay(makers.alipay_account(seller_id="2088000000000009"))
    body = makers.alipay_notification(makers.ALIPAY_NOTIFIED | changes)
    with pytest.raises(CallbackForged):
        channel.verify(makers.post(body))


BODY = makers.alipay_notification(makers.ALIPAY_NOTIFIED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"sign=x",
        urlencode(makers.ALIPAY_NOTIFIED).encode(),
        BODY + b"&total_amount=0.01",
        BODY + b"&extra=1",
        BODY.replace(b"total_amount=12.34", b"total_amount=12.35"),
        b"&".join(b"a=1" for _ in range(1000)),
    ],
)
def test_a_forged_notification(body: bytes) -> None:
    """No signature, a changed or added field, the same name twice, no form at all: refused."""
    with pytest.raises(CallbackForged):
        makers.alipay().verify(makers.post(body))


@given(at=st.integers(0, len(BODY) - 1), byte=st.integers(0, 255))
def test_no_changed_byte_tells_another_story(at: int, byte: int) -> None:
    """Any changed byte is refused, or changes nothing that was signed."""
    try:
        fact = makers.alipay().verify(makers.post(BODY[:at] + bytes([byte]) + BODY[at + 1 :]))
    except CallbackForged:
        return
    assert fact == _verified(makers.ALIPAY_NOTIFIED)


def test_the_words_alipay_waits_for() -> None:
    """`success`, and anything else makes it come again."""
    assert (Alipay.ack.status, Alipay.ack.body) == (200, b"success")
    assert Alipay.nack.body != b"success"
