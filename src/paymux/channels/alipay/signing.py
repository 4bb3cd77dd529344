"""RSA2 and certificate numbers, Alipay's way. Source: channels/01-alipay.md, "Signature".

Reading a key costs milliseconds (the check of its primes), using it some hundred microseconds: a channel
reads its keys once and keeps the objects. Key objects are stateless, so any number of payments share them.
"""

import base64
import hashlib
import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from paymux.domain.errors import ConfigurationBroken

_PADDING = padding.PKCS1v15()
_SHA256 = hashes.SHA256()
_RSA_OIDS = "1.2.840.113549.1.1."
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
"""All that the library says to bytes that are no key and no certificate, or of a kind it does not know."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def string_to_sign(params: Mapping[str, str]) -> str:
    """Return `k=v&k=v` sorted by key, without empty values; the caller leaves `sign` out."""
    return "&".join([f"{key}={value}" for key, value in sorted(params.items()) if value])


def sign(key: RSAPrivateKey, text: str) -> str:
    """Return the base64 SHA256withRSA signature of the text's UTF-8 bytes."""
    return base64.b64encode(key.sign(text.encode(), _PADDING, _SHA256)).decode()


def is_signed(key: RSAPublicKey, content: bytes, *, signature: str) -> bool:
    """Say whether Alipay signed exactly these bytes."""
    try:
        key.verify(base64.b64decode(signature, validate=True), content, _PADDING, _SHA256)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_private_key(text: str, *, name: str) -> RSAPrivateKey:
    """Read a PKCS#1 or PKCS#8 key, PEM or bare base64; `ConfigurationBroken` names the credential."""
    data = _der_or_pem(text, name=name)
    load = serialization.load_pem_private_key if _is_pem(text) else serialization.load_der_private_key
    try:
        key = load(data, password=None)
    except _UNREADABLE as error:
        raise ConfigurationBroken(f"{name}: no RSA private key (PKCS#1 or PKCS#8)") from error
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationBroken(f"{name}: RSA2 needs an RSA key")
    return key


def read_public_key(text: str, *, name: str) -> RSAPublicKey:
    """Read Alipay's public key, PEM or bare base64; `ConfigurationBroken` names the credential."""
    data = _der_or_pem(text, name=name)
    load = serialization.load_pem_public_key if _is_pem(text) else serialization.load_der_public_key
    try:
        key = load(data)
    except _UNREADABLE as error:
        raise ConfigurationBroken(f"{name}: no RSA public key") from error
    if not isinstance(key, RSAPublicKey):
        raise ConfigurationBroken(f"{name}: RSA2 needs an RSA key")
    return key


def read_certificate(text: str, *, name: str) -> tuple[str, RSAPublicKey]:
    """Return a certificate's number, as Alipay counts it, and its key."""
    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
        number, key = certificate_sn(certificate), certificate.public_key()
    except _UNREADABLE as error:
        raise ConfigurationBroken(f"{name}: no certificate in PEM form that RSA2 can use") from error
    if not isinstance(key, RSAPublicKey):
        raise ConfigurationBroken(f"{name}: RSA2 needs an RSA certificate")
    return number, key


def certificate_sn(certificate: x509.Certificate) -> str:
    """Return MD5 of the issuer's name, most specific part first, and the decimal serial number."""
    text = f"{certificate.issuer.rfc4514_string()}{certificate.serial_number}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def root_certificate_sn(text: str, *, name: str) -> str:
    """Return the joined numbers of the RSA certificates of alipayRootCert.crt.

    The file also holds an SM2 certificate that does not parse; like the others that are not RSA-signed it is
    passed over.
    """
    numbers = "_".join(filter(None, map(_rsa_signed_sn, _CERTIFICATE.findall(text))))
    if not numbers:
        raise ConfigurationBroken(f"{name}: no RSA certificate in PEM form")
    return numbers


def _rsa_signed_sn(pem: str) -> str:
    """Return a certificate's number; "" when it is not RSA-signed, or broken in any part we read."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        signed_with = certificate.signature_algorithm_oid.dotted_string
        return certificate_sn(certificate) if signed_with.startswith(_RSA_OIDS) else ""
    except _UNREADABLE:
        return ""


def _is_pem(text: str) -> bool:
    return "-----BEGIN" in text


def _der_or_pem(text: str, *, name: str) -> bytes:
    if _is_pem(text):
        return text.strip().encode()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise ConfigurationBroken(f"{name}: neither PEM nor base64") from error
