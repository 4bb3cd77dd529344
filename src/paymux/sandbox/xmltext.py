"""WeChat's flat XML, read without any of XML's dangers and written as the true gateway writes it.

Clients send bare text, CDATA or both, pretty-printed or not (channels/00-principles.md §6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Mapping

DEPTH_MAX = 2


class XmlError(ValueError):
    """The body is not a flat XML document."""


def read_xml(body: bytes) -> dict[str, str]:
    """Read `<xml><a>1</a>…</xml>` into a dict; raises XmlError. Later duplicates are an error too."""
    reader = _FlatReader()
    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat takes "is final" by position only
    except expat.ExpatError as error:
        message = f"not well-formed: {error}"
        raise XmlError(message) from error
    return reader.fields


def write_xml(fields: Mapping[str, str]) -> bytes:
    """Write the fields in their order, each value as CDATA."""
    rows = "\n".join(f"<{name}>{_cdata(value)}</{name}>" for name, value in fields.items())
    return f"<xml>{rows}\n</xml>".encode()


class _FlatReader:
    """Collects the children of the root; anything deeper is refused."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] = []

    def refuse(self, *_: object) -> None:
        message = "a DTD is not allowed"
        raise XmlError(message)

    def start(self, name: str, _attributes: object) -> None:
        if len(self._path) >= DEPTH_MAX:
            message = f"<{name}> is nested too deep"
            raise XmlError(message)
        self._path.append(name)
        self._text = []

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        if len(self._path) == DEPTH_MAX:
            if name in self.fields:
                message = f"<{name}> appears twice"
                raise XmlError(message)
            self.fields[name] = "".join(self._text).strip()
        self._path.pop()


def _cdata(value: str) -> str:
    return "<![CDATA[" + value.replace("]]>", "]]]]><![CDATA[>") + "]]>"
