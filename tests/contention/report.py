"""What a run came to: a table for people, and figures for the reliability page."""

import sys
from collections import Counter
from pathlib import Path

import msgspec

from tests.contention.claims import ClaimFigures
from tests.contention.findings import Breach, Finding
from tests.contention.refunds import RefundFigures
from tests.harness.results import started_at, write_results


class Report(msgspec.Struct, kw_only=True):
    """The run's figures; a half that was not asked for is None."""

    command: str
    seed: str
    postgresql: str = ""
    started: str = msgspec.field(default_factory=started_at)
    claims: ClaimFigures | None = None
    refunds: RefundFigures | None = None

    @property
    def findings(self) -> list[Finding]:
        """All that was found."""
        return [finding for half in (self.claims, self.refunds) if half for finding in half.findings]

    def table(self) -> str:
        """The figures for people."""
        rows: list[tuple[str, object]] = []
        if self.claims:
            rows += _rows("claims under long leases", self.claims.long)
            rows += _rows("claims under short leases", self.claims.short)
            rows.append(("deadlocks", self.claims.deadlocks))
        if self.refunds:
            rows += _rows("refunds", self.refunds.tally)
        breaches = Counter(finding.breach for finding in self.findings)
        rows += [(breach.value, breaches[breach]) for breach in Breach]
        return "\n".join(f"{name:<32}{value:>12}".rstrip() for name, value in rows)

    def write(self, path: Path, *, seconds: int) -> None:
        """The figures, for the page that is made of them."""
        figures = {"command": self.command, "started": self.started, "seconds": seconds}
        figures |= {"failures": len(self.findings), "postgresql": self.postgresql}
        for name, half in (("claims", self.claims), ("refunds", self.refunds)):
            if half:
                shown = msgspec.to_builtins(half)
                figures[name] = shown | {"failures": len(shown.pop("findings"))}
        write_results(path, figures)


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _rows(title: str, tally: msgspec.Struct) -> list[tuple[str, object]]:
    shown = msgspec.structs.asdict(tally).items()
    return [(title, ""), *((f"  {name.replace('_', ' ')}", f"{value:,}") for name, value in shown)]
