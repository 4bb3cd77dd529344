"""What claimants were told and what they asked for, each in a file of its own, written as they go."""

import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Self

import msgspec

from paymux.storage.contract import Due


class What(StrEnum):
    """One thing that happened to a claimant."""

    CLAIMED = "claimed"
    """It was given a row."""
    MISSED = "missed"
    """It wanted a row it had seen free, and another was faster."""
    PUT_OFF = "put_off"
    """It asked to give a row back for later."""
    DROP = "drop"
    """It asked to delete a row, its work being done."""


class Holding(msgspec.Struct, frozen=True, order=True):
    """One turn at a row: no two claims may ever be this one. `attempts` counts it."""

    ref: str
    kind: str
    run_at_ms: int
    attempts: int


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One line: epoch ms before and after the call. `now_ms`, `until_ms`: when a claim's lease runs."""

    what: What
    holding: Holding
    asked_ms: int
    answered_ms: int
    now_ms: int = 0
    until_ms: int = 0


class Journal:
    """Appends to a file; it is whole when the journal is closed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self._encoder = msgspec.json.Encoder()

    def note(self, line: Line) -> None:
        """Write one line down."""
        self._file.write(self._encoder.encode(line) + b"\n")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def read(path: Path) -> Iterator[Line]:
    """The lines of a journal; raises when the last one is not whole."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        yield from map(decoder.decode, file)


def holding_of(due: Due) -> Holding:
    """The turn that a claimed row is."""
    return Holding(due.ref, due.kind.value, due.run_at_ms, due.attempts)


def now_ms() -> int:
    """Epoch ms by the clock that the database server reads, too."""
    return time.time_ns() // 1_000_000
