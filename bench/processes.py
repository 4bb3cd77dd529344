"""Servers on loopback, each a process of its own, and what they and their databases cost."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.cpu import family_ns, rss_mb
from bench.database import Database

ROOT = Path(__file__).resolve().parent.parent
_START_S = 60
_STOP_S = 20
_LOG_TAIL = 4_000


class ProgramFailed(Exception):
    """A program did not start, or ended before its time; the text ends with the tail of its log."""


class Program(NamedTuple):
    """One running server, and the database server that works for it alone (None: it needs none)."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    database: Database | None = None

    def cpu_ns(self) -> int:
        """CPU time until now of its processes and of all processes of its database server."""
        return family_ns(self.process.pid) + (self.database.cpu_ns() if self.database else 0)

    def own_ns(self) -> int:
        """CPU time without the database server's."""
        return family_ns(self.process.pid)

    def background_ns(self) -> int:
        """CPU time of what its database server does on its own account."""
        return self.database.background_ns() if self.database else 0

    def rss_mb(self) -> float:
        """Memory of the program, without the database server."""
        return rss_mb(self.process.pid)

    def failed(self, what: str) -> ProgramFailed:
        """Make the complaint: what happened, and what the program itself said last."""
        return ProgramFailed(f"{self.name} {what}\n{self.log.read_text(errors='replace')[-_LOG_TAIL:]}")


@contextmanager
def running(
    name: str,
    folder: Path,
    command: list[str],
    *,
    extra: dict[str, str] | None = None,
    database: Database | None = None,
) -> Iterator[Program]:
    """Start a server with `{port}` in its command filled in; at the end it is ended, whatever happens."""
    port = _free_port()
    log = folder / f"{name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - the arguments are ours
            [part.replace("{port}", str(port)) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment() | (extra or {}),
        )
    program = Program(name, f"http://127.0.0.1:{port}", process, log, database)
    try:
        _wait_until_it_listens(program, port)
        yield program
        if process.poll() is not None:
            raise program.failed("ended before its time")
    finally:
        _end(process)


def finish(command: list[str]) -> str:
    """Run a command to its end and return what it printed; raises `ProgramFailed`."""
    done = subprocess.run(  # noqa: S603 - the arguments are ours
        command, cwd=ROOT, env=environment(), capture_output=True, check=False
    )
    if done.returncode:
        raise ProgramFailed(f"{' '.join(command)}\n{(done.stdout + done.stderr).decode(errors='replace')}")
    return done.stdout.decode()


def module(*words: str) -> list[str]:
    """Return the command that runs a Python module with our interpreter."""
    return [sys.executable, "-m", *words]


def environment() -> dict[str, str]:
    """Return ours without settings of other servers, and with the package of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAYMUX_", "PG"))}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def _wait_until_it_listens(program: Program, port: int) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        if program.process.poll() is not None:
            raise program.failed("did not start")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise program.failed(f"did not listen within {_START_S} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
