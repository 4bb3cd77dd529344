"""`make bench`: what a pay and a query cost in CPU time, the gateway beside a conventional one and the floor.

One run, all systems alive, rounds interleaved: what disturbs the machine disturbs all of them, and the ratios
within a round stay. Only the servers' processes are counted; wallet and load are the same for all.
"""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import click

from bench import load
from bench.report import RESULTS, Sample, Sizes, show, write
from bench.systems import Program, ProgramFailed, systems, wallet

_SETTLE_S = 0.05
"""What a server still does after its last answer belongs to the slice."""


@click.command(context_settings={"show_default": True})
@click.option("--rounds", type=click.IntRange(1, 100), default=5, help="Rounds; medians are over them.")
@click.option("--pays", type=click.IntRange(1, 100_000), default=3_000, help="Pays per round and system.")
@click.option("--queries", type=click.IntRange(1, 100_000), default=6_000, help="Queries, likewise.")
@click.option("--concurrency", type=click.IntRange(1, 512), default=32, help="Tills at once.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True), help="Where databases go meanwhile.")
def main(rounds: int, pays: int, queries: int, concurrency: int, folder: Path | None) -> None:
    """Measure; exit 1 when anything but the right answer came back."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended, too
    sizes = Sizes(rounds=rounds, pays=pays, queries=queries, concurrency=concurrency)
    with tempfile.TemporaryDirectory(prefix="paymux-bench-", dir=folder) as name:
        try:
            samples = measure(Path(name), sizes)
        except ProgramFailed as error:
            sys.exit(f"the run failed: {error}")
        report = write(samples, sizes, folder=Path(name))
    click.echo(show(report))
    click.echo(f"\nwritten to {RESULTS}")


def measure(folder: Path, sizes: Sizes) -> list[Sample]:
    """Start everything, warm up, do the rounds; raises `ProgramFailed`."""
    with wallet(folder) as bank, systems(folder, bank.url) as programs:
        samples: list[Sample] = []
        for number in range(sizes.rounds + 1):
            for program in programs:
                click.echo(f"round {number} of {sizes.rounds}: {program.name}", err=True)
                found = _slice(program, sizes if number else sizes.warm_up(), number=number)
                samples += found if number else []  # round 0 warms up
        return samples


def _slice(program: Program, sizes: Sizes, *, number: int) -> list[Sample]:
    """Do one system's part of a round; raises `ProgramFailed` when an answer is not the one that is due."""
    try:
        return asyncio.run(_pays_and_queries(program, sizes, number=number))
    except load.WrongAnswer as error:
        raise program.failed(f"did not answer as it should: {error}") from error


async def _pays_and_queries(program: Program, sizes: Sizes, *, number: int) -> list[Sample]:
    """Pay, then query the same orders; the CPU time of each belongs to the server alone."""
    before_ns = program.cpu_ns()
    paid = await load.pay(
        program.url, count=sizes.pays, concurrency=sizes.concurrency, prefix=f"bench-{number}"
    )
    await asyncio.sleep(_SETTLE_S)
    between_ns = program.cpu_ns()
    asked = await load.query(program.url, count=sizes.queries, concurrency=sizes.concurrency, orders=paid.sns)
    await asyncio.sleep(_SETTLE_S)
    after_ns = program.cpu_ns()
    return [
        _sample(program, number, "pay", between_ns - before_ns, paid),
        _sample(program, number, "query", after_ns - between_ns, asked),
    ]


def _sample(program: Program, number: int, call: str, cpu_ns: int, work: load.Work) -> Sample:
    return Sample(
        system=program.name,
        round=number,
        call=call,
        cpu_us_per_call=cpu_ns / 1000 / work.calls,
        calls_per_s=work.calls / work.elapsed_s,
    )


if __name__ == "__main__":
    main()
