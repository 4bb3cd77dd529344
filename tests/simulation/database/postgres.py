"""A true PostgreSQL in a simulated town: a schema for the day, and for each process a store of its own."""

import asyncio
from random import Random
from typing import Any

from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage import link
from paymux.storage.contract import Store
from paymux.storage.postgres import PostgresStore
from tests.harness.postgres import drop_schema, new_schema, server
from tests.harness.virtual_time import VirtualLoop
from tests.simulation.database.cables import Cable
from tests.simulation.database.contract import Witness
from tests.simulation.database.moods import Moods, Storm
from tests.simulation.database.server import Request, Server
from tests.simulation.database.witness import TRIGGERS, on_postgres
from tests.simulation.history import History
from tests.simulation.weather import Weather

_SEALER = Sealer(bytes(32))
_TOWN = "town"
_SETTINGS = "deadlock_timeout=1ms"
"""So that of two that wait crosswise always the same one gives way: the second, who finds the circle."""
STORM_S_MAX = 25.0
"""Longer than a write is tried again (`lane._PATIENCE_MS`)."""


class PostgresDatabase:
    """One schema, which every process reaches over connections of its own."""

    def __init__(
        self, *, loop: VirtualLoop, clock: Clock, weather: Weather, dice: Random, history: History
    ) -> None:
        self._history = history
        self._clock = clock
        self._moods = Moods(weather, dice)
        self.storm_s_max, self.unsteady = STORM_S_MAX, self._moods.unsteady
        self._schema = new_schema(server())
        self._dsn = f"{self._schema}&{_SETTINGS}"
        self._server = Server(loop)
        self._connect = link._connect
        self._ways: dict[str, _Way] = {}
        self.store: Store = self._way(_TOWN, clock, None).store

    async def begin(self, witness: Witness) -> None:
        """Make the tables as the gateway does, and hang triggers at them."""
        self._witness = witness
        await self._server.open(self._dsn)
        link._connect = self._connected
        first = await PostgresStore.open(_address(_TOWN), sealer=_SEALER, clock=self._clock)
        await first.close()
        for trigger in TRIGGERS:
            await self._server.execute(on_postgres(trigger))

    def way_of(self, name: str, clock: Clock) -> "_Way":
        """Let a process in."""
        return self._way(name, clock, self._moods)

    def storm(self) -> str:
        """Begin to fail: the server is gone, or connections are cut at the worst moment."""
        storm = self._moods.begin_storm()
        if storm is Storm.AWAY:
            for way in self._ways.values():
                way.tear()
        return storm

    def abate(self) -> str:
        """The storm is over."""
        self._moods.storm = None
        return "the database can be reached"

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self._moods.calm()

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        return await self._server.rows(sql)

    async def close(self) -> None:
        """Hang up, and drop the schema."""
        link._connect = self._connect
        await self._server.close()
        drop_schema(self._schema)

    def _way(self, name: str, clock: Clock, moods: Moods | None) -> "_Way":
        way = self._ways[_address(name)] = _Way(self, name, clock, moods)
        return way

    async def _connected(self, address: str, _session: object) -> Any:  # noqa: ANN401 - a cable, in place of asyncpg's own connection
        """Take the place of what connects a link: each process's address leads over its own way."""
        return await self._ways[address].connect()

    async def cable(self, moods: Moods | None = None, *, who: str = "") -> Cable:
        """A new connection of a process to the true server."""
        session = await self._server.session(self._connect(self._dsn, link.SESSION))
        return Cable(
            session, self._post, moods, lost=lambda loss, sql: self._history.note(who, loss, "", sql)
        )

    def _post(self, request: Request) -> None:
        """What is committed is seen at once; answers travel."""
        for one in self._server.hand_in(request):
            if one.facts:
                self._witness(one.facts)
            one.answered(one)


class _Way:
    """A process's store, and its cables. Without moods nothing happens to them: the town's own."""

    def __init__(self, database: PostgresDatabase, name: str, clock: Clock, moods: Moods | None) -> None:
        self._name = name
        self._postgres = PostgresStore(_address(name), sealer=_SEALER, clock=clock)
        self.store: Store = self._postgres
        self._database = database
        self._moods = moods
        self._cables: list[Cable] = []

    async def connect(self) -> Cable:
        """One more connection. Raises `OSError` when there is no way through."""
        if self._moods is not None:
            await asyncio.sleep(self._moods.connecting_s())
            if self._moods.refuses():
                raise ConnectionRefusedError("no way through to the database")
        cable = await self._database.cable(self._moods, who=self._name)
        self._cables = [*(one for one in self._cables if not one.is_closed()), cable]
        return cable

    def tasks(self) -> set[asyncio.Task[Any]]:
        """The lanes' writers."""
        store = self._postgres
        lanes = (store._news, store._changes, store._history, store._deliveries, store._writes)
        return {lane._serving for lane in lanes if lane._serving is not None}

    async def close(self) -> None:
        """Write what waits, and hang up."""
        await self.store.close()

    def cut(self) -> None:
        """The kernel closes what a dead process leaves open."""
        for cable in self._cables:
            cable.terminate()

    def tear(self) -> None:
        """All connections are lost; but the town's own."""
        for cable in self._cables if self._moods is not None else ():
            cable.tear()


def _address(name: str) -> str:
    """Looks like an address to whoever takes it apart, and names a way."""
    return f"postgresql://{name.replace(' ', '-')}"
