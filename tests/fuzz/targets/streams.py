"""Request bodies as they come: in pieces, longer or shorter than announced, late, or not to their end."""

import asyncio
from contextlib import suppress

from starlette.types import Message, Scope

from paymux.wire.body import (
    DISCARDED_BYTES_MAX,
    BodyIncomplete,
    BodyTooLarge,
    CallerGone,
    read_body,
)
from tests.fuzz.gateway import close_loop, open_loop
from tests.fuzz.trial import Dice, Trial
from tests.harness.virtual_time import VirtualLoop

_BYTES_MAX = 64


def bodies() -> Trial:
    """Bytes → headers, pieces, and how it ends."""
    loop = open_loop()

    def one(data: bytes) -> None:
        dice = Dice(data)
        headers = [(b"content-length", dice.some())] if dice.below(4) else []
        headers += [(b"expect", b"100-continue")] if dice.below(8) == 1 else []
        ending = dice.below(4)
        pieces = []
        while not dice.spent:
            pieces.append(dice.some() * dice.pick((1, 1, 1, 9)))
        _check(loop, {"type": "http", "headers": headers}, pieces, ending)

    seeds = [
        b"\x01\x0212\x00%c" % ending + b"".join(b"%c%s\x00" % (len(piece), piece) for piece in pieces)
        for ending in range(4)
        for pieces in ((b"{}",), (b"a" * 30, b"", b"b" * 34), (b"x" * 60, b"y" * 60))
    ]
    words = (b"\x01\x0a9999999999\x01", b"\x01\x03-12\x00", "\x01\x06１２\x00".encode(), b"\x01\x04 1_0\x00")
    return Trial(one, tuple(seeds), words=words, bytes_max=400, close=lambda: close_loop(loop))


_WHOLE, _GONE, _LATE, _BARE = range(4)


def _check(loop: VirtualLoop, scope: Scope, pieces: list[bytes], ending: int) -> None:
    """Hold what is read against what was sent."""
    sent = b"".join(pieces)
    began_s = loop.time()
    found: bytes | None = None
    refusals = (BodyTooLarge, BodyIncomplete, CallerGone)
    with suppress(*refusals):
        reading = read_body(scope, _sender(pieces, ending), bytes_max=_BYTES_MAX, loop=loop)
        found = loop.run_until_complete(reading)
    assert loop.time() - began_s <= 36, "nobody is waited for longer than we say"
    if found is not None:
        assert found == sent, "another body than was sent"
        assert len(found) <= _BYTES_MAX, "more than was allowed"
        assert ending in {_WHOLE, _BARE}
    elif len(sent) <= _BYTES_MAX and ending in {_WHOLE, _BARE}:
        announced = dict(scope["headers"]).get(b"content-length", b"")
        assert int(announced) > _BYTES_MAX, "a good body was refused"
        assert b"expect" in dict(scope["headers"]) or int(announced) > DISCARDED_BYTES_MAX


def _sender(pieces: list[bytes], ending: int):  # noqa: ANN202 - ASGI's receive
    waiting = list(pieces)

    async def receive() -> Message:
        if waiting:
            piece = waiting.pop(0)
            more = bool(waiting) or ending in {_GONE, _LATE}
            return {"type": "http.request", "body": piece, "more_body": more}
        if ending == _LATE:
            await asyncio.sleep(3600)
        if ending == _GONE:
            return {"type": "http.disconnect"}
        return {"type": "http.request"}

    return receive
