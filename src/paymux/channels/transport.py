"""The only place with a socket: calls to channels, and notifications to merchants' servers.

It alone judges whether a byte was sent. Only a refused or timed-out *connection* proves that nothing was
(`NotSent`); everything later counts as sent (`NoReply`), and so the outcome is unknown. There are no retries
here: whether to repeat is the flows' decision. Redirects are never followed, proxies of the environment never
used, bodies never unpacked.
"""

import asyncio
import functools
import ipaddress
import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from paymux.channels.contract import ClientTls, HttpRequest, HttpResponse

_REPLY_BYTES_MAX = 1_048_576
"""No wallet's reply to one call comes near a mebibyte; more is garbage or an attack."""
_CONNECT_TIMEOUT_S = 5
_RESOLVER_THREADS = 8
_PLAIN = {"Accept-Encoding": "identity"}


class NotSent(Exception):
    """The connection was never made: not one byte of the request left this machine."""


class NoReply(Exception):
    """The request, or part of it, may have arrived; no whole reply came back."""


class AddressForbidden(Exception):
    """The target is a loopback, private or otherwise internal address (SSRF)."""


class Transport(Protocol):
    """Carries requests out. Raises `NotSent` or `NoReply`, nothing else."""

    async def send(self, lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
        """Call a channel on the lane of one channel account."""

    async def post_to_merchant(
        self, url: str, headers: dict[str, str], body: bytes, timeout_s: int
    ) -> HttpResponse:
        """Deliver a notification; raises `AddressForbidden` for internal addresses unless allowed."""

    async def close(self) -> None:
        """Close every connection."""


class AiohttpTransport:
    """`Transport` over aiohttp: one pool and one concurrency bulkhead per channel account."""

    def __init__(self, *, calls_per_account: int, allow_private_targets: bool) -> None:
        self._calls_per_account = calls_per_account
        self._lanes: dict[tuple[str, bool], tuple[ClientTls | None, aiohttp.ClientSession]] = {}
        self._allow_private = allow_private_targets
        self._merchants: aiohttp.ClientSession | None = None

    async def send(self, lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
        """Call a channel on the lane of one channel account."""
        session = self._lane(lane, tls, mutual=request.mutual_tls)
        return await _exchange(
            session, request.method, request.url, request.headers, request.body, request.timeout_s
        )

    async def post_to_merchant(
        self, url: str, headers: dict[str, str], body: bytes, timeout_s: int
    ) -> HttpResponse:
        """Deliver a notification to a public address, pinned to what was resolved and checked."""
        if self._merchants is None:
            public_only = not self._allow_private
            self._merchants = _session(
                aiohttp.TCPConnector(
                    resolver=MerchantResolver(public_only=public_only),
                    socket_factory=_public_socket if public_only else None,
                    limit=100,
                    limit_per_host=8,
                    use_dns_cache=False,
                )
            )
        return await _exchange(self._merchants, "POST", url, headers, body, timeout_s)

    async def close(self) -> None:
        """Close every connection."""
        sessions = [session for _, session in self._lanes.values()]
        if self._merchants is not None:
            sessions.append(self._merchants)
        self._lanes, self._merchants = {}, None
        for session in sessions:
            await session.close()

    def _lane(self, lane: str, tls: ClientTls | None, *, mutual: bool) -> aiohttp.ClientSession:
        known = self._lanes.get((lane, mutual))
        if known is not None and known[0] is tls:
            return known[1]
        try:
            context = _tls_context(tls, mutual=mutual) if tls is not None else True
        except (ssl.SSLError, ValueError) as error:
            raise NotSent(f"the account's certificate, key or CA cannot be used: {_words(error)}") from error
        session = _session(aiohttp.TCPConnector(limit=self._calls_per_account, ssl=context, ttl_dns_cache=60))
        if known is not None:  # the account's certificate was renewed; let calls under way finish
            asyncio.get_running_loop().call_later(_DRAIN_S, asyncio.ensure_future, known[1].close())
        self._lanes[lane, mutual] = (tls, session)
        return session


_DRAIN_S = 60


class MerchantResolver(AbstractResolver):
    """Resolves merchants' host names in threads of its own, and the connection goes to what was checked.

    Merchants name these hosts: one that never answers must not keep the wallets' names from being resolved.
    `public_only` raises `AddressForbidden` when any address is internal (a rebinding trick mixes them).
    """

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="paymux-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve; raises `OSError` for names nobody knows."""
        loop = asyncio.get_running_loop()
        ask = functools.partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM)
        found = await loop.run_in_executor(self._threads, ask)
        if self._public_only:
            for entry in found:
                _refuse_internal(str(entry[4][0]))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=of_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for of_family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Let go of the threads; one that hangs in a look-up is left to itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


_IPV6_INTERNET = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet; IPv4 in IPv6's clothes counts as IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if embedded is None and ip not in _IPV6_INTERNET:
            return False
        ip = embedded or ip
    return ip.is_global and not ip.is_multicast


def _refuse_internal(address: str) -> None:
    if not is_public(address):
        message = f"{address} is not a public address; set allow_private_targets if that is meant"
        raise AddressForbidden(message)


def _public_socket(info: aiohttp.AddrInfoType) -> socket.socket:
    """Look at the address once more, just before it is connected to.

    A host that is an address itself meets no resolver, and it can be spelled in more ways (127.1, 0x7f.1,
    ①②⑦.0.0.1) than a look at the URL would know.
    """
    family, kind, protocol, _, place = info
    _refuse_internal(str(place[0]))
    return socket.socket(family, kind, protocol)


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
        headers=_PLAIN,
    )


async def _exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes,
    timeout_s: int,
) -> HttpResponse:
    limits = _timeout(timeout_s)
    try:
        async with session.request(
            method, url, headers=headers, data=body, timeout=limits, allow_redirects=False
        ) as reply:
            content = await _bounded(reply)
            return HttpResponse(status=reply.status, headers=reply.headers, body=content)
    except AddressForbidden:
        raise
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        raise NotSent(_words(error)) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise NoReply(_words(error)) from error


@functools.cache
def _timeout(timeout_s: int) -> aiohttp.ClientTimeout:
    # Shorter than the whole, so that who never got a connection is known to have sent nothing.
    connect_s = max(1, min(_CONNECT_TIMEOUT_S, timeout_s - 1))
    return aiohttp.ClientTimeout(total=timeout_s, connect=connect_s)


async def _bounded(reply: aiohttp.ClientResponse) -> bytes:
    if reply.content_length is not None and reply.content_length <= _REPLY_BYTES_MAX:
        return await reply.read()
    parts: list[bytes] = []
    size = 0
    async for part in reply.content.iter_any():
        size += len(part)
        if size > _REPLY_BYTES_MAX:
            message = f"the reply is larger than {_REPLY_BYTES_MAX} bytes"
            raise NoReply(message)
        parts.append(part)
    return b"".join(parts)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _tls_context(tls: ClientTls, *, mutual: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if mutual and tls.certificate:
        with _file_in_memory(tls.key.rstrip() + "\n" + tls.certificate) as pem:
            context.load_cert_chain(pem)
    return context


@contextmanager
def _file_in_memory(text: str) -> Iterator[Path]:
    """A file for the ssl module, which takes a key from files only, that no kill leaves behind on a disk.

    Where the system knows no such files it is a temporary one, readable only by us.
    """
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("client.pem"), "w") as file:
            file.write(text)
            file.flush()
            yield Path(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as temporary:
        temporary.write(text)
        temporary.flush()
        yield Path(temporary.name)
