"""The signature itself, and what the log says when one is refused."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.wire.upay_v2.signing import NOBODY, Claim, body_digest, diagnose, matching_key, read_claim, sign

KEY, LAST = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
BODY = '{"subject": "茶 & cake", "client_sn": "C1"}'.encode()


def test_a_known_signature() -> None:
    """The MD5 of body and key one after the other; the expected value was made with md5sum."""
    assert sign(b'{"a":"1"}', "k" * 32) == "9a8aa419c00ef205aa0093b241fac692"


@given(st.binary(max_size=200), st.text("0123456789abcdef", min_size=32, max_size=32))
def test_it_is_md5_of_body_then_key(body: bytes, key: str) -> None:
    """Any body, any key."""
    assert sign(body, key) == hashlib.md5(body + key.encode()).hexdigest()  # noqa: S324 - as above


@pytest.mark.parametrize(
    ("header", "sn", "fault"),
    [
        (None, "", "the Authorization header is missing"),
        (b"", "", "the Authorization header has 0 parts, not `sn sign`"),
        (b"1", "", "the Authorization header has 1 parts, not `sn sign`"),
        (b"1 2 3", "", "the Authorization header has 3 parts, not `sn sign`"),
        (b"1 2", "1", "the sign is not 32 hex digits"),
        (b"1 " + b"g" * 32, "1", "the sign is not 32 hex digits"),
        (b" 1 \t " + b"A" * 32 + b" ", "1", ""),
        (b"\xff " + b"a" * 32, "ÿ", ""),
    ],
)
def test_headers(header: bytes | None, sn: str, fault: str) -> None:
    """Two parts, the second of them 32 hex digits; what is wrong is said."""
    claim = read_claim(header)
    assert (claim.sn, claim.fault) == (sn, fault)
    assert claim.sign in {b"", b"a" * 32}


@given(st.binary())
def test_any_header_is_read(header: bytes) -> None:
    """Never an exception; without a fault there is a sign to compare."""
    claim = read_claim(header)
    assert bool(claim.fault) is not bool(claim.sign)


@pytest.mark.parametrize(("key", "keys"), [(KEY, (KEY, LAST)), (LAST, (KEY, LAST)), (KEY, (KEY,))])
def test_any_of_the_keys(key: str, keys: tuple[str, ...]) -> None:
    """Current and last are both accepted, and it is known which it was."""
    assert matching_key(_claim(BODY, key), BODY, keys) == key


def test_no_key_matches_nothing() -> None:
    """Not even the signature that needs no key; nor an empty sign."""
    bare = Claim("1", hashlib.md5(BODY).hexdigest().encode())  # noqa: S324 - as above
    assert matching_key(bare, BODY, NOBODY) == ""
    assert matching_key(Claim("1", b""), BODY, (KEY, LAST)) == ""


def _claim(body: bytes, key: str) -> Claim:
    return Claim("1", sign(body, key).encode())


def _dumped(**style: Any) -> bytes:  # noqa: ANN401 - json's own options
    return json.dumps(json.loads(BODY), **style).encode()


@pytest.mark.parametrize(
    ("signed", "key", "told"),
    [
        (BODY, LAST, "the last key"),
        (BODY, "v" * 32, "the vendor key"),
        (
            _dumped(ensure_ascii=False, separators=(",", ":")),
            KEY,
            "the current key over another body: compact, raw UTF-8, keys as sent",
        ),
        (
            _dumped(separators=(",", ":")),
            KEY,
            "the current key over another body: compact, \\u escapes, keys as sent",
        ),
        (
            _dumped(),
            LAST,
            "the last key over another body: blanks after commas and colons, \\u escapes, keys as sent",
        ),
        (
            _dumped(ensure_ascii=False, sort_keys=True),
            KEY,
            "the current key over another body: blanks after commas and colons, raw UTF-8, sorted keys",
        ),
        (b"", KEY, "the current key over another body: the empty body"),
        (b"something else", KEY, ""),
        (BODY, "x" * 32, ""),
    ],
)
def test_a_diagnosis(signed: bytes, key: str, told: str) -> None:
    """What was signed, and with which key, is found among the usual mistakes, or nothing is claimed."""
    keys = {"current": KEY, "last": LAST, "vendor": "v" * 32}
    assert diagnose(_claim(signed, key), BODY, keys) == told


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 20_000, b'{"a":' + b"9" * 9000 + b"}", b"x" * 200_000])
def test_a_diagnosis_never_fails(body: bytes) -> None:
    """Bodies that cannot be written anew are only hashed; the digest shown needs no key."""
    assert diagnose(_claim(BODY, KEY), body, {"current": KEY}) == ""
    assert body_digest(body) == hashlib.md5(body).hexdigest()  # noqa: S324 - as above
