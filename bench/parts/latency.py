"""How long a pay takes beyond the wallet's own time, at half of what the gateway can do: beside the floor's.

Calls come at a steady pace, whether answers come or not, and the wallet thinks for a while. The floor is
tried at the same pace, which is little to it, and at half of what it can do itself. What a pay costs at one
pace stands beside what it costs in a crowd (bench/parts/pays.py): there the floor, which is quicker, has more
calls in a turn of the loop and a commit.
"""

from collections import defaultdict

from bench import load
from bench.findings import Bench, Finding, Meter, full_per_s, in_turns, over, quantile
from bench.systems import paymux, plain

_SLICE_S = 3
_QUANTILES = {"p50": 0.50, "p99": 0.99}


def measure(bench: Bench) -> list[Finding]:
    """Find out what half is, then take turns."""
    folder, bank = bench.folder, bench.bank
    waits_ms: dict[str, list[float]] = defaultdict(list)
    cost_us: dict[str, list[float]] = defaultdict(list)
    with (
        paymux(folder, bank, "postgres", name="latency", path="/slow") as ours,
        plain("floor", folder, bank, "postgres", path="/slow") as floor,
    ):
        mine, bare = Meter(ours), Meter(floor)
        half, of_floor = (full_per_s(bench, meter) / 2 for meter in (mine, bare))
        turns = (("paymux", mine, half), ("floor", bare, half), ("floor at its own half", bare, of_floor))
        for number in range(1, bench.sizes.rounds + 1):
            bench.say(f"latency: round {number} of {bench.sizes.rounds}, {half:.0f} pays per s")
            for name, meter, per_s in in_turns(turns, number):
                us, waits = _slice(bench, meter, per_s, f"{name.replace(' ', '')}-{number}")
                cost_us[name].append(us)
                for quantile_name, value in waits.items():
                    waits_ms[f"{quantile_name} {name}"].append(value)
    return [
        Finding(name="half load", unit="per s", values=[half]),
        Finding(name="half load of the floor", unit="per s", values=[of_floor]),
        *(
            Finding(name=f"{name} beyond the wallet", unit="ms", values=values)
            for name, values in waits_ms.items()
        ),
        *(
            Finding(
                name=f"{one} paymux ÷ {other}",
                unit="ratio",
                values=over(waits_ms[f"{one} paymux"], waits_ms[f"{one} {other}"]),
            )
            for one in _QUANTILES
            for other in ("floor", "floor at its own half")
        ),
        *(
            Finding(name=f"pay at a steady pace, {name}", unit="CPU µs", values=values)
            for name, values in cost_us.items()
        ),
        Finding(
            name="pay at one steady pace, paymux ÷ floor",
            unit="ratio",
            values=over(cost_us["paymux"], cost_us["floor"]),
        ),
    ]


def _slice(bench: Bench, meter: Meter, per_s: float, prefix: str) -> tuple[float, dict[str, float]]:
    """CPU µs of a pay, and the milliseconds it took beyond the wallet's own time."""
    load.ask_wallet(f"{bench.bank.url}/own-ms")
    work = load.pay_at_rate(meter.program.url, per_s=per_s, seconds=_SLICE_S, prefix=prefix)
    us, done = meter.run(work)
    own_ms = float(load.ask_wallet(f"{bench.bank.url}/own-ms"))
    return us, {name: quantile(done.waits_s, part) * 1000 - own_ms for name, part in _QUANTILES.items()}
