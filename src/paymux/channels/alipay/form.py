"""Forms, written to the byte as `urllib.parse.urlencode` writes them.

That one goes byte by byte through every value with a single mark in it, and Alipay's are full of marks: JSON,
times, base64. Here the usual marks are replaced one kind after the other, which costs a tenth.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

_MARKS = (
    ("+", "%2B"),  # before blanks become one
    (" ", "+"),
    ('"', "%22"),
    (":", "%3A"),
    (",", "%2C"),
    ("/", "%2F"),
    ("=", "%3D"),
    ("{", "%7B"),
    ("}", "%7D"),
)
_OTHERS = re.compile(r'[^A-Za-z0-9_.~+ ":,/={}-]+')
_USUAL = bytes(code for code in range(128) if not _OTHERS.match(chr(code)))


def write_form(fields: Mapping[str, str]) -> str:
    """Return `name=value&name=value`; the names are ours and consist of letters."""
    return "&".join([f"{name}={_quoted(value)}" for name, value in fields.items()])


def _quoted(value: str) -> str:
    if value.encode().translate(None, _USUAL):  # a tenth of the time the expression takes to find nothing
        value = _OTHERS.sub(_quoted_run, value)
    for mark, code in _MARKS:
        value = value.replace(mark, code)
    return value


def _quoted_run(run: re.Match[str]) -> str:
    return quote(run.group(), safe="")
