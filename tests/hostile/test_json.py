"""JSON that parsers disagree about, at every call over a real socket: refused in words, never an incident.

Row 23. `tests/e2e/test_bad_input.py` has the kinds a pay may meet, `tests/contract/upay/test_bad_input.py`
has every rule of every field; here the strange ones go to all of the protocol's addresses.
"""

import json

import pytest

from paymux.wire.upay_v2.requests import REFLECT_JSON_CHARS_MAX
from tests.harness.live import APP_ID, VENDOR_KEY, VENDOR_SN, Json, sign
from tests.harness.raw import Wire, request
from tests.hostile.conftest import HERE, Target

CALLS = ("pay", "precreate", "query", "refund", "cancel", "revoke")
PATHS = (*(f"/upay/v2/{name}" for name in CALLS), "/terminal/activate", "/terminal/checkin")
WHOLE: Json = {
    "terminal_sn": HERE.terminal_sn,
    "client_sn": "J1",
    "total_amount": "1",
    "refund_amount": "1",
    "refund_request_no": "R1",
    "dynamic_id": "130000000000000000",
    "payway": "3",
    "subject": "",
    "device_id": "another",
    "code": "",
    "app_id": APP_ID,
}
"""A body that every call understands and none carries out."""


def body(**change: object) -> bytes:
    """Such a body's JSON."""
    return json.dumps(WHOLE | change).encode()


def spliced(raw: bytes) -> bytes:
    """Such a body with one more pair, written as it stands here."""
    return body()[:-1] + b"," + raw + b"}"


def say(target: Target, path: str, content: bytes) -> Json:
    """Send a well-signed body; return the answer."""
    sn, key = (
        (VENDOR_SN, VENDOR_KEY) if path == "/terminal/activate" else (HERE.terminal_sn, HERE.terminal_key)
    )
    with Wire(target.gateway) as line:
        line.send(request(content, HERE, path=path, Authorization=f"{sn} {sign(content, key)}"))
        return line.answer()


NO_JSON: dict[str, bytes] = {
    "a BOM": b"\xef\xbb\xbf" + body(),
    "UTF-16": body().decode().encode("utf-16"),
    "UTF-32": body().decode().encode("utf-32"),
    "UTF-7": b"+AHsAIgBhACI-",
    "half a character": spliced(b'"x":"\xe8\x8c'),
    "an overlong slash": spliced(b'"x":"\xc0\xaf"'),
    "a surrogate in UTF-8": spliced(b'"x":"\xed\xa0\x80"'),
    "beyond Unicode": spliced(b'"x":"\xf4\x90\x80\x80"'),
    "a lone high surrogate": spliced(b'"x":"\\ud800"'),
    "a lone low surrogate": spliced(b'"x":"\\udc00 tea"'),
    "surrogates the wrong way round": spliced(b'"x":"\\udc00\\ud800"'),
    "a lone surrogate in a name": spliced(b'"\\ud800":1'),
    "NaN": spliced(b'"x":NaN'),
    "Infinity": spliced(b'"x":Infinity'),
    "-Infinity": spliced(b'"x":-Infinity'),
    "a leading zero": spliced(b'"x":01'),
    "a plus": spliced(b'"x":+1'),
    "a bare point": spliced(b'"x":.5'),
    "hex": spliced(b'"x":0x10'),
    "an underscore": spliced(b'"x":1_0'),
    "wide digits": spliced('"x":１２'.encode()),
    "single quotes": b"{'terminal_sn':'1'}",
    "a comment": spliced(b'"x":1 /* tea */'),
    "a comma too much": body()[:-1] + b",}",
    "two documents": body() + body(),
    "something behind it": body() + b"\x00",
    "a control character": spliced(b'"x":"\x01"'),
    "a NUL": spliced(b'"x":"\x00"'),
    "a bad escape": spliced(b'"x":"\\x41"'),
    "a short escape": spliced(b'"x":"\\u12"'),
    "5,000 digits": spliced(b'"x":' + b"9" * 5_000),
    "200,000 digits": spliced(b'"x":' + b"9" * 200_000),
    "very deep arrays": b"[" * 250_000,
    "very deep objects": b'{"x":' * 50_000,
    "deep and whole": spliced(b'"x":' + b"[" * 17 + b"]" * 17),
    "a number": b"1",
    "a text": b'"tea"',
    "an array": b"[" + body() + b"]",
    "null": b"null",
    "blanks": b" " * 1000,
}


@pytest.mark.parametrize("kind", NO_JSON)
def test_what_is_no_request(target: Target, kind: str) -> None:
    """INVALID_PARAMS at every address, with words about the body."""
    for path in PATHS:
        answer = say(target, path, NO_JSON[kind])
        assert (answer["result_code"], answer["error_code"]) == ("400", "INVALID_PARAMS"), path
        assert answer["error_message"].startswith("请求体"), path
        assert "biz_response" not in answer


TWICE = {
    "side by side": spliced(b'"terminal_sn":"1"'),
    "spelled differently": spliced(b'"terminal\\u005fsn":"1"'),
    "inside": spliced(b'"extended":{"a":{"b":1,"b":2}}'),
    "in a basket": spliced(b'"goods_details":[{"goods_id":"1","goods_id":"2"}]'),
    "a text full of them": spliced(b'"x":"\\":\\":","x":1'),
}


@pytest.mark.parametrize("kind", TWICE)
def test_names_that_stand_there_twice(target: Target, kind: str) -> None:
    """Which of two values counts is nobody's guess: refused by name, wherever and however it is spelled."""
    for path in PATHS:
        answer = say(target, path, TWICE[kind])
        assert answer["error_code"] == "INVALID_PARAMS", path
        assert answer["error_message"].endswith("重复出现"), path


NUMBERS: dict[str, object] = {
    "wide digits": "１２",
    "other digits": "١٢",
    "a superscript": "²",
    "a circled digit": "①",
    "an underscore": "1_0",
    "a plus": "+1",
    "a blank before": " 1",
    "a blank behind": "1 ",
    "a line end": "1\n",
    "a NUL behind": "1\0",
    "hex": "0x1",
    "an exponent": "1e1",
    "a point": "1.0",
    "a true point": 1.0,
    "a comma": "1,0",
    "minus zero": "-0",
    "eleven digits": "1" * 11,
    "a thousand digits": "1" * 1000,
    "eleven digits, no text": 10**10,
    "true": True,
    "a list": ["1"],
    "an object": {"a": 1},
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_what_only_looks_like_an_amount(target: Target, kind: str) -> None:
    """Ten ASCII digits are an amount; what a language might read as one is not."""
    for path, field in (("pay", "total_amount"), ("precreate", "total_amount"), ("refund", "refund_amount")):
        answer = say(target, f"/upay/v2/{path}", body(**{field: NUMBERS[kind]}))
        assert answer["error_code"] == "INVALID_PARAMS"
        assert field in answer["error_message"]


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1e-400", b"1E+309", b"0.1e1", b"-0", b"-0.0"])
def test_numbers_nobody_asks_for(target: Target, number: bytes) -> None:
    """Infinite or vanishing: ignored where no field is, as any unknown field; bounded as `reflect`."""
    for path in PATHS:
        answer = say(target, path, spliced(b'"x":' + number))
        assert not answer["error_message"].startswith("请求体"), path
    sale = json.dumps(WHOLE | {"client_sn": f"J{number.decode()}", "subject": "tea"}).encode()
    paid = say(target, "/upay/v2/pay", sale[:-1] + b',"reflect":' + number + b"}")
    assert paid["biz_response"]["result_code"] == "PAY_SUCCESS"
    assert len(json.dumps(paid["biz_response"]["data"]["reflect"])) <= REFLECT_JSON_CHARS_MAX


def test_signed_is_what_was_sent(target: Target) -> None:
    """Other bytes with the same meaning under the same signature are refused: the raw bytes were signed."""
    content = body(subject="tea", client_sn="RAW")
    given = f"{HERE.terminal_sn} {sign(content, HERE.terminal_key)}"
    for other in (
        content.replace(b": ", b":"),
        content + b" ",
        content.replace(b"tea", b"\\u0074ea"),
        content.replace(b'"tea"', b'"Tea"'),
        b"\xef\xbb\xbf" + content,
    ):
        with Wire(target.gateway) as line:
            line.send(request(other, HERE, Authorization=given))
            assert line.answer()["error_code"] == "ILLEGAL_SIGN"
    assert target.gateway.rows("SELECT sn FROM orders WHERE client_sn = 'RAW'") == []
