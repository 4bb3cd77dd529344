"""Child processes of tests: born quickly, heard through a file, waited for with a deadline, always ended.

Each is a process of its own with its own memory, files and signals. But they are forked from one that has
imported the program already: a test that kills thirty gateways would otherwise spend a minute on imports.
`python -m paymux` from nothing is what tests/e2e/test_demo.py starts.
"""

import asyncio
import contextlib
import functools
import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import paymux

START_S = 60
"""How long a child may take to get ready, on a machine that is busy with other tests."""
_LOOK_S = 0.02
_PLACES = os.pathsep.join((str(Path(paymux.__file__).parents[1]), str(Path(__file__).parents[2])))
"""Where children find the program and the tests."""


class Child:
    """One process, doing `work(*arguments)`; what it writes is appended to the file `log`.

    `settings` are its `PAYMUX_…` variables; it has no others of that name.
    """

    def __init__(
        self,
        work: Callable[..., object],
        *arguments: object,
        log: Path,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        log.touch()
        self._log = log
        self._began_at = log.stat().st_size
        self._process = _nursery().Process(
            target=_live, args=(work, arguments, log, _environ(settings or {})), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's number; meaningful while it runs."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the negative signal number when a signal ended it."""
        return self._process.exitcode

    @property
    def text(self) -> str:
        """What it has written so far."""
        with self._log.open("rb") as file:
            file.seek(self._began_at)
            return file.read().decode(errors="replace")

    async def said(self, mark: str) -> str:
        """Wait for a whole line that contains `mark`, and return it."""
        await until(
            lambda: self._line(mark) or self.exit_code is not None, within_s=START_S, what=f"{mark!r} said"
        )
        line = self._line(mark)
        assert line, f"exit code {self.exit_code} instead of {mark!r}: {self.text[-2000:]}"
        return line

    async def ended(self) -> int:
        """Wait for its end; return the exit code."""
        await until(lambda: self.exit_code is not None, within_s=START_S, what="the process is over")
        assert self.exit_code is not None
        return self.exit_code

    def terminate(self) -> None:
        """Ask it to end, as a service manager does: SIGTERM."""
        self._process.terminate()

    def end(self) -> None:
        """End it the hard way, SIGKILL, if it still runs."""
        self._process.kill()
        self._process.join()

    def _line(self, mark: str) -> str:
        lines = self.text.splitlines(keepends=True)
        return next((line for line in lines if mark in line and line.endswith("\n")), "")


def command(*arguments: str) -> None:
    """Work of a child: a `paymux` command, to its end."""
    from paymux.cli.main import main  # noqa: PLC0415 - only children need it

    main(arguments, prog_name="paymux")


def street(count: int) -> None:
    """Work of a child: so many sandboxes, each with its own books; prints their URLs as a line of JSON.

    Gateways that work at the same time must not share wallet accounts, and one process for all of these
    sandboxes costs less than one for each.
    """
    from paymux.sandbox.keys import make_keys  # noqa: PLC0415 - only children need it
    from paymux.sandbox.server import Sandbox  # noqa: PLC0415 - as above

    async def serve() -> None:
        keys = make_keys()
        sandboxes = [Sandbox(seed=number, keys=keys) for number in range(1, count + 1)]
        for sandbox in sandboxes:
            await sandbox.start()
        sys.stdout.write(json.dumps([sandbox.base_url for sandbox in sandboxes]) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(serve())


def hold_port() -> socket.socket:
    """Take a free port and keep everybody off it but a server of ours, also between a kill and a restart."""
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return place


async def until(check: Callable[[], object], *, within_s: int, what: str) -> None:
    """Look again and again until `check` is true; the deadline fails the test."""
    deadline_s = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(_LOOK_S)


# ---------------------------------------------------------------- being born


@functools.cache
def _nursery() -> ForkServerContext:
    """The process children are forked from; it ends with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["paymux.cli.main", __name__])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = _PLACES
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def _environ(settings: Mapping[str, object]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYMUX_")}
    return kept | {name: str(value) for name, value in settings.items()}


def _live(
    work: Callable[..., object], arguments: tuple[object, ...], log: Path, environ: dict[str, str]
) -> None:
    """Become what the child is to be: its own environment, directory and output."""
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(log.parent)
    with log.open("ab") as out:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(out.fileno(), stream.fileno())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        work(*arguments)
