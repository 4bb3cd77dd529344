"""Flat XML, the only form WeChat v2 speaks: `<xml><name>value</name>…</xml>`. Source: channels/03-wechat.md.

The reader takes bytes from strangers (callbacks), so it refuses what the protocol never uses and attackers
do: a DOCTYPE and with it every entity, nesting, a name that stands there twice, anything big.
"""

import re
from collections.abc import Mapping
from typing import NoReturn
from xml.parsers import expat

BYTES_MAX = 64 * 1024
"""A query reply with fifty coupons is about 10 KiB."""
FIELDS_MAX = 1000

_UNWRITABLE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class XmlRefused(ValueError):
    """The bytes are no flat XML of this protocol; the text says why."""


def write_xml(fields: Mapping[str, str]) -> bytes:
    """Write the fields in their order. Values must hold only what XML can carry: see `writable`."""
    return f"<xml>{''.join([f'<{k}>{_escaped(v)}</{k}>' for k, v in fields.items()])}</xml>".encode()


def writable(text: str) -> str:
    """Replace control characters, line ends too, by blanks: what we sign must be what is read back."""
    return text if text.isprintable() else _UNWRITABLE.sub(" ", text)


def read_xml(body: bytes) -> dict[str, str]:
    """Read the fields; values are as written, blanks included. Raises `XmlRefused`."""
    if len(body) > BYTES_MAX:
        raise XmlRefused("too big")
    fields: dict[str, str] = {}
    path: list[str] = []
    pieces: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        if len(path) == 2 or (not path and name != "xml"):
            raise XmlRefused(f"unexpected element {name[:32]!r}")
        if name in fields or len(fields) == FIELDS_MAX:
            raise XmlRefused(f"{name[:32]!r} stands there twice, or the fields are too many")
        path.append(name)
        pieces.clear()

    def end(name: str) -> None:
        if len(path) == 2:
            fields[name] = "".join(pieces)
        path.pop()

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = pieces.append
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        # Text, not bytes: UTF-8 is the protocol's only encoding, whatever a BOM or declaration says.
        parser.Parse(body.decode(), True)  # noqa: FBT003 - expat's own signature
    except (expat.ExpatError, UnicodeDecodeError) as error:
        raise XmlRefused(str(error)) from error
    return fields


def _refuse_doctype(*_: object) -> NoReturn:
    raise XmlRefused("a DOCTYPE is no part of this protocol")


def _escaped(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
