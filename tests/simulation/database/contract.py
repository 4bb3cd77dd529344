"""What the town asks of whatever keeps its orders."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from paymux.kit.clock import Clock
from paymux.storage.contract import Store
from tests.simulation.database.witness import Fact

Witness = Callable[[list[Fact]], None]
"""Learns what was written in one commit, at the moment of the commit."""


class Way(Protocol):
    """How one process reaches the database. `store` is its store."""

    store: Store

    def tasks(self) -> set[asyncio.Task[Any]]:
        """What the store itself has under way, and finishes in `close`."""

    async def close(self) -> None:
        """Finish what waits, and leave."""

    def cut(self) -> None:
        """The process is dead: what it had sent takes its course, nothing comes back."""


class Database(Protocol):
    """The one database of all processes of a town. `store` is the town's own way in, free of faults.

    `storm_s_max`: how long a storm may be. `unsteady`: today calls may fail even without one.
    """

    store: Store
    storm_s_max: float
    unsteady: bool

    async def begin(self, witness: Witness) -> None:
        """Be there, with every table, and tell the witness of each commit from now on."""

    def way_of(self, name: str, clock: Clock) -> Way:
        """Let a process in; its clock may be wrong."""

    def storm(self) -> str:
        """Begin to fail; say how."""

    def abate(self) -> str:
        """End what `storm` began; say so."""

    def calm(self) -> None:
        """From now on nothing goes wrong."""

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What is committed, asked past every store, in SQL that both engines understand."""

    async def close(self) -> None:
        """Be gone with all that is in it."""
