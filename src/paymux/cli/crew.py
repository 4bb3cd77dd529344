"""Several gateway processes on one listening socket, which never closes while one of them is replaced.

The crew holds the socket and starts its members; each has a line to it. A member says one byte when it is
ready; when the line breaks, at either end, the other end knows: a crew that was killed leaves nobody behind.
"""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.typing import FilteringBoundLogger

from paymux.kit.clock import SystemClock

_AGAIN_MS = 1_000
"""Before a member that died is replaced: one that cannot start must not keep the machine busy."""
_READY_S = 60


class Member:
    """A member's end of the line, and the socket it listens on; both are inherited."""

    def __init__(self, fds: str) -> None:
        line, listen_on = fds.split(",")
        self._line = socket.socket(fileno=int(line))
        self.listener = socket.socket(fileno=int(listen_on))

    def say_ready(self) -> None:
        """Tell the crew that calls are answered."""
        with contextlib.suppress(OSError):
            self._line.send(b"!")

    @asynccontextmanager
    async def listening(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """Set `stop` when the crew hangs up or is gone."""
        loop, line = asyncio.get_running_loop(), self._line
        line.settimeout(0)

        def heard() -> None:
            try:
                if line.recv(1):
                    return
            except BlockingIOError:
                return
            except OSError:
                pass  # reset: the crew went without having read our byte
            loop.remove_reader(line)
            stop.set()

        loop.add_reader(line, heard)
        try:
            yield
        finally:
            loop.remove_reader(line)


class Crew:
    """`size` processes of `python -m paymux …` that share a socket."""

    def __init__(
        self,
        words: list[str],
        listener: socket.socket,
        *,
        environment: dict[str, str],
        size: int,
        patience_s: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._words = words
        self._listener = listener
        self._environment = environment
        self._size = size
        self._patience_s = patience_s
        self._log = log
        self._clock = SystemClock()
        self._renew = asyncio.Event()

    async def work(self, stop: asyncio.Event) -> None:
        """Keep the crew complete until `stop`; on SIGHUP replace everybody, one after the other."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._renew.set)
        stopping = asyncio.create_task(stop.wait())
        members = [await self._hire() for _ in range(self._size)]
        try:
            while not stop.is_set():
                renewing = asyncio.create_task(self._renew.wait())
                ends = [asyncio.create_task(member.wait()) for member in members]
                await asyncio.wait({stopping, renewing, *ends}, return_when=asyncio.FIRST_COMPLETED)
                for task in (renewing, *ends):
                    task.cancel()
                if self._renew.is_set() and not stop.is_set():
                    self._renew.clear()
                    members = [await self._replace(member) for member in members]
                elif not stop.is_set():
                    await self._clock.sleep(_AGAIN_MS)
                    members = [member if member.lives else await self._succeed(member) for member in members]
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            await asyncio.gather(*(member.let_go(self._patience_s) for member in members))
            self._listener.close()

    async def _replace(self, old: "_Process") -> "_Process":
        """A new member before the old one goes; when the new one does not get ready, the old one stays."""
        new = await self._hire()
        if not await new.ready(_READY_S):
            self._log.error("crew.not_replaced", alarm=True, process=old.pid)
            await new.let_go(self._patience_s)
            return old
        await old.let_go(self._patience_s)
        self._log.info("crew.replaced", process=old.pid, by=new.pid)
        return new

    async def _succeed(self, dead: "_Process") -> "_Process":
        new = await self._hire()
        self._log.error("crew.member_died", alarm=True, process=dead.pid, by=new.pid)
        return new

    async def _hire(self) -> "_Process":
        return await _Process.start(self._words, self._listener, self._environment)


class _Process:
    """A member as its crew sees it."""

    def __init__(self, process: asyncio.subprocess.Process, line: socket.socket) -> None:
        self._process = process
        self._line = line
        self.pid = process.pid

    @classmethod
    async def start(
        cls, words: list[str], listener: socket.socket, environment: dict[str, str]
    ) -> "_Process":
        """Start a process that inherits its end of the line and the socket to listen on."""
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        with theirs:
            line, listen_on = theirs.fileno(), listener.fileno()
            command = [sys.executable, "-m", "paymux", *words, "--member", f"{line},{listen_on}"]
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL, pass_fds=(line, listen_on), env=environment
            )
        return cls(process, ours)

    @property
    def lives(self) -> bool:
        """It has not ended."""
        return self._process.returncode is None

    async def wait(self) -> None:
        """Wait for its end."""
        await self._process.wait()

    async def ready(self, within_s: int) -> bool:
        """Wait until it answers calls; False when it does not get there."""
        try:
            async with asyncio.timeout(within_s):
                return bool(await asyncio.get_running_loop().sock_recv(self._line, 1))
        except (TimeoutError, OSError):
            return False

    async def let_go(self, patience_s: int) -> None:
        """Let it finish its calls and end; after `patience_s` it is killed."""
        self._line.close()
        try:
            async with asyncio.timeout(patience_s):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
