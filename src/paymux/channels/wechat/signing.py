"""WeChat v2 signatures and the cipher of refund callbacks. Source: channels/03-wechat.md, "v2 (XML)".

Everything here is a pure function of its arguments: nothing is shared between payments.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

SIGN_TYPES = ("MD5", "HMAC-SHA256")


def sign(params: Mapping[str, str], *, api_key: str, sign_type: str) -> str:
    """Return the upper-case hex signature over the sorted, non-empty params and the key, `sign` left out."""
    text = f"{string_to_sign(params)}&key={api_key}".encode()
    if sign_type == "MD5":
        return hashlib.md5(text, usedforsecurity=False).hexdigest().upper()
    return hmac.digest(api_key.encode(), text, "sha256").hex().upper()


def is_signed(params: Mapping[str, str], *, api_key: str, sign_type: str) -> bool:
    """Say whether the params carry the right `sign`; compared in constant time."""
    ours = sign(params, api_key=api_key, sign_type=sign_type)
    return hmac.compare_digest(params.get("sign", "").encode(), ours.encode())


def string_to_sign(params: Mapping[str, str]) -> str:
    """Return `k=v&k=v` sorted by key, without empty values and without `sign`."""
    return "&".join([f"{key}={value}" for key, value in sorted(params.items()) if value and key != "sign"])


def decrypt(req_info: str, *, api_key: str) -> bytes:
    """Open a refund callback's req_info: AES-256-ECB under MD5(api_key). Raises `ValueError`.

    Encrypted is not signed: with ECB, blocks of two callbacks can be mixed, so what is read here is a hint.
    """
    key = hashlib.md5(api_key.encode(), usedforsecurity=False).hexdigest().encode()
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305 - WeChat prescribes ECB
    padded = decryptor.update(base64.b64decode(req_info, validate=True)) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(padded) + unpadder.finalize()
