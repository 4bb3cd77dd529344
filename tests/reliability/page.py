"""From figures to the page: pure text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
RUNS = ("simulation", "simulation-postgresql", "replay", "mutants", "kill9", "fuzz")

Figures = Mapping[str, Mapping[str, Any]]

_HEAD = """\
# Reliability

What was done to break the promises of [the README](../README.md#what-it-promises), how often, and what came
of it. This page is written by `make reliability` from the figures the runs leave behind; every line says how
to repeat it. *At most* is the 95 % bound: a thing that was tried N times and never seen happens less often
than 3 in N.

"""


def page(figures: Figures) -> str:
    """The whole page."""
    parts = [_summary(figures)]
    makers = {"simulation": _simulation, "mutants": _mutants, "kill9": _kill9, "fuzz": _fuzz}
    parts += [make(figures) for run, make in makers.items() if run in figures]
    return _HEAD + "\n\n".join(parts) + "\n"


def _summary(figures: Figures) -> str:
    rows = ["| what | tried | broken | at most | repeat it with |", "|---|---|---|---|---|"]
    for run, engine in (("simulation", "SQLite"), ("simulation-postgresql", "PostgreSQL")):
        if sim := figures.get(run):
            what, bound = f"orders lived through in the simulation, on {engine}", sim["bound_95"]
            rows.append(_row(what, sim["orders"], sim["broken_promises"], bound, sim))
    if replay := figures.get("replay"):
        rows.append(
            _counted(
                "seeds that must be the same day twice", replay["seeds"], len(replay["different"]), replay
            )
        )
    if mutants := figures.get("mutants"):
        survivors = sum(not one["caught"] for one in mutants["mutants"])
        rows.append(
            _row("planted money bugs that must be caught", len(mutants["mutants"]), survivors, "", mutants)
        )
    if kill9 := figures.get("kill9"):
        rows.append(_counted("deaths of a real gateway process", kill9["cycles"], kill9["failures"], kill9))
    if fuzz := figures.get("fuzz"):
        executions = sum(one["executions"] for one in fuzz["targets"])
        found = sum(one["crashes"] + one["hangs"] for one in fuzz["targets"])
        rows.append(_counted("inputs to parsers of outside bytes", executions, found, fuzz))
    return "\n".join(rows)


def _counted(what: str, tried: int, broken: int, run: Mapping[str, Any]) -> str:
    return _row(what, tried, broken, f"{3 / tried:.1e}" if tried and not broken else "", run)


def _row(what: str, tried: int, broken: int, bound: str, run: Mapping[str, Any]) -> str:
    command = run["command"].partition(" TARGET=")[0]
    return f"| {what} | {tried:,} | {broken} | {bound} | `{command}` |"


def _simulation(figures: Figures) -> str:
    run = figures["simulation"]
    on_server = figures.get("simulation-postgresql")
    head, shown = ("", "SQLite"), _lived(run)
    if on_server:
        head = (*head, "PostgreSQL")
        shown = [(*row, there) for row, (_, there) in zip(shown, _lived(on_server), strict=True)]
    made = _made(run) + (_made(on_server) if on_server else "")
    return _SIMULATION + "\n" + _table(head, shown) + made


def _lived(run: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        ("days, each with a weather of its own", f"{run['days']:,}"),
        ("virtual time", f"{run['virtual_days']} days"),
        ("calls to wallets", f"{run['calls_to_wallets']:,}"),
        ("answers to tills", f"{run['answers_to_tills']:,}"),
        ("faults on the road to the wallets", f"{run['faults']:,}"),
        ("gateway processes killed", f"{run['processes_killed']:,}"),
        ("payments that became uncertain", f"{run['uncertain_payments']:,}"),
        ("of these definite within 120 s of the last fault", run["definite_within_120_s"]),
        ("the slowest of them", f"{run['slowest_s']} s"),
        ("orders a second of one core", "" if "postgresql" in run else f"{run['orders_per_core_second']:,}"),
    ]


_SIMULATION = """\
## Seeded simulation

Real flows, workers and edges over a real SQLite or PostgreSQL, both wallets of the sandbox, in one process
and in virtual time. Tills retry, double-click, change their minds, cancel and refund in parallel; merchants'
servers are deaf or rude; intruders forge and replay; an operator ends what no wallet would tell. One to three
gateway processes with clocks of their own die at named points or anywhere, are replaced politely, and come
back. Requests are lost, late (up to 55 s) or doubled, replies lost, late, garbled, mixed up or forged;
wallets are out for minutes; the disk is slow or full. Where a server keeps the orders, each process has
connections of its own, which end with it; they are cut before a statement arrives or after it was committed,
or fall silent, and the server is away. Which of these a day has, and how much, its seed decides.

Checkers ask nothing of the gateway: they read the bytes on the road, every row as the database commits it,
every answer, and the wallets' books. Safety is checked all the time; when the faults are over, everything
must come to a definite end.
"""


def _mutants(figures: Figures) -> str:
    run = figures["mutants"]
    rows = [
        (f"`{one['name']}`", one["why"], one["by"] if one["caught"] else "**survived**", f"{one['orders']:,}")
        for one in run["mutants"]
    ]
    text = """\
## Planted bugs

A checker that sees nothing passes every day. So each of these bugs is planted in a copy of the source, and
the simulation has to find it; B1 to B26 are ways in which other gateways lost money. *After* is the number of
orders lived through until then; each mutant may live through """
    text += f"{run['orders_max']:,}.\n"
    return text + "\n" + _table(("bug", "what it does", "caught by", "after"), rows) + _made(run)


def _kill9(figures: Figures) -> str:
    run = figures["kill9"]
    rows = [(f"`{kind}`", f"{count:,}") for kind, count in run["kinds"].items()]
    text = f"""\
## kill -9

A real `paymux serve` on real files and sockets dies while tills trade, and a new one takes over:
{run["orders"]:,} orders, {run["answers"]:,} answers. Nothing acknowledged may be lost, nothing paid or
refunded twice, both sets of books must be equal, every merchant told, and no secret may stand in a log or a
database file.
"""
    return text + "\n" + _table(("death", "times"), rows) + _made(run)


def _fuzz(figures: Figures) -> str:
    run = figures["fuzz"]
    rows = [
        (
            one["name"],
            f"{one['executions']:,}",
            str(one["crashes"]),
            str(one["hangs"]),
            f"{one['per_second']:,}",
        )
        for one in run["targets"]
    ]
    text = """\
## Fuzzing

Coverage-guided inputs to everything that reads bytes from outside. A crash is any exception that is not that
parser's own refusal, and a wallet's reply that is believed without its signature, number and amount; a hang
is more than a second.
"""
    return text + "\n" + _table(("parser", "inputs", "crashes", "hangs", "a second"), rows) + _made(run)


def _table(head: tuple[str, ...], rows: object) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]  # type: ignore[attr-defined]  # rows of texts
    return "\n".join(lines)


def _made(run: Mapping[str, Any]) -> str:
    seconds = run["seconds"]
    took = f"{seconds} s" if seconds < 300 else f"{round(seconds / 60)} minutes"
    engine = f"PostgreSQL {run['postgresql']}" if "postgresql" in run else f"SQLite {run['sqlite']}"
    return f"\n\nMade {run['started'][:10]} in {took}, Python {run['python']}, {engine}."
