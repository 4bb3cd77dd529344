"""From samples to medians and ratios, and to a page people can read."""

import os
import platform
import sqlite3
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"
SYSTEMS = ("paymux", "conventional", "floor")
CALLS = ("pay", "query")


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done, per round and system."""

    rounds: int
    pays: int
    queries: int
    concurrency: int

    def warm_up(self) -> "Sizes":
        """Return a tenth of it, for caches and connections."""
        return msgspec.structs.replace(self, pays=max(self.pays // 10, 1), queries=max(self.queries // 10, 1))


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One system, one round, one kind of call."""

    system: str
    round: int
    call: str
    cpu_us_per_call: float
    calls_per_s: float


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A median over the rounds and its neighbourhood."""

    median: float
    min: float
    max: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one call costs one system."""

    system: str
    call: str
    cpu_us: Spread
    per_s: Spread


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio and where it should be."""

    over: str
    under: str
    call: str
    sense: Literal["at least", "at most"]
    target: float


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """A goal, what was measured within each round, and whether it is met."""

    goal: Goal
    measured: Spread
    met: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole result, as it is written to the file."""

    machine: dict[str, str]
    sizes: Sizes
    costs: list[Cost]
    ratios: list[Ratio]
    samples: list[Sample]


GOALS = (
    Goal(over="conventional", under="paymux", call="pay", sense="at least", target=10),
    Goal(over="paymux", under="floor", call="pay", sense="at most", target=2.5),
    Goal(over="paymux", under="floor", call="query", sense="at most", target=3),
)


def write(samples: list[Sample], sizes: Sizes, *, folder: Path) -> Report:
    """Judge the samples and keep the result; `folder` is where the databases were."""
    report = Report(
        machine=_machine(folder),
        sizes=sizes,
        costs=[_cost(samples, system, call) for call in CALLS for system in SYSTEMS],
        ratios=[_ratio(samples, goal) for goal in GOALS],
        samples=samples,
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return report


def show(report: Report) -> str:
    """Return the report as text."""
    return "\n".join([*_heading(report), "", *_cost_table(report.costs), "", *_ratio_table(report.ratios)])


# -- judging


def _cost(samples: list[Sample], system: str, call: str) -> Cost:
    mine = [one for one in samples if (one.system, one.call) == (system, call)]
    return Cost(
        system=system,
        call=call,
        cpu_us=_spread(one.cpu_us_per_call for one in mine),
        per_s=_spread(one.calls_per_s for one in mine),
    )


def _ratio(samples: list[Sample], goal: Goal) -> Ratio:
    """Divide within each round, so that a slow minute of the machine falls out."""
    cost = {(one.system, one.round): one.cpu_us_per_call for one in samples if one.call == goal.call}
    rounds = sorted({number for _, number in cost})
    measured = _spread(cost[goal.over, number] / cost[goal.under, number] for number in rounds)
    met = measured.median >= goal.target if goal.sense == "at least" else measured.median <= goal.target
    return Ratio(goal=goal, measured=measured, met=met)


def _spread(values: Iterable[float]) -> Spread:
    found = list(values)
    return Spread(median=statistics.median(found), min=min(found), max=max(found))


# -- showing


def _heading(report: Report) -> Iterator[str]:
    machine, sizes = report.machine, report.sizes
    yield ", ".join(f"{name} {value}" for name, value in machine.items())
    yield (
        f"{sizes.rounds} rounds of {sizes.pays} pays and {sizes.queries} queries per system, "
        f"{sizes.concurrency} at once; medians (min to max)"
    )


def _cost_table(costs: list[Cost]) -> Iterator[str]:
    yield f"{'call':<7}{'system':<14}{'CPU µs per call':>30}{'calls per s':>12}"
    for cost in costs:
        us = cost.cpu_us
        shown = f"{us.median:,.0f} ({us.min:,.0f} to {us.max:,.0f})"
        yield f"{cost.call:<7}{cost.system:<14}{shown:>30}{cost.per_s.median:>12,.0f}"


def _ratio_table(ratios: list[Ratio]) -> Iterator[str]:
    yield f"{'ratio of CPU time':<32}{'measured':>24}{'target':>15}"
    for ratio in ratios:
        goal, found = ratio.goal, ratio.measured
        name = f"{goal.over} ÷ {goal.under}, per {goal.call}"
        shown = f"{found.median:.2f} ({found.min:.2f} to {found.max:.2f})"
        verdict = "met" if ratio.met else "MISSED"
        yield f"{name:<32}{shown:>24}{goal.sense + f' {goal.target:g}':>15}  {verdict}"


# -- the machine


def _machine(folder: Path) -> dict[str, str]:
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "Linux": platform.release(),
        "file system": _file_system(folder),
    }


def _file_system(folder: Path) -> str:
    """Return the type of the mount the folder is on: on a tmpfs no commit waits for a disk."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(holding, key=lambda mount: len(mount[0]))[1]
