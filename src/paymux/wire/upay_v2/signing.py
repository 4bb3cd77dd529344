"""Who is calling: `Authorization: <sn> <md5(body ‖ key)>` over the raw body bytes (upay-v2.md §1.1).

The body is never parsed and written again before it is verified: nine clients write JSON in nine ways. When a
signature is refused, the caller learns only ILLEGAL_SIGN, but the log says what would have matched, so that
the till's own people can mend it (PAINS A): never a key, never the sign we expected.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

_SIGN = re.compile(rb"[0-9a-fA-F]{32}")
NOBODY = ("",)
"""The keys of a caller nobody knows: they match nothing, but trying them takes as long as real ones."""

_DIAGNOSED_BYTES_MAX = 16_384
"""Larger bodies are not written anew for a diagnosis: a stranger must not make us work for him."""


class Claim(msgspec.Struct, frozen=True):
    """What the Authorization header says. `fault` is "" or what is wrong with its form."""

    sn: str
    sign: bytes
    fault: str = ""


def sign(body: bytes, key: str) -> str:
    """Return the signature of a body: 32 lower hex digits."""
    return hashlib.md5(body + key.encode(), usedforsecurity=False).hexdigest()


def read_claim(header: bytes | None) -> Claim:
    """Read `<sn> <sign>`: any run of blanks between them, hex in either case. Never raises."""
    if header is None:
        return Claim("", b"", "the Authorization header is missing")
    parts = header.split()
    if len(parts) != 2:
        return Claim("", b"", f"the Authorization header has {len(parts)} parts, not `sn sign`")
    sn, given = parts
    if not _SIGN.fullmatch(given):
        return Claim(sn.decode("latin-1"), b"", "the sign is not 32 hex digits")
    return Claim(sn.decode("latin-1"), given.lower())


def matching_key(claim: Claim, body: bytes, keys: Iterable[str]) -> str:
    """Return the key that made the claimed sign, "" when none did; every key is tried, in constant time."""
    found = ""
    for key in keys:
        if hmac.compare_digest(sign(body, key).encode(), claim.sign) and key:
            found = key
    return found


def diagnose(claim: Claim, body: bytes, keys: Mapping[str, str]) -> str:
    """Say what would have matched, in words for the log; "" when nothing we can think of does.

    `keys` maps a name ("current", "last", "vendor") to a key: the caller's own, which did not match, and keys
    that may have been mistaken for them.
    """
    if claim.fault:
        return ""
    for form, other_body in (("", body), *_rewritten(body)):
        for name, key in keys.items():
            if matching_key(claim, other_body, (key,)):
                return f"the {name} key" + (f" over another body: {form}" if form else "")
    return ""


def body_digest(body: bytes) -> str:
    """Return the MD5 of the body alone, for people to hold against the bytes they sent."""
    return sign(body, "")


def _rewritten(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (how, bytes): the body as a client may have signed it while sending something else."""
    yield "the empty body", b""
    yield "without the line end", body.rstrip(b"\r\n")
    if len(body) > _DIAGNOSED_BYTES_MAX:
        return
    for separators, spaced in (((",", ":"), "compact"), ((", ", ": "), "blanks after commas and colons")):
        for ascii_only, spelled in ((False, "raw UTF-8"), (True, "\\u escapes")):
            for sort, order in ((False, "keys as sent"), (True, "sorted keys")):
                text = _dumped(body, separators=separators, ensure_ascii=ascii_only, sort_keys=sort)
                yield f"{spaced}, {spelled}, {order}", text


def _dumped(body: bytes, **style: Any) -> bytes:  # noqa: ANN401 - json's own options
    """Parse and write the body once more; b"" when it is no JSON."""
    try:
        return json.dumps(json.loads(body), **style).encode(errors="replace")
    except (ValueError, RecursionError):
        return b""
