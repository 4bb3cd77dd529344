"""`python -m tests.simulation --seeds 1..1000`: live through many days, and say what they showed.

A breach prints its seed, the promise, and the story of the order; the same seed tells the same story again.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tests.harness.postgres import fetch, server
from tests.harness.results import started_at, write_results
from tests.simulation.database.opener import ENGINES, POSTGRESQL, SQLITE
from tests.simulation.day import Result, live

RESULTS = {SQLITE: ".results/simulation.json", POSTGRESQL: ".results/simulation-postgresql.json"}
_BOUND = 3.0
"""Nothing seen in N tries: with 95 % certainty it happens less often than 3 in N."""


def main() -> int:
    """Run what was asked for; 0 when no promise was broken."""
    options = _options()
    began, started, made_on = time.monotonic(), started_at(), _made_on(options.database)
    seeds = _seeds(options.seeds)
    total = Totals()
    for result in _lived(seeds, options.orders, options.database, options.jobs):
        total.add(result)
        if options.digests:
            print(result.seed, result.digest)
        if result.breaches:
            _tell(result, options.database, story=not options.quiet)
            if options.until_breach:
                break
        if not options.quiet and sys.stderr.isatty():
            print(
                f"\r{total.orders} orders, {len(total.broken)} seeds with breaches ", end="", file=sys.stderr
            )
    seconds = time.monotonic() - began
    if not options.digests:
        print(total.report(seconds))
    if not options.digests and not options.quiet:
        figures = total.figures() | {"seconds": round(seconds), "started": started}
        command = _command(options.seeds, options.orders, options.database)
        path = options.results or RESULTS[options.database]
        write_results(Path(path), figures | made_on | {"command": command})
    return 1 if total.broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1..40", help="7, 1..1000, 9..1 or 3,5,8 (default 1..40)")
    parser.add_argument("--orders", type=int, default=1000, help="customers a day (default 1000)")
    parser.add_argument("--database", choices=ENGINES, default=SQLITE, help="what keeps the orders")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (default 1)")
    parser.add_argument("--until-breach", action="store_true", help="stop at the first breach")
    parser.add_argument("--digests", action="store_true", help="print each seed's hash, and nothing else")
    parser.add_argument("--quiet", action="store_true", help="no stories")
    parser.add_argument("--results", help="the JSON file for the figures (default .results/simulation….json)")
    return parser.parse_args()


def _made_on(database: str) -> dict[str, object]:
    """The server's version, if there is one; then it is there for all processes of this run."""
    if database != POSTGRESQL:
        return {}
    os.environ["PAYMUX_TEST_DSN"] = server().dsn
    ((version,),) = fetch(server().dsn, "SHOW server_version")
    return {"postgresql": version.split()[0]}


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("..")
        begin, end = int(first), int(last or first)
        seeds += range(begin, end + 1) if begin <= end else range(begin, end - 1, -1)
    return seeds


def _command(seeds: object, orders: int, database: str) -> str:
    more = f" ARGS='--database {database}'" if database != SQLITE else ""
    return f"make simulate SEEDS={seeds} ORDERS={orders}{more}"


def _lived(seeds: list[int], orders: int, database: str, jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from (live(seed, orders, database) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(live, seed, orders, database) for seed in seeds]
        try:
            yield from (one.result() for one in as_completed(waiting))
        finally:
            pool.shutdown(cancel_futures=True)


class Totals:
    """What many days came to."""

    def __init__(self) -> None:
        self.days = self.orders = self.answers = self.sent = self.troubles = self.deaths = 0
        self.decisions = self.uncertain = self.late = self.slowest_s = self.virtual_s = 0
        self.spent_s = 0.0
        self.alarms: Counter[str] = Counter()
        self.breaches: Counter[str] = Counter()
        self.broken: list[int] = []

    def add(self, result: Result) -> None:
        """Count one more day."""
        self.days += 1
        for name in ("orders", "answers", "sent", "troubles", "deaths", "decisions", "virtual_s", "spent_s"):
            setattr(self, name, getattr(self, name) + getattr(result, name))
        self.alarms += result.alarms
        self.uncertain += result.convergence.uncertain
        self.late += result.convergence.late
        self.slowest_s = max(self.slowest_s, result.convergence.slowest_s)
        self.breaches.update(breach.promise for breach in result.breaches)
        if result.breaches:
            self.broken.append(result.seed)

    def figures(self) -> dict[str, object]:
        """All of it, for machines."""
        return {
            "days": self.days,
            "orders": self.orders,
            "broken_promises": sum(self.breaches.values()),
            "broken_seeds": sorted(self.broken),
            "bound_95": f"{_BOUND / max(self.orders, 1):.1e}",
            "calls_to_wallets": self.sent,
            "answers_to_tills": self.answers,
            "faults": self.troubles,
            "processes_killed": self.deaths,
            "decisions_by_operators": self.decisions,
            "uncertain_payments": self.uncertain,
            "definite_within_120_s": f"{100 * (1 - self.late / max(self.uncertain, 1)):.3f} %",
            "slowest_s": self.slowest_s,
            "virtual_days": round(self.virtual_s / 86_400, 1),
            "orders_per_core_second": round(self.orders / max(self.spent_s, 0.001)),
        }

    def report(self, seconds: float) -> str:
        """All of it, for people."""
        lines = [f"  {name.replace('_', ' '):<26} {value}" for name, value in self.figures().items()]
        alarms = ", ".join(f"{name} {count}" for name, count in sorted(self.alarms.items()))
        return "\n".join(
            [
                *lines,
                f"  alarms raised              {alarms}",
                f"  wall clock                 {seconds:.0f} s",
            ]
        )


def _tell(result: Result, database: str, *, story: bool) -> None:
    print(f"\nseed {result.seed}: {len(result.breaches)} breaches; the weather: {result.weather}")
    for breach in result.breaches:
        print(f"  {breach.promise} at {breach.at_ms / 1000:.3f} s, {' '.join(breach.numbers)}: {breach.text}")
    if story:
        for text in result.stories[:1]:
            print(text)
    print(f"again: {_command(result.seed, result.customers, database)}\n")


if __name__ == "__main__":
    sys.exit(main())
