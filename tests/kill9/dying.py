"""Work of child processes that die, or trouble others, in places no signal from outside hits by itself.

Each runs the true `paymux` command; only the knife is ours.
"""

import os
import signal
import sqlite3
import sys
import time
from itertools import count

from tests.harness.children import command


def at_statement(number: int, *arguments: str) -> None:
    """Die just before the process's `number`-th SQL statement: between any two, within any transaction."""
    connect, seen = sqlite3.connect, count(1)

    def before_each(_statement: str) -> None:
        if next(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(*given: object, **named: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*given, **named)  # type: ignore[call-overload]  # handed on as it came
        connection.set_trace_callback(before_each)
        return connection

    sqlite3.connect = counted  # type: ignore[assignment]  # this process lives for nothing else
    command(*arguments)


def checkpointing(pages: int, *arguments: str) -> None:
    """Copy the log back into the database after every few pages, so that a kill is likely to meet it."""
    from paymux.storage import sqlite  # noqa: PLC0415 - only children need it

    sqlite._CHECKPOINT_PAGES = pages
    command(*arguments)


def hold_lock(database: str, hold_ms: int) -> None:
    """Be the other writer: somebody's tool that keeps the database locked for so long."""
    connection = sqlite3.connect(database, timeout=10, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    sys.stdout.write("held\n")
    sys.stdout.flush()
    time.sleep(hold_ms / 1000)
    connection.execute("ROLLBACK")
    connection.close()
