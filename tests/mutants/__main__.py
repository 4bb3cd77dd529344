"""`python -m tests.mutants`: plant each bug of the catalogue in a copy of the source, and look for it.

A mutant survives when its days break no promise: then a checker is missing, and the run fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.harness.results import started_at, write_results
from tests.simulation.database.opener import SQLITE
from tests.simulation.weather import THEME_EVERY

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "paymux"
CATALOGUE = Path(__file__).with_name("catalogue.toml")
ORDERS_A_DAY = 500
ORDINARY, THEMED = 3, 15
ORDERS_MAX = 100_000
PATIENCE_S = 3_600
"""A mutant that hangs has not been caught."""


@dataclass(frozen=True)
class Mutant:
    """One bug: where, what is there, and what a tired programmer might have written."""

    name: str
    why: str
    edits: tuple[tuple[str, str, str], ...]
    database: str = SQLITE

    def plant(self, package: Path) -> None:
        """Write the bug into a copy of the package."""
        for file, old, new in self.edits:
            path = package / file
            text = path.read_text("utf-8")
            if text.count(old) != 1:
                message = f"{self.name}: {file} has its place {text.count(old)} times, not once"
                raise ValueError(message)
            path.write_text(text.replace(old, new), "utf-8")


@dataclass(frozen=True)
class Verdict:
    """What the simulation said about a mutant."""

    mutant: Mutant
    caught: bool
    orders: int
    promise: str
    text: str
    seconds: float


def mutants() -> Iterator[Mutant]:
    """The catalogue."""
    for row in tomllib.loads(CATALOGUE.read_text("utf-8"))["mutant"]:
        edits = tuple((edit["file"], edit["old"], edit["new"]) for edit in row["edit"])
        yield Mutant(row["name"], row["why"], edits, row.get("database", SQLITE))


def main() -> int:
    """Try them all, or those named; 0 when each was caught."""
    options = _options()
    began, started = time.monotonic(), started_at()
    chosen = [one for one in mutants() if not options.names or one.name in options.names]
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(lambda one: _shown(_tried(one, options.orders)), chosen))
    survivors = [one.mutant.name for one in verdicts if not one.caught]
    caught = len(verdicts) - len(survivors)
    print(f"{caught} of {len(verdicts)} mutants caught; survivors: {', '.join(survivors) or 'none'}")
    if not options.names:
        rows = [
            {
                "name": v.mutant.name,
                "why": v.mutant.why,
                "caught": v.caught,
                "orders": v.orders,
                "by": v.promise,
            }
            for v in verdicts
        ]
        figures = {"command": "make mutants", "started": started, "seconds": round(time.monotonic() - began)}
        write_results(Path(options.results), figures | {"mutants": rows, "orders_max": options.orders})
    return 1 if survivors or not verdicts else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these mutants")
    parser.add_argument(
        "--orders", type=int, default=ORDERS_MAX, help="how many orders each may live through"
    )
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once")
    parser.add_argument("--results", default=".results/mutants.json", help="the JSON file for the verdicts")
    return parser.parse_args()


def _tried(mutant: Mutant, orders_max: int) -> Verdict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        package = Path(folder) / "paymux"
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        mutant.plant(package)
        said = _simulated(folder, mutant.database, days=max(orders_max // ORDERS_A_DAY, 1))
    orders = re.search(r"^  orders +(\d+)$", said, re.MULTILINE)
    breach = re.search(r"^  (\S+) at [\d.]+ s, (.*)$", said, re.MULTILINE)
    raised = re.search(r"^(\w+Error\b.*)$", said, re.MULTILINE)
    if re.search(r"^(?:SyntaxError|ImportError|NameError|ModuleNotFoundError)", said, re.MULTILINE):
        raise RuntimeError(f"{mutant.name} is no bug but a broken program: {said[-500:]}")
    promise = breach[1] if breach else "raises" if raised else ""
    text = breach[2] if breach else raised[1] if raised else ""
    seconds = time.monotonic() - began
    return Verdict(mutant, bool(breach or raised), int(orders[1]) if orders else 0, promise, text, seconds)


def seeds(days: int) -> str:
    """A few ordinary days, then those about one thing each (every eighth), then all the others."""
    first = [*range(1, ORDINARY + 1), *range(THEME_EVERY, THEME_EVERY * THEMED + 1, THEME_EVERY)]
    rest = [seed for seed in range(1, days + 1) if seed not in first]
    return ",".join(map(str, [*first, *rest][:days]))


def _simulated(folder: str, database: str, *, days: int) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--until-breach", "--quiet", "--database", database]
    command += ["--seeds", seeds(days), "--orders", str(ORDERS_A_DAY)]
    paths = os.pathsep.join([folder, str(ROOT)])
    try:
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return run.stdout + run.stderr


def _shown(verdict: Verdict) -> Verdict:
    word = "caught  " if verdict.caught else "SURVIVED"
    print(
        f"{word} {verdict.mutant.name:<34} {verdict.orders:>7} orders {verdict.seconds:>6.1f} s  "
        f"{verdict.promise:<6} {verdict.text[:110]}",
        flush=True,
    )
    return verdict


if __name__ == "__main__":
    sys.exit(main())
