"""Alipay's signatures and certificate numbers: against vectors others published, and against broken keys."""

import base64
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from paymux.channels.alipay import signing
from paymux.channels.alipay.channel import Alipay
from paymux.channels.contract import Close, HttpResponse, Query, Refund, RefundQuery
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.outcome import GaveBack, Took
from tests import vectors
from tests.unit.channels import makers


def _published(part: str) -> list[dict[str, Any]]:
    return [one for one in vectors.load("alipay")["vectors"] if part in one]


def _vector(name: str) -> dict[str, Any]:
    return next(one for one in vectors.load("alipay")["vectors"] if one["id"] == name)


def test_published_signatures_verify() -> None:
    """What Alipay signed verifies, and the one vector made to fail fails."""
    signed = _published("public_key_pem")
    assert len(signed) >= 10
    for one in signed:
        key = signing.read_public_key(one["public_key_pem"], name="key")
        verdict = signing.is_signed(key, one["string_to_sign"].encode(), signature=one.get("signature") or "")
        assert verdict is (one["expected"] == "valid"), one["id"]


def test_published_certificate_numbers() -> None:
    """App, Alipay and root certificates get the numbers Alipay counts."""
    for name in ("alipay-cert-sn-app", "alipay-cert-sn-alipay"):
        one = _vector(name)
        certificate = x509.load_pem_x509_certificate(one["certificate_pem"].encode())
        assert signing.certificate_sn(certificate) == one["expected"]
    root = _vector("alipay-root-cert-sn")
    assert signing.root_certificate_sn(root["certificates_pem"], name="root") == root["expected"]


def test_published_replies_are_read() -> None:
    """Replies signed by Alipay's own sandbox become the outcomes they tell of, key and all."""
    expected = {
        "alipay_trade_query": (Query(out_trade_no="1703141270", amount=1), Took),
        "alipay_trade_close": (Close(out_trade_no="1703226647"), GaveBack),
        "alipay_trade_refund": (
            Refund(out_trade_no="1703141270", refund_no="1703141270", amount=1, total=1),
            GaveBack,
        ),
        "alipay_trade_fastpay_refund_query": (
            RefundQuery(out_trade_no="1703141270", refund_no="1703141270", amount=1),
            GaveBack,
        ),
    }
    for method, (operation, outcome) in expected.items():
        one = _vector(f"alipay-sandbox-{method}_response")
        body = f'{{"{method}_response":{one["string_to_sign"]},"sign":"{one["signature"]}"}}'
        channel = Alipay(makers.alipay_account(alipay_public_key=one["public_key_pem"]))
        reply = HttpResponse(status=200, headers={}, body=body.encode())
        assert isinstance(channel.read(operation, reply), outcome), method


def test_a_published_notification_is_verified() -> None:
    """A notification from production passes the whole way through `verify`."""
    one = _vector("alipay-notify-node-1")
    fields = dict(pair.split("=", 1) for pair in one["string_to_sign"].split("&"))
    account = makers.alipay_account(
        alipay_public_key=one["public_key_pem"], app_id=fields["app_id"], seller_id=fields["seller_id"]
    )
    body = urlencode(fields | {"sign": one["form"]["sign"], "sign_type": "RSA2"}).encode()
    fact = Alipay(account).verify(makers.post(body))
    assert (fact.out_trade_no, fact.amount) == ("20190815155618536-564-57", 10)
    assert isinstance(fact.outcome, Took)


def _forms_of(key: Any) -> dict[str, str]:  # noqa: ANN401 - any private key
    forms = {}
    for name, form in (
        ("PKCS#8", serialization.PrivateFormat.PKCS8),
        ("PKCS#1", serialization.PrivateFormat.TraditionalOpenSSL),
    ):
        plain = serialization.NoEncryption()
        forms[f"{name} PEM"] = key.private_bytes(serialization.Encoding.PEM, form, plain).decode()
        der = key.private_bytes(serialization.Encoding.DER, form, plain)
        forms[f"{name} base64"] = base64.b64encode(der).decode()
        forms[f"{name} wrapped base64"] = base64.encodebytes(der).decode()
    return forms


def test_every_form_of_a_private_key_is_read() -> None:
    """PKCS#1 and PKCS#8, PEM and bare base64, give the same key."""
    key = makers.rsa_key("us")
    for name, text in _forms_of(key).items():
        read = signing.read_private_key(text, name="private_key")
        assert read.private_numbers() == key.private_numbers(), name


def test_every_form_of_a_public_key_is_read() -> None:
    """PEM and bare base64 give the same key."""
    pem = makers.public_pem(makers.rsa_key("alipay"))
    bare = "".join(pem.splitlines()[1:-1])
    numbers = [signing.read_public_key(one, name="key").public_numbers() for one in (pem, bare)]
    assert numbers[0] == numbers[1] == makers.rsa_key("alipay").public_key().public_numbers()


@pytest.mark.parametrize("text", ["", "not base64 ✗", "YWJj", "-----BEGIN RSA PRIVATE KEY-----\nYWJj\n"])
def test_a_broken_key_is_named(text: str) -> None:
    """The error says which credential is wrong, and never shows the key."""
    for read in (signing.read_private_key, signing.read_public_key):
        with pytest.raises(ConfigurationBroken, match=r"^the_key: "):
            read(text, name="the_key")


def test_a_key_that_is_not_rsa_is_named() -> None:
    """An elliptic key cannot make an RSA2 signature, and we say so when the account is opened."""
    elliptic = next(iter(_forms_of(ec.generate_private_key(ec.SECP256R1())).values()))
    with pytest.raises(ConfigurationBroken, match="RSA"):
        signing.read_private_key(elliptic, name="private_key")


def test_the_string_to_sign() -> None:
    """Sorted, joined, and without what is empty."""
    assert signing.string_to_sign({"b": "2=&", "a": "1", "c": ""}) == "a=1&b=2=&"
