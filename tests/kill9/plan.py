"""The dice: how many eras there are, and which death comes next. Same seed, same plan."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from paymux.kit.crash import POINTS

ERA_CYCLES = 50
"""Deaths per database: books stay small, and every era is settled while the next ones are under fire."""
SMALL_DISK_EVERY = 10
"""One era in ten lives on a disk that fills up."""

VISITED = tuple(point for point in POINTS if point != "notify.after_intent")
"""A notification's intent is part of the order's commit: nothing is between them to die at."""
VISITS = {"pay": 9, "precreate": 3, "undo": 4, "refund": 6, "notify": 12}
"""Up to which visit a life of a second gets."""

WEIGHTS = {
    "load": 26, "point": 28, "statement": 12, "storm": 6, "start-up": 8, "migration": 5, "shutdown": 6,
    "checkpoint": 5, "write errors": 2, "locked": 2,
}  # fmt: skip
"""Kind of death → how often it is drawn. A storm is several deaths."""
ON_A_SMALL_DISK = {"full disk": 10, "read-only disk": 5, "load": 10, "point": 8, "storm": 2}
"""The same for the eras on a small disk."""
ON_A_SERVER = {"load": 30, "point": 36, "storm": 8, "shutdown": 8, "server": 6}
"""The same when the database is a PostgreSQL server's, which may die itself."""
WECHAT_QR_CYCLES = 300
"""WeChat closes no code in its first 300 s: eras that have nobody after them for so long show none."""
NEEDS_A_SMALL_DISK = ON_A_SMALL_DISK.keys() - WEIGHTS.keys()
FIRST = ("first start", "migration", "migration", "migration")
"""How an era begins: the first start, in an empty folder, is killed again and again."""
_STRIDE = 17
"""From one statement to the next: a few deaths are spread over all of them, and many come by each."""


@dataclass(frozen=True)
class Death:
    """One draw; `point` is a crash point with its visit, `statement` counts SQL statements from 0."""

    kind: str
    point: str = ""
    statement: int = 0

    @property
    def is_first(self) -> bool:
        """Whether it is to happen at the first visit."""
        return self.point.endswith(":1")


@dataclass(frozen=True)
class EraPlan:
    """One database: its number from 1, how many deaths it sees, where it lies, and what is sold."""

    number: int
    cycles: int
    small_disk: bool
    wechat_qr: bool


def eras(
    cycles: int, *, era_cycles: int, small_disks: bool, kinds: tuple[str, ...] = ()
) -> Iterator[EraPlan]:
    """Share the cycles out; one era in ten, or every one if that was asked for, lies on a small disk."""
    count = -(-cycles // era_cycles)
    wanted = bool(NEEDS_A_SMALL_DISK & set(kinds))
    for number in range(1, count + 1):
        yield EraPlan(
            number=number,
            cycles=min(era_cycles, cycles - (number - 1) * era_cycles),
            small_disk=small_disks and (wanted or (not kinds and number % SMALL_DISK_EVERY == 3)),
            wechat_qr=cycles - number * era_cycles >= WECHAT_QR_CYCLES,
        )


class Plan:
    """Draws deaths; places that can be counted are taken in turn, so that none is missed."""

    def __init__(self, seed: str, kinds: tuple[str, ...] = ()) -> None:
        self._dice = random.Random(f"{seed} plan")
        points = list(VISITED)
        self._dice.shuffle(points)
        self._points = cycle(points)
        self._statement = self._dice.randrange(1_000)
        self._kinds = kinds

    def beginning(self) -> list[Death]:
        """The deaths in an empty folder."""
        return [self._death(kind) for kind in FIRST if not self._kinds or kind in self._kinds]

    def next(self, *, small_disk: bool) -> Death:
        """The next death."""
        wanted = ON_A_SMALL_DISK if small_disk else WEIGHTS
        if self._kinds:
            wanted = {kind: (WEIGHTS | ON_A_SMALL_DISK | ON_A_SERVER).get(kind, 0) for kind in self._kinds}
        kind = self._dice.choices(list(wanted), list(wanted.values()))[0]
        return self._death(kind)

    def _death(self, kind: str) -> Death:
        if kind == "point":
            point = next(self._points)
            last = VISITS[point.partition(".")[0]]
            visit = self._dice.choice([1, self._dice.randint(2, last)])
            return Death(kind, point=f"{point}:{visit}")
        if kind == "migration":
            self._statement += _STRIDE
            return Death(kind, statement=self._statement)
        return Death(kind)
