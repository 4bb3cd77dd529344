"""Whether a frozen wallet holds up others: pays of one merchant while another's wallet never answers."""

import asyncio

from bench import load
from bench.findings import Bench, Finding, drive, over, quantile
from bench.processes import Program
from bench.shop import OTHER_TILL
from bench.systems import paymux

_FROZEN = 600
"""Pays under way at the frozen wallet: more than `transport_per_account` lets out at once."""
_TILLS = 8
_QUANTILES = {"p50": 0.50, "p99": 0.99}


def measure(bench: Bench) -> list[Finding]:
    """Alone, frozen, thawed again, in each round."""
    alone: list[list[float]] = []
    frozen: list[list[float]] = []
    with paymux(bench.folder, bench.bank, "postgres", name="bulkhead", other_path="/frozen") as program:
        for number in range(bench.sizes.rounds + 1):
            bench.say(f"bulkhead: round {number} of {bench.sizes.rounds}")
            before = drive(program, _healthy(bench, program, f"alone-{number}"))
            during = drive(program, _beside_frozen(bench, program, number))
            if number:
                alone.append(before.waits_s)
                frozen.append(during.waits_s)
    found: list[Finding] = []
    for name, part in _QUANTILES.items():
        of_alone = [quantile(waits_s, part) * 1000 for waits_s in alone]
        of_frozen = [quantile(waits_s, part) * 1000 for waits_s in frozen]
        found += [
            Finding(name=f"{name} alone", unit="ms", values=of_alone),
            Finding(name=f"{name} beside a frozen wallet", unit="ms", values=of_frozen),
            Finding(
                name=f"{name} beside a frozen wallet ÷ alone", unit="ratio", values=over(of_frozen, of_alone)
            ),
        ]
    return found


def _healthy(bench: Bench, program: Program, prefix: str) -> load.Work:
    return load.pay(program.url, count=bench.sizes.part(2).pays, concurrency=_TILLS, prefix=prefix)


async def _beside_frozen(bench: Bench, program: Program, number: int) -> load.Work:
    """Freeze, pay elsewhere, thaw: then every frozen pay must end well, too."""
    waiting = asyncio.create_task(
        load.pay(program.url, count=_FROZEN, concurrency=_FROZEN, prefix=f"frozen-{number}", till=OTHER_TILL)
    )
    await load.pause(2)
    try:
        return await _healthy(bench, program, f"beside-{number}")
    finally:
        while not waiting.done():  # those that had no connection yet come later
            await asyncio.to_thread(load.ask_wallet, f"{bench.bank.url}/thaw")
            await load.pause(0.1)
        await waiting
