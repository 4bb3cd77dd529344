"""`python -m tests.contention`: processes fight for work and money; exit code 1 when anything is wrong."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.contention.claims import contend_for_claims
from tests.contention.planted import PLANTED, run_planted
from tests.contention.refunds import contend_for_refunds
from tests.contention.report import Report, say
from tests.harness.postgres import Server, private_server, version_of

FIGURES = Path(__file__).parents[2] / ".results/contention.json"
_STORIES_MAX = 5


def main() -> int:
    """Run it; return the exit code."""
    given = _arguments()
    seed = given.seed or str(random.SystemRandom().randrange(1_000_000))
    if given.plant:
        return run_planted(given.plant, seed=seed)
    report = Report(
        command=f"make contend CLAIMS={given.claims} REFUNDS={given.refunds} SEED={seed}", seed=seed
    )
    say(report.command)
    began_s = time.monotonic()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="paymux-contention-"))
    with private_server(durable=not given.brisk) as server:
        report.postgresql = version_of(server.dsn)
        asyncio.run(_contend(server, folder, report, given))
    say(report.table())
    for finding in report.findings[:_STORIES_MAX]:
        say(f"{finding.breach.upper()} {finding.about}: {finding.text}")
    if given.figures:
        report.write(Path(given.figures), seconds=round(time.monotonic() - began_s))
    if report.findings:
        say(f"journals and logs are in {folder}")
        return 1
    if not given.folder:
        shutil.rmtree(folder)
    return 0


async def _contend(server: Server, folder: Path, report: Report, given: argparse.Namespace) -> None:
    if given.claims:
        report.claims = await contend_for_claims(server, folder, rows=given.claims, seed=report.seed)
        say(f"claims: {len(report.claims.findings)} findings")
    if given.refunds:
        report.refunds = await contend_for_refunds(
            server, folder, refunds=given.refunds, seed=report.seed, brisk=given.brisk
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.contention", description=__doc__)
    parser.add_argument("--claims", type=int, default=110_000, help="due rows; 0: leave this half out")
    parser.add_argument("--refunds", type=int, default=12_000, help="refund numbers; 0: leave this half out")
    parser.add_argument("--seed", default="", help="the dice; without one a seed is drawn and printed")
    parser.add_argument("--brisk", action="store_true", help="quick server, quick wallets, no crews")
    parser.add_argument("--figures", default=str(FIGURES), help="where to write the figures; empty: nowhere")
    parser.add_argument("--folder", type=Path, help="where to keep journals and logs meanwhile")
    parser.add_argument(
        "--plant", choices=sorted(PLANTED), help="run against a copy of the gateway with this fault"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
