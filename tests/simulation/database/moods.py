"""The network to a database server, and the server: how long a statement takes, and whether it gets lost."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from tests.simulation.weather import Weather

STALL_S_MAX = 3.0
"""The longest a statement waits on a bad day, on its way or at the server."""
_TICKS = 10
_TICK_S = 0.001
_CUT = 0.15
"""How often a statement's connection is cut in a storm."""
_CUT_ALL_DAY, _BAD_NETWORK = 0.05, 0.4
"""The worst of a day on which connections are cut all the time, and how often a day is one of those."""


class Loss(StrEnum):
    """What a cut connection has cost."""

    REQUEST = "the statement never arrives"
    ANSWER = "the statement is carried out, and its answer lost"
    LATE = "the connection is gone, and the statement arrives all the same"
    SILENCE = "the statement is carried out, and nothing is ever heard of it"
    DOUBT = "the statement is carried out, and the server warns that its standbys may not have it"


class Storm(StrEnum):
    """What a server and its network do on a bad day."""

    AWAY = "the database is away"
    CUTS = "connections to the database are cut"


@dataclass(frozen=True, slots=True)
class Journey:
    """One statement's: seconds there and back, and what is lost."""

    go_s: float = 0.0
    back_s: float = 0.0
    loss: Loss | None = None


AT_ONCE = Journey()


class Moods:
    """Those of one server and its network, for all processes."""

    def __init__(self, weather: Weather, dice: Random) -> None:
        self._dice = dice
        self._read_slow, self._write_slow = weather.read_slow, weather.commit_slow
        self._cut = dice.random() * _CUT_ALL_DAY if dice.random() < _BAD_NETWORK else 0.0
        self.storm: Storm | None = None

    @property
    def unsteady(self) -> bool:
        """Whether connections are cut all day."""
        return self._cut > 0

    def begin_storm(self) -> Storm:
        """Begin to fail."""
        self.storm = self._dice.choice(list(Storm))
        return self.storm

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self.storm = None
        self._read_slow = self._write_slow = self._cut = 0.0

    def journey(self, sql: str) -> Journey:
        """What will become of a statement."""
        slow = self._read_slow if sql.startswith("SELECT") else self._write_slow
        loss = self._dice.choice(list(Loss)) if self._cuts() else None
        return Journey(self._leg_s(slow), self._leg_s(slow), loss)

    def connecting_s(self) -> float:
        """How long it takes to be connected, or refused."""
        return self._leg_s(self._write_slow)

    def refuses(self) -> bool:
        """Whether there is no way through just now."""
        return self.storm is Storm.AWAY or self._cuts()

    def late_s(self) -> float:
        """How long a statement is on the road whose connection is gone."""
        return self._dice.random() ** 2 * STALL_S_MAX

    def _cuts(self) -> bool:
        """Whether a connection is cut now."""
        rate = _CUT if self.storm is Storm.CUTS else self._cut
        return rate > 0 and self._dice.random() < rate

    def _leg_s(self, slow: float) -> float:
        """Mostly nothing, sometimes some milliseconds; whole ticks, so that journeys cross."""
        dice = self._dice
        if slow and dice.random() < slow:
            return dice.random() ** 4 * STALL_S_MAX
        return int(dice.random() ** 3 * _TICKS) * _TICK_S
