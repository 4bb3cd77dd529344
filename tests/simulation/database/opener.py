"""An engine's name → a database for a town."""

from random import Random

from paymux.kit.clock import Clock
from tests.harness.virtual_time import VirtualLoop
from tests.simulation.database.contract import Database
from tests.simulation.database.postgres import PostgresDatabase
from tests.simulation.database.sqlite import SqliteDatabase
from tests.simulation.history import History
from tests.simulation.weather import Weather

SQLITE, POSTGRESQL = ENGINES = ("sqlite", "postgresql")


def database_for(
    engine: str, *, loop: VirtualLoop, clock: Clock, weather: Weather, seed: int, history: History
) -> Database:
    """A database of the engine, empty, with faults as the weather has them."""
    if engine == POSTGRESQL:
        dice = Random(f"server/{seed}")
        return PostgresDatabase(loop=loop, clock=clock, weather=weather, dice=dice, history=history)
    return SqliteDatabase(clock=clock, weather=weather, dice=Random(f"disk/{seed}"))
