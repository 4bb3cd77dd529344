"""The gateway processes of a town: they start, die, come back and are replaced."""

import asyncio
from random import Random

from paymux.domain.limits import Limits
from tests.simulation.checkers.court import Court
from tests.simulation.history import History
from tests.simulation.process import Died, Process, Surroundings
from tests.simulation.weather import Weather

_RESTART_S = 8.0
_DRAINS_S = (1, 20)
"""Some processes are cut short at their end, others may finish."""
_PATIENT_S = 60
"""Nothing that is under way takes longer: after so long a drain, whoever still waits has been forgotten."""


class Fleet:
    """All processes over one database."""

    def __init__(
        self, *, seed: int, weather: Weather, limits: Limits, dice: Random, court: Court, history: History
    ) -> None:
        self.deaths = 0
        self.crash_rate = weather.crash
        self._around: Surroundings | None = None
        self._seed = seed
        self._weather = weather
        self._limits = limits
        self._dice = dice
        self._court = court
        self._history = history
        self._processes: list[Process | None] = [None] * weather.gateways
        self._lives = 0
        self._restarts: dict[asyncio.Task[None], None] = {}

    async def begin(self, around: Surroundings) -> None:
        """Start the first lives."""
        self._around = around
        await asyncio.gather(*(self._start(slot, self._limits) for slot in range(len(self._processes))))

    def door(self) -> Process | None:
        """A process that lives, as a load balancer picks one."""
        living = [one for one in self._processes if one is not None and one.ready and one.alive]
        return self._dice.choice(living) if living else None

    def die(self, process: Process | None, why: str) -> None:
        """End a process as a kill does; another one follows."""
        if process is None or not process.alive:
            return
        self.deaths += 1
        self._history.note(process.name, "dies", "", why)
        process.kill()
        if process in self._processes:  # else somebody is replacing it already
            slot = self._processes.index(process)
            self._processes[slot] = None
            self._restart(slot, self._dice.random() * _RESTART_S)

    def at_point(self, process: Process, point: str) -> None:
        """A process passes a crash point, and may end there."""
        if self.crash_rate and self._dice.random() < self.crash_rate:
            self.die(process, point)
            raise Died(point)

    async def replace_one(self) -> None:
        """A polite end and a new process, as in a rolling upgrade."""
        process = self.door()
        if process is not None:
            await self._replace(process, self._limits, drain_s=self._dice.choice(_DRAINS_S))

    async def whole(self) -> None:
        """Wait until every process lives."""
        while self._restarts:
            await asyncio.wait(list(self._restarts))

    async def only_one(self, limits: Limits) -> None:
        """Send all home but the first, which is replaced by one with these limits."""
        for slot, process in enumerate(self._processes):
            if process is not None and slot:
                self._processes[slot] = None
                await process.stop(drain_s=_PATIENT_S)
        first = self._processes[0]
        if first is None:
            raise AssertionError("no gateway is left")
        await self._replace(first, limits, drain_s=_PATIENT_S)

    async def end(self) -> None:
        """Everybody stops."""
        for process in self._processes:
            if process is not None:
                await process.stop()

    async def _start(self, slot: int, limits: Limits) -> None:
        self._lives += 1
        if self._around is None:
            raise AssertionError("the fleet has not begun")
        process = Process(
            self._around,
            name=f"gateway {slot}.{self._lives}",
            node=slot,
            skew_ms=self._weather.skews_ms[slot],
            seed=f"{self._seed}/{self._lives}",
            limits=limits,
        )
        self._history.note(process.name, "starts")
        self._processes[slot] = process
        await process.start()

    def _restart(self, slot: int, wait_s: float) -> None:
        async def again() -> None:
            await asyncio.sleep(wait_s)
            await self._start(slot, self._limits)

        task = asyncio.get_running_loop().create_task(again())
        self._restarts[task] = None
        task.add_done_callback(lambda done: self._restarts.pop(done, None))

    async def _replace(self, process: Process, limits: Limits, *, drain_s: int) -> None:
        slot = self._processes.index(process)
        self._processes[slot] = None
        self._history.note(process.name, "is asked to end")
        unended = await process.stop(drain_s=drain_s)
        forgotten = drain_s >= _PATIENT_S and unended
        self._court.holds(not forgotten, "M1", (), "{} ends with {} calls unanswered", process.name, unended)
        await self._start(slot, limits)
