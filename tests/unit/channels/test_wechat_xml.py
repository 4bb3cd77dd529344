"""Flat XML: what WeChat and its users write is read, what attackers write is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.channels.wechat.xml import BYTES_MAX, XmlRefused, read_xml, writable, write_xml


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ("<xml><a>1</a></xml>", {"a": "1"}),
        ("<xml>\n  <a><![CDATA[1]]></a>\n  <b> 2 </b>\n</xml>\n", {"a": "1", "b": " 2 "}),
        ('<?xml version="1.0" encoding="UTF-8"?><xml><a/><b>1</b><c></c></xml>', {"b": "1"}),
        ("<xml><a>&lt;&amp;&#20013;</a></xml>", {"a": "<&中"}),
        ("<xml><a>&quot;&apos;&#x4E2D;&#128;&#10;</a></xml>", {"a": "\"'中\x80\n"}),
        ("<xml><a><![CDATA[<b>&]]>]]&gt;</a></xml>", {"a": "<b>&]]>"}),
        ("<xml/>", {}),
    ],
)
def test_what_is_read(document: str, fields: dict[str, str]) -> None:
    """Numbers bare or in CDATA, pretty-printed or not, with references: all the same; empty ones are none."""
    assert read_xml(document.encode()) == fields


BOMB = """<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><xml><a>&c;</a></xml>"""


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        '<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml><a>&x;</a></xml>',
        '<!DOCTYPE xml SYSTEM "http://127.0.0.1:1/x.dtd"><xml><a>1</a></xml>',
        "<!DOCTYPE xml><xml><a>1</a></xml>",
        "<xml><a><!-- no --></a></xml>",
        "<xml><a>&undefined;</a></xml>",
        "<xml><a>1</a><a>2</a></xml>",
        "<xml><a>1&#4;2</a></xml>",
        "<xml><a>&#xD800;</a></xml>",
        "<xml><a>&#x110000;</a></xml>",
        "<xml><a><b>1</b></a></xml>",
        "<xml>" + "<a>" * 50_000,
        "<root><a>1</a></root>",
        "<XML><a>1</a></XML>",
        "<xml><a>1</xml>",
        "<xml><a>1</a>",
        "<xml></xml><xml></xml>",
        "",
        "{}",
        "<html>502 Bad Gateway</html>",
        "<xml>" + "".join(f"<a{n}/>" for n in range(1001)) + "</xml>",
        f"<xml><a>{'x' * BYTES_MAX}</a></xml>",
    ],
)
def test_what_is_refused(document: str) -> None:
    """Entities, bombs, nesting, repeated names, other roots, no characters, broken and huge documents."""
    with pytest.raises(XmlRefused):
        read_xml(document.encode())


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", "<xml><a>中</a></xml>".encode("gbk"), "<xml/>".encode("utf-16")]
)
def test_only_utf8_is_read(body: bytes) -> None:
    """The protocol is UTF-8; nothing else is guessed."""
    with pytest.raises(XmlRefused):
        read_xml(body)


@given(st.binary(max_size=200))
def test_reading_refuses_or_reads(body: bytes) -> None:
    """No other error ever comes out."""
    with suppress(XmlRefused):
        assert isinstance(read_xml(body), dict)


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)


@given(st.dictionaries(NAMES, st.text(max_size=30).map(writable).filter(bool), max_size=20))
def test_what_we_write_is_read_back(fields: dict[str, str]) -> None:
    """Every writable text comes back as it was: what we signed is what WeChat verifies."""
    assert read_xml(write_xml(fields)) == fields


def test_unwritable_characters_become_blanks() -> None:
    """XML has no place for control characters, and rewrites line ends; a subject keeps its words."""
    assert writable("两杯\r\n咖啡\x00\x7f\ud800!") == "两杯  咖啡   !"
    assert writable("全角　空格") == "全角　空格"
