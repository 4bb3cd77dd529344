"""WeChat Pay v2 signatures and the sealed part of a refund callback (channels/03-wechat.md)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

if TYPE_CHECKING:
    from collections.abc import Mapping

MD5 = "MD5"
HMAC_SHA256 = "HMAC-SHA256"
SIGN_TYPES = (MD5, HMAC_SHA256)
_BLOCK_BITS = 128


def string_to_sign(fields: Mapping[str, str], key: str) -> str:
    """Join the non-empty fields but `sign`, sorted by name, and the merchant's key."""
    pairs = (f"{name}={fields[name]}" for name in sorted(fields) if name != "sign" and fields[name])
    return "&".join([*pairs, f"key={key}"])


def sign(fields: Mapping[str, str], key: str, sign_type: str) -> str:
    """Return the signature in upper-case hex."""
    text = string_to_sign(fields, key).encode()
    if sign_type == HMAC_SHA256:
        return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()


def verifies(fields: Mapping[str, str], key: str, sign_type: str) -> bool:
    """Say whether the `sign` field is the right one."""
    given = fields.get("sign", "").encode()
    return hmac.compare_digest(given, sign(fields, key, sign_type).encode())


def sealing_key(api_key: str) -> bytes:
    """Return the AES-256 key that a merchant's API key stands for: its MD5 in lower-case hex, as text."""
    return hashlib.md5(api_key.encode(), usedforsecurity=False).hexdigest().encode()


def seal(text: bytes, key: bytes) -> str:
    """Encrypt with AES-256-ECB and PKCS7 padding; base64. The mode is the wallet's choice, not ours."""
    padder = PKCS7(_BLOCK_BITS).padder()
    padded = padder.update(text) + padder.finalize()
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - the true protocol uses ECB
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()
