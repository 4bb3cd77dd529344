"""Flat XML, the only form WeChat v2 speaks: `<xml><name>value</name>…</xml>`. Source: channels/03-wechat.md.

The reader takes bytes from strangers (callbacks), so it knows nothing but this form: there is no DOCTYPE, no
entity, comment, attribute or nesting it could be led astray by. It walks through the text once, from left to
right, and refuses what is not the next field. (A whole XML parser is safe here only with all of that switched
off, and costs three times as much on every payment.)
"""

import re
import sys
from collections.abc import Mapping

BYTES_MAX = 64 * 1024
"""A query reply with fifty coupons is about 10 KiB."""
FIELDS_MAX = 1000

_OPENING = re.compile(r"\ufeff?\s*(?:<\?xml [^<>]*\?>)?\s*<xml\s*(?P<empty>/)?>\s*", re.ASCII)
_FIELD_OR_REST = re.compile(
    r"<(?P<name>[A-Za-z_][\w.-]*+)\s*(?:/>|>(?:"
    r"<!\[CDATA\[(?P<cdata>[^\]]*+)\]\]>|(?P<text>[^<&]*+)|(?P<mixed>(?:[^<]++|<!\[CDATA\[.*?\]\]>)*+)"
    r")</(?P=name)\s*>)\s*|(?P<rest>.+)",
    re.ASCII | re.DOTALL,
)
_CLOSING = re.compile(r"</xml\s*>\s*", re.ASCII)
_PARTS = re.compile(r"<!\[CDATA\[(?P<cdata>.*?)\]\]>|(?P<text>[^<]+)", re.DOTALL)
_REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));", re.ASCII)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NO_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML has no place for, not even by reference (XML 1.0, Char)."""


class XmlRefused(ValueError):
    """The bytes are no flat XML of this protocol; the text says why."""


def write_xml(fields: Mapping[str, str]) -> bytes:
    """Write the fields in their order. Values must hold only what XML can carry: see `writable`."""
    parts = [f"<{k}>{v if v.isalnum() else _escaped(v)}</{k}>" for k, v in fields.items()]
    return f"<xml>{''.join(parts)}</xml>".encode()


def writable(text: str) -> str:
    """Replace control characters, line ends too, by blanks, and cut off blanks at both ends.

    What we sign must be what is read back, also by readers who trim.
    """
    return (text if text.isprintable() else _UNWRITABLE.sub(" ", text)).strip()


def read_xml(body: bytes) -> dict[str, str]:
    """Read the fields that say something; values are as written, blanks included. Raises `XmlRefused`.

    Empty ones are left out, as the signature leaves them out: anybody could have put them there.
    """
    if len(body) > BYTES_MAX:
        raise XmlRefused("too big")
    try:
        # UTF-8 is the protocol's only encoding, whatever a declaration says.
        text = body.decode()
    except UnicodeDecodeError as error:
        raise XmlRefused(str(error)) from error
    opening = _OPENING.match(text)
    if opening is None:
        raise XmlRefused(f"this does not begin as <xml>: {text[:32]!r}")
    fields: dict[str, str] = {}
    rest = ""
    for name, cdata, plain, mixed, rest in _FIELD_OR_REST.findall(text, opening.end()):
        if rest:
            break
        if name in fields or len(fields) == FIELDS_MAX:
            raise XmlRefused(f"{name[:32]!r} stands there twice, or the fields are too many")
        fields[name] = cdata or plain or (_unmixed(mixed) if mixed else "")
    if rest if opening["empty"] else not _CLOSING.fullmatch(rest):
        raise XmlRefused(f"neither a field nor the end: {rest[:32]!r}")
    return {name: value for name, value in fields.items() if value}


def _unmixed(value: str) -> str:
    """Put together what is partly CDATA and partly text with references."""
    return "".join(
        _references(part["text"]) if part["cdata"] is None else part["cdata"]
        for part in _PARTS.finditer(value)
    )


def _references(text: str) -> str:
    """Resolve `&amp;`, `&#20013;` and the like; what is no reference of XML itself is refused."""
    if _REFERENCE.sub("", text).count("&"):
        raise XmlRefused("an unknown entity")
    return _REFERENCE.sub(_referred, text)


def _referred(found: re.Match[str]) -> str:
    name, decimal, hexadecimal = found.groups()
    if name:
        return _NAMED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    char = chr(code) if code <= sys.maxunicode else ""
    if not char or _NO_CHARACTER.match(char):
        raise XmlRefused(f"{found[0]} is no character")
    return char


def _escaped(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
