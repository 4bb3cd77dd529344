"""What a pay and a query cost in CPU time: the gateway, a conventional one and the floor on both engines.

All are alive during the whole part and take turns within each round; one round warms up and is not counted.
pgbench takes its turn with the same rows, and no gateway at all.
"""

from collections import defaultdict
from contextlib import ExitStack

from bench import load, sale
from bench.findings import Bench, Finding, Meter, in_turns, over
from bench.pgbench import Pgbench, pgbench
from bench.processes import Program
from bench.systems import Engine, paymux, plain

ENGINES: tuple[Engine, ...] = ("sqlite", "postgres")
_SLOW = 8
"""The conventional gateway gets an eighth of the calls."""

_Costs = dict[str, list[float]]


def measure(bench: Bench) -> list[Finding]:
    """Start everything, warm up, do the rounds."""
    costs: _Costs = defaultdict(list)
    with ExitStack() as stack:
        programs = _programs(bench, stack)
        of_paymux = next(one for one in programs if one.name == "paymux-postgres")
        for program in programs:
            _round(bench, Meter(program), defaultdict(list), number=0)
        assert of_paymux.database is not None
        limit = stack.enter_context(
            pgbench(bench.folder, sale.newest(of_paymux.database), of_paymux.database)
        )
        memory = [of_paymux.rss_mb()]
        meters = [Meter(program) for program in programs]
        for number in range(1, bench.sizes.rounds + 1):
            bench.say(f"pays: round {number} of {bench.sizes.rounds}")
            for meter in in_turns(meters, number):
                _round(bench, meter, costs, number=number)
            _engine_round(bench, limit, costs)
            memory.append(of_paymux.rss_mb())
    return [*_figures(costs), *_ratios(costs), *_memory(memory)]


def _programs(bench: Bench, stack: ExitStack) -> list[Program]:
    folder, bank = bench.folder, bench.bank
    return [
        stack.enter_context(system)
        for engine in ENGINES
        for system in (
            paymux(folder, bank, engine),
            plain("floor", folder, bank, engine),
            plain("conventional", folder, bank, engine),
        )
    ]


def _round(bench: Bench, meter: Meter, costs: _Costs, *, number: int) -> None:
    """Pay, then ask for the same orders; round 0 does a tenth."""
    name = meter.program.name
    divisor = (_SLOW if name.startswith("conventional") else 1) * (1 if number else 10)
    sizes, url = bench.sizes.part(divisor), meter.program.url
    calls = {"concurrency": sizes.concurrency}
    pay_us, paid = meter.run(load.pay(url, count=sizes.pays, prefix=f"pay-{number}", **calls))
    paid_own_us = meter.own_us
    ask_us, asked = meter.run(load.query(url, count=sizes.queries, orders=paid.sns, **calls))
    costs[f"pay {name}"].append(pay_us)
    costs[f"query {name}"].append(ask_us)
    if meter.program.database:
        costs[f"pay {name}, of it the database"].append(pay_us - paid_own_us)
        costs[f"query {name}, of it the database"].append(ask_us - meter.own_us)
    costs[f"pays per s {name}"].append(paid.calls / paid.elapsed_s)
    costs[f"queries per s {name}"].append(asked.calls / asked.elapsed_s)


def _engine_round(bench: Bench, limit: Pgbench, costs: _Costs) -> None:
    for kind in ("plain", "batch"):
        used = limit.cost(kind, sales=bench.sizes.pays)
        costs[f"pay pgbench {kind}"].append(used.cpu_ns / 1000 / bench.sizes.pays)
        costs[f"pays per s pgbench {kind}"].append(bench.sizes.pays / used.elapsed_s)


def _figures(costs: _Costs) -> list[Finding]:
    return [
        Finding(name=name, unit="per s" if " per s " in name else "CPU µs", values=values)
        for name, values in sorted(costs.items())
    ]


def _ratios(costs: _Costs) -> list[Finding]:
    pairs = [
        *(
            (f"{call} paymux-{engine}", f"{call} {other}-{engine}")
            for engine in ENGINES
            for call in ("pay", "query")
            for other in ("floor", "conventional")
        ),
        *(("pay paymux-postgres", f"pay pgbench {kind}") for kind in ("plain", "batch")),
        *((f"pay {one}-postgres", "pay pgbench plain") for one in ("floor", "conventional")),
    ]
    return [
        Finding(name=f"{above} ÷ {below}", unit="ratio", values=over(costs[above], costs[below]))
        for above, below in pairs
    ]


def _memory(memory: list[float]) -> list[Finding]:
    return [
        Finding(name="memory paymux-postgres after the warm-up", unit="MB", values=memory[:1]),
        Finding(name="memory paymux-postgres at the end", unit="MB", values=memory[-1:]),
    ]
