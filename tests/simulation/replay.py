"""`python -m tests.simulation.replay --seeds 1..1000`: live each day twice, and compare the hashes.

The second time is another process with another PYTHONHASHSEED, and the days come in the other order. A
failing seed that does not replay is worth nothing.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.harness.results import started_at, write_results
from tests.simulation.database.opener import ENGINES, SQLITE

ROOT = Path(__file__).resolve().parents[2]
HASH_SEEDS = ("0", "4242")


def main() -> int:
    """0 when every seed had the same day twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.replay", description=__doc__)
    parser.add_argument("--seeds", default="1..1000")
    parser.add_argument("--orders", default="100", help="customers a day (default 100)")
    parser.add_argument("--database", choices=ENGINES, default=SQLITE, help="what keeps the orders")
    parser.add_argument("--results", default=".results/replay.json", help="the JSON file for the figures")
    options = parser.parse_args()
    began, started = time.monotonic(), started_at()
    with ThreadPoolExecutor(len(HASH_SEEDS)) as pool:
        ways = (options.seeds, backwards(options.seeds))
        both = pool.map(
            lambda way, seed: digests(way, options.orders, seed, options.database), ways, HASH_SEEDS
        )
        first, second = both
    different = sorted(seed for seed in first if first[seed] != second.get(seed))
    print(
        f"{len(first)} seeds twice, PYTHONHASHSEED {' and '.join(HASH_SEEDS)}: {len(different)} differ",
        *different,
    )
    command = f"make replay SEEDS={options.seeds} ARGS='--orders {options.orders}'"
    figures = {"command": command, "started": started, "seeds": len(first)}
    figures |= {"different": different, "seconds": round(time.monotonic() - began)}
    write_results(Path(options.results), figures)
    return 1 if different or not first else 0


def backwards(seeds: str) -> str:
    """The same seeds in the other order: what came before in the same process must not matter."""
    return ",".join("..".join(reversed(part.split(".."))) for part in reversed(seeds.split(",")))


def digests(seeds: str, orders: str, hash_seed: str, database: str = SQLITE) -> dict[int, str]:
    """Live the days in a process of their own; seed → hash of its history."""
    command = [
        sys.executable,
        "-m",
        "tests.simulation",
        "--digests",
        "--quiet",
        "--seeds",
        seeds,
        "--orders",
        orders,
        "--database",
        database,
    ]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line.split() for line in run.stdout.splitlines()]
    found = {int(words[0]): words[1] for words in lines if len(words) == 2 and words[0].isdigit()}
    if not found:
        raise RuntimeError(f"the simulation said nothing: {run.stderr[-2000:]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
