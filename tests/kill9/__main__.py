"""`python -m tests.kill9`: kill the gateway so often under load; exit code 1 when a promise was broken."""

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

from tests.kill9.deaths import KINDS
from tests.kill9.plan import ERA_CYCLES, ON_A_SERVER
from tests.kill9.planted import PLANTED, run_planted
from tests.kill9.report import say
from tests.kill9.run import Options, Run

FIGURES = Path(__file__).parents[2] / ".results/kill9.json"


def main() -> int:
    """Run it; return the exit code."""
    given = _arguments()
    seed = given.seed or str(random.SystemRandom().randrange(1_000_000))
    if given.plant:
        return run_planted(given.plant, seed=seed)
    command = f"make kill9 CYCLES={given.cycles} SEED={seed}" + (" ARGS=--server" if given.server else "")
    say(command)
    began_s = time.monotonic()
    options = Options(
        cycles=given.cycles,
        seed=seed,
        command=command,
        era_cycles=given.era,
        kinds=tuple(given.kinds.split(",")) if given.kinds else tuple(ON_A_SERVER) if given.server else (),
        server=given.server,
        brisk=given.brisk,
        glance_every=given.glance,
        rest_s=given.rest,
        folder=given.folder,
    )
    report = asyncio.run(Run(options).run())
    say(report.table())
    if given.figures:
        figures = Path(given.figures)
        if given.server and figures == FIGURES:
            figures = figures.with_name("kill9-postgres.json")
        report.write(figures, seconds=round(time.monotonic() - began_s))
    return 1 if report.findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kill9", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1_000, help="deaths in all")
    parser.add_argument("--seed", default="", help="the dice; without one a seed is drawn and printed")
    parser.add_argument("--era", type=int, default=ERA_CYCLES, help="deaths per database")
    parser.add_argument("--kinds", default="", help=f"only these deaths: {', '.join(KINDS)}")
    parser.add_argument("--server", action="store_true", help="on a PostgreSQL server instead of SQLite")
    parser.add_argument("--brisk", action="store_true", help="only sales that are decided within seconds")
    parser.add_argument("--glance", type=int, default=5, help="deaths between two looks at the books")
    parser.add_argument("--rest", type=int, default=0, help="seconds in which an era must come to rest")
    parser.add_argument("--folder", type=Path, help="where to keep the data meanwhile")
    parser.add_argument("--figures", default=str(FIGURES), help="where to write the figures; empty: nowhere")
    parser.add_argument(
        "--plant", choices=sorted(PLANTED), help="run against a copy of the gateway with this fault"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
