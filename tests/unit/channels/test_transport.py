"""The one HTTP client: what proves that nothing was sent, and where notifications may not go (SSRF)."""

import asyncio
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from paymux.channels.contract import ClientTls, HttpRequest, HttpResponse
from paymux.channels.transport import (
    AddressForbidden,
    AiohttpTransport,
    NoReply,
    NotSent,
    is_public,
)
from paymux.sandbox.keys import make_keys

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsuccess"


class Server:
    """A server that counts its connections and answers each request as it is told."""

    def __init__(self, reply: bytes, *, wait_s: int = 0, close: bool = True) -> None:
        self.reply, self.wait_s, self.close = reply, wait_s, close
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            self.requests.append(head + await reader.readexactly(length))
            await asyncio.sleep(self.wait_s)
            writer.write(self.reply)
            await writer.drain()
            if self.close:
                break
        writer.close()


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    """Serve on a free port; yields the URL."""

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    listener = await asyncio.start_server(quietly, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{server.port}/x"
    finally:
        listener.close()


def with_transport(
    story: Callable[[AiohttpTransport], Awaitable[None]], *, private: bool = False, at_once: int = 4
) -> None:
    """Tell a story with a transport, and close it."""

    async def told() -> None:
        transport = AiohttpTransport(calls_per_account=at_once, allow_private_targets=private)
        try:
            await story(transport)
        finally:
            await transport.close()

    asyncio.run(told())


async def send(transport: AiohttpTransport, url: str, *, lane: str = "a", timeout_s: int = 1) -> HttpResponse:
    """One call to a channel."""
    request = HttpRequest(method="POST", url=url, headers={}, body=b"hi", timeout_s=timeout_s)
    return await transport.send(lane, None, request)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# -- was it sent?


def test_a_refused_connection_sent_nothing() -> None:
    """Nobody listens, or nobody knows the name: not one byte left."""

    async def story(transport: AiohttpTransport) -> None:
        for url in (f"http://127.0.0.1:{free_port()}/x", "http://no-such-host.invalid/x", "http://"):
            with pytest.raises(NotSent):
                await send(transport, url)

    with_transport(story)


@pytest.mark.parametrize(
    "server",
    [
        Server(b""),
        Server(b"nonsense\r\n\r\n"),
        Server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        Server(OK, wait_s=3),
        Server(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000),
        Server(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000),
    ],
    ids=["hung up", "garbage", "half", "slow", "too big", "too big, unannounced"],
)
def test_anything_later_counts_as_sent(server: Server) -> None:
    """The request may have arrived: no reply, and never a second request."""

    async def story(transport: AiohttpTransport) -> None:
        async with serving(server) as url:
            with pytest.raises(NoReply):
                await send(transport, url)
        assert len(server.requests) == 1

    with_transport(story)


def test_a_connection_closed_while_idle_is_not_used_twice() -> None:
    """A kept connection the wallet closes meanwhile: the POST is sent once, whatever becomes of it."""

    async def story(transport: AiohttpTransport) -> None:
        server = Server(OK, close=True)
        async with serving(server) as url:
            for _ in range(3):
                assert (await send(transport, url)).body == b"success"
                await asyncio.sleep(0.05)
        assert len(server.requests) == 3

    with_transport(story)


def test_a_frozen_account_does_not_hold_up_another() -> None:
    """Each account has its own connections: the full lane waits, the other one does not."""

    async def story(transport: AiohttpTransport) -> None:
        frozen, quick = Server(OK, wait_s=30), Server(OK)
        async with serving(frozen) as cold, serving(quick) as warm:
            calls = (send(transport, cold, lane="cold", timeout_s=2) for _ in range(6))
            stuck = [asyncio.create_task(call) for call in calls]
            await asyncio.sleep(0.1)
            assert (await send(transport, warm, lane="warm")).status == 200
            assert frozen.connections == 2
            ends = await asyncio.gather(*stuck, return_exceptions=True)
        # two were sent; the others never got a connection
        assert sorted(type(end).__name__ for end in ends) == ["NoReply"] * 2 + ["NotSent"] * 4

    with_transport(story, at_once=2)


# -- where notifications may go

INTERNAL = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104 - nothing is bound
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses(address: str) -> None:
    """Loopback, private, link-local, shared, multicast, and IPv4 in IPv6's clothes."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "120.27.1.2", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses(address: str) -> None:
    """Everything else is the internet."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
    ],
)
def test_no_notification_reaches_the_inner_network(host: str) -> None:
    """However loopback is spelled, no connection is made; with the setting it is."""
    server = Server(OK)

    async def refused(transport: AiohttpTransport) -> None:
        async with serving(server):
            with pytest.raises((AddressForbidden, NotSent)):
                await transport.post_to_merchant(f"http://{host}:{server.port}/n", {}, b"{}", 2)

    async def allowed(transport: AiohttpTransport) -> None:
        async with serving(server) as url:
            assert (await transport.post_to_merchant(url, {}, b"{}", 2)).body == b"success"

    with_transport(refused)
    assert server.connections == 0
    with_transport(allowed, private=True)
    assert server.connections == 1


def test_a_name_with_an_internal_address_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: one look-up, and all of its addresses must be public; the checked one is used."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        addresses = ["93.184.216.34", "127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    async def story(transport: AiohttpTransport) -> None:
        with pytest.raises(AddressForbidden, match=r"127\.0\.0\.1 is not a public address"):
            await transport.post_to_merchant("http://shop.example/n", {}, b"{}", 2)

    with_transport(story)
    assert asked == ["shop.example"]


def test_redirects_are_not_followed() -> None:
    """Whoever answers 302 gets to keep it: the second server hears nothing."""

    async def story(transport: AiohttpTransport) -> None:
        inner = Server(OK)
        async with serving(inner) as target:
            outer = Server(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
            async with serving(outer) as url:
                assert (await transport.post_to_merchant(url, {}, b"{}", 2)).status == 302
        assert inner.connections == 0

    with_transport(story, private=True)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory")
def test_no_client_key_is_written_to_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ssl module reads a key from a file; a process killed at that moment leaves none behind."""
    load, left_behind = ssl.SSLContext.load_cert_chain, []

    def watched(context: ssl.SSLContext, path: Path) -> None:
        load(context, path)
        left_behind.append(list(tmp_path.rglob("*")))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    keys = make_keys()
    tls = ClientTls(certificate=keys.wechat_client.cert, key=keys.wechat_client.key, ca=keys.tls_ca_cert)
    request = HttpRequest(
        method="POST", url="https://127.0.0.1:1/", headers={}, body=b"", timeout_s=2, mutual_tls=True
    )

    async def story() -> None:
        transport = AiohttpTransport(calls_per_account=1, allow_private_targets=True)
        with pytest.raises(NotSent):
            await transport.send("a", tls, request)
        await transport.close()

    asyncio.run(story())
    assert left_behind == [[]]


def test_a_certificate_that_cannot_be_used_sends_nothing() -> None:
    """A broken PEM is the account's own trouble: the flows hear that nothing was sent, and go on asking."""
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    tls = ClientTls(certificate=broken, key=broken.replace("CERTIFICATE", "PRIVATE KEY"), ca="")
    request = HttpRequest(
        method="POST", url="https://127.0.0.1:1/", headers={}, body=b"", timeout_s=2, mutual_tls=True
    )

    async def story() -> None:
        transport = AiohttpTransport(calls_per_account=1, allow_private_targets=True)
        with pytest.raises(NotSent, match="certificate"):
            await transport.send("a", tls, request)
        await transport.close()

    asyncio.run(story())
