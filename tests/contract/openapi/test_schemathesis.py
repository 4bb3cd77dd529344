"""schemathesis asks for everything that is described, and worse: no 500, no incident, answers as described.

The calls go to the real application over a real SQLite, with both wallets behind it, in virtual time. Each is
made twice: without a right signature, when nothing may come of it, and with one. Much of what is made up is
steered towards what exists (the terminal, orders, barcodes, accounts), or all of it would end at the door.

`HYPOTHESIS_PROFILE=long` tries twenty times as much.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.types import ASGIApp

from paymux.domain.limits import Limits
from paymux.domain.order import Order
from paymux.domain.people import bucket_of
from paymux.wire.metrics import Metrics
from paymux.wire.openapi.document import document
from paymux.wire.openapi.page import Description
from paymux.wire.pages import page_routes
from paymux.wire.server import build_app
from tests.contract.upay.edge import CODE, KEY, VENDOR, HttpReply, Till, biz, http, open_vendor, sign
from tests.harness.standing import StandingTown
from tests.harness.town import MERCHANT, TERMINAL, Town

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(document(Limits(), strict_client_sn=False))
OPERATIONS = {one.ok().label: one.ok() for one in SCHEMA.get_all_operations()}
ASKED = [
    (label, mode)
    for label, operation in OPERATIONS.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE
    or operation.body
    or any(True for _ in (*operation.path_parameters, *operation.query))
]
EXAMPLES = settings.default.max_examples // 3
PHASES = (Phase.generate, Phase.shrink)
UNSAYABLE = re.compile(
    r"字节|长度不超过(64|256)|不可以包含空字符|不可以为空|必须为http|不属于签名的服务商|嵌套|数字不可以过长"
    r"|payway必须|参数名|不超过24个|为非负整数"
)
"""Rules a JSON Schema cannot say: bytes, blanks, NUL, URLs, the vendor's own number, 1.0 for 1."""


class Asked(NamedTuple):
    """A request as it goes out."""

    method: str
    path: str
    query: str
    body: bytes
    authorization: bytes | None

    def prepared(self) -> requests.PreparedRequest:
        """The same for schemathesis' reports."""
        url = f"http://gateway.example{self.path}?{self.query}"
        return requests.Request(self.method, url, data=self.body).prepare()


class Target:
    """A gateway with a vendor, orders in several states, and what a stranger may guess of it."""

    def __init__(self, standing: StandingTown) -> None:
        self.standing = standing
        self.town: Town = standing.town
        self.app = build_app(self.town.desk, notify_public_pem="-----BEGIN PUBLIC KEY-----\n")
        self.orders: list[dict[str, str]] = standing.tell(self._begin())

    async def _begin(self) -> list[dict[str, str]]:
        await open_vendor(self.town, uses=1_000_000)
        till = Till(self.app)
        sold = [await till.pay(f"{28}{number:014d}00", f"S{number}") for number in range(3)]
        sold.append(await till.pay(f"13{0:014d}00", "S3"))
        sold.append(await till.precreate("Q1"))
        sold.append(await till.precreate("Q2", payway="1"))
        orders = [biz(one)["data"] for one in sold]
        await till.call("refund", sn=orders[1]["sn"], refund_request_no="R1", refund_amount="30")
        await till.call("cancel", sn=orders[2]["sn"])
        return [{"sn": one["sn"], "client_sn": one["client_sn"]} for one in orders]

    async def sold(self) -> list[Order]:
        """Every order there is."""
        return await self.town.store.orders(status=None, after=None, limit=100_000)

    def send(self, asked: Asked) -> HttpReply:
        """Make a call; pictures are drawn in a thread, which virtual time has not."""
        headers = [(b"content-type", b"application/json")]
        if asked.authorization is not None:
            headers.append((b"authorization", asked.authorization))
        drawn = asked.path == "/upay/qrcode"
        call = http(
            pages() if drawn else self.app,
            asked.method,
            asked.path,
            chunks=[asked.body],
            headers=headers,
            query=asked.query,
        )
        return asyncio.run(call) if drawn else self.standing.tell(call)

    def incidents(self) -> list[dict[str, Any]]:
        """What nobody foresaw."""
        return [alarm for alarm in self.town.alarms if alarm["event"].endswith(".failed")]


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """One gateway for all calls; at the end everything settles and both sets of books agree."""
    with StandingTown(seed=7) as standing:
        aim = Target(standing)
        yield aim
        assert aim.incidents() == []

        async def settled() -> None:
            await aim.town.rest_all(await aim.sold(), within_s=3_000)
            await aim.town.assert_books_agree()

        standing.tell(settled())


def pages() -> ASGIApp:
    """The pages alone, without a desk."""
    description = Description(Limits(), strict_client_sn=False)
    routes = page_routes(None, Metrics(), notify_public_pem="", description=description)  # type: ignore[arg-type]  # a picture needs no desk
    return Starlette(routes=routes)


# ---------------------------------------------------------------- from a case to a request


def steered(target: Target, case: Case, dice: int) -> Asked:
    """Write a case down as bytes, its parts partly replaced by what exists."""
    path = case.path.format_map({**case.path_parameters, **_known_place(target, dice)})
    if isinstance(case.body, dict) and case.media_type == "application/json":
        body = json.dumps(case.body | _known_fields(target, case.body, dice)).encode(errors="surrogatepass")
    else:
        body = _written(case)
    pairs = {name: _text(value) for name, value in case.query.items()}
    claim = case.headers.get("Authorization")
    query = urlencode(pairs, errors="replace")
    given = None if claim is None else claim.encode(errors="replace")
    return Asked(case.method, path, query, body, given)


def _known_place(target: Target, dice: int) -> dict[str, object]:
    known = {
        "account": "alipay" if dice & 1 else "wechat",
        "merchant_id": MERCHANT,
        "bucket": bucket_of(MERCHANT),
        "sn": target.orders[dice % len(target.orders)]["sn"],
    }
    return {name: value for at, (name, value) in enumerate(known.items()) if dice >> at & 6}


def _known_fields(target: Target, body: dict[str, Any], dice: int) -> dict[str, object]:
    order = target.orders[dice % len(target.orders)]
    known: dict[str, object] = {
        "terminal_sn": TERMINAL,
        "dynamic_id": f"{28 if dice & 1 else 13}{dice:014d}{dice % 20:02d}",
        "payway": "1" if dice & 1 else "3",
        "code": CODE,
        "refund_amount": str(dice % 40 + 1),
        "sn": order["sn"],
    }
    if "dynamic_id" not in body and "payway" not in body:
        known |= {"client_sn": order["client_sn"]}
    return {name: value for at, (name, value) in enumerate(known.items()) if name in body and dice >> at & 7}


def _written(case: Case) -> bytes:
    if isinstance(case.body, bytes):
        return case.body
    if case.media_type is None or not isinstance(case.body, dict | list | str | int | float | bool | None):
        return b""
    if case.media_type == "application/x-www-form-urlencoded" and isinstance(case.body, dict):
        return urlencode({name: _text(value) for name, value in case.body.items()}, errors="replace").encode()
    return _text(case.body).encode(errors="replace")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def signed(asked: Asked) -> Asked:
    """The same, with the signature its call asks for."""
    vendor = asked.path == "/terminal/activate"
    sn, key = (VENDOR.vendor_sn, VENDOR.vendor_key) if vendor else (TERMINAL, KEY)
    return asked._replace(authorization=f"{sn} {sign(asked.body, key)}".encode())


# ---------------------------------------------------------------- the promises


@pytest.mark.parametrize(("label", "mode"), ASKED)
def test_whatever_is_asked(target: Target, label: str, mode: GenerationMode) -> None:
    """Every answer is one of those described; a stranger's call to the protocol is refused as one."""
    operation = OPERATIONS[label]
    protocol = bool(operation.definition.raw.get("security"))

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None, phases=PHASES)
    @given(case=operation.as_strategy(generation_mode=mode), dice=st.integers(0, 2**12))
    def asking(case: Case, dice: int) -> None:
        asked = steered(target, case, dice)
        stranger = conforming(target, case, asked)
        if not protocol:
            return
        assert stranger.json["error_code"] in {"ILLEGAL_SIGN", "TERMINAL_NOT_EXISTS"}
        friend = conforming(target, case, signed(asked))
        assert friend.json["error_code"] not in {
            "ILLEGAL_SIGN",
            "TERMINAL_NOT_EXISTS",
            "UNKNOWN_SYSTEM_ERROR",
        }
        if mode is GenerationMode.POSITIVE and friend.json["error_code"] == "INVALID_PARAMS":
            for fault in friend.json["error_message"].split("; "):
                assert UNSAYABLE.search(fault), fault

    before = len(target.standing.tell(target.sold()))
    sells = label in {"POST /upay/v2/pay", "POST /upay/v2/precreate"} and mode is GenerationMode.POSITIVE
    for _ in range(5 if sells else 1):  # once in some hundred times the dice make up nothing that can be sold
        asking()
        if len(target.standing.tell(target.sold())) > before:
            break
    assert target.incidents() == []
    assert not sells or len(target.standing.tell(target.sold())) > before, "nothing made up was ever sold"


def conforming(target: Target, case: Case, asked: Asked) -> HttpReply:
    """Make the call; hold its answer against the description."""
    reply = target.send(asked)
    headers = {name: [value] for name, value in reply.headers.items()}
    answer = Response(reply.status, headers, reply.body, asked.prepared(), elapsed=0, verify=False)
    case.validate_response(answer, checks=CHECKS)
    return reply


def test_a_lie_would_be_noticed(target: Target) -> None:
    """The checks are no rubber stamps: an answer of another form, type or status fails them."""
    case = OPERATIONS["POST /upay/v2/query"].Case(body={})
    asked = Asked("POST", "/upay/v2/query", "", b"{}", None)
    good = target.send(asked)
    for status, kind, body in (
        (500, "application/json", good.body),
        (404, "application/json", good.body),
        (200, "text/html", good.body),
        (200, "application/json", b'{"result_code":"200"}'),
        (200, "application/json", good.body.replace(b"ILLEGAL_SIGN", b"NO_IDEA")),
    ):
        lie = Response(status, {"content-type": [kind]}, body, asked.prepared(), elapsed=0, verify=False)
        with pytest.raises(FailureGroup):
            case.validate_response(lie, checks=CHECKS)
