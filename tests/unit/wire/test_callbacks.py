"""Callbacks reach the flow raw, and the channel gets its literal thanks, or a reason to call again."""

from collections.abc import Awaitable, Callable

import pytest
from starlette.types import ASGIApp

from paymux.channels.contract import Ack, Callback
from paymux.domain.limits import Limits
from paymux.domain.order import OrderKey
from paymux.flows.desk import Desk
from paymux.wire import callbacks
from paymux.wire.server import build_app
from tests.contract.upay.edge import http
from tests.harness.town import Town, in_town

PATH = "/callbacks/wechat-1/7/1680000000000001/7123456789012345"
FORM = [(b"Content-Type".lower(), b"text/xml"), (b"wechatpay-serial", b"A1")]


class Flow:
    """Stands where the flow stands, and remembers what it was handed."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.calls: list[tuple[str, OrderKey, Callback]] = []
        self._failure = failure

    async def __call__(self, desk: Desk, account: str, key: OrderKey, raw: Callback) -> Ack:
        """Take the callback."""
        del desk
        if self._failure is not None:
            raise self._failure
        self.calls.append((account, key, raw))
        return Ack(status=202, content_type="text/xml", body=b"<xml>OK</xml>")


def tell(story: Callable[[ASGIApp, Town], Awaitable[None]], *, limits: Limits | None = None) -> None:
    """Give the story an application."""

    async def told(town: Town) -> None:
        await story(build_app(town.desk), town)

    in_town(told, limits=limits)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("tail", ["", "/refunds/7123456789099999"])
def test_a_callback_arrives_as_it_was_sent(monkeypatch: pytest.MonkeyPatch, method: str, tail: str) -> None:
    """Bytes, query and headers untouched; the order's place is read from the address."""
    flow = Flow()
    monkeypatch.setattr(callbacks, "callback", flow)
    body = b"<xml>\xff\x00 sign=1&amp;b=%2B</xml>"

    async def story(app: ASGIApp, _: Town) -> None:
        pieces = [body[:5], body[5:]]
        reply = await http(app, method, PATH + tail, chunks=pieces, headers=FORM, query="a=%E8%8C%B6&b=+")
        assert (reply.status, reply.headers["content-type"]) == (202, "text/xml")
        assert reply.body == b"<xml>OK</xml>"

    tell(story)
    ((account, key, raw),) = flow.calls
    assert (account, key) == ("wechat-1", OrderKey(7, "1680000000000001", "7123456789012345"))
    assert raw == Callback(
        method=method,
        query="a=%E8%8C%B6&b=+",
        headers={"content-type": "text/xml", "wechatpay-serial": "A1"},
        body=body,
    )


def test_callbacks_are_verified_by_the_channel() -> None:
    """The real flow: an unknown order and a forged body get no thanks, and nothing changes."""

    async def story(app: ASGIApp, town: Town) -> None:
        assert (await http(app, "POST", PATH)).status == 404
        order = await town.pay("wechat", "10")
        forged = town.desk.callback_url(order).removeprefix("http://gateway.example")
        reply = await http(app, "POST", forged, chunks=[b"<xml><return_code>SUCCESS</return_code></xml>"])
        assert b"FAIL" in reply.body
        assert (await town.now(order)).paid == 0

    tell(story, limits=Limits(pay_wait_s=1))


def test_a_failure_makes_the_channel_call_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 without details, and an alarm."""
    monkeypatch.setattr(callbacks, "callback", Flow(RuntimeError("secret detail")))

    async def story(app: ASGIApp, town: Town) -> None:
        reply = await http(app, "POST", PATH)
        assert (reply.status, reply.body) == (500, b"failed")
        assert [alarm["event"] for alarm in town.alarms] == ["callback.failed"]

    tell(story)


@pytest.mark.parametrize(("size", "gone"), [(1001, False), (1, True)])
def test_what_cannot_be_read_is_not_taken(monkeypatch: pytest.MonkeyPatch, size: int, *, gone: bool) -> None:
    """Too large, or cut off: the flow hears nothing."""
    flow = Flow()
    monkeypatch.setattr(callbacks, "callback", flow)

    async def story(app: ASGIApp, _: Town) -> None:
        assert (await http(app, "POST", PATH, chunks=[b"x" * size], gone=gone)).status == 400

    tell(story, limits=Limits(body_bytes_max=1000))
    assert flow.calls == []


@pytest.mark.parametrize("path", ["/callbacks/a/x/m/7", "/callbacks/a/1/m", "/callbacks/a/1/m/7/refunds"])
def test_addresses_we_never_gave(path: str) -> None:
    """404."""

    async def story(app: ASGIApp, _: Town) -> None:
        assert (await http(app, "POST", path)).status == 404

    tell(story)
