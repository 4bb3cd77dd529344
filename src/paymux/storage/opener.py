"""A data source name → a store. The only file that knows the engines."""

from paymux.domain.errors import ConfigurationBroken
from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage.contract import Store
from paymux.storage.sqlite import SqliteStore

_SQLITE = "sqlite:///"


async def open_store(dsn: str, *, sealer: Sealer, clock: Clock, threaded: bool = True) -> Store:
    """Open `sqlite:///relative`, `sqlite:////absolute` or a bare path, and bring it up to date.

    `threaded=False` is for simulations and allows `:memory:`. Raises `ConfigurationBroken` for anything else.
    """
    path = dsn.removeprefix(_SQLITE)
    scheme, mark, _ = path.partition("://")
    if mark:
        raise ConfigurationBroken(
            f"no storage engine for {scheme}:// databases; give sqlite:///path/to/paymux.db"
        )
    if not path:
        raise ConfigurationBroken("the database has no path; give sqlite:///path/to/paymux.db")
    return SqliteStore(path, sealer=sealer, clock=clock, threaded=threaded)
