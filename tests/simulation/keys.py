"""Keys from a seed: the same on every machine, so that the same day is the same bytes. They open nothing."""

import functools
from random import Random

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from paymux.sandbox.keys import ClientIdentity, KeyRing, RsaPair

_BITS = 512
"""Real RSA at a seventh of the price of 2048 bits, as short as SHA-256 allows: what is tried here is truth,
not cryptography."""
_EXPONENT = 65537
_ROUNDS = 20


@functools.cache
def simulation_keys() -> KeyRing:
    """The wallets' and merchants' keys; what only sockets or certificates need is left out."""
    wallet, merchant = _pair(Random("wallet key")), _pair(Random("merchant key"))
    stub = ClientIdentity(cert=_stub("CERTIFICATE"), key=_stub("PRIVATE KEY"))
    return KeyRing(
        alipay=wallet,
        alipay_merchant=merchant,
        alipay_certified=wallet,
        alipay_certified_merchant=merchant,
        alipay_root_cert="",
        alipay_cert="",
        app_cert="",
        tls_ca_cert="",
        tls_server=stub,
        wechat_client=stub,
        wechat_hmac_client=stub,
    )


def _stub(kind: str) -> str:
    return f"-----BEGIN {kind}-----\nc2ltdWxhdGlvbg==\n-----END {kind}-----\n"


def _pair(dice: Random) -> RsaPair:
    p, q = _prime(dice), _prime(dice)
    p, q = max(p, q), min(p, q)
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(_EXPONENT, p * q),
    )
    key = numbers.private_key()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return RsaPair(private=private.decode(), public=public.decode())


def _prime(dice: Random) -> int:
    while True:
        half = _BITS // 2
        number = dice.getrandbits(half) | (0b11 << half - 2) | 1
        if number % _EXPONENT != 1 and _is_prime(number, dice):
            return number


def _is_prime(number: int, dice: Random) -> bool:
    """Miller and Rabin's test."""
    if any(number % small == 0 for small in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, dice.randrange(2, number - 1), odd, twos) for _ in range(_ROUNDS))


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    x = pow(base, odd, number)
    if x in (1, number - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % number
        if x == number - 1:
            return True
    return False
