"""Keys and certificates, made at start: nothing secret ships with the project.

Alipay needs RSA-2048 pairs (and, in certificate mode, a small CA of its own); the TLS port needs a CA, a
server certificate and one client certificate per WeChat merchant, for which quick elliptic keys do.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

RSA_BITS = 2048
VALID_DAYS = 3_650
_SERIAL_BITS = 64


class RsaPair(msgspec.Struct, frozen=True, kw_only=True):
    """A private key (PKCS#8 PEM) and its public half (PEM)."""

    private: str
    public: str


class ClientIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A TLS certificate and its key, both PEM."""

    cert: str
    key: str


class KeyRing(msgspec.Struct, frozen=True, kw_only=True):
    """Everything secret in the sandbox, as PEM text."""

    alipay: RsaPair  # signs replies to the key-mode merchant
    alipay_merchant: RsaPair
    alipay_certified: RsaPair  # signs replies to the certificate-mode merchant
    alipay_certified_merchant: RsaPair
    alipay_root_cert: str
    alipay_cert: str
    app_cert: str
    tls_ca_cert: str
    tls_server: ClientIdentity
    wechat_client: ClientIdentity
    wechat_hmac_client: ClientIdentity


def make_keys() -> KeyRing:
    """Make a new key ring; takes about a second."""
    root_key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    root = _Authority(key=root_key, name="paymux sandbox Alipay root")
    certified, merchant = (
        rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS) for _ in range(2)
    )
    tls = _Authority(key=ec.generate_private_key(ec.SECP256R1()), name="paymux sandbox TLS root")
    return KeyRing(
        alipay=_new_pair(),
        alipay_merchant=_new_pair(),
        alipay_certified=_pair(certified),
        alipay_certified_merchant=_pair(merchant),
        alipay_root_cert=root.pem(),
        alipay_cert=root.certify(certified, "paymux sandbox Alipay"),
        app_cert=root.certify(merchant, "paymux sandbox merchant"),
        tls_ca_cert=tls.pem(),
        tls_server=tls.identity("127.0.0.1", server=True),
        wechat_client=tls.identity("paymux sandbox wechat", server=False),
        wechat_hmac_client=tls.identity("paymux sandbox wechat-hmac", server=False),
    )


class _Authority:
    """A certificate authority made for this sandbox alone."""

    def __init__(self, *, key: CertificateIssuerPrivateKeyTypes, name: str) -> None:
        self._key = key
        self._name = _distinguished(name)
        self._cert = (
            self._builder(self._name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )

    def pem(self) -> str:
        return self._cert.public_bytes(serialization.Encoding.PEM).decode()

    def certify(self, key: rsa.RSAPrivateKey, name: str) -> str:
        cert = self._builder(_distinguished(name), key.public_key()).sign(self._key, hashes.SHA256())
        return cert.public_bytes(serialization.Encoding.PEM).decode()

    def identity(self, name: str, *, server: bool) -> ClientIdentity:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            self._builder(_distinguished(name), key.public_key())
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._cert.public_key()),  # type: ignore[arg-type]  # every key made here is a legal issuer key
                critical=False,
            )
        )
        if server:
            hosts = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        cert = builder.sign(self._key, hashes.SHA256())
        return ClientIdentity(
            cert=cert.public_bytes(serialization.Encoding.PEM).decode(), key=_private_pem(key)
        )

    def _builder(self, subject: x509.Name, public_key: rsa.RSAPublicKey | object) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)  # type: ignore[arg-type]  # only RSA and EC keys come here
            .serial_number(x509.random_serial_number() >> (160 - _SERIAL_BITS))
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=VALID_DAYS))
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(public_key),  # type: ignore[arg-type]  # as above
                critical=False,
            )
        )


def _distinguished(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "paymux"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "sandbox"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _new_pair() -> RsaPair:
    return _pair(rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS))


def _pair(key: rsa.RSAPrivateKey) -> RsaPair:
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return RsaPair(private=_private_pem(key), public=public.decode())


def _private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
