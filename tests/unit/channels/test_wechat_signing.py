"""WeChat v2's signatures and cipher: against vectors others published."""

from typing import Any

import pytest

from paymux.channels.wechat import signing
from tests import vectors


def _vector(name: str) -> dict[str, Any]:
    return next(one for one in vectors.load("wechat_v2")["vectors"] if one["id"] == name)


@pytest.mark.parametrize(
    ("name", "sign_type"),
    [
        ("wechat-v2-md5-official-doc", "MD5"),
        ("wechat-v2-hmac-sha256-official-doc", "HMAC-SHA256"),
        ("wechat-v2-md5-empty-dropped", "MD5"),
    ],
)
def test_published_signatures(name: str, sign_type: str) -> None:
    """We sign as the official documents do, and verify what they signed."""
    one = _vector(name)
    params = {key: str(value) for key, value in one["params"].items()}
    assert signing.sign(params, api_key=one["key"], sign_type=sign_type) == one["signature"]
    signed = params | {"sign": one["signature"]}
    assert signing.is_signed(signed, api_key=one["key"], sign_type=sign_type)
    assert f"{signing.string_to_sign(signed)}&key={one['key']}" == one["string_to_sign"]


def test_a_published_cipher() -> None:
    """A refund callback's req_info opens with the MD5 of the key."""
    one = _vector("wechat-v2-aes256-ecb-refund-notify")
    # The vector names the 32 bytes themselves; they are the MD5 of a key we do not know.
    assert len(one["key_ascii"]) == 32
    cipher = one["ciphertext_base64"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing.hashlib, "md5", lambda *_, **__: _Digest(one["key_ascii"]))
        assert signing.decrypt(cipher, api_key="any") == one["plaintext"].encode()


class _Digest:
    def __init__(self, text: str) -> None:
        self._text = text

    def hexdigest(self) -> str:
        return self._text


@pytest.mark.parametrize("sign", ["", "0" * 32, "ÄÖ", "9a0a8659f005d6984697e2ca0a9cf3b7"])
def test_a_wrong_signature(sign: str) -> None:
    """Missing, wrong, lower-case or not even ASCII: not signed."""
    assert not signing.is_signed({"a": "1", "sign": sign}, api_key="k" * 32, sign_type="MD5")


@pytest.mark.parametrize("text", ["", "!", "YWJj", "pZwJZBLuy3mDACEQT4YTBw=="])
def test_what_does_not_open(text: str) -> None:
    """Garbage and other keys' ciphers raise ValueError, nothing else."""
    with pytest.raises(ValueError, match=r"."):
        signing.decrypt(text, api_key="another key")
