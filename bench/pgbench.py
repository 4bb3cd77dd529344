"""The engine's own limit: PostgreSQL's pgbench writes the two commits of a sale, and nobody else takes part.

`plain`: the statements of paymux's plain path, prepared, two transactions for each sale. `batch`: paymux's
own statement for many changes, twice for 32 sales; the server makes the rows itself, so that not even
sending them is counted.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from bench.database import Database, database
from bench.processes import ProgramFailed, environment
from bench.sale import Sale, Statement
from paymux.storage.batch import statement
from paymux.storage.queries import POSTGRES_SQL
from paymux.storage.rows import Row, order_row
from tests.harness.postgres import installations

BATCH = 32
_CLIENTS = 32
_LONG = 64
"""Texts from here on are sent as parameters, as a gateway sends them; what is shorter stands in the SQL."""
_GONE_S = 10
_numbers = count(1)


class Used(NamedTuple):
    """What one run of pgbench took."""

    cpu_ns: int
    elapsed_s: float


class Pgbench:
    """pgbench over a database of its own with paymux's schema."""

    def __init__(self, program: Path, kept: Database, folder: Path, sale: Sale) -> None:
        self._program = program
        self._database = kept
        self._texts = {f"text_{n}": text for n, text in enumerate(_long_texts(sale))}
        self._scripts = {"plain": folder / "plain.sql", "batch": folder / "batch.sql"}
        self._scripts["plain"].write_text(_plain(sale, self._texts))
        self._scripts["batch"].write_text(_batch(sale, self._texts))

    def cost(self, kind: str, *, sales: int, clients: int = _CLIENTS) -> Used:
        """CPU time and time of so many sales; connecting, preparing and leaving are taken out.

        That is done by a short run and a longer one: the difference is that of sales alone.
        """
        clients, size = (clients, 1) if kind == "plain" else (1, BATCH)
        warm = 10
        short = self._run(kind, clients=clients, transactions=warm)
        many = max(sales // (clients * size), 1)
        long = self._run(kind, clients=clients, transactions=warm + many)
        scale = sales / (many * clients * size)
        return Used(int((long.cpu_ns - short.cpu_ns) * scale), (long.elapsed_s - short.elapsed_s) * scale)

    def _run(self, kind: str, *, clients: int, transactions: int) -> Used:
        base = 7_000_000_000_000_000 + next(_numbers) * 1_000_000_000_000
        words = ["-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-t", str(transactions)]
        given = {"base": str(base), "n": "0", **self._texts}
        words += [word for name, text in given.items() for word in ("-D", f"{name}={text}")]
        before_ns, began_s = self._database.cpu_ns(), time.perf_counter()
        with subprocess.Popen(  # noqa: S603 - the arguments are ours
            [self._program, *words, "-f", self._scripts[kind], self._database.dsn],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment() | {"PGOPTIONS": "-c plan_cache_mode=force_generic_plan -c jit=off"},
        ) as process:
            assert process.stdout is not None
            told = process.stdout.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        elapsed_s = time.perf_counter() - began_s
        if process.returncode or "number of failed transactions: 0 " not in told:
            raise ProgramFailed(f"pgbench {kind}\n{told[-4_000:]}")
        self._wait_until_left()
        own_ns = int((usage.ru_utime + usage.ru_stime) * 1_000_000_000)
        return Used(self._database.cpu_ns() - before_ns + own_ns, elapsed_s)

    def _wait_until_left(self) -> None:
        until_s = time.monotonic() + _GONE_S
        while not self._database.is_left() and time.monotonic() < until_s:
            time.sleep(0.005)


@contextmanager
def pgbench(folder: Path, sale: Sale, schema_of: Database) -> Iterator[Pgbench]:
    """Get it ready: a server with the schema of a gateway's. Raises `ProgramFailed` without pgbench."""
    home = folder / "pgbench"
    home.mkdir()
    home.chmod(0o711)
    with ExitStack() as stack:
        kept = stack.enter_context(database(home))
        dumped = _called(["pg_dump", "--schema-only", schema_of.dsn])
        schema = home / "schema.sql"
        schema.write_text(dumped)
        _called(["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(schema), kept.dsn])
        yield Pgbench(program("pgbench"), kept, home, sale)


def program(name: str) -> Path:
    """Find one of PostgreSQL's programs; raises `ProgramFailed`."""
    for folder in installations():
        if (folder / name).exists():
            return folder / name
    if found := shutil.which(name):
        return Path(found)
    raise ProgramFailed(f"{name} is not installed: it comes with PostgreSQL")


def _called(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603 - the arguments are ours
        [program(command[0]), *command[1:]], env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ProgramFailed(f"{command[0]}: {done.stderr[-4_000:]}")
    return done.stdout


# ---------------------------------------------------------------- scripts


def _plain(sale: Sale, texts: dict[str, str]) -> str:
    """One sale, two transactions, statement by statement."""
    lines = [r"\set n :n + 1", r"\set sn :base + :client_id * 1000000000 + :n"]
    for commit in (sale.intent(), sale.outcome()):
        lines += ["BEGIN;", *(_filled(one, sale, texts) for one in commit), "COMMIT;"]
    return "\n".join(lines) + "\n"


def _batch(sale: Sale, texts: dict[str, str]) -> str:
    """32 sales, two statements which commit by themselves."""
    intent = {
        "new_orders": [_rows_of("orders", [order_row(sale.first)], sale, texts)],
        "new_due": [_rows_of("due", [sale.due], sale, texts)],
    }
    outcome = {
        "next_orders": [
            _rows_of("orders", [order_row(sale.order)], sale, texts),
            f"array_fill(1::bigint, ARRAY[{BATCH}])",
            f"array_fill('CREATED'::text, ARRAY[{BATCH}])",
        ],
        "new_movements": [_rows_of("transactions", [sale.movement], sale, texts)],
        "done": [_rows_of("due", [sale.due], sale, texts)],
        "history": [_rows_of("events", sale.events, sale, texts)],
    }
    lines = [rf"\set n :n + {BATCH}", r"\set sn :base + :n"]
    return "\n".join([*lines, _saved(intent), _saved(outcome)]) + "\n"


def _saved(parts: dict[str, list[str]]) -> str:
    """A batch's statement with these arrays for its parts."""
    arrays = [array for given in parts.values() for array in given]
    sql = statement(tuple(parts))
    return re.sub(r"\$(\d+)::\w+\[\]", lambda match: arrays[int(match[1]) - 1], sql) + ";"


def _rows_of(table: str, of_one: list[Row], sale: Sale, texts: dict[str, str]) -> str:
    """An array of a table's rows: of each of 32 sales, these."""
    sn = "(:sn::bigint + g)::text"
    made = [
        f"SELECT ROW({', '.join(_value(one, sale, texts, sn=sn) for one in row)})::{table}"  # noqa: S608 - our own rows
        f" FROM generate_series(0, {BATCH - 1}) AS g"
        for row in of_one
    ]
    return f"ARRAY({' UNION ALL '.join(made)})"


def _filled(one: Statement, sale: Sale, texts: dict[str, str]) -> str:
    query, row = one
    sql = POSTGRES_SQL[query]
    return re.sub(r"\$(\d+)", lambda match: _value(row[int(match[1]) - 1], sale, texts, sn=":sn"), sql) + ";"


def _value(value: object, sale: Sale, texts: dict[str, str], *, sn: str) -> str:
    """A parameter in SQL: what is unique to a sale grows from its number and stays as long as it was."""
    order = sale.order
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if text in {order.sn, order.client_sn}:
        return sn
    for name, known in texts.items():
        if text == known:
            return f":{name}::text"
    if text == order.trade_no or text in {event[3] for event in sale.events}:
        return f"({sn}::text || '{text[len(order.sn) :]}')"
    return "'" + text.replace("'", "''") + "'"


def _long_texts(sale: Sale) -> list[str]:
    found = [value for event in sale.events for value in event if isinstance(value, str)]
    return [text for text in dict.fromkeys(found) if len(text) >= _LONG]
