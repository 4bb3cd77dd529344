"""`make bench`: what paymux costs, beside a conventional gateway, the floor and PostgreSQL's own pgbench.

One run, systems in turns within each round: what disturbs the machine disturbs all of them, and the ratios
within a round stay. Servers and their databases are counted; wallet and load are the same for all.
"""

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from bench.findings import Bench, Finding, Part, Sizes, Skipped
from bench.parts import bulkhead, endurance, growth, latency, pays, rsa, workers, writes
from bench.processes import ProgramFailed
from bench.report import RESULTS, Noise, show, write
from bench.systems import wallet

PARTS: dict[str, Part] = {
    "pays": pays.measure,
    "rsa": rsa.measure,
    "latency": latency.measure,
    "bulkhead": bulkhead.measure,
    "writes": writes.measure,
    "growth": growth.measure,
    "workers": workers.measure,
    "endurance": endurance.measure,
}


def _chosen(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    names = value.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise click.BadParameter(f"no such part: {', '.join(unknown)}")
    return names


@click.command(context_settings={"show_default": True})
@click.option("--parts", default=",".join(PARTS), callback=_chosen, help="What to measure.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, help="Rounds; medians are over them.")
@click.option("--pays", type=click.IntRange(32, 100_000), default=2_000, help="Pays per round and system.")
@click.option("--queries", type=click.IntRange(32, 100_000), default=4_000, help="Queries, likewise.")
@click.option("--concurrency", type=click.IntRange(1, 512), default=32, help="Tills at once.")
@click.option("--growth", type=click.IntRange(10_001), default=1_000_000, help="Most orders kept.")
@click.option("--endurance", type=click.IntRange(0), default=0, help="Pays in a row; 0: leave it out.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where databases go meanwhile.")
def main(parts: Sequence[str], folder: Path | None, **given: int) -> None:
    """Measure; exit 1 when anything but the right answer came back."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended, too
    sizes, noise = Sizes(**given), Noise()
    with tempfile.TemporaryDirectory(prefix="paymux-bench-", dir=folder) as name:
        place = Path(name)
        place.chmod(0o711)  # PostgreSQL runs as somebody else when we are root
        try:
            found, skipped = measure(place, sizes, parts)
        except ProgramFailed as error:
            sys.exit(f"the run failed: {error}")
        report = write(found, skipped, sizes, folder=place, noise=noise)
    click.echo(show(report))
    click.echo(f"\nwritten to {RESULTS}")


def measure(
    folder: Path, sizes: Sizes, parts: Sequence[str]
) -> tuple[dict[str, list[Finding]], dict[str, str]]:
    """Do one part after the other; return what each found, and why others were left out."""
    found: dict[str, list[Finding]] = {}
    skipped: dict[str, str] = {}
    with wallet(folder) as bank:
        for part in parts:
            home = folder / part
            home.mkdir()
            home.chmod(0o711)
            try:
                found[part] = PARTS[part](Bench(home, bank, sizes))
            except Skipped as reason:
                skipped[part] = str(reason)
    return found, skipped


if __name__ == "__main__":
    main()
