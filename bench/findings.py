"""What the parts of the benchmark share: how much is done, what was found, and how a slice is measured."""

import statistics
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import click
import msgspec
import uvloop

from bench import load
from bench.processes import Program
from bench.shop import WECHAT_TILL, Till
from bench.systems import Bank

System = TypeVar("System")
_SETTLE_S = 0.05
"""What a server still does after its last answer belongs to the slice."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done; the conventional gateway does an eighth of it, for it takes ten times as long."""

    rounds: int
    pays: int
    queries: int
    concurrency: int
    growth: int
    endurance: int

    def part(self, divisor: int) -> "Sizes":
        """Return a fraction of the calls."""
        return msgspec.structs.replace(
            self, pays=max(self.pays // divisor, 1), queries=max(self.queries // divisor, 1)
        )


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One figure, measured in each round; what counts is the median."""

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)


class Skipped(Exception):
    """A part cannot be measured here; the text says why."""


class Bench(NamedTuple):
    """Where a part works: a folder of its own, the wallets, and how much to do."""

    folder: Path
    bank: Bank
    sizes: Sizes

    def say(self, text: str) -> None:
        """Tell whoever watches."""
        click.echo(text, err=True)


class Meter:
    """CPU time of one system, slice by slice.

    What its database server does by itself between the slices is added to the next one, so that nobody
    gains by putting work off.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.own_us = 0.0
        """What of the last slice was the program's own, µs of each call; the rest was its database's."""
        self._background_ns = program.background_ns()

    def run(self, work: Coroutine[Any, Any, load.Work]) -> tuple[float, load.Work]:
        """Do the work; return the CPU µs of each call, and what came of it. Raises `ProgramFailed`."""
        program = self.program
        before_ns, own_ns = program.cpu_ns(), program.own_ns()
        before_ns -= program.background_ns() - self._background_ns
        done = drive(program, _settled(work))
        cpu_ns = program.cpu_ns() - before_ns
        self.own_us = (program.own_ns() - own_ns) / 1000 / done.calls
        self._background_ns = program.background_ns()
        return cpu_ns / 1000 / done.calls, done


def drive(program: Program, work: Coroutine[Any, Any, load.Work]) -> load.Work:
    """Do work that a program must answer rightly; raises `ProgramFailed`."""
    try:
        return uvloop.run(work)
    except load.WrongAnswer as error:
        raise program.failed(f"did not answer as it should: {error}") from error


def full_per_s(bench: Bench, meter: Meter, till: Till = WECHAT_TILL) -> float:
    """Pays per second with many tills; the first slice warms up."""
    sizes = bench.sizes
    for name, count in (("warm", sizes.pays // 4), ("full", sizes.pays)):
        tills = 3 * sizes.concurrency
        work = load.pay(meter.program.url, count=max(count, 1), concurrency=tills, prefix=name, till=till)
        _, done = meter.run(work)
    return done.calls / done.elapsed_s


def in_turns(systems: Iterable[System], number: int) -> list[System]:
    """All systems, in an order of the round's own: nobody shall always come after the same one."""
    found = list(systems)
    return Random(number).sample(found, len(found))


def over(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide round by round, so that a slow minute of the machine falls out."""
    return [one / other for one, other in zip(above, below, strict=True)]


def quantile(values: Sequence[float], part: float) -> float:
    """The value that so many of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


async def _settled(work: Coroutine[Any, Any, load.Work]) -> load.Work:
    done = await work
    await load.pause(_SETTLE_S)
    return done


Part = Callable[[Bench], list[Finding]]
