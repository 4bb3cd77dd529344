"""The description says what the code does: fields, bounds, codes, statuses, addresses, examples."""

import inspect
import json
import re
from collections.abc import Callable
from typing import Any, ClassVar, cast

import jsonschema_rs
import pytest
from msgspec.structs import replace

from paymux.domain.limits import Limits
from paymux.domain.order import OrderStatus
from paymux.domain.people import Terminal
from paymux.wire.callbacks import callback_routes
from paymux.wire.metrics import Metrics
from paymux.wire.openapi import answers, examples
from paymux.wire.openapi.document import document
from paymux.wire.openapi.page import Description
from paymux.wire.pages import page_routes
from paymux.wire.server import build_app
from paymux.wire.upay_v2 import codes, fields, replies, requests
from paymux.wire.upay_v2.codes import CALL_ERRORS, CallRefused, ResultCode
from paymux.wire.upay_v2.routes import UpayEdge
from tests.contract.upay.edge import VENDOR, Till, biz, http
from tests.harness.town import STORE, Town, in_town

DOCUMENT = document(Limits(), strict_client_sn=False)
TERMINAL = Terminal(
    terminal_sn=examples.REQUESTS["pay"]["terminal_sn"],
    merchant_sn="1680000000000001",
    store_sn=STORE,
    current_key="0" * 32,
)
LONG = requests.CLIENT_SN_BYTES_MAX
READERS: dict[str, Callable[[bytes, Terminal], object]] = {
    "pay": lambda body, terminal: requests.read_pay(body, terminal, client_sn_bytes_max=LONG),
    "precreate": lambda body, terminal: requests.read_precreate(body, terminal, client_sn_bytes_max=LONG),
    "query": requests.read_query,
    "cancel": requests.read_cancel,
    "revoke": requests.read_cancel,
    "refund": requests.read_refund,
    "activate": lambda body, _: requests.read_activation(body, VENDOR),
    "checkin": requests.read_checkin,
}
"""Call → its reader, as the edge calls it."""


def operations() -> dict[str, dict[str, Any]]:
    """Name → what is described, of everything that can be called."""
    return {
        operation["operationId"]: operation
        for place in DOCUMENT["paths"].values()
        for method, operation in place.items()
        if method != "parameters"
    }


def body_schema(name: str) -> dict[str, Any]:
    """The schema of a call's body."""
    found: dict[str, Any] = operations()[name]["requestBody"]["content"]["application/json"]["schema"]
    return found


def faults(name: str, body: dict[str, Any], terminal: Terminal = TERMINAL) -> str:
    """What the reader of a call finds wrong with a body; "" when nothing."""
    try:
        READERS[name](json.dumps(body).encode(), terminal)
    except CallRefused as refused:
        return refused.text
    return ""


def example(name: str) -> dict[str, Any]:
    """A fresh copy of a call's example, fit for this test's vendor."""
    return examples.REQUESTS[name] | ({"app_id": VENDOR.app_id} if name == "activate" else {})


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """A validator of a schema of the document."""
    return jsonschema_rs.Draft202012Validator(schema | {"components": DOCUMENT["components"]})


# ---------------------------------------------------------------- fields of requests


class Watched(dict[str, Any]):
    """Remembers what was asked for."""

    asked: ClassVar[set[str]] = set()

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # as Fields calls it
        """Look up, and remember."""
        self.asked.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("name", READERS)
def test_exactly_the_fields_that_are_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A field the reader looks at is described, and no other one."""
    asked: set[str] = set()
    monkeypatch.setattr(Watched, "asked", asked)
    monkeypatch.setattr(fields, "_read_object", lambda body: Watched(json.loads(body)))
    plain = example(name)
    without_terminal = {key: value for key, value in plain.items() if key != "terminal_sn"}
    with_details = plain | {"device_id": "till 1"}
    for body in (plain, without_terminal, plain | {"reflect": None}, with_details):
        faults(name, body)
    assert asked == set(body_schema(name)["properties"])


def test_exactly_the_fields_of_goods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for what stands in a basket."""
    asked: set[str] = set()
    monkeypatch.setattr(Watched, "asked", asked)
    requests._one_goods(fields.Fields({}, [], ""), Watched(), "goods")
    goods = body_schema("pay")["properties"]["goods_details"]["items"]
    assert asked == set(goods["properties"])
    basket = {"goods_id": "1", "goods_name": "tea", "quantity": 1, "price": 1}
    for field in goods["properties"]:
        less = {key: value for key, value in basket.items() if key != field}
        told = faults("pay", example("pay") | {"goods_details": [less]})
        assert (f"goods_details[0].{field}不可以为空" in told) is (field in goods["required"])


@pytest.mark.parametrize("name", READERS)
def test_needed_fields(name: str) -> None:
    """Without a needed field the reader complains about it; without any other one it does not."""
    schema = body_schema(name)
    for field in schema["properties"]:
        less = {key: value for key, value in example(name).items() if key != field}
        told = faults(name, less)
        assert validator(schema).is_valid(less) is (told == ""), (field, told)
        assert not (field in schema["required"] and told == ""), field


TEXTS = [
    (name, field)
    for name in READERS
    for field, schema in body_schema(name)["properties"].items()
    if "maxLength" in schema and schema["type"] == "string"
]


@pytest.mark.parametrize(("name", "field"), TEXTS)
def test_bounds(name: str, field: str) -> None:
    """The longest text that is described is taken, one more byte or character is refused by name."""
    schema = body_schema(name)["properties"][field]
    longest = schema["maxLength"]
    in_bytes = "x-bytes-max" in schema
    digits = "pattern" in schema
    start = {"notify_url": "shop.example/", "dynamic_id": "fp", "app_id": ""}.get(field, "")
    filler = "1" if digits else "x"
    fits = start + filler * (longest - len(start))
    pair = {"longitude": "latitude", "latitude": "longitude"}.get(field)
    rest = example(name) | ({pair: "1"} if pair else {})

    def told(text: str) -> str:
        terminal = replace(TERMINAL, terminal_sn=text) if field == "terminal_sn" else TERMINAL
        if field == "wosai_store_id":
            rest.pop("terminal_sn", None)
            terminal = replace(TERMINAL, store_sn=text)
        return faults(name, rest | {field: text}, terminal)

    length = re.compile(rf"{field}(长度不超过|金额为整数，长度不超过|必须为纯数字)")
    assert not length.search(told(fits)), told(fits)
    assert length.search(told(fits + filler)), told(fits + filler)
    if not digits and field != "notify_url":
        wide = start + "茶" * ((longest - len(start)) // 3 + 1)
        assert bool(length.search(told(wide))) is in_bytes, told(wide)


def test_wallets_and_ways() -> None:
    """Exactly the described ways to meet a wallet are taken; payways are digits."""
    schema = body_schema("precreate")["properties"]
    for way in map(str, range(10)):
        told = faults("precreate", example("precreate") | {"sub_payway": way, "payer_uid": "u"})
        assert (told == "") is (way in schema["sub_payway"]["enum"]), way
    for way in "23456":
        body = example("precreate") | {"sub_payway": way}
        assert validator(body_schema("precreate")).is_valid(body) is (faults("precreate", body) == "")
    for number, good in (("3", True), ("2001", True), ("wx", False), ("３", False)):
        assert bool(re.search(schema["payway"]["pattern"], number)) is good
        assert (faults("precreate", example("precreate") | {"payway": number}) == "") is good


@pytest.mark.parametrize(
    "amount", ["1", "0", "00", "01", "-1", "1.0", "9999999999", "12345678901", "１", "1_0", ""]
)
def test_amounts(amount: str) -> None:
    """What the schema takes for an amount is what the reader takes."""
    for name, field in (("pay", "total_amount"), ("refund", "refund_amount")):
        body = example(name) | {field: amount}
        assert validator(body_schema(name)).is_valid(body) is (faults(name, body) == "")


def test_the_strict_setting() -> None:
    """With `strict_client_sn` the bound is the newer editions'."""
    strict = document(Limits(), strict_client_sn=True)
    for described, bound in ((DOCUMENT, LONG), (strict, requests.CLIENT_SN_BYTES_STRICT)):
        for name in ("pay", "precreate"):
            body = described["paths"][f"/upay/v2/{name}"]["post"]["requestBody"]
            assert (
                body["content"]["application/json"]["schema"]["properties"]["client_sn"]["maxLength"] == bound
            )


def test_bounds_follow_the_settings() -> None:
    """Times and sizes are those of this gateway."""
    limits = Limits(pay_wait_s=7, cancel_wait_s=8, refund_wait_s=9, body_bytes_max=4321, log_bytes_max=1234)
    paths = document(limits, strict_client_sn=False)["paths"]
    for path, words in (
        ("/upay/v2/pay", "up to 7 s"),
        ("/upay/v2/cancel", "up to 8 s"),
        ("/upay/v2/refund", "up to 9 s"),
        ("/upay/v2/query", "4321 bytes"),
        ("/terminal/uploadLog", "1234 bytes"),
    ):
        assert words in paths[path]["post"]["description"]


# ---------------------------------------------------------------- answers


def test_answer_fields() -> None:
    """Exactly what the writers write."""
    said = examples.ANSWERS
    assert set(examples.ORDER) == set(answers.ORDER_FIELDS)
    shown = {"qr_code", "qr_code_image_url"}
    assert set(said["precreate"]["biz_response"]["data"]) - set(answers.ORDER_FIELDS) == shown
    assert set(answers.CODE_FIELDS) == shown | {"wap_pay_request"}
    assert '"wap_pay_request"' in inspect.getsource(replies.precreate_answer)
    for name in ("activate", "checkin"):
        assert set(said[name]["biz_response"]["data"]) == set(answers.TERMINAL_FIELDS)


def described_results(name: str) -> set[str]:
    """The business result codes of a call's described answer."""
    told = operations()[name]["responses"]["200"]["content"]["application/json"]["schema"]
    biz_response = told["oneOf"][0]["properties"]["biz_response"]
    return set(biz_response["properties"]["result_code"]["enum"])


def test_result_codes() -> None:
    """Each call's are those its table of statuses can give, and FAIL; all have a meaning."""
    assert set(answers.RESULTS) == set(ResultCode)
    cancels = {*replies._CANCEL.values(), *replies._ABORT.values()}
    writer = inspect.getsource(replies.refund_answer)
    written = {
        "pay": set(replies._PAY.values()),
        "precreate": set(replies._PRECREATE.values()),
        "cancel": cancels,
        "revoke": cancels,
        "query": {ResultCode.SUCCESS},
        "refund": {code for code in ResultCode if f"(ResultCode.{code}," in writer},
    }
    for name, results in written.items():
        assert described_results(name) == {ResultCode.FAIL, *results}, name
    assert described_results("activate") == {ResultCode.ACTIVATE_SUCCESS}
    assert described_results("checkin") == {ResultCode.TERMINAL_CHECKIN_SUCCESS}


def test_codes_and_statuses() -> None:
    """The errors are the tables' but for the spellings nobody is sent; every status has a meaning."""
    unsent = {
        line.split('"')[1]
        for line in inspect.getsource(codes).splitlines()
        if line.rstrip().endswith("not sent")
    }
    assert unsent == answers.NOT_SENT
    schemas = DOCUMENT["components"]["schemas"]
    groups = {
        group["properties"]["result_code"]["const"]: set(group["properties"]["error_code"]["enum"])
        for group in schemas["CallError"]["oneOf"]
    }
    sent = {code: result for code, (result, _) in CALL_ERRORS.items() if code not in unsent}
    assert {code: result for result, group in groups.items() for code in group} == sent
    assert set(answers.CALLS) == set(sent)
    assert set(schemas["BusinessError"]["enum"]) == {"", *codes.BIZ_ERRORS} - unsent
    assert set(schemas["OrderStatus"]["enum"]) == set(OrderStatus)


# ---------------------------------------------------------------- the whole


def test_every_address_is_described() -> None:
    """What is routed is described with its methods, and nothing else is."""

    async def story(town: Town) -> None:
        edge = UpayEdge(town.desk, strict_client_sn=False)
        pages = page_routes(
            town.desk,
            Metrics(),
            notify_public_pem="",
            description=Description(Limits(), strict_client_sn=False),
        )
        routed = {
            (route.path.replace(":int", ""), method.lower())
            for route in [*pages, *callback_routes(town.desk)]
            for method in cast("set[str]", route.methods) - {"HEAD"}
        }
        described = {
            (path, method)
            for path, place in DOCUMENT["paths"].items()
            for method in place
            if method != "parameters"
        }
        assert described == routed | {(path, "post") for path in edge.calls}

    in_town(story)


def test_it_is_sound() -> None:
    """Names are unique, references lead somewhere, and every schema is a JSON Schema."""
    text = json.dumps(DOCUMENT)
    ids = re.findall(r'"operationId": "(\w+)"', text)
    assert len(ids) == len(set(ids)) == 21
    named = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert named == set(DOCUMENT["components"]["schemas"])
    found = list(schemas_in(DOCUMENT))
    assert len(found) > 60
    for schema in found:
        jsonschema_rs.meta.validate(schema)


def schemas_in(value: object) -> list[dict[str, Any]]:
    """Every schema of the document."""
    if isinstance(value, list):
        return [schema for inner in value for schema in schemas_in(inner)]
    if not isinstance(value, dict):
        return []
    own = [value["schema"]] if isinstance(value.get("schema"), dict) else []
    own += list(value.get("schemas", {}).values())
    return own + [schema for inner in value.values() for schema in schemas_in(inner)]


@pytest.mark.parametrize("name", examples.ANSWERS)
def test_examples_are_true(name: str) -> None:
    """Each request is taken by its reader and its own schema, each answer is of the described form."""
    operation = operations()[name]
    told = operation["responses"]["200"]["content"]["application/json"]
    validator(told["schema"]).validate(told["example"])
    if name in READERS:
        body = operation["requestBody"]["content"]["application/json"]
        validator(body["schema"]).validate(body["example"])
        assert faults(name, example(name)) == ""
        assert body["example"] == examples.REQUESTS[name]


def test_the_notification_is_an_order() -> None:
    """What a merchant is told has the described form."""
    body = DOCUMENT["webhooks"]["notification"]["post"]["requestBody"]["content"]["application/json"]
    validator(body["schema"]).validate(body["example"])


def test_an_answer_of_another_form_is_not_described() -> None:
    """The schemas are no rubber stamps: a missing field, a number for a text or a made-up code is seen."""
    told = operations()["pay"]["responses"]["200"]["content"]["application/json"]
    check = validator(told["schema"])
    for path, value in (
        (("result_code",), 200),
        (("biz_response", "result_code"), "PAID"),
        (("biz_response", "error_code"), "MADE_UP"),
        (("biz_response", "data", "order_status"), "PAYED"),
        (("biz_response", "data", "total_amount"), "1.00"),
        (("biz_response", "data", "sn"), None),
    ):
        said = json.loads(json.dumps(told["example"]))
        place = said
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert not check.is_valid(said), path


# ---------------------------------------------------------------- as it is served


def test_it_is_served() -> None:
    """JSON for machines, a page for people that needs and loads nothing else."""

    async def story(town: Town) -> None:
        app = build_app(town.desk)
        told = await http(app, "GET", "/openapi.json")
        assert (told.status, told.headers["content-type"]) == (200, "application/json")
        assert told.json == json.loads(json.dumps(document(town.desk.limits, strict_client_sn=False)))
        page = await http(app, "GET", "/docs")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert page.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
        assert (await http(app, "GET", "/docs")).body == page.body

    in_town(story)


def test_the_page_shows_everything() -> None:
    """Every call, field, bound, code and example of the description stands on the page."""
    page = Description(Limits(), strict_client_sn=False).page
    for path in DOCUMENT["paths"]:
        assert path in page
    for name in READERS:
        for field, schema in body_schema(name)["properties"].items():
            assert f"<code>{field}</code>" in page
            if "x-bytes-max" in schema:
                assert f"≤ {schema['x-bytes-max']} bytes" in page
    for code in (*ResultCode, *OrderStatus, *answers.CALLS, *answers.sent(codes.BIZ_ERRORS)):
        assert f"<code>{code}</code>" in page
    assert "md5(body ‖ key)" in page
    anchors = set(re.findall(r'href="#(\w+)"', page))
    assert anchors <= set(re.findall(r'id="(\w+)"', page))
    assert re.findall(r"(?:src|href)=\"(?!#)([^\"]*)", page) == ["/openapi.json"]
    assert "<script" not in page
    assert "@import" not in page


def test_words_are_escaped() -> None:
    """What a description says cannot become markup."""
    from paymux.wire.openapi.page import words  # noqa: PLC0415 - only here

    assert str(words("a `<b>` & <i>\n\nc")) == "<p>a <code>&lt;b&gt;</code> &amp; &lt;i&gt;</p><p>c</p>"


def test_the_first_example_pays() -> None:
    """The example of a pay, signed as the words say, is paid."""

    async def story(town: Town) -> None:
        body = examples.REQUESTS["pay"] | {"terminal_sn": town.terminal.terminal_sn}
        answer = await Till(build_app(town.desk)).post("/upay/v2/pay", body)
        assert biz(answer)["result_code"] == "PAY_SUCCESS"

    in_town(story)
