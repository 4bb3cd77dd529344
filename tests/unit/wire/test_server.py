"""The application around the protocol: paths, methods, bodies, incidents, health, metrics, pictures."""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from paymux.domain.errors import StorageFailed
from paymux.domain.limits import Limits
from paymux.domain.order import Order, OrderKey
from paymux.domain.people import Terminal
from paymux.flows.desk import Desk
from paymux.wire import body as body_module
from paymux.wire.metrics import Metrics
from paymux.wire.openapi.page import Description
from paymux.wire.pages import page_routes
from paymux.wire.server import build_app, plain_path
from tests.contract.upay.edge import (
    CODE,
    KEY,
    VENDOR,
    Hung,
    Till,
    biz,
    checked,
    http,
    open_vendor,
    refusal,
    sign,
)
from tests.harness.town import TERMINAL, Town, in_town

QUERY = json.dumps({"terminal_sn": TERMINAL, "client_sn": "C1"}).encode()
SIGNED = [(b"authorization", f"{TERMINAL} {sign(QUERY, KEY)}".encode())]


def tell(
    story: Callable[[Town, ASGIApp], Awaitable[None]],
    *,
    limits: Limits | None = None,
    notify_public_pem: str = "",
) -> None:
    """Give the story a town and its application."""

    async def told(town: Town) -> None:
        await story(town, build_app(town.desk, notify_public_pem=notify_public_pem))

    in_town(told, limits=limits)


# -- where requests go


@pytest.mark.parametrize(
    "path",
    [
        "/upay/v2/query",
        "//upay/v2/query",
        "/upay//v2/query/",
        "/upay/v2/query?",
        "/Upay/v2/query",
        "/UPAY/V2/QUERY/",
        "http://gateway.example/upay/v2/query",
        "https://gateway.example//Upay/v2/query/",
    ],
)
def test_paths_clients_send(path: str) -> None:
    """Doubled and trailing slashes, capitals, a bare question mark and whole URLs all reach the call (§1)."""

    async def story(_: Town, app: ASGIApp) -> None:
        answer = checked(await http(app, "POST", path, chunks=[QUERY], headers=SIGNED))
        assert biz(answer)["error_code"] == "UPAY_ORDER_NOT_EXISTS"

    tell(story)


@pytest.mark.parametrize(
    "path", ["/", "", "/upay/v2", "/upay/v2/pays", "/upay/v1/pay", "/x/upay/v2/pay", "/%2e"]
)
def test_unknown_paths(path: str) -> None:
    """404 with JSON, whatever the method."""

    async def story(_: Town, app: ASGIApp) -> None:
        for method in ("GET", "POST", "DELETE"):
            reply = await http(app, method, path)
            assert reply.status == 404
            assert reply.json["error"] == "NOT_FOUND"

    tell(story)


def test_plain_paths_are_left_alone() -> None:
    """What is already plain stays as it is; the root is the root."""
    assert plain_path("/upay/v2/pay") == "/upay/v2/pay"
    assert plain_path("//") == plain_path("") == "/"


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "OPTIONS", "DELETE"])
def test_wrong_methods(method: str) -> None:
    """A protocol path speaks POST only, and says so in the protocol's words."""

    async def story(_: Town, app: ASGIApp) -> None:
        answer = checked(await http(app, method, "/upay/v2/pay"))
        assert refusal(answer) == ("400", "INVALID_PARAMS")
        assert answer["error_message"] == "pay请使用POST方式请求"

    tell(story)


def test_every_call_has_its_path() -> None:
    """All nine answer; without a signature each says ILLEGAL_SIGN."""
    order_calls = ("pay", "precreate", "query", "refund", "cancel", "revoke")
    paths = [f"/upay/v2/{name}" for name in order_calls]
    paths += [f"/terminal/{name}" for name in ("activate", "checkin", "uploadLog", "uploadlog")]

    async def story(_: Town, app: ASGIApp) -> None:
        for path in paths:
            assert refusal(checked(await http(app, "POST", path))) == ("400", "ILLEGAL_SIGN"), path

    tell(story)


# -- bodies


def test_a_body_in_pieces() -> None:
    """Chunks are one body."""

    async def story(_: Town, app: ASGIApp) -> None:
        pieces = [QUERY[:1], b"", QUERY[1:20], QUERY[20:]]
        assert biz(checked(await http(app, "POST", "/upay/v2/query", chunks=pieces, headers=SIGNED)))

    tell(story)


def test_a_body_too_large() -> None:
    """INVALID_PARAMS naming the limit; what was sent is read to its end, or the answer would be lost.

    Beyond any mistake, announced or counted, the caller is hung up on at once.
    """
    limits = Limits(body_bytes_max=1000)

    async def story(_: Town, app: ASGIApp) -> None:
        announced = [*SIGNED, (b"content-length", b"99999999")]
        flood = [b"x" * 600, *[b"x" * 8_000_000] * 5]
        for headers, pieces in ((announced, [b""]), (SIGNED, [b"x" * 600, b"x" * 600]), (SIGNED, flood)):
            reply = await http(app, "POST", "/upay/v2/query", chunks=pieces, headers=headers)
            assert checked(reply)["error_message"] == "请求体长度不超过1000字节"
            assert reply.headers["connection"] == "close"
        fits = await http(app, "POST", "/upay/v2/query", chunks=[b"x" * 1000])
        assert refusal(checked(fits)) == ("400", "ILLEGAL_SIGN")

    tell(story, limits=limits)


@pytest.mark.parametrize("length", [b"x", b"-1", b"9" * 30, b"\xb2"])
def test_nonsense_lengths_are_not_believed(length: bytes) -> None:
    """Then the bytes are counted."""

    async def story(_: Town, app: ASGIApp) -> None:
        headers = [*SIGNED, (b"content-length", length)]
        assert biz(checked(await http(app, "POST", "/upay/v2/query", chunks=[QUERY], headers=headers)))

    tell(story)


def test_a_caller_who_hangs_up() -> None:
    """Half a request is no request: nothing is done, nobody is answered."""

    async def story(town: Town, app: ASGIApp) -> None:
        with pytest.raises(Hung):
            await http(app, "POST", "/upay/v2/query", chunks=[QUERY], headers=SIGNED, gone=True)
        assert town.alarms == []

    tell(story)


def test_a_caller_who_dawdles() -> None:
    """A body that does not come is not waited for beyond half a minute."""

    async def story(town: Town, app: ASGIApp) -> None:
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: Message) -> None:
            sent.append(message)

        began_ms = town.clock.now_ms()
        await app({"type": "http", "method": "POST", "path": "/upay/v2/pay", "headers": []}, receive, send)
        assert town.clock.now_ms() - began_ms <= body_module.WAIT_S * 1000 + 1
        assert json.loads(sent[1]["body"])["error_message"] == "请求体不完整"

    tell(story)


# -- when things go wrong


class Broken:
    """A store that fails whenever it is asked for an order."""

    def __init__(self, town: Town, failure: Exception) -> None:
        self._town = town
        self._failure = failure

    async def terminal(self, terminal_sn: str, *, fresh: bool = False) -> Terminal | None:
        """Callers are known."""
        return await self._town.store.terminal(terminal_sn, fresh=fresh)

    async def order(self, key: OrderKey) -> Order | None:
        """Orders are out of reach."""
        del key
        raise self._failure

    async def order_by_client_sn(self, bucket: int, merchant_id: str, client_sn: str) -> Order | None:
        """Orders are out of reach."""
        del bucket, merchant_id, client_sn
        raise self._failure


def broken(town: Town, failure: Exception) -> Desk:
    """The town's desk over a broken store."""
    return dataclasses.replace(town.desk, store=Broken(town, failure))  # type: ignore[arg-type]  # a part of one


@pytest.mark.parametrize("failure", [StorageFailed("disk full"), ZeroDivisionError("secret detail")])
def test_incidents(failure: Exception) -> None:
    """500 UNKNOWN_SYSTEM_ERROR in HTTP 200; the incident number finds the reason, in the log only."""

    async def story(town: Town) -> None:
        app = build_app(broken(town, failure))
        reply = await http(app, "POST", "/upay/v2/query", chunks=[QUERY], headers=SIGNED)
        answer = checked(reply)
        assert refusal(answer) == ("500", "UNKNOWN_SYSTEM_ERROR")
        assert answer["error_message"] == "系统错误"
        assert str(failure).encode() not in reply.body
        (alarm,) = town.alarms
        assert (alarm["event"], alarm["call"]) == ("call.failed", "query")
        assert alarm["incident"] == answer["error_code_standard"]
        assert str(failure) in alarm["exception"]

    in_town(story)


def test_the_log_explains_a_refused_signature() -> None:
    """What was hashed and what would have matched, by name; no key and no expected sign is ever in it."""
    events: list[Any] = []

    async def story(town: Town) -> None:
        await open_vendor(town)
        capture = structlog.testing.LogCapture()
        log = structlog.wrap_logger(None, processors=[capture])
        app = build_app(dataclasses.replace(town.desk, log=log))
        compact = json.dumps(json.loads(QUERY), separators=(",", ":")).encode()
        for authorization in (
            f"{TERMINAL} {sign(compact, KEY)}",
            f"{TERMINAL}",
            f"{VENDOR.vendor_sn} {sign(QUERY, VENDOR.vendor_key)}",
            f"999 {sign(QUERY, KEY)}",
        ):
            await Till(app).post_bytes("/upay/v2/query", QUERY, authorization=authorization)
        await Till(app).post_bytes("/terminal/activate", b"{}", authorization=f"1 {'0' * 32}")
        events.extend(capture.entries)

    in_town(story)
    assert {event["event"] for event in events} == {"sign.refused"}
    assert {event["log_level"] for event in events} == {"warning"}
    assert [event["would_match"] for event in events] == [
        "the current key over another body: compact, raw UTF-8, keys as sent",
        "",
        "the vendor key",
        "the body's terminal's current key",
        "",
    ]
    assert [event["tried"] for event in events] == [["current"], [], [], [], []]
    assert events[1]["header_fault"] == "the Authorization header has 1 parts, not `sn sign`"
    assert events[0]["body_bytes"] == len(QUERY)
    assert events[0]["body_md5"] == sign(QUERY, "")
    assert not any(secret in str(events) for secret in (KEY, VENDOR.vendor_key, sign(QUERY, KEY)))


# -- the addresses beside the protocol


def test_health() -> None:
    """/healthz is about the process, /readyz about the database."""

    async def story(town: Town) -> None:
        app = build_app(town.desk)
        assert (await http(app, "GET", "/healthz")).json == {"status": "ok"}
        assert (await http(app, "GET", "/readyz")).json == {"status": "ready"}
        down = build_app(broken(town, StorageFailed("gone")))
        assert (await http(down, "GET", "/healthz")).status == 200
        assert (await http(down, "GET", "/readyz")).status == 503

    in_town(story)


def test_metrics() -> None:
    """Calls by name and by the code that counts, and how long they took."""

    async def story(_: Town, app: ASGIApp) -> None:
        till = Till(app)
        await till.pay("130000000000000000", "C1")
        await till.call("query", client_sn="C1")
        await till.call("query", client_sn="C9")
        await till.post_bytes("/upay/v2/query", b"")
        text = (await http(app, "GET", "/metrics")).body.decode()
        for line in (
            'paymux_calls_total{call="pay",outcome="PAY_SUCCESS"} 1.0',
            'paymux_calls_total{call="query",outcome="SUCCESS"} 1.0',
            'paymux_calls_total{call="query",outcome="UPAY_ORDER_NOT_EXISTS"} 1.0',
            'paymux_calls_total{call="query",outcome="INVALID_PARAMS"} 1.0',
            'paymux_call_seconds_count{call="query"} 3.0',
            'paymux_call_seconds_bucket{call="pay",le="0.005"} 0.0',
        ):
            assert line in text, line

    tell(story)


def test_the_notification_key_is_published() -> None:
    """The PEM as it was given; without one there is nothing."""

    async def story(town: Town, app: ASGIApp) -> None:
        path = "/.well-known/paymux-notify-key.pem"
        assert (await http(app, "GET", path)).body == b"-----BEGIN PUBLIC KEY-----\n"
        assert (await http(build_app(town.desk), "GET", path)).status == 404

    tell(story, notify_public_pem="-----BEGIN PUBLIC KEY-----\n")


@pytest.mark.parametrize(
    ("query", "media_type", "begins"),
    [
        ("content=" + quote("weixin://wxpay/bizpayurl?pr=1&x=茶", safe=""), "image/png", b"\x89PNG"),
        ("content=x&format=svg", "image/svg+xml", b"<?xml"),
    ],
)
def test_qr_pictures(query: str, media_type: str, begins: bytes) -> None:
    """The address a precreate answer gives shows the code (upay-v2.md §5)."""
    reply = asyncio.run(http(_pages(), "GET", "/upay/qrcode", query=query))
    assert (reply.status, reply.headers["content-type"].split(";")[0]) == (200, media_type)
    assert reply.body.startswith(begins)


@pytest.mark.parametrize("query", ["", "content=", "content=" + "x" * 513])
def test_qr_pictures_of_nothing_or_too_much(query: str) -> None:
    """400 with JSON."""
    assert asyncio.run(http(_pages(), "GET", "/upay/qrcode", query=query)).status == 400


def _pages() -> ASGIApp:
    """The pages alone: a picture needs no desk, but a thread, which a town in virtual time has not."""
    description = Description(Limits(), strict_client_sn=False)
    routes = page_routes(None, Metrics(), notify_public_pem="", description=description)  # type: ignore[arg-type]  # see above
    return Starlette(routes=routes)


def test_activation_is_logged_without_its_key() -> None:
    """The log knows which terminal came, not how to speak for it."""

    async def story(town: Town) -> None:
        await open_vendor(town)
        capture = structlog.testing.LogCapture()
        log = structlog.wrap_logger(None, processors=[capture])
        app = build_app(dataclasses.replace(town.desk, log=log))
        vendor = Till(app, sn=VENDOR.vendor_sn, key=VENDOR.vendor_key)
        found = biz(await vendor.post("/terminal/activate", {"code": CODE, "device_id": "d"}))
        (event,) = capture.entries
        assert (event["event"], event["terminal_sn"]) == ("terminal.activated", found["terminal_sn"])
        assert found["terminal_key"] not in str(event)

    in_town(story)
