"""Whether a pay, a query and idleness cost more when many orders are kept.

One gateway and server for each size, alive together and measured in turns. The old orders are settled,
their statistics are there and the disk's debts are paid, as after a quiet night.
"""

import random
import time
from contextlib import ExitStack
from typing import NamedTuple

from bench import load
from bench.database import database
from bench.findings import Bench, Finding, Meter, drive, in_turns, over, quantile
from bench.processes import Program
from bench.sale import TABLES
from bench.stock import Stock
from bench.stock import load as fill
from bench.systems import paymux

_LEAST = 10_000
_USUAL = 1_000_000
"""Measured, too, when there are more."""
_IDLE_S = 20
_CALM_S = 5
"""Until what was begun before has come to its end."""
_MEMORY = "2GB"
"""What a server keeps in its own memory: a quarter of a small machine's, as PostgreSQL's documents advise."""
_ASKED = 2_000
"""Old orders that are asked for, here and there."""

_SIZES = "SELECT pg_table_size($1::text::regclass), pg_indexes_size($1::text::regclass)"


class _Place(NamedTuple):
    """One size: its gateway and what is in its database."""

    meter: Meter
    stock: Stock
    found: dict[str, list[float]]

    @property
    def program(self) -> Program:
        return self.meter.program


def measure(bench: Bench) -> list[Finding]:
    """Fill, pay and ask in turns, then look at what idleness costs."""
    most = bench.sizes.growth
    sizes = sorted({_LEAST, min(_USUAL, most), most})
    with ExitStack() as stack:
        places = [_place(bench, stack, size) for size in sizes]
        space = _space(places[-1])
        for number in range(bench.sizes.rounds + 1):
            bench.say(f"growth: round {number} of {bench.sizes.rounds}")
            for place in in_turns(places, number):
                _round(bench, place, number)
        bench.say(f"growth: {_IDLE_S} s of idleness")
        idle = _idle(places)
    return [*_figures(places), *_ratios(places), *idle, *space]


def _place(bench: Bench, stack: ExitStack, size: int) -> _Place:
    bench.say(f"growth: {size:,} orders")
    name = f"growth-{size}"
    home = bench.folder / f"{name}-server"
    home.mkdir()
    home.chmod(0o711)
    kept = stack.enter_context(database(home, shared_buffers=_MEMORY))
    program = stack.enter_context(paymux(bench.folder, bench.bank, "postgres", kept=kept, name=name))
    told = load.pay(
        program.url, count=1, concurrency=1, prefix="model", notify_url=f"{bench.bank.url}/merchant"
    )
    drive(program, told)
    time.sleep(1)  # until the merchant is told
    assert program.database is not None
    stock = fill(program.database, size)
    return _Place(Meter(program), stock, {})


def _round(bench: Bench, place: _Place, number: int) -> None:
    """Round 0 warms up."""
    sizes, url = bench.sizes.part(1 if number else 4), place.program.url
    pay_us, paid = place.meter.run(
        load.pay(url, count=sizes.pays, concurrency=sizes.concurrency, prefix=f"grown-{number}")
    )
    chosen = random.Random(number).sample(range(place.stock.size), _ASKED)
    orders = dict(map(place.stock.order, chosen))
    ask_us, asked = place.meter.run(
        load.query(url, count=sizes.queries, concurrency=sizes.concurrency, orders=orders)
    )
    if number:
        for name, value in {
            "pay CPU µs": pay_us,
            "query CPU µs": ask_us,
            "pay p50 ms": quantile(paid.waits_s, 0.5) * 1000,
            "query p50 ms": quantile(asked.waits_s, 0.5) * 1000,
        }.items():
            place.found.setdefault(name, []).append(value)


def _space(place: _Place) -> list[Finding]:
    """Bytes on disk of a settled order, by table: rows (long texts, too) and indexes."""
    assert place.program.database is not None
    found = []
    for table in TABLES:
        sizes = place.program.database.row(_SIZES, table)
        for name, size in zip(("rows", "indexes"), sizes, strict=True):
            each = size / place.stock.size
            found.append(Finding(name=f"{name} of {table}, per order", unit="bytes", values=[each]))
    total = sum(one.median for one in found)
    return [*found, Finding(name="space per order", unit="bytes", values=[total])]


def _idle(places: list[_Place]) -> list[Finding]:
    """CPU time of gateway and server without a call, in % of a core."""
    time.sleep(_CALM_S)
    before_ns, began_s = [place.program.cpu_ns() for place in places], time.monotonic()
    time.sleep(_IDLE_S)
    elapsed_s = time.monotonic() - began_s
    shares = [
        (place.program.cpu_ns() - was_ns) / 1_000_000_000 / elapsed_s * 100
        for place, was_ns in zip(places, before_ns, strict=True)
    ]
    found = [
        Finding(name=f"idle with {place.stock.size:,} orders", unit="% of a core", values=[share])
        for place, share in zip(places, shares, strict=True)
    ]
    return [*found, Finding(name="idle with the most orders", unit="% of a core", values=shares[-1:])]


def _figures(places: list[_Place]) -> list[Finding]:
    return [
        Finding(
            name=f"{name.rpartition(' ')[0]} with {place.stock.size:,} orders",
            unit=name.rpartition(" ")[2],
            values=values,
        )
        for name in places[0].found
        for place in places
        for values in [place.found[name]]
    ]


def _ratios(places: list[_Place]) -> list[Finding]:
    least, most = places[0].found, places[-1].found
    return [
        Finding(name=f"{name}, most ÷ least orders", unit="ratio", values=over(most[name], least[name]))
        for name in least
    ]
