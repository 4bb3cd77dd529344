"""Request bodies, read with a bound: nobody fills our memory, and nobody keeps us waiting for ever."""

import asyncio

from starlette.types import Receive, Scope

DISCARDED_BYTES_MAX = 33_554_432
"""32 MiB: more than any mistake, little enough to throw away."""
WAIT_S = 30
"""A till's request is a few hundred bytes; who needs longer to send it is gone or means harm."""


class BodyTooLarge(Exception):
    """The body is longer than allowed; reading stopped there."""


class BodyIncomplete(Exception):
    """The rest of the body did not come in time."""


class CallerGone(Exception):
    """The caller hung up before his request was complete: nobody is there to be answered."""


async def read_body(scope: Scope, receive: Receive, *, bytes_max: int) -> bytes:
    """Return the whole body; raises `BodyTooLarge`, `BodyIncomplete`, `CallerGone`.

    What is too large is still read, and thrown away, up to a bound: a caller who is hung up on while he sends
    never sees our answer.
    """
    if _announced(scope) > DISCARDED_BYTES_MAX:
        raise BodyTooLarge
    # asyncio.timeout does the same at four times the cost, and this is paid by every call.
    task, late = asyncio.current_task(), False

    def give_up() -> None:
        nonlocal late
        if task is not None:
            late = task.cancel()

    timer = asyncio.get_running_loop().call_later(WAIT_S, give_up)
    try:
        return await _read(receive, bytes_max)
    except asyncio.CancelledError:
        if late and task is not None and task.uncancel() == 0:
            raise BodyIncomplete from None
        raise
    finally:
        timer.cancel()


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of this (lower-case) name."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return None


async def _read(receive: Receive, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    length = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerGone
        part = message.get("body", b"")
        length += len(part)
        if length > DISCARDED_BYTES_MAX:
            raise BodyTooLarge
        if length <= bytes_max:
            parts.append(part)
        if not message.get("more_body", False):
            if length > bytes_max:
                raise BodyTooLarge
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _announced(scope: Scope) -> int:
    """Return Content-Length; 0 when it is missing or nonsense, for then the bytes are counted."""
    value = header(scope, b"content-length")
    return int(value) if value and value.isdigit() and len(value) < 20 else 0
