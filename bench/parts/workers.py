"""Two workers beside one: what they can do, and what a pay costs them.

Wallet, tills and database want the same cores. So there are more figures beside pays per second: the CPU
time of a pay with one worker divided by that with two, doubled, which is the gain when cores are free.

With so many tills one worker does best: with fewer it has less company for its batches, with more it gets
slower. Of two workers each has half the company.
"""

from bench import load
from bench.findings import Bench, Finding, Meter, Skipped, in_turns, over
from bench.processes import finish, module
from bench.systems import paymux

_TILLS = 128


def measure(bench: Bench) -> list[Finding]:
    """Take turns between a gateway with one worker and one with two."""
    if "--workers" not in finish(module("paymux", "serve", "--help")):
        raise Skipped("`paymux serve` knows no --workers")
    per_s: dict[int, list[float]] = {1: [], 2: []}
    cost_us: dict[int, list[float]] = {1: [], 2: []}
    own_us: dict[int, list[float]] = {1: [], 2: []}
    with (
        paymux(bench.folder, bench.bank, "postgres", name="workers-1", workers=1) as one,
        paymux(bench.folder, bench.bank, "postgres", name="workers-2", workers=2) as two,
    ):
        meters = {1: Meter(one), 2: Meter(two)}
        for number in range(bench.sizes.rounds + 1):
            bench.say(f"workers: round {number} of {bench.sizes.rounds}")
            for workers, meter in in_turns(meters.items(), number):
                calls = load.pay(
                    meter.program.url,
                    count=bench.sizes.part(2).pays,
                    concurrency=_TILLS,
                    prefix=f"workers-{number}",
                )
                us, done = meter.run(calls)
                if number:
                    cost_us[workers].append(us)
                    own_us[workers].append(meter.own_us)
                    per_s[workers].append(done.calls / done.elapsed_s)
    return [
        *(Finding(name=f"pays with {n} workers", unit="per s", values=values) for n, values in per_s.items()),
        *(
            Finding(name=f"pay with {n} workers", unit="CPU µs", values=values)
            for n, values in cost_us.items()
        ),
        Finding(name="pays per s, two workers ÷ one", unit="ratio", values=over(per_s[2], per_s[1])),
        *(
            Finding(
                name=f"two workers ÷ one, {name}",
                unit="ratio",
                values=[2 * one for one in over(us[1], us[2])],
            )
            for name, us in (
                ("if cores were free", cost_us),
                ("if they were free and the database elsewhere", own_us),
            )
        ),
    ]
