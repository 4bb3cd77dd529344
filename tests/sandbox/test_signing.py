"""The sandbox's own signing code against vectors others published, and against its own forgeries."""

from typing import Any

import pytest

from paymux.sandbox import alipay_signing, wechat_signing
from paymux.sandbox.keys import KeyRing
from tests import vectors


def chosen(name: str, *fields: str) -> list[dict[str, Any]]:
    """Return the vectors of a file that have all these fields."""
    return [vector for vector in vectors.load(name)["vectors"] if all(field in vector for field in fields)]


def test_alipay_signatures_of_others_verify() -> None:
    """Production and sandbox signatures: valid ones pass, the invalid one does not."""
    cases = chosen("alipay", "string_to_sign", "signature", "public_key_pem")
    assert len(cases) >= 10
    for case in cases:
        passes = alipay_signing.verifies(
            case["string_to_sign"].encode(), case["signature"], case["public_key_pem"]
        )
        assert passes == (case["expected"] == "valid"), case["id"]


def test_alipay_certificate_numbers_are_the_published_ones() -> None:
    """One certificate, and a bundle with a malformed one in it."""
    for case in chosen("alipay", "certificate_pem"):
        assert alipay_signing.certificate_sn(case["certificate_pem"]) == case["expected"]
    for case in chosen("alipay", "certificates_pem"):
        assert alipay_signing.root_certificate_sn(case["certificates_pem"]) == case["expected"]


def test_wechat_signatures_are_the_published_ones() -> None:
    """MD5 and HMAC-SHA256; empty values do not count."""
    cases = chosen("wechat_v2", "params", "key", "signature")
    assert len(cases) >= 3
    for case in cases:
        fields = {name: str(value) for name, value in case["params"].items()}
        sign_type = "HMAC-SHA256" if case["algorithm"].startswith("HMAC") else "MD5"
        assert wechat_signing.string_to_sign(fields, case["key"]) == case["string_to_sign"]
        assert wechat_signing.sign(fields, case["key"], sign_type) == case["signature"]
        assert wechat_signing.verifies(fields | {"sign": case["signature"]}, case["key"], sign_type)
        assert not wechat_signing.verifies(fields | {"sign": "x"}, case["key"], sign_type)


def test_wechat_sealing_is_the_published_one() -> None:
    """AES-256-ECB with PKCS7."""
    (case,) = chosen("wechat_v2", "ciphertext_base64")
    sealed = wechat_signing.seal(case["plaintext"].encode(), case["key_ascii"].encode())
    assert sealed == case["ciphertext_base64"]


@pytest.mark.parametrize("signature", ["", "*", "AAAA", "签名"])
def test_nonsense_is_no_signature(keys: KeyRing, signature: str) -> None:
    """Whatever it is, it is refused, not raised."""
    assert not alipay_signing.verifies(b"text", signature, keys.alipay.public)


def test_rsa_signatures_are_repeatable_and_bound_to_the_text(keys: KeyRing) -> None:
    """PKCS#1 v1.5 has no dice: the same text signs to the same bytes."""
    first = alipay_signing.sign(b"text", keys.alipay.private)
    assert alipay_signing.sign(b"text", keys.alipay.private) == first
    assert alipay_signing.verifies(b"text", first, keys.alipay.public)
    assert not alipay_signing.verifies(b"text ", first, keys.alipay.public)
