"""The simulation's keys, and certificates for the account that needs them: the same in every process."""

import functools
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from paymux.sandbox.keys import KeyRing
from tests.simulation.keys import simulation_keys


@functools.cache
def fuzz_keys() -> KeyRing:
    """Real RSA keys, small enough that tens of thousands of signatures are checked in a second."""
    keys = simulation_keys()
    return replace(
        keys,
        alipay_root_cert=_certificate("root", keys.alipay_certified.private),
        alipay_cert=_certificate("Alipay", keys.alipay_certified.private),
        app_cert=_certificate("merchant", keys.alipay_certified_merchant.private),
    )


def private_key(pem: str) -> RSAPrivateKey:
    """Return the key of a PEM text."""
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    assert isinstance(key, RSAPrivateKey)
    return key


def _certificate(name: str, pem: str) -> str:
    key = private_key(pem)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(1 + len(name))
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()
