"""Many writes, one statement, one commit: what waits while one runs goes into the next (DESIGN §7).

A lane writes one kind of thing over one connection. A batch that fails is tried again one by one, so that a
bad row fails alone; so is one whose connection was lost, and then each looks whether it had been done.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from paymux.domain.errors import StorageFailed
from paymux.kit.clock import Clock
from paymux.storage.link import Lost, explained, is_away

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

_BATCH_MAX = 128
_COMPANY = 8
_GATHER_MS = 3
"""Where many write at once, more do so within a moment: a statement costs the server more than its rows. Who
writes alone never waits."""
_AGAIN_GAP_MS = (50, 200, 500, 1000)
_PATIENCE_MS = 15_000
"""How long a write is tried again while the server is away or its end in doubt; longer than a failover."""


class Takes(Protocol[Item_contra, Result_co]):
    """Whoever takes writes: a lane, or several side by side."""

    def submit(self, item: Item_contra, /) -> Awaitable[Result_co]:
        """Write the item soon."""

    async def close(self) -> None:
        """Finish what waits; take nothing more."""


class Alone(Protocol[Item_contra, Result_co]):
    """Writes one item; `unsure`: it may have been written before, and then that counts."""

    def __call__(self, item: Item_contra, /, *, unsure: bool) -> Awaitable[Result_co]:
        """Raises `Lost`, or what makes this item impossible."""


@dataclass(slots=True)
class _Unit(Generic[Item, Result]):
    """One write and who waits for it; nobody's patience is longer than his own."""

    item: Item
    future: asyncio.Future[Result]
    until_ms: int


class Lane(Generic[Item, Result]):
    """Batches of one kind of write, one after the other.

    `together` writes a batch in one commit, `alone` one item. `about`: no two items of one batch may be
    about the same thing; the later one waits for the next batch.
    """

    def __init__(
        self,
        together: Callable[[list[Item]], Awaitable[list[Result]]],
        alone: Alone[Item, Result],
        *,
        clock: Clock,
        about: Callable[[Item], Hashable] | None = None,
    ) -> None:
        self._together = together
        self._alone = alone
        self._clock = clock
        self._about = about
        self._waiting: deque[_Unit[Item, Result]] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._closed = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Write the item soon; cancelling the future does not stop the write. Fails as `StorageFailed`."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._closed:
            return _refused(future)
        self._waiting.append(_Unit(item, future, self._clock.now_ms() + _PATIENCE_MS))
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        return future

    async def close(self) -> None:
        """Finish what waits; take nothing more."""
        self._closed = True
        if self._serving is not None:
            await asyncio.wait((self._serving,))

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                await self._write(batch)
                if len(batch) >= _COMPANY:
                    await self._clock.sleep(_GATHER_MS)
        finally:
            self._serving = None

    def _take(self) -> list[_Unit[Item, Result]]:
        """What goes into one statement, in the order of arrival."""
        waiting, about = self._waiting, self._about
        if about is None or len(waiting) == 1:
            return [waiting.popleft() for _ in range(min(len(waiting), _BATCH_MAX))]
        batch: list[_Unit[Item, Result]] = []
        later: list[_Unit[Item, Result]] = []
        seen: set[Hashable] = set()
        while waiting and len(batch) < _BATCH_MAX:
            unit = waiting.popleft()
            thing = about(unit.item)
            (later if thing in seen else batch).append(unit)
            seen.add(thing)
        waiting.extendleft(reversed(later))
        return batch

    async def _write(self, batch: list[_Unit[Item, Result]]) -> None:
        try:
            results = await self._together([unit.item for unit in batch])
        except Exception as error:  # noqa: BLE001 - whatever it was, each item is tried alone, and its waiter told
            for unit in batch:
                await self._write_alone(unit, error)
            return
        for unit, result in zip(batch, results, strict=True):
            if not unit.future.done():
                unit.future.set_result(result)

    async def _write_alone(self, unit: _Unit[Item, Result], error: Exception) -> None:
        """Again while the server is away or another transaction was in the way; then tell the waiter."""
        tries, unsure = 0, isinstance(error, Lost)
        while tries == 0 or is_away(error):
            if is_away(error) and self._clock.now_ms() >= unit.until_ms:
                break
            if tries:
                await self._clock.sleep(_AGAIN_GAP_MS[min(tries, len(_AGAIN_GAP_MS)) - 1])
            tries += 1
            try:
                result = await self._alone(unit.item, unsure=unsure)
            except Exception as failure:  # noqa: BLE001 - as above
                error = failure
                unsure = unsure or isinstance(error, Lost)
                continue
            if not unit.future.done():
                unit.future.set_result(result)
            return
        if not unit.future.done():
            unit.future.set_exception(explained(error))


class Lanes(Generic[Item, Result]):
    """Lanes side by side: items that are `apart` share no batch, and none waits for another.

    `made` makes a lane; there are as many as `apart` has values, so it must have few.
    """

    def __init__(self, made: Callable[[], Lane[Item, Result]], apart: Callable[[Item], Hashable]) -> None:
        self._made = made
        self._apart = apart
        self._lanes: dict[Hashable, Lane[Item, Result]] = {}
        self._closed = False

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Write the item soon, as `Lane.submit` does."""
        if self._closed:
            return _refused(asyncio.get_running_loop().create_future())
        place = self._apart(item)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = self._made()
        return lane.submit(item)

    async def close(self) -> None:
        """Finish what waits in any of them; take nothing more."""
        self._closed = True
        for lane in self._lanes.values():
            await lane.close()


def _refused(future: asyncio.Future[Result]) -> asyncio.Future[Result]:
    future.set_exception(StorageFailed("the database is closed"))
    return future
