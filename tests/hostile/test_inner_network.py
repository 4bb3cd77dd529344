"""A notify_url makes us call somebody: none of them reaches an address that is not the internet's (row 26).

Every connection this process tries is heard by an audit hook before the system hears of it, and stopped there
unless it goes to loopback. So it counts what is *tried*, not what succeeds.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from paymux.channels import transport as transport_module
from paymux.channels.transport import AddressForbidden, AiohttpTransport, NoReply, NotSent, is_public
from tests.harness.children import until
from tests.harness.live import barcode, open_http
from tests.hostile.conftest import HERE, Target, till_of
from tests.unit.channels.test_transport import OK, Server, serving, with_transport

PUBLIC, OTHER_PUBLIC = "93.184.216.34", "2606:2800:220:1::1"
Resolver = Callable[[str], list[str]]


# ---------------------------------------------------------------- who is called

_tried: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _tried is None or event != "socket.connect":
        return
    address = str(arguments[1][0])  # type: ignore[index]  # (socket, (host, port, …))
    _tried.append(address)
    if not address.startswith("127."):
        raise ConnectionRefusedError(111, "the test lets nothing out")


sys.addaudithook(_listen)  # hooks are for good: this one sleeps unless `heard` wakes it


@contextmanager
def heard() -> Iterator[list[str]]:
    """The addresses that are tried inside."""
    global _tried  # noqa: PLW0603 - an audit hook cannot be taken away, only told to be quiet
    _tried = []
    try:
        yield _tried
    finally:
        _tried = None


def resolving(monkeypatch: pytest.MonkeyPatch, names: Resolver) -> list[str]:
    """Answer look-ups of names here; numbers are the system's to read. Return what is asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, **hints: object) -> list[tuple[object, ...]]:
        try:
            return real(host, port, flags=socket.AI_NUMERICHOST, **hints)  # type: ignore[arg-type, return-value]  # as given
        except socket.gaierror:
            asked.append(host)
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in names(host)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def no_such_name(host: str) -> list[str]:
    """Nobody is known."""
    raise socket.gaierror(socket.EAI_NONAME, host)


def deliver(url: str, *, times: int = 1) -> list[str]:
    """Deliver a notification; return how each try ended."""
    ends: list[str] = []

    async def story(transport: AiohttpTransport) -> None:
        for _ in range(times):
            try:
                reply = await transport.post_to_merchant(url, {}, b"{}", 2)
                ends.append(str(reply.status))
            except (AddressForbidden, NotSent, NoReply) as error:
                ends.append(type(error).__name__)

    with_transport(story)
    return ends


# ---------------------------------------------------------------- spellings

LOOPBACK = """
127.0.0.1 127.1 127.0.1 127.255.255.254 0x7f.1 0x7f.0.0.1 0X7F000001 0x7f000001
2130706433 017700000001 0177.0.0.1 0177.1 00000177.0.0.1 0 0.0.0.0 0x0 127.0.0.1. 127.1.
①②⑦.⓪.⓪.① １２７.０.０.１ 127。0。0。1 127．0．0．1 ０ｘ７ｆ.1 [::1] [::] [0:0:0:0:0:0:0:1]
[::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [::7f00:1]
[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::1] [2001:0:4136:e378::80ff:fffe]
[::ffff:0:127.0.0.1] [::1%25lo] [fe80::1%25lo]
"""
INNER = """
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254
169.254.170.2 100.64.0.1 100.100.100.200 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 0xa9fea9fe 2852039166
0251.0376.0251.0376 10.1 [fe80::1] [febf::1] [fc00::1] [fd00:ec2::254] [fec0::1]
[ff02::1] [ff0e::1] [100::1] [2001:db8::1] [::ffff:10.0.0.1] [::ffff:a9fe:a9fe]
[::10.0.0.1] [64:ff9b::10.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::1] [2002:a00:1::1]
[2002:c0a8:1::1] [5f00::1]
"""
TRICKS = (
    f"http://{PUBLIC}@127.0.0.1:PORT/",
    f"http://{PUBLIC}:80@127.0.0.1:PORT/",
    f"http://{PUBLIC}%40@127.0.0.1:PORT/",
    f"http://{PUBLIC}%2f@127.0.0.1:PORT/",
    f"http://{PUBLIC}%00@127.0.0.1:PORT/",
    f"http://{PUBLIC}\\@127.0.0.1:PORT/",
    f"http://127.0.0.1:PORT\\@{PUBLIC}/",
    f"http://127.0.0.1:PORT#@{PUBLIC}/",
    f"http://127.0.0.1:PORT?@{PUBLIC}/",
    f"http://127.0.0.1:PORT%23@{PUBLIC}/",
    f"http://127.0.0.1%00.{PUBLIC}:PORT/",
    "http://127.0.0.1:PORT:80/",
    "http:///127.0.0.1:PORT/",
    "http:127.0.0.1:PORT/",
    "http:////127.0.0.1:PORT/",
    "http://127.0.0.1%20:PORT/",
    "http://127.0.0.1\t:PORT/",
    "http://[127.0.0.1]:PORT/",
    "http://[::1]]:PORT/",
    "HTTP://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
)


@pytest.mark.parametrize("host", (LOOPBACK + INNER).split())
def test_no_spelling_gets_in(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """However an inner address is written, not one connection is tried."""
    resolving(monkeypatch, no_such_name)
    with heard() as tried:
        (end,) = deliver(f"http://{host}:8600/x")
    assert tried == []
    assert end in {"AddressForbidden", "NotSent"}


@pytest.mark.parametrize("url", TRICKS)
def test_no_trick_gets_in(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Whatever else stands around a host: only a public one is ever tried."""
    resolving(monkeypatch, no_such_name)
    with heard() as tried:
        deliver(url.replace("PORT", "8600"))
    assert set(tried) <= {PUBLIC}


@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher", "unix", "ws", "dict"])
def test_only_the_web_is_spoken(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """Other schemes are not even tried (and a till that sends one is refused before)."""
    resolving(monkeypatch, lambda _: [PUBLIC])
    with heard() as tried:
        (end,) = deliver(f"{scheme}://shop.example/x")
    assert set(tried) <= ({PUBLIC} if scheme == "ws" else set())
    assert end in {"NotSent", "NoReply"}


def test_the_ear_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook is no rubber stamp: a public address is tried, and an inner one where it is allowed."""
    resolving(monkeypatch, lambda _: [PUBLIC])
    with heard() as tried:
        assert deliver("http://shop.example/x") == ["NotSent"]
        assert deliver(f"http://[{OTHER_PUBLIC}]/x") == ["NotSent"]
    assert tried == [PUBLIC, OTHER_PUBLIC]
    server = Server(OK)

    async def story(transport: AiohttpTransport) -> None:
        async with serving(server) as url:
            assert (await transport.post_to_merchant(url, {}, b"{}", 2)).status == 200

    with heard() as tried:
        with_transport(story, private=True)
    assert tried == ["127.0.0.1"]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "inner", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1"]
)
@pytest.mark.parametrize("order", ["inner first", "inner last", "inner alone"])
def test_names_of_inner_addresses(monkeypatch: pytest.MonkeyPatch, inner: str, order: str) -> None:
    """One inner address among a name's is enough: none of them is tried."""
    addresses = {
        "inner first": [inner, PUBLIC],
        "inner last": [PUBLIC, OTHER_PUBLIC, inner],
        "inner alone": [inner],
    }
    resolving(monkeypatch, lambda _: addresses[order])
    with heard() as tried:
        assert deliver("http://shop.example/x") == ["AddressForbidden"]
    assert tried == []


def test_rebinding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public first and private a moment later: each try looks once, and goes there."""
    turns = iter([[PUBLIC], ["127.0.0.1"]] * 10)
    asked = resolving(monkeypatch, lambda _: next(turns))
    with heard() as tried:
        ends = deliver("http://rebind.example:8600/x", times=20)
    assert ends == ["NotSent", "AddressForbidden"] * 10
    assert tried == [PUBLIC] * 10
    assert asked == ["rebind.example"] * 20


def test_rebinding_under_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with fifty at the same moment: what one look-up said is never used by another."""
    turns = iter([[PUBLIC], ["127.0.0.1"], ["::1", PUBLIC]] * 100)
    resolving(monkeypatch, lambda _: next(turns))

    async def story(transport: AiohttpTransport) -> None:
        tries = [transport.post_to_merchant("http://rebind.example/x", {}, b"{}", 5) for _ in range(50)]
        ends = await asyncio.gather(*tries, return_exceptions=True)
        assert {type(end) for end in ends} <= {NotSent, AddressForbidden}

    with heard() as tried:
        with_transport(story)
    assert tried
    assert set(tried) == {PUBLIC}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is not on the loopback")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_inwards(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """A merchant's server that points inwards gets no follower. Here 127.0.0.2 stands for the internet."""
    monkeypatch.setattr(transport_module, "is_public", lambda address: address == "127.0.0.2")
    inner = Server(OK)

    async def story(transport: AiohttpTransport) -> None:
        async with serving(inner) as target:
            head = f"HTTP/1.1 {status} Found\r\nLocation: {target}\r\nRefresh: 0; url={target}\r\n"
            outer = Server(f"{head}Content-Length: 0\r\n\r\n".encode())
            listener = await asyncio.start_server(outer, "127.0.0.2", 0)
            port = listener.sockets[0].getsockname()[1]
            try:
                reply = await transport.post_to_merchant(f"http://127.0.0.2:{port}/x", {}, b"{}", 2)
            finally:
                listener.close()
            assert reply.status == status
            with pytest.raises(AddressForbidden):
                await transport.post_to_merchant(target, {}, b"{}", 2)

    with heard() as tried:
        with_transport(story)
    assert tried == ["127.0.0.2"]
    assert inner.connections == 0


def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look names up for itself: it is not asked."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:3128")
    resolving(monkeypatch, lambda _: [PUBLIC])
    with heard() as tried:
        deliver("http://shop.example/x")
    assert tried == [PUBLIC]


def test_the_ipv4_inside_ipv6() -> None:
    """An address that carries an IPv4 address is as public as that one."""
    for form in ("::ffff:{}", "64:ff9b::{}"):
        assert is_public(form.format(PUBLIC))
        assert not is_public(form.format("192.168.1.1"))
    assert is_public("2002:5db8:d822::1")
    assert not is_public("2002:c0a8:101::1")


# ---------------------------------------------------------------- the whole gateway

SPELLED = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "①②⑦.0.0.1",
    "localhost",
    "[::ffff:127.0.0.1]",
    "127。0。0。1",
]


def test_a_gateway_calls_nobody_inside(target: Target) -> None:
    """Sales that name a loopback notify_url are paid, and nobody is told: the listener hears nothing."""
    honey = Server(OK)

    async def story() -> None:
        async with serving(honey), open_http() as http:
            till = till_of(http, target.gateway, HERE)
            for number, host in enumerate(SPELLED):
                url = f"http://{host}:{honey.port}/n"
                paid = await till.pay(barcode("wechat", number, "00"), f"SSRF{number}", notify_url=url)
                assert paid["result_code"] == "PAY_SUCCESS", host
            await until(
                lambda: len(refusals()) == len(SPELLED), within_s=30, what="every notification was tried"
            )

    def refusals() -> list[str]:
        rows = target.gateway.rows(
            "SELECT notifications.last_answer FROM notifications JOIN orders USING (bucket, merchant_id, sn)"
            " WHERE client_sn LIKE 'SSRF%' AND attempts > 0"
        )
        return [answer for (answer,) in rows]

    asyncio.run(story())
    assert honey.connections == 0
    assert {answer.partition(":")[0] for answer in refusals()} <= {"AddressForbidden", "NotSent"}


def test_what_is_no_web_address_is_no_notify_url(target: Target) -> None:
    """Refused at the till's call, by name: nothing is sold under such an address."""

    async def story() -> None:
        async with open_http() as http:
            till = till_of(http, target.gateway, HERE)
            for url in (
                "file:///etc/hostname",
                "gopher://127.0.0.1/",
                "http://a@127.0.0.1/",
                "http://x:99999/",
                "//x",
            ):
                body = {
                    "terminal_sn": HERE.terminal_sn,
                    "client_sn": "NOURL",
                    "total_amount": "1",
                    "subject": "tea",
                }
                body |= {"dynamic_id": barcode("wechat", 1, "00"), "notify_url": url}
                answer = await till.post("/upay/v2/pay", json.dumps(body).encode())
                assert (answer["error_code"], "notify_url" in answer["error_message"]) == (
                    "INVALID_PARAMS",
                    True,
                ), url

    asyncio.run(story())
