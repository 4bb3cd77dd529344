"""Floods, dribbles, lies and bombs on the connection itself: hung up on in time, in bounded memory (row 25).

Sizes are chosen so that what is sent would show: the gateway may grow by a fraction of it and no more.
"""

import asyncio
import contextlib
import functools
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from paymux.app import serve
from paymux.wire import body as body_module
from paymux.wire import http as http_module
from paymux.wire.body import BodyIncomplete, CallerGone, read_body
from tests.harness.raw import Wire, request
from tests.hostile.conftest import GROWTH_MIB_MAX, HERE, Target, forget_peak, memory_mib, peak_mib

MIB = 1024 * 1024
PAY = {
    "terminal_sn": HERE.terminal_sn,
    "client_sn": "X",
    "total_amount": "1",
    "dynamic_id": "130000000000000000",
    "subject": "",
}
REFUSED = "subject不可以为空"


def still_serves(target: Target) -> None:
    """The next caller gets his answer."""
    with Wire(target.gateway) as line:
        line.send(request(json.dumps(PAY).encode(), HERE))
        assert line.answer()["error_message"] == REFUSED


@contextlib.contextmanager
def bounded(target: Target) -> Iterator[None]:
    """Whatever happens inside costs the gateway little memory, and it serves on."""
    still_serves(target)
    forget_peak(target.gateway)
    before = memory_mib(target.gateway)
    yield
    still_serves(target)
    assert peak_mib(target.gateway) - before < GROWTH_MIB_MAX


# ---------------------------------------------------------------- floods

HEAD = b"POST /upay/v2/pay HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PAGE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CALLBACK = b"POST /callbacks/wechat/1/m/7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"x" * MIB
CHUNK = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
FIELDS = b"a:b\r\n" * (MIB // 5)

FLOODS: dict[str, tuple[bytes, bytes, int]] = {
    "a request line without end": (b"GET /", PIECE, 128),
    "a header without end": (HEAD + b"A: ", PIECE, 128),
    "headers without end": (HEAD, FIELDS, 64),
    "a method without end": (b"", b"A" * MIB, 128),
    "trailers without end": (CHUNKED + b"0\r\n", FIELDS, 64),
    "trailers after an answer": (PAGE + b"0\r\n", FIELDS, 64),
    "a chunk's extension without end": (CHUNKED + b"1;", PIECE, 192),
    "chunks without end": (CHUNKED, CHUNK, 192),
    "tiny chunks without end": (CHUNKED, b"1\r\nx\r\n" * 100_000, 192),
    "chunks for a page that reads none": (PAGE, CHUNK, 192),
    "a callback without end": (CALLBACK, CHUNK, 192),
    "a chunk as long as the sea": (CHUNKED + b"7fffffffffffffff\r\n", PIECE, 192),
    "a length as long as the sea": (HEAD + b"Content-Length: 9000000000000000000\r\n\r\n", PIECE, 192),
}
"""Kind → how it begins, what is repeated, and how many MiB are tried."""


@pytest.mark.parametrize("kind", FLOODS)
def test_floods(target: Target, kind: str) -> None:
    """Who does not stop is hung up on, long before memory shows it."""
    first, piece, mib = FLOODS[kind]
    with bounded(target), Wire(target.gateway) as line:
        line.send(first)
        line.send(*[piece] * (mib * MIB // len(piece)))
        line.goodbye()


def test_many_floods_at_once(target: Target) -> None:
    """Thirty connections, each just below what a head may have: a few MiB in all."""
    with bounded(target), contextlib.ExitStack() as open_lines:
        lines = [open_lines.enter_context(Wire(target.gateway)) for _ in range(30)]
        for line in lines:
            line.send(HEAD + b"A: " + b"x" * (http_module.HEAD_BYTES_MAX - 100))


def test_honest_heads_are_small_enough(target: Target) -> None:
    """A head with cookies and proxies' additions passes; so does a body in many pieces, then another call."""
    extra = {f"X_Proxy_{number}": "v" * 500 for number in range(40)}
    with Wire(target.gateway) as line:
        for _ in range(3):
            content = json.dumps(PAY | {"description": "d" * 250_000}).encode()
            whole = request(content, HERE, **extra)
            for at in range(0, len(whole), 9_000):
                line.send(whole[at : at + 9_000])
            assert "description长度不超过256个字符" in line.answer()["error_message"]


# ---------------------------------------------------------------- bombs and lies


@functools.cache
def bomb() -> bytes:
    """200 MiB of JSON in what a body may have."""
    packed = gzip.compress(b"[" + b"0," * 100 * MIB)
    assert len(packed) < 262_144
    return packed


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_packed_bodies_are_not_unpacked(target: Target, encoding: str) -> None:
    """A bomb of 200 MiB stays the 200 KB it is, and is no JSON."""
    with bounded(target), Wire(target.gateway) as line:
        line.send(request(bomb(), HERE, Content_Encoding=encoding))
        assert line.answer()["error_code"] == "INVALID_PARAMS"


def test_a_bomb_of_names(target: Target) -> None:
    """A quarter of a megabyte of the smallest fields: read or refused, in bounded memory."""
    names = ",".join(f'"{number}":[]' for number in range(26_000))
    with bounded(target), Wire(target.gateway) as line:
        line.send(request(f"{{{names[:261_000].rpartition(',')[0]}}}".encode(), HERE))
        assert line.answer()["error_code"] == "INVALID_PARAMS"


LIES: dict[str, tuple[bytes, bytes]] = {
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", b"400"),
    "length and chunks": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n", b"400"),
    "a length in hex": (HEAD + b"Content-Length: 0x10\r\n\r\n", b"400"),
    "a length with a sign": (HEAD + b"Content-Length: +2\r\n\r\n{}", b"400"),
    "a length of 30 digits": (HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}", b"400"),
    "a chunk of no length": (CHUNKED + b"zz\r\n", b"400"),
    "a chunk longer than said": (CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n", b"400"),
    "chunked twice": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", b""),
    "chunks of another kind": (HEAD + b"Transfer-Encoding: gzip, identity\r\n\r\n", b"400"),
    "a folded header": (HEAD + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}", b""),
    "a header without a colon": (HEAD + b"Nonsense\r\n\r\n", b"400"),
    "a NUL in a header": (HEAD + b"A: \x00\r\n\r\n", b"400"),
    "a path in bytes": (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    "a tunnel": (b"CONNECT inner.example:22 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", b"400"),
}
"""Kind → bytes, and the status that must come; none given: any of 200 in the protocol's words, or 400."""


@pytest.mark.parametrize("kind", LIES)
def test_lies(target: Target, kind: str) -> None:
    """What cannot be understood in one way only is not understood at all."""
    sent, status = LIES[kind]
    with Wire(target.gateway) as line:
        line.send(sent)
        line.hush()
        told = line.goodbye()
    assert told.startswith(b"HTTP/1.1 " + status)
    assert told[9:12] in {b"200", b"400"}
    assert b"PAY_" not in told
    still_serves(target)


def test_a_smuggled_call_is_not_made(target: Target) -> None:
    """A second request hidden in the body of the first is a body: one answer, not two."""
    inner = request(json.dumps(PAY).encode(), HERE)
    for outer in (
        HEAD + f"Content-Length: {len(inner)}\r\n\r\n".encode() + inner,
        CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner),
    ):
        with Wire(target.gateway) as line:
            line.send(outer)
            line.hush()
            told = line.goodbye()
        assert told.count(b"HTTP/1.1 ") == 1
        assert b"ILLEGAL_SIGN" in told


# ---------------------------------------------------------------- truncated


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("part", [1, 20, 60, 200, -1])
def test_who_hangs_up_in_the_middle(target: Target, part: int, *, reset: bool) -> None:
    """Half a request changes nothing, wherever it is cut and however the connection ends."""
    whole = request(json.dumps(PAY | {"subject": "tea", "client_sn": "CUT"}).encode(), HERE)
    with Wire(target.gateway) as line:
        line.send(whole[:part])
        if reset:
            line.reset()
    still_serves(target)
    assert target.gateway.rows("SELECT sn FROM orders WHERE client_sn = 'CUT'") == []


# ---------------------------------------------------------------- slow


class Slow:
    """A server in this process whose patience is a fraction of a second: `url` as a gateway has it."""

    def __init__(self) -> None:
        self.url = ""
        self.ends: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body as every edge does, and answer with what became of it."""
        try:
            await read_body(scope, receive, bytes_max=1000, loop=asyncio.get_running_loop())
            end = "whole"
        except (BodyIncomplete, CallerGone) as error:
            end = type(error).__name__
        self.ends.append(end)
        headers = [(b"content-length", b"0"), *([] if end == "whole" else [(b"connection", b"close")])]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})


@pytest.fixture
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """The same server program, protocol and body reader as `paymux serve`, only with less patience."""
    patience_s = getattr(request, "param", 0.4)
    monkeypatch.setattr(http_module, "HEAD_WAIT_S", patience_s)
    monkeypatch.setattr(body_module, "WAIT_S", patience_s)
    found, ready = Slow(), threading.Event()
    ended: list[Callable[[], None]] = []

    async def live(application: ASGIApp) -> None:
        stop, listener = asyncio.Event(), socket.create_server(("127.0.0.1", 0))
        host, port = listener.getsockname()
        found.url = f"http://{host}:{port}"
        loop = asyncio.get_running_loop()
        ended.append(lambda: loop.call_soon_threadsafe(stop.set))
        await serve(
            application, listener, stop=stop, shutdown_s=1, on_ready=ready.set, on_closing=lambda: None
        )

    thread = threading.Thread(target=asyncio.run, args=(live(found),))
    thread.start()
    assert ready.wait(20)
    yield found
    ended[0]()
    thread.join(20)
    assert not thread.is_alive()


def dribble(line: Wire, text: bytes) -> None:
    """Send a byte every 50 ms until the other side says something or hangs up, or for 10 s."""
    for at in range(min(len(text), 200)):
        line.send(text[at : at + 1])
        if line.has_heard():
            return
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b""),
        (b"", b"POST /upay/v2/pay HTTP/1.1\r\n" + b"A: b\r\n" * 50),
        (
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50,
        ),
        (b"", b"\r\n" * 100),
    ],
    ids=["silence", "a slow head", "a slow second head", "blank lines"],
)
def test_slow_heads(slow: Slow, first: bytes, then: bytes) -> None:
    """A head that does not come to its end is not waited for, also not the second one of a connection."""
    with Wire(slow) as line:
        line.send(first)
        if first:
            assert line.reply()[0] == 200
        dribble(line, then)
        line.goodbye()
    assert slow.ends == ["whole"] * bool(first)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["announced", "chunked"],
)
def test_slow_bodies(slow: Slow, head: bytes) -> None:
    """The same for a body; the caller is told, then hung up on."""
    with Wire(slow) as line:
        line.send(head)
        dribble(line, b"1\r\nx\r\n" * 40)
        line.goodbye()
    assert slow.ends == ["BodyIncomplete"]


def test_slow_heads_do_not_hold_up_others(slow: Slow) -> None:
    """Two hundred dawdlers, and the next honest caller is served at once; afterwards all of them are gone."""
    with contextlib.ExitStack() as open_lines:
        lines = [open_lines.enter_context(Wire(slow)) for _ in range(200)]
        for line in lines:
            line.send(b"GET / HTTP/1.1\r\n")
        with Wire(slow) as honest:
            honest.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
            assert honest.reply()[0] == 200
        for line in lines:
            assert line.goodbye() == b""


@pytest.mark.parametrize("slow", [1], indirect=True)
def test_a_busy_connection_is_never_taken_for_a_slow_one(slow: Slow) -> None:
    """Calls one after the other for longer than that patience, each in two pieces: all are answered."""
    call = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with Wire(slow) as line:
        for _ in range(60):
            line.send(call[:30])
            time.sleep(0.04)
            line.send(call[30:])
            assert line.reply()[0] == 200


@pytest.mark.slow
def test_slow_as_it_is_set(target: Target) -> None:
    """The true patience of `paymux serve`: a head and a body that dawdle are gone within a minute or so."""
    with Wire(target.gateway, wait_s=75) as head, Wire(target.gateway, wait_s=75) as body:
        head.send(HEAD)
        body.send(HEAD + b"Content-Length: 99\r\n\r\n{")
        assert b"INVALID_PARAMS" in body.goodbye()
        assert head.goodbye() == b""
