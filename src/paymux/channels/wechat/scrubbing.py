"""What history keeps of WeChat's messages: every field in short, secrets masked."""

import json
import re

_OPENING = re.compile(r"\s*<xml>\s*", re.ASCII)
_FIELD = re.compile(
    r"<([A-Za-z_][\w.-]*+)>(?:<!\[CDATA\[((?:[^\]<]++|\](?!\]>))*+)\]\]>|([^<&]*+))</\1>\s*", re.ASCII
)
"""A field whose value reads the same with and without its wrapping: no tag and no reference in it."""
_CLOSING = re.compile(r"</xml>\s*", re.ASCII)

_BARCODES = frozenset({"auth_code", "dynamic_id"})
_SECRETS = _BARCODES | {"sign", "openid", "sub_openid", "req_info"}
_SECRET = re.compile(rf"<({'|'.join(sorted(_SECRETS))})\b[^>]*>(.*?)(</\1\s*>|\Z)", re.DOTALL)


def scrub(text: str) -> str:
    """Mask signatures, barcodes, buyers and encrypted parts; everything else can be read.

    Fields of a plain message are written `name=value name=value`, in their order, a value with blanks in it
    as a JSON text: a log of half the size. What is cut off or no plain message stays as it came.
    """
    fields = _plain(text)
    if fields is None:
        return _SECRET.sub(_masked, text)
    return " ".join([f"{name}={_brief(_hidden(name, value))}" for name, value in fields])


def _plain(text: str) -> list[tuple[str, str]] | None:
    """Read the fields of a message that is nothing but fields, else None."""
    opening = _OPENING.match(text)
    if opening is None:
        return None
    fields, at = [], opening.end()
    while field := _FIELD.match(text, at):
        name, wrapped, bare = field.groups()
        fields.append((name, wrapped or bare or ""))
        at = field.end()
    return fields if _CLOSING.fullmatch(text, at) else None


def _brief(value: str) -> str:
    is_plain = value.isprintable() and " " not in value and value[:1] != '"'
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _hidden(name: str, value: str) -> str:
    if name not in _SECRETS:
        return value
    if name in _BARCODES and len(value) >= 16:
        return f"{value[:2]}{'*' * 12}{value[-2:]}"
    return "***"


def _masked(match: re.Match[str]) -> str:
    name, value, close = match.groups()
    code = value.removeprefix("<![CDATA[").removesuffix("]]>").strip()
    return f"<{name}>{_hidden(name, code)}{close}"
