"""Memory of a gateway over very many pays: it must stay flat."""

from bench import load
from bench.findings import Bench, Finding, Skipped, drive
from bench.systems import paymux

_LOOKS = 10


def measure(bench: Bench) -> list[Finding]:
    """Look at the beginning, then after each tenth."""
    count = bench.sizes.endurance
    if not count:
        raise Skipped("takes long; --endurance 1000000 asks for it")
    with paymux(bench.folder, bench.bank, "postgres", name="endurance") as program:
        drive(program, load.pay(program.url, count=1_000, concurrency=32, prefix="first"))
        memory = [program.rss_mb()]
        for number in range(1, _LOOKS + 1):
            pays = max(count // _LOOKS, 1)
            done = drive(program, load.pay(program.url, count=pays, concurrency=32, prefix=f"long-{number}"))
            memory.append(program.rss_mb())
            rate = done.calls / done.elapsed_s
            bench.say(f"endurance: {number * pays:,} pays, {memory[-1]:.1f} MB, {rate:.0f} pays per s")
    return [
        Finding(name="memory after 1,000 pays", unit="MB", values=memory[:1]),
        Finding(name=f"memory at each tenth of {count:,} pays", unit="MB", values=memory[1:]),
        Finding(name="memory after all pays", unit="MB", values=memory[-1:]),
    ]
