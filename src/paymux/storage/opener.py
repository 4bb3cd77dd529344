"""A data source name → a store. The only file that knows the engines."""

from paymux.domain.errors import ConfigurationBroken
from paymux.kit.clock import Clock
from paymux.kit.dsn import SQLITE, is_server
from paymux.kit.seal import Sealer
from paymux.storage.citus import CitusStore
from paymux.storage.contract import Store
from paymux.storage.link import facts_of, until_it_is_up
from paymux.storage.postgres import PostgresStore
from paymux.storage.sqlite import SqliteStore

_POSSIBLE = "give sqlite:///path/to/paymux.db or postgresql://user@host/database"


async def open_store(dsn: str, *, sealer: Sealer, clock: Clock, threaded: bool = True) -> Store:
    """Open a database and bring it up to date.

    `sqlite:///relative`, `sqlite:////absolute`, a bare path, or what PostgreSQL understands as an address:
    `postgresql://user@host1,host2/database?target_session_attrs=read-write`. `threaded=False` is for
    simulations on SQLite and allows `:memory:`. Raises `ConfigurationBroken` for anything else.
    """
    if is_server(dsn):
        await until_it_is_up(dsn, clock)
        engine = CitusStore if (await facts_of(dsn)).is_distributed else PostgresStore
        return await engine.open(dsn, sealer=sealer, clock=clock)
    path = dsn.removeprefix(SQLITE)
    scheme, mark, _ = path.partition("://")
    if mark:
        raise ConfigurationBroken(f"no storage engine for {scheme}:// databases; {_POSSIBLE}")
    if not path:
        raise ConfigurationBroken(f"the database has no path; {_POSSIBLE}")
    return SqliteStore(path, sealer=sealer, clock=clock, threaded=threaded)
