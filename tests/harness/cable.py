"""A cable to a PostgreSQL server, cut at the worst moment: before a statement arrives, or its answer."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_SOCKET = ".s.PGSQL.5432"
_EXECUTE = b"E\x00\x00\x00"
"""How the message begins that runs a prepared statement."""


class Cable:
    """What stands between a store and its server. `cuts` counts what was really cut."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._lose_request = 0
        self._lose_answer = 0
        self._pipes: set[asyncio.StreamWriter] = set()
        self._silent = asyncio.Event()
        self._silent.set()
        self.cuts = 0

    def lose_requests(self, count: int) -> None:
        """Cut the cable when the next statements are sent: they never arrive."""
        self._lose_request = count

    def lose_answers(self, count: int) -> None:
        """Cut it when the next statements are answered: they were carried out."""
        self._lose_answer = count

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing comes back meanwhile, and nobody hangs up."""
        self._silent.clear()
        try:
            yield
        finally:
            self._silent.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection's bytes both ways until one end closes, or the cable is cut."""
        there, back = await asyncio.open_unix_connection(str(self._server))
        self._pipes |= {writer, back}
        asked = asyncio.Event()
        carrying = [
            asyncio.create_task(self._out(reader, back, asked)),
            asyncio.create_task(self._home(there, writer, asked)),
        ]
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)
            for pipe in (writer, back):
                self._pipes.discard(pipe)
                pipe.close()

    async def _out(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        while data := await reader.read(1 << 20):
            if _EXECUTE in data:
                if self._lose_request:
                    self._lose_request -= 1
                    self.cuts += 1
                    return
                asked.set()
            back.write(data)
            await back.drain()

    async def _home(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        while data := await there.read(1 << 20):
            if asked.is_set() and self._lose_answer:
                self._lose_answer -= 1
                self.cuts += 1
                return
            asked.clear()
            await self._silent.wait()
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def cable_to(dsn: str) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to the server of `dsn`, and the address that leads through it."""
    parts = urlsplit(dsn)
    options = dict(parse_qsl(parts.query))
    cable = Cable(Path(options["host"]) / _SOCKET)
    with tempfile.TemporaryDirectory(prefix="cable-") as folder:
        listening = await asyncio.start_unix_server(cable.serve, str(Path(folder) / _SOCKET))
        options["host"] = folder
        try:
            yield cable, urlunsplit(parts._replace(query=urlencode(options)))
        finally:
            listening.close()
            for pipe in list(cable._pipes):
                pipe.close()
            await asyncio.sleep(0.05)
