"""Every engine keeps the same promises: each test runs once per engine, another one is one more parameter."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from paymux.kit.seal import Sealer
from paymux.storage.contract import Store
from paymux.storage.opener import open_store
from tests.contract.storage.makers import TurnedClock
from tests.harness.citus_rules import Judge, distribute, watch
from tests.harness.postgres import drop_schema, new_schema, server

Result = TypeVar("Result")
SEALER = Sealer(b"k" * 32)


class Engine:
    """One database; any number of stores can be opened on it."""

    def __init__(self, dsn: str, *, threaded: bool = True) -> None:
        self.dsn = dsn
        self.threaded = threaded
        self.clock = TurnedClock()

    @property
    def is_file(self) -> bool:
        """Whether it is SQLite's."""
        return "://" not in self.dsn

    @property
    def path(self) -> Path:
        """The database's file."""
        return Path(self.dsn)

    async def open(self, sealer: Sealer = SEALER) -> Store:
        """One more store on the database."""
        return await open_store(self.dsn, sealer=sealer, clock=self.clock, threaded=self.threaded)

    def run(self, story: Callable[[Store], Awaitable[Result]]) -> Result:
        """Open, tell the story, close."""

        async def told() -> Result:
            store = await self.open()
            try:
                return await story(store)
            finally:
                await store.close()

        return asyncio.run(told())


@pytest.fixture(params=["sqlite", "sqlite-inline", "postgres", "by-bucket"])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An empty database; `by-bucket`: PostgreSQL under the rules of Citus."""
    if request.param.startswith("sqlite"):
        yield Engine(str(tmp_path / "paymux.db"), threaded=request.param == "sqlite")
        return
    dsn = new_schema(server())
    judge = Judge()
    if request.param == "by-bucket":
        distribute(dsn, SEALER)
        judge = watch(monkeypatch)
    yield Engine(dsn)
    drop_schema(dsn)
    assert judge.breaches == []


@pytest.fixture(params=["sqlite", "sqlite-inline"])
def sqlite_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """An empty database in a file."""
    return Engine(str(tmp_path / "paymux.db"), threaded=request.param == "sqlite")


@pytest.fixture
def postgres_engine() -> Iterator[Engine]:
    """An empty schema of a server."""
    dsn = new_schema(server())
    yield Engine(dsn)
    drop_schema(dsn)
