"""What a writer was told, in a file of its own: one line each, written before it counts for anything."""

import time
from collections.abc import Iterable
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Self

import msgspec


class Outcome(StrEnum):
    """What the store said. UNKNOWN: it failed, and the change may stand there or not."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class What(StrEnum):
    """Which change it was about; a READ is a look at an order that was told paid before."""

    INTENT = "intent"
    PAID = "paid"
    REFUND = "refund"
    READ = "read"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `key` finds the change: an event of the order, or the movement of a refund.

    `at_ms` is the machine's monotonic clock, which all processes share.
    """

    at_ms: int
    outcome: Outcome
    what: What
    sn: str
    key: str
    amount: int = 0


class Recorder:
    """Appends to a file; what was written survives this process, though not the machine."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)  # every line is handed over at once

    def note(self, outcome: Outcome, what: What, *, sn: str, key: str, amount: int = 0) -> None:
        """Write one answer down."""
        self._file.write(f"{now_ms()} {outcome} {what} {sn} {key} {amount}\n")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class Told:
    """What stands in a recorder's file, read on from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self.lines: list[Line] = []
        self._path = path
        self._read = 0

    def look(self) -> list[Line]:
        """All lines so far, whole ones only: the last one may be under way."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self.lines += [_line(line) for line in whole.decode().splitlines()]
        return self.lines

    def writes_since(self, since_ms: int) -> int:
        """How many writes were acknowledged after that."""
        recent = takewhile(lambda line: line.at_ms > since_ms, reversed(self.look()))
        return len(acknowledged(recent))


def acknowledged(lines: Iterable[Line]) -> list[int]:
    """When writes were acknowledged, in order."""
    return sorted(line.at_ms for line in lines if line.outcome is Outcome.DONE and line.what is not What.READ)


def now_ms() -> int:
    """Milliseconds of the clock that all processes share and nobody sets."""
    return time.monotonic_ns() // 1_000_000


def _line(text: str) -> Line:
    at_ms, outcome, what, sn, key, amount = text.split(" ")
    return Line(
        at_ms=int(at_ms), outcome=Outcome(outcome), what=What(what), sn=sn, key=key, amount=int(amount)
    )
