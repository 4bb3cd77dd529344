"""Request bodies, read with a bound: nobody fills our memory, and nobody keeps us waiting for ever."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.types import Receive, Scope

DISCARDED_BYTES_MAX = 33_554_432
"""32 MiB: more than any mistake, little enough to throw away."""
DISCARD_WAIT_S = 5
"""How long what is too large may take to come to its end."""
WAIT_S = 30
"""A till's request is a few hundred bytes; who needs longer to send it is gone or means harm."""

Result = TypeVar("Result")


class BodyTooLarge(Exception):
    """The body is longer than allowed; reading stopped there."""


class BodyEndedTooLarge(Exception):
    """The body is longer than allowed, and was read to its end."""


class BodyIncomplete(Exception):
    """The rest of the body did not come in time."""


class CallerGone(Exception):
    """The caller hung up before his request was complete: nobody is there to be answered."""


async def read_body(
    scope: Scope, receive: Receive, *, bytes_max: int, loop: asyncio.AbstractEventLoop
) -> bytes:
    """Return the whole body; raises `BodyTooLarge`, `BodyIncomplete`, `CallerGone`.

    `loop` is the running one: to ask for it costs a system call, and every call would ask thrice.
    """
    announced = _announced(scope)
    if announced > bytes_max and (announced > DISCARDED_BYTES_MAX or header(scope, b"expect")):
        raise BodyTooLarge  # nothing was sent yet, or more than we would ever throw away
    try:
        return await _within(WAIT_S, _read(receive, bytes_max), loop)
    except BodyEndedTooLarge:
        raise BodyTooLarge from None
    except BodyTooLarge:
        # Who is hung up on while he sends never sees our answer: the rest is read, and thrown away.
        with suppress(BodyIncomplete, CallerGone):
            await _within(DISCARD_WAIT_S, _discard(receive), loop)
        raise


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of this (lower-case) name."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


async def _within(
    wait_s: int, reading: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop
) -> Result:
    """Await `reading`, but not for ever; raises `BodyIncomplete`.

    asyncio.timeout does the same at four times the cost, and this is paid by every call.
    """
    task, late = asyncio.current_task(loop), False

    def give_up() -> None:
        nonlocal late
        if task is not None:
            late = task.cancel()

    timer = loop.call_later(wait_s, give_up)
    try:
        return await reading
    except asyncio.CancelledError:
        if late and task is not None and task.uncancel() == 0:
            raise BodyIncomplete from None
        raise
    finally:
        timer.cancel()


async def _read(receive: Receive, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    length = 0
    while True:
        part, more = await _next_part(receive)
        length += len(part)
        parts.append(part)
        if length > bytes_max:
            if more:
                raise BodyTooLarge
            raise BodyEndedTooLarge
        if not more:
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _discard(receive: Receive) -> None:
    length, more = 0, True
    while more and length <= DISCARDED_BYTES_MAX:
        part, more = await _next_part(receive)
        length += len(part)


async def _next_part(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise CallerGone
    return message.get("body", b""), message.get("more_body", False)


def _announced(scope: Scope) -> int:
    """Return Content-Length; 0 when it is missing or nonsense, for then the bytes are counted."""
    value = header(scope, b"content-length")
    return int(value) if value and value.isdigit() and len(value) < 20 else 0
