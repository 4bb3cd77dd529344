"""In how many pieces an answer leaves: each is a system call, and wakes the caller."""

import asyncio

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from paymux.wire.http import BoundedHttp

END = None


class _Line(asyncio.Transport):
    """A connection that keeps each piece that is written to it, and `END` when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes | None] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        if END not in self.pieces:
            self.pieces.append(END)

    def is_closing(self) -> bool:
        return END in self.pieces

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the request, answer with the parts that its path names, and break off at a "!"."""
    await receive()
    parts = scope["path"].strip("/").split("/")
    length = sum(map(len, parts))
    headers = [] if "!" in parts else [(b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
        if part == "!":
            raise RuntimeError("the application broke off")
        await send({"type": "http.response.body", "body": part.encode(), "more_body": left > 0})


def _pieces(request: bytes) -> list[bytes | None]:
    """Return what a connection answers, piece by piece."""

    async def story() -> list[bytes | None]:
        config = uvicorn.Config(_app, lifespan="off", ws="none", log_config=None)
        config.load()
        state, line = ServerState(), _Line()
        protocol = BoundedHttp(config, state, {})
        protocol.connection_made(line)
        protocol.data_received(request)
        while state.tasks:
            await asyncio.gather(*state.tasks)
        pieces = list(line.pieces)
        protocol.connection_lost(None)
        return pieces

    return asyncio.run(story())


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("request_line", "pieces"),
    [
        (b"GET /whole", [HEAD % 5 + b"whole"]),
        (b"GET /first/rest", [HEAD % 9 + b"first", b"rest"]),
        (b"GET /", [HEAD % 0]),
        (b"HEAD /whole", [HEAD % 5]),
        (b"GET /!", [END]),
    ],
)
def test_a_head_leaves_with_what_follows_it(request_line: bytes, pieces: list[bytes | None]) -> None:
    """One piece for a whole answer; one that is broken off before its body is no answer at all."""
    assert _pieces(request_line + b" HTTP/1.1\r\nhost: x\r\n\r\n") == pieces


def test_what_is_said_before_the_answer_waits_for_nothing() -> None:
    """A caller who asks whether to send his body is told at once."""
    asked = b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n1"
    assert _pieces(asked) == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD % 1 + b"a"]


def test_calls_one_behind_the_other_are_answered_in_turn() -> None:
    """Each with a piece of its own; a caller who wants to hang up is hung up on after his answer."""
    calls = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    last = HEAD.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") % 1
    assert _pieces(calls) == [HEAD % 1 + b"a", last + b"b", END]
