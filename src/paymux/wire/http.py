"""uvicorn's HTTP/1.1 with the bounds it lacks, how large and how slow what stands around a body may be.

Besides, an answer leaves in one piece, where uvicorn makes a system call for its head and one for its body.

Bodies are bounded where they are read (`wire/body.py`). Heads and trailers are collected by the server before
anybody of ours sees them: without a bound one connection fills the memory, or keeps its place for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from paymux.wire.body import DISCARDED_BYTES_MAX

HEAD_BYTES_MAX = 65_536
"""Request line and header fields. Honest ones have a few hundred bytes."""
FIELDS_MAX = 256
"""Header and trailer fields of one request: each costs thirty times the bytes it is sent in."""
MESSAGE_BYTES_MAX = DISCARDED_BYTES_MAX * 2
"""Everything after a head: the largest body that is thrown away, and whatever chunks are wrapped in."""
LAST_CALL_S = 1
"""A process that ends keeps resting connections for so long: a request may be on its way in."""
HEAD_WAIT_S = 30
"""The next head must be whole within one to two of these; an idle connection is closed much sooner."""


class BoundedHttp(HttpToolsProtocol):
    """Hangs up on who sends too much around his bodies, or too slowly. A request hardly feels it."""

    def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401 - uvicorn's own business
        super().__init__(*given, **more)
        self.headers = []  # uvicorn has None until the first request
        self._stage: object = None
        self._taken = 0
        self._look: asyncio.TimerHandle | None = None
        self._leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start to watch the clock."""
        super().connection_made(transport)
        self._look = self.loop.call_later(HEAD_WAIT_S, self._hang_up_on, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def data_received(self, data: bytes) -> None:
        """Take bytes; hang up when the head, or what follows it, goes on beyond its bounds."""
        super().data_received(data)
        cycle: Any = self.cycle  # None until the first head is whole
        whole = cycle is not None and cycle.scope is self.scope
        stage = cycle if whole else self.scope
        if stage is not self._stage:
            self._stage, self._taken = stage, 0
        self._taken += len(data)
        bytes_max = MESSAGE_BYTES_MAX if whole else HEAD_BYTES_MAX
        if self._taken > bytes_max or len(self.headers) > FIELDS_MAX:
            self.transport.close()
        elif self._leaving and cycle is not None:
            cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - uvicorn's own type
        if cycle.scope["method"] != "HEAD":  # such an answer is a head without a body
            cycle.transport = _WholeAnswer(cycle)  # type: ignore[assignment]  # it has what a cycle uses
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """Answer what is there, and what arrives within a moment; then hang up."""
        if self._leaving or not self._rests:
            super().shutdown()
            return
        self._leaving = True
        self.loop.call_later(LAST_CALL_S, self.shutdown)

    @property
    def _rests(self) -> bool:
        cycle: Any = self.cycle  # None until the first head is whole
        return cycle is None or cycle.response_complete

    def _hang_up_on(self, seen: object) -> None:
        """Hang up if no head became whole since the last look; `seen` is what had been answered then."""
        cycle, resting = self.cycle, self._rests
        if resting and cycle is seen:
            self.transport.close()
            return
        self._look = self.loop.call_later(HEAD_WAIT_S, self._hang_up_on, cycle if resting else self)


class _WholeAnswer:
    """The connection, as the cycle of one request sees it: the head waits for what is written next.

    uvicorn writes the head first, then each part of the body, an empty one as well.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Keep a head, send everything else."""
        if self._head is None and self._cycle.response_started:
            self._head = data
            return
        if self._head:
            data, self._head = self._head + data, b""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether the connection is about to end."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection once what was written is sent."""
        self._transport.close()
