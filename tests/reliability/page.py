"""From figures to the page: pure text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
RUNS = (
    "simulation",
    "simulation-postgresql",
    "replay",
    "mutants",
    "kill9",
    "kill9-postgres",
    "contention",
    "failover",
    "fuzz",
)
"""Each leaves its figures in a file of this name; what was not run is left out."""

Run = Mapping[str, Any]
Figures = Mapping[str, Run]

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
    if simulation := figures.get("simulation"):
        parts.append(_simulation(simulation, figures.get("simulation-postgresql")))
    parts += [make(figures[run]) for run, make in _MAKERS.items() if run in figures]
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
    if kill9 := figures.get("kill9-postgres"):
        what = "deaths of a gateway, or its PostgreSQL"
        rows.append(_counted(what, kill9["cycles"], kill9["failures"], kill9))
    if contention := figures.get("contention"):
        rows += _contended(contention)
    if failover := figures.get("failover"):
        what = "leaders lost of a PostgreSQL cluster"
        rows.append(_counted(what, len(failover["rounds"]), failover["failures"], failover))
    if fuzz := figures.get("fuzz"):
        executions = sum(one["executions"] for one in fuzz["targets"])
        found = sum(one["crashes"] + one["hangs"] for one in fuzz["targets"])
        rows.append(_counted("inputs to parsers of outside bytes", executions, found, fuzz))
    return "\n".join(rows)


def _contended(run: Run) -> list[str]:
    """One row for work, one for money; only what another wanted at the same moment counts as tried."""
    rows = []
    if claims := run.get("claims"):
        tried = claims["long"]["contended"] + claims["short"]["contended"]
        rows.append(_counted("claims of work that others wanted, too", tried, claims["failures"], run))
    if refunds := run.get("refunds"):
        tried = refunds["tally"]["contended"]
        rows.append(_counted("refunds that several tills fought for", tried, refunds["failures"], run))
    return rows


def _counted(what: str, tried: int, broken: int, run: Run) -> str:
    return _row(what, tried, broken, f"{3 / tried:.1e}" if tried and not broken else "", run)


def _row(what: str, tried: int, broken: int, bound: str, run: Run) -> str:
    command = run["command"].partition(" TARGET=")[0]
    return f"| {what} | {tried:,} | {broken} | {bound} | `{command}` |"


def _simulation(run: Run, on_server: Run | None = None) -> str:
    head, shown = ("", "SQLite"), _lived(run)
    if on_server:
        head = (*head, "PostgreSQL")
        shown = [(*row, there) for row, (_, there) in zip(shown, _lived(on_server), strict=True)]
    made = _made(run) + (_made(on_server) if on_server else "")
    return _SIMULATION + "\n" + _table(head, shown) + made


def _lived(run: Run) -> list[tuple[str, ...]]:
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


def _mutants(run: Run) -> str:
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


def _kill9(run: Run) -> str:
    text = f"""\
## kill -9

A real `paymux serve` on real files and sockets dies while tills trade, and a new one takes over:
{run["orders"]:,} orders, {run["answers"]:,} answers. Nothing acknowledged may be lost, nothing paid or
refunded twice, both sets of books must be equal, every merchant told, and no secret may stand in a log or a
database file.
"""
    return text + "\n" + _deaths(run) + _made(run)


def _kill9_on_a_server(run: Run) -> str:
    text = f"""\
## kill -9 on PostgreSQL

The same with a PostgreSQL server for memory, its disk as safe as by default, and deaths of the server, too:
{run["orders"]:,} orders, {run["answers"]:,} answers. The same must hold.
"""
    return text + "\n" + _deaths(run) + _made(run)


def _deaths(run: Run) -> str:
    rows = [(f"`{kind}`", f"{count:,}") for kind, count in run["kinds"].items()]
    return _table(("death", "times"), rows)


def _contention(run: Run) -> str:
    text = """\
## Contention

Processes that share a PostgreSQL fight for the same things at the same time. A run in which they hardly met
counts as broken.
"""
    parts = [text]
    if claims := run.get("claims"):
        parts.append(_claims(claims))
    if refunds := run.get("refunds"):
        parts.append(_refunds(refunds))
    return "\n".join(parts) + _made(run)


def _claims(half: Run) -> str:
    text = f"""\
**Work.** {half["processes"]} processes, each with a store of its own, see the same due rows, the oldest
first, and claim a few at a time. Under long leases every row must go to one of them, once. Under short ones
work is late, given back, put anew, or left: then it must go on to another, and what its former owner still
does must not touch it. A trigger in the database writes down what really became of each row; what the
processes were told is held against it.
"""
    names = (
        ("rows", "rows"),
        ("claims", "claims"),
        ("of these wanted by another at that moment", "contended"),
        ("taken over when a lease had run out", "reclaimed"),
        ("deeds of former owners, all without effect", "too_late"),
    )
    rows = [(text, *(f"{half[lease][name]:,}" for lease in ("long", "short"))) for text, name in names]
    return text + "\n" + _table(("", "long leases", "short leases"), rows) + "\n"


def _refunds(half: Run) -> str:
    tally = half["tally"]
    text = f"""\
**Money.** Two gateways, {half["processes"]} processes of `paymux serve` in all, one sandbox. Upon each paid
order several tills fall at once, neighbours through different gateways: one refund number three times,
several that exceed the payment together, one number for two amounts, refunds across a cancel; wallets that
refuse, that are slow, that do it and say they did not. At the wallets each number must be one refund at most,
never more must go back than was paid, what each till was told must be so, and both sets of books must be
equal, to the fen.
"""
    names = (
        ("orders", "sales"),
        ("refund numbers", "refunds"),
        ("of these met under way at the other gateway, or meeting one", "contended"),
        ("calls", "calls"),
        ("of these that met a refund under way at the other gateway", "crossed"),
        ("refunds made", "made"),
        ("calls that were told of a refund another call had made", "joined"),
        ("calls that found the money spoken for", "refused"),
        ("cancels that won", "cancels_won"),
    )
    rows = [(text, f"{tally[name]:,}") for text, name in names]
    rows += [("paid", _yuan(tally["fen_paid"])), ("given back", _yuan(tally["fen_back"]))]
    return text + "\n" + _table(("", ""), rows)


def _yuan(fen: int) -> str:
    return f"{fen // 100:,}.{fen % 100:02} CNY"


def _failover(run: Run) -> str:
    text = f"""\
## Failover

Three PostgreSQL servers, one of them the leader, one its synchronous standby, kept by Patroni; four gateways'
stores write through all of it while the leader is taken away. {run["acknowledged"]:,} writes were
acknowledged; each must be there afterwards, once and as a whole, and none that was refused.
[high-availability.md](high-availability.md) says how to set it up, and what each of these means. With
asynchronous replication the same rig must lose something, else it could not see a loss: it lost
{run["proof_lost"]} acknowledged writes.
"""
    faults = dict.fromkeys(one["fault"] for one in run["rounds"])
    rows = [_fault(fault, [one for one in run["rounds"] if one["fault"] == fault]) for fault in faults]
    head = ("fault", "rounds", "nobody could write for", "the gateway hit worst", "acknowledged", "in doubt")
    return text + "\n" + _table(head, rows) + _made(run)


def _fault(fault: str, rounds: list[Run]) -> tuple[str, ...]:
    spreads = [_spread([one[name] for one in rounds]) for name in ("outage_ms", "slowest_ms")]
    sums = [f"{sum(one[name] for one in rounds):,}" for name in ("acknowledged", "unknown")]
    return (f"`{fault}`", str(len(rounds)), *spreads, *sums)


def _spread(times_ms: list[int]) -> str:
    """Median and range, in seconds."""
    ordered = sorted(times_ms)
    median, least, most = (f"{at / 1000:.1f}" for at in (ordered[len(ordered) // 2], ordered[0], ordered[-1]))
    return f"{median} s ({least} to {most})"


def _fuzz(run: Run) -> str:
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


def _made(run: Run) -> str:
    seconds = run["seconds"]
    took = f"{seconds} s" if seconds < 300 else f"{round(seconds / 60)} minutes"
    return f"\n\nMade {run['started'][:10]} in {took}, Python {run['python']}, {_engine(run)}."


def _engine(run: Run) -> str:
    """The database, with its version as far as the run noted it."""
    if version := run.get("postgresql") or run.get("versions", {}).get("postgresql"):
        return f"PostgreSQL {version}"
    return "PostgreSQL" if "--server" in run["command"] else f"SQLite {run['sqlite']}"


_MAKERS = {
    "mutants": _mutants,
    "kill9": _kill9,
    "kill9-postgres": _kill9_on_a_server,
    "contention": _contention,
    "failover": _failover,
    "fuzz": _fuzz,
}
