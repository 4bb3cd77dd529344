"""Bad input gets a clear answer and leaves nothing behind (promise M10): no exception, no HTTP 500."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.wire.server import build_app
from tests.contract.upay.edge import Till, biz, refusal
from tests.harness.town import TERMINAL, Town, in_town

ORDER_CALLS = ("pay", "precreate", "query", "refund", "cancel", "revoke")
PATHS = (*(f"/upay/v2/{name}" for name in ORDER_CALLS), "/terminal/activate", "/terminal/checkin")

PAY = {
    "terminal_sn": TERMINAL,
    "client_sn": "C1",
    "total_amount": "100",
    "dynamic_id": "130000000000000000",
    "subject": "tea",
    "operator": "ann",
}
PRECREATE = {name: value for name, value in PAY.items() if name != "dynamic_id"} | {"payway": "3"}
REFUND = {"terminal_sn": TERMINAL, "sn": "7" * 16, "refund_request_no": "r1", "refund_amount": "1"}

COUNT = "为非负整数，长度不超过"
AMOUNT = "金额为整数，长度不超过10位，以分为单位"


def untouched(story: Callable[[Till], Awaitable[None]], *, strict_client_sn: bool = False) -> None:
    """Tell a story after which there is no order and no wallet has been called."""

    async def told(town: Town) -> None:
        await story(Till(build_app(town.desk, strict_client_sn=strict_client_sn)))
        assert await town.store.orders(status=None, after=None, limit=1) == []
        assert town.wire.sent == []

    in_town(told)


def post(path: str, body: bytes) -> tuple[str, str, str]:
    """What a well-signed body is answered, when nothing must come of it."""
    answers: list[dict[str, Any]] = []

    async def story(till: Till) -> None:
        answers.append(await till.post_bytes(path, body))

    untouched(story)
    return (*refusal(answers[0]), answers[0]["error_message"])


BAD_AMOUNTS: tuple[object, ...] = (
    "1.00",
    1.0,
    "1e2",
    "12345678901",
    12345678901,
    "１００",
    "1_0",
    " 1",
    "0x1",
    True,
    {},
    "1" * 400,
)

RULES: list[tuple[dict[str, Any], str]] = [
    ({"client_sn": ""}, "client_sn不可以为空"),
    ({"client_sn": None}, "client_sn不可以为空"),
    ({"client_sn": "  "}, "client_sn不可以为空"),
    ({"client_sn": "c" * 65}, "client_sn长度不超过64字节"),
    ({"client_sn": "号" * 22}, "client_sn长度不超过64字节"),
    ({"client_sn": ["C1"]}, "client_sn必须为字符串"),
    ({"client_sn": True}, "client_sn必须为字符串"),
    ({"client_sn": "C\0"}, "client_sn不可以包含空字符"),
    ({"total_amount": None}, "total_amount不可以为空"),
    ({"total_amount": "0"}, "total_amount必须大于0"),
    ({"total_amount": 0}, "total_amount必须大于0"),
    ({"total_amount": "-1"}, "total_amount不可以为负数"),
    ({"total_amount": -1}, "total_amount不可以为负数"),
    *(({"total_amount": bad}, f"total_amount{AMOUNT}") for bad in BAD_AMOUNTS),
    ({"dynamic_id": ""}, "dynamic_id不可以为空"),
    ({"dynamic_id": "1" * 33}, "dynamic_id长度不超过32字节"),
    ({"subject": ""}, "subject不可以为空"),
    ({"subject": "茶" * 65}, "subject长度不超过64个字符"),
    ({"operator": "o" * 33}, "operator长度不超过32个字符"),
    ({"description": "d" * 257}, "description长度不超过256个字符"),
    ({"device_id": "d" * 129}, "device_id长度不超过128字节"),
    ({"payway": "wx"}, "payway必须为纯数字字符串"),
    ({"reflect": "r" * 65}, "reflect长度不超过64个字符"),
    ({"reflact": {"a": "r" * 300}}, "reflact长度不超过64个字符"),
    ({"longitude": "121.6"}, "longitude与latitude必须同时出现"),
    ({"latitude": 31.3}, "longitude与latitude必须同时出现"),
    ({"longitude": [], "latitude": []}, "longitude必须为数字字符串; latitude必须为数字字符串"),
    ({"notify_url": "ftp://shop.example"}, "notify_url必须为http或https地址"),
    ({"notify_url": "http://"}, "notify_url必须为http或https地址"),
    ({"notify_url": "http://a:b@shop.example"}, "notify_url必须为http或https地址"),
    ({"notify_url": "http://shop.example:99999"}, "notify_url必须为http或https地址"),
    ({"notify_url": "http://shop.example/\r\nHost: x"}, "notify_url必须为http或https地址"),
    ({"notify_url": "http://shop.example/" + "x" * 128}, "notify_url长度不超过128个字符"),
    ({"extended": []}, "extended必须为JSON对象"),
    ({"extended": {str(n): "" for n in range(25)}}, "extended不超过24个参数"),
    ({"extended": {"k" * 65: ""}}, "extended参数名长度不超过64字节"),
    ({"extended": {"k": "v" * 257}}, "extended.k长度不超过256"),
    ({"extended": {"k": {"n": "v" * 257}}}, "extended.k长度不超过256"),
    ({"goods_details": {}}, "goods_details必须为JSON数组"),
    ({"goods_details": ["tea"]}, "goods_details[0]必须为JSON对象"),
    (
        {"goods_details": [{"goods_id": "1", "goods_name": "tea", "quantity": 1}]},
        "goods_details[0].price不可以为空",
    ),
    (
        {"goods_details": [{"goods_id": "1", "goods_name": "tea", "quantity": 1.5, "price": "-1"}]},
        f"goods_details[0].quantity{COUNT}10位; goods_details[0].price{COUNT}9位",
    ),
]


@pytest.mark.parametrize(("change", "text"), RULES)
def test_each_rule_names_its_field(change: dict[str, Any], text: str) -> None:
    """INVALID_PARAMS with field and rule, in the words of the printed examples."""
    body = json.dumps(PAY | change).encode()
    assert post("/upay/v2/pay", body) == ("400", "INVALID_PARAMS", text)


@pytest.mark.parametrize(
    ("path", "fields", "text"),
    [
        ("/upay/v2/precreate", PRECREATE | {"payway": ""}, "payway不可以为空"),
        ("/upay/v2/precreate", PRECREATE | {"sub_payway": "1"}, "sub_payway取值为2到6"),
        ("/upay/v2/precreate", PRECREATE | {"sub_payway": "9"}, "sub_payway取值为2到6"),
        ("/upay/v2/precreate", PRECREATE | {"sub_payway": "4"}, "payer_uid不可以为空"),
        ("/upay/v2/refund", REFUND | {"refund_request_no": ""}, "refund_request_no不可以为空"),
        ("/upay/v2/refund", REFUND | {"refund_request_no": "r" * 33}, "refund_request_no长度不超过32字节"),
        ("/upay/v2/refund", REFUND | {"refund_amount": "1.5"}, f"refund_amount{AMOUNT}"),
        ("/upay/v2/refund", REFUND | {"sn": ""}, "sn与client_sn不能同时为空"),
        ("/upay/v2/query", {"terminal_sn": TERMINAL, "refund_request_no": "1"}, "sn与client_sn不能同时为空"),
        ("/upay/v2/cancel", {"terminal_sn": TERMINAL}, "sn与client_sn不能同时为空"),
        ("/upay/v2/cancel", {"sn": "7" * 16}, "terminal_sn不可以为空"),
        ("/terminal/checkin", {"terminal_sn": TERMINAL}, "device_id不可以为空"),
    ],
)
def test_rules_of_the_other_calls(path: str, fields: dict[str, Any], text: str) -> None:
    """The same for what only they have."""
    assert post(path, json.dumps(fields).encode()) == ("400", "INVALID_PARAMS", text)


BODIES = {
    "empty": b"",
    "no JSON": b"a=1&b=2",
    "cut off": b'{"terminal_sn":',
    "trailing comma": b'{"client_sn":"1",}',
    "an array": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "with BOM": b'\xef\xbb\xbf{"client_sn":"1"}',
    "UTF-16": '{"client_sn":"1"}'.encode("utf-16"),
    "GBK": '{"subject":"茶"}'.encode("gbk"),
    "NaN": b'{"total_amount":NaN}',
    "a huge number": b'{"x":' + b"9" * 5000 + b"}",
    "a lone surrogate": b'{"subject":"\\ud800 tea"}',
    "half a pair": b'{"subject":"\xed\xa0\x80"}',
    "deep": b'{"x":' + b"[" * 17 + b"]" * 17 + b"}",
    "very deep": b"[" * 100_000,
    "deep objects": b'{"x":' * 900 + b"1" + b"}" * 900,
    "a field twice": b'{"total_amount":"1","client_sn":"1","total_amount":"100"}',
    "a field twice, spelled differently": b'{"total_amount":"1","total\\u005famount" :"100"}',
    "an inner field twice": b'{"extended":{"a":{"b":"1","b":"2"}}}',
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("path", ["/upay/v2/pay", "/upay/v2/query", "/terminal/checkin"])
def test_bodies_that_are_no_requests(path: str, kind: str) -> None:
    """INVALID_PARAMS that says what is wrong with the body."""
    result_code, code, text = post(path, BODIES[kind])
    assert (result_code, code) == ("400", "INVALID_PARAMS")
    assert text.startswith(("请求体", "total_amount重复出现", "b重复出现"))


def test_a_field_sent_twice_is_named() -> None:
    """Two amounts in one body: neither is taken."""
    assert post("/upay/v2/pay", BODIES["a field twice"])[2] == "total_amount重复出现"


def test_strict_client_sn() -> None:
    """With the setting, 32 bytes are the limit, as the newer pages say (§13 no. 4)."""

    async def story(till: Till) -> None:
        answer = await till.post("/upay/v2/pay", PAY | {"client_sn": "c" * 33})
        assert answer["error_message"] == "client_sn长度不超过32字节"

    untouched(story, strict_client_sn=True)


def test_what_is_only_unusual_is_taken() -> None:
    """The longest allowed, integers, a scanner's line end, text for a map, a URL without scheme: all fine."""
    unusual = PAY | {
        "client_sn": "c" * 64,
        "total_amount": 100,
        "payway": 3,
        "dynamic_id": "130000000000000000\r\n",
        "subject": "茶" * 64,
        "operator": "",
        "device_id": "d" * 128,
        "extended": '{"goods_tag":"x"}',
        "longitude": 121.615459404,
        "latitude": "31.4056441552",
        "notify_url": "shop.example/notify",
        "goods_details": [
            {
                "goods_id": 1,
                "goods_name": "茶",
                "quantity": "2",
                "price": 50,
                "promotion_type": "0",
                "more": [],
            }
        ],
    }

    async def story(town: Town) -> None:
        answer = await Till(build_app(town.desk)).post("/upay/v2/pay", unusual)
        assert biz(answer)["result_code"] == "PAY_SUCCESS"
        (order,) = await town.store.orders(status=None, after=None, limit=2)
        assert order.notify_url == "http://shop.example/notify"
        assert json.loads(order.detail) == {
            "device_id": "d" * 128,
            "extended": {"goods_tag": "x"},
            "goods_details": [
                {"goods_id": "1", "goods_name": "茶", "quantity": 2, "price": 50, "promotion_type": 0}
            ],
            "longitude": "121.615459404",
            "latitude": "31.4056441552",
        }

    in_town(story)


# -- whatever comes

_JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["", "0", "-1", TERMINAL]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
_NAMES = [
    "terminal_sn",
    "client_sn",
    "sn",
    "total_amount",
    "dynamic_id",
    "subject",
    "operator",
    "description",
    "longitude",
    "latitude",
    "device_id",
    "extended",
    "goods_details",
    "reflect",
    "reflact",
    "notify_url",
    "payway",
    "sub_payway",
    "payer_uid",
    "refund_request_no",
    "refund_amount",
    "wosai_store_id",
    "code",
    "app_id",
    "name",
]
_OBJECTS = st.dictionaries(st.sampled_from(_NAMES), _JUNK, max_size=12)


def _answer_all(requests: list[tuple[str, bytes]]) -> None:
    async def story(town: Town) -> None:
        till = Till(build_app(town.desk))
        for path, body in requests:
            answer = await till.post_bytes(path, body)
            assert answer["error_code"] != "UNKNOWN_SYSTEM_ERROR", (path, body)
        await asyncio.sleep(0)
        assert town.alarms == []

    in_town(story)


@given(st.lists(st.tuples(st.sampled_from(PATHS), st.binary(max_size=300)), min_size=1, max_size=20))
def test_any_bytes_get_an_answer(requests: list[tuple[str, bytes]]) -> None:
    """Well-signed noise is answered in the protocol's words."""
    _answer_all(requests)


@given(
    requests=st.lists(st.tuples(st.sampled_from(PATHS), _OBJECTS), min_size=1, max_size=20),
    named=st.booleans(),
)
def test_any_values_get_an_answer(requests: list[tuple[str, dict[str, Any]]], *, named: bool) -> None:
    """Every field may hold anything at all; `named`: the rest of the request is right."""
    base = {"terminal_sn": TERMINAL} if named else {}
    _answer_all([(path, json.dumps(base | fields).encode()) for path, fields in requests])


@given(st.sampled_from(list(PAY)), _JUNK)
def test_one_wrong_field_of_a_right_pay(name: str, value: object) -> None:
    """A pay with one field changed is paid, refused by name, or in conflict; it is never an incident."""
    _answer_all([("/upay/v2/pay", json.dumps(PAY | {name: value}).encode())])
