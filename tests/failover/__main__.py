"""`python -m tests.failover`: take the leader away in every way; exit code 1 when a promise was broken.

An outage longer than its bound counts, too. At the end the same rig must lose something with asynchronous
replication: else it could not have seen a loss.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from pathlib import Path

from tests.failover.faults import FAULTS
from tests.failover.report import Report, say
from tests.failover.run import Options, attack, prove

FIGURES = Path(__file__).parents[2] / ".results/failover.json"
_INTERRUPTED = 130


def main() -> int:
    """Run it; return the exit code."""
    given = _arguments()
    seed = given.seed or str(random.SystemRandom().randrange(1_000_000))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end in order, as at a Ctrl-C
    report = Report(command=f"make failover ROUNDS={given.rounds} SEED={seed}")
    faults = tuple(given.faults.split(",")) if given.faults else tuple(FAULTS)
    options = Options(rounds=given.rounds, faults=faults, seed=seed, keep=given.keep)
    began_s = time.monotonic()
    try:
        asyncio.run(_run(options, report, proof_only=given.asynchronous, proof=not given.faults))
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        say(report.table())
        if given.results:
            report.write(Path(given.results), seconds=round(time.monotonic() - began_s))
    return 0 if report.good else 1


async def _run(options: Options, report: Report, *, proof_only: bool, proof: bool) -> None:
    if not proof_only:
        await attack(options, report)
    if (proof and not report.findings) or proof_only:
        await prove(options, report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="of each fault")
    parser.add_argument("--faults", default="", help=f"only these, and no proof: {', '.join(FAULTS)}")
    parser.add_argument("--async", action="store_true", dest="asynchronous", help="only the proof")
    parser.add_argument("--seed", default="", help="the dice; without one a seed is drawn and printed")
    parser.add_argument("--results", default=str(FIGURES), help="where to write the figures; empty: nowhere")
    parser.add_argument("--keep", action="store_true", help="leave data and logs where they are")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
