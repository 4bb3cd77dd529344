"""Alipay RSA2 signatures and certificate serial numbers (channels/01-alipay.md)."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from collections.abc import Mapping

_RSA_SIGNATURES = "1.2.840.113549.1.1"
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
}


def string_to_sign(fields: Mapping[str, str], *, without: tuple[str, ...]) -> str:
    """Join the non-empty fields, sorted by name.

    Requests leave out `sign` only; callbacks and returns leave out `sign` and `sign_type`.
    """
    return "&".join(
        f"{name}={fields[name]}" for name in sorted(fields) if name not in without and fields[name]
    )


def sign(text: bytes, private_pem: str) -> str:
    """Sign with SHA256withRSA, PKCS#1 v1.5; base64."""
    signature = _private_key(private_pem).sign(text, padding.PKCS1v15(), hashes.SHA256())
    return base64.b64encode(signature).decode()


def verifies(text: bytes, signature: str, public_pem: str) -> bool:
    """Say whether a base64 signature over `text` is the key holder's."""
    try:
        _public_key(public_pem).verify(
            base64.b64decode(signature, validate=True), text, padding.PKCS1v15(), hashes.SHA256()
        )
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def certificate_sn(pem: str) -> str:
    """Return md5(issuer, most specific name first + decimal serial number)."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    names = [
        f"{_SHORT_NAMES.get(part.oid.dotted_string, part.oid.dotted_string)}={part.value!s}"
        for part in reversed(list(certificate.issuer))
    ]
    text = ",".join(names) + str(certificate.serial_number)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def root_certificate_sn(pems: str) -> str:
    """Join with `_` the serial numbers of the RSA-signed certificates of a bundle; skip unreadable ones."""
    names = []
    for piece in pems.split("-----END CERTIFICATE-----")[:-1]:
        pem = piece.strip() + "\n-----END CERTIFICATE-----\n"
        try:
            oid = x509.load_pem_x509_certificate(pem.encode()).signature_algorithm_oid.dotted_string
        except ValueError:  # one certificate of the true bundle is malformed; its number is not needed
            continue
        if oid.startswith(_RSA_SIGNATURES):
            names.append(certificate_sn(pem))
    return "_".join(names)


@functools.lru_cache(maxsize=64)
def _private_key(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        message = "Alipay signs with RSA keys only"
        raise TypeError(message)
    return key


@functools.lru_cache(maxsize=64)
def _public_key(pem: str) -> rsa.RSAPublicKey:
    key = serialization.load_pem_public_key(pem.encode())
    if not isinstance(key, rsa.RSAPublicKey):
        message = "Alipay verifies with RSA keys only"
        raise TypeError(message)
    return key
