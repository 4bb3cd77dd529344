"""From findings to a page people can read and a file programs can."""

import os
import platform
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.cpu import machine_ns
from bench.findings import Finding, Sizes
from bench.goals import GOALS, Goal
from bench.pgbench import program

RESULTS = Path(__file__).resolve().parent / "results" / "latest.json"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A goal and what was measured; `verdict` is a word."""

    goal: Goal
    measured: Finding | None
    verdict: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole result, as it is written to the file. `skipped`: part → reason."""

    machine: dict[str, str]
    sizes: Sizes
    goals: list[Judged]
    findings: dict[str, list[Finding]]
    skipped: dict[str, str]


class Noise:
    """How busy the machine is with work that is not ours."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._before = machine_ns()

    def told(self) -> dict[str, str]:
        """Say it in cores, once everything of ours has ended."""
        elapsed_s = time.monotonic() - self._began_s
        busy_s, stolen_s = (
            (now - was) / 1_000_000_000 for now, was in zip(machine_ns(), self._before, strict=True)
        )
        ours_s = sum(
            used.ru_utime + used.ru_stime
            for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        return {
            "took": f"{elapsed_s:.0f} s",
            "other work": f"{max(busy_s - ours_s, 0) / elapsed_s:.2f} cores",
            "taken away": f"{stolen_s / elapsed_s:.2f} cores",
        }


def write(
    findings: dict[str, list[Finding]], skipped: dict[str, str], sizes: Sizes, *, folder: Path, noise: Noise
) -> Report:
    """Judge the findings and keep the result; `folder` is where the databases were."""
    report = Report(
        machine=_machine(folder) | noise.told(),
        sizes=sizes,
        goals=[_judged(goal, findings) for goal in GOALS if goal.part in findings or goal.part in skipped],
        findings=findings,
        skipped=skipped,
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return report


def show(report: Report) -> str:
    """Return the report as text."""
    return "\n".join([*_heading(report), "", *_goal_table(report), *_finding_tables(report)])


def _judged(goal: Goal, findings: dict[str, list[Finding]]) -> Judged:
    found = next((one for one in findings.get(goal.part, []) if one.name == goal.finding), None)
    if found is None:
        return Judged(goal=goal, measured=None, verdict="not measured")
    return Judged(goal=goal, measured=found, verdict="met" if goal.is_met(found.median) else "MISSED")


def _heading(report: Report) -> Iterator[str]:
    sizes = report.sizes
    yield ", ".join(f"{name} {value}" for name, value in report.machine.items())
    yield (
        f"{sizes.rounds} rounds of {sizes.pays} pays and {sizes.queries} queries per system, "
        f"{sizes.concurrency} at once; medians (least to most)"
    )


def _goal_table(report: Report) -> Iterator[str]:
    yield f"{'goal':<52}{'measured':>26}{'bound':>18}{'aim':>8}"
    for one in report.goals:
        goal = one.goal
        shown = _shown(one.measured) if one.measured else "–"
        bound = f"{goal.sense} {goal.limit:.3g}"
        yield f"{goal.says:<52}{shown:>26}{bound:>18}{goal.aim:>8.3g}  {one.verdict}"


def _finding_tables(report: Report) -> Iterator[str]:
    for part, findings in report.findings.items():
        yield ""
        yield part
        for one in findings:
            yield f"  {one.name:<62}{_shown(one):>32} {one.unit}"
    for part, reason in report.skipped.items():
        yield ""
        yield f"{part}: skipped, {reason}"


def _shown(finding: Finding) -> str:
    middle = _number(finding.median)
    if len(finding.values) == 1:
        return middle
    return f"{middle} ({_number(min(finding.values))} to {_number(max(finding.values))})"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


# -- the machine


def _machine(folder: Path) -> dict[str, str]:
    told = subprocess.run([program("postgres"), "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": told.stdout.split()[2],
        "Linux": platform.release(),
        "file system": _file_system(folder),
    }


def _file_system(folder: Path) -> str:
    """Return the type of the mount the folder is on: on a tmpfs no commit waits for a disk."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(place, kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(holding, key=lambda mount: len(mount[0]))[1]
