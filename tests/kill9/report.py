"""What a run came to: a table for people, and figures for the reliability page."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.results import started_at, write_results
from tests.kill9.memory import Breach, Finding

IN_START_UP = frozenset({"start-up", "first start"})


@dataclass
class Report:
    """The run's figures; `kinds` counts deaths, `skipped` says what was not tried and why.

    `postgresql` is the server's version, when there is one.
    """

    command: str
    seed: str
    started: str = field(default_factory=started_at)
    postgresql: str = ""
    orders: int = 0
    answers: int = 0
    troubled: int = 0
    later_visits: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        """Deaths, each followed by a gateway that took over."""
        return self.kinds.total()

    def table(self) -> str:
        """The figures for people."""
        breaches = Counter(finding.breach for finding in self.findings)
        rows: list[tuple[str, object]] = [
            *sorted(self.kinds.items()),
            ("", ""),
            ("deaths", self.cycles),
            ("  in start-up", sum(self.kinds[kind] for kind in IN_START_UP)),
            ("  in migration", self.kinds["migration"]),
            ("  in recovery", self.kinds["recovery"]),
            ("  at later visits", self.later_visits),
            ("orders", self.orders),
            ("answers given", self.answers),
            ("  that told of trouble", self.troubled),
            *((breach.value, breaches[breach]) for breach in Breach),
            ("95 % bound", self._bound()),
        ]
        skipped = [f"not tried: {text}" for text in self.skipped]
        return "\n".join([*(f"{name:<28}{value:>10}".rstrip() for name, value in rows), *skipped])

    def write(self, path: Path, *, seconds: int) -> None:
        """The figures, for the page that is made of them."""
        figures: dict[str, object] = {
            "command": self.command,
            "started": self.started,
            "seconds": seconds,
            "cycles": self.cycles,
            "orders": self.orders,
            "answers": self.answers,
            "failures": len(self.findings),
            "kinds": dict(sorted(self.kinds.items())),
        }
        write_results(path, figures | ({"postgresql": self.postgresql} if self.postgresql else {}))

    def _bound(self) -> str:
        """The rule of three: with no failure in N cycles, the rate is below 3/N with 95 % confidence."""
        if self.findings or not self.cycles:
            return "none"
        return f"{300 / self.cycles:.2f} %"


def say(text: str) -> None:
    """Tell the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
