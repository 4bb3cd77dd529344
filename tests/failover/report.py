"""What a run came to: a line for each round, a table for each fault, figures in a file."""

import os
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import msgspec

from tests.failover.faults import BOUNDS_S
from tests.failover.told import Line, Outcome, What, acknowledged
from tests.failover.verifier import Breach, Finding
from tests.harness.results import started_at, write_results


class Round(msgspec.Struct, kw_only=True):
    """One fault, and what the gateways were told from then on until everything was calm again.

    `outage`: the longest time in which none was acknowledged anything; `back`: when the first write after
    that was, counted from the fault; `slowest`: the outage of the gateway that was hit worst. `stale`: reads
    that did not see what had been acknowledged before.
    """

    fault: str
    number: int
    outage_ms: int = 0
    back_ms: int = 0
    slowest_ms: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    reads: int = 0
    stale: int = 0
    load: str = ""

    def text(self) -> str:
        """A line for people."""
        return (
            f"outage {self.outage_ms} ms, back after {self.back_ms}, worst gateway {self.slowest_ms},"
            f" {self.acknowledged} acknowledged, {self.unknown} unknown, {self.stale} of {self.reads} reads"
            f" stale, load {self.load}"
        )


def measured(fault: str, number: int, told: list[list[Line]], *, began_ms: int, until_ms: int) -> Round:
    """What the gateways' answers say of a fault that began then."""
    all_of_it = [line for lines in told for line in lines]
    lines = [line for line in all_of_it if began_ms <= line.at_ms <= until_ms]
    writes = Counter(line.outcome for line in lines if line.what is not What.READ)
    reads = Counter(line.outcome for line in lines if line.what is What.READ)
    outage_ms, ended_ms = longest_gap(acknowledged(all_of_it), began_ms=began_ms, until_ms=until_ms)
    return Round(
        fault=fault,
        number=number,
        outage_ms=outage_ms,
        back_ms=ended_ms - began_ms,
        slowest_ms=max(
            longest_gap(acknowledged(one), began_ms=began_ms, until_ms=until_ms)[0] for one in told
        ),
        acknowledged=writes[Outcome.DONE],
        refused=writes[Outcome.REFUSED],
        unknown=writes[Outcome.UNKNOWN],
        reads=reads.total(),
        stale=reads[Outcome.REFUSED],
        load=f"{os.getloadavg()[0]:.1f}",
    )


def longest_gap(times_ms: list[int], *, began_ms: int, until_ms: int) -> tuple[int, int]:
    """The longest time without an event that ended after `began_ms`, and when it ended."""
    before = [at for at in times_ms if at < began_ms]
    during = [at for at in times_ms if began_ms <= at <= until_ms]
    moments = [*before[-1:], *during, until_ms]
    if len(moments) == 1:
        return until_ms - began_ms, until_ms
    return max((later - earlier, later) for earlier, later in pairwise(moments))


class Report(msgspec.Struct, kw_only=True):
    """The run's figures. `proof_lost`: what asynchronous replication lost, which must be something."""

    command: str
    started: str = msgspec.field(default_factory=started_at)
    rounds: list[Round] = msgspec.field(default_factory=list)
    findings: list[Finding] = msgspec.field(default_factory=list)
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    acknowledged: int = 0
    proof_lost: int | None = None

    @property
    def good(self) -> bool:
        """No promise was broken, every bound was kept, and the rig was shown to see a loss."""
        return not self.findings and not self.late() and self.proof_lost != 0

    def late(self) -> list[Round]:
        """The rounds in which some gateway could not write for longer than it should."""
        return [one for one in self.rounds if one.slowest_ms > 1000 * BOUNDS_S.get(one.fault, 3600)]

    def table(self) -> str:
        """The figures for people."""
        head = (
            "fault",
            "rounds",
            "outage s",
            "worst gateway s",
            "bound s",
            "acknowledged",
            "unknown",
            "stale",
        )
        rows = [
            head,
            *(_row(fault, self.of(fault)) for fault in dict.fromkeys(one.fault for one in self.rounds)),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        breaches = Counter(finding.breach for finding in self.findings)
        lines += [f"{breach}: {breaches[breach]}" for breach in Breach]
        if self.proof_lost is not None:
            lines.append(f"asynchronous replication, same rig: {self.proof_lost} acknowledged writes lost")
        return "\n".join(lines)

    def of(self, fault: str) -> list[Round]:
        """The rounds of one fault."""
        return [one for one in self.rounds if one.fault == fault]

    def write(self, path: Path, *, seconds: int) -> None:
        """The figures for other programs."""
        figures = msgspec.to_builtins(self)
        write_results(path, figures | {"seconds": seconds, "failures": len(self.findings)})


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _row(fault: str, rounds: list[Round]) -> tuple[str, ...]:
    return (
        fault,
        str(len(rounds)),
        _spread(one.outage_ms for one in rounds),
        _spread(one.slowest_ms for one in rounds),
        str(BOUNDS_S.get(fault, "")),
        str(sum(one.acknowledged for one in rounds)),
        str(sum(one.unknown for one in rounds)),
        str(sum(one.stale for one in rounds)),
    )


def _spread(times_ms: Iterable[int]) -> str:
    """Median and range, in seconds."""
    ordered = sorted(times_ms)
    shown = [f"{at / 1000:.1f}" for at in (ordered[len(ordered) // 2], ordered[0], ordered[-1])]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"
