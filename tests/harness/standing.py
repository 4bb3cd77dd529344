"""A town whose story is told piece by piece, for tests that choose what happens next while it goes on."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from paymux.domain.limits import Limits
from paymux.domain.order import Order
from tests.harness.town import Town, town_life
from tests.harness.virtual_time import VirtualLoop

T = TypeVar("T")


class StandingTown:
    """A town, its workers and its wallets; between two pieces of its story its time stands still."""

    def __init__(self, *, seed: int = 1, limits: Limits | None = None) -> None:
        self._loop = VirtualLoop()
        self.town = Town(self._loop, limits=limits or Limits(), seed=seed, path=":memory:")
        self._life = contextlib.AsyncExitStack()
        self.tell(self._life.enter_async_context(town_life(self.town)))

    def tell(self, story: Coroutine[Any, Any, T]) -> T:
        """Let time go on until the piece is told, and return what it returns."""
        return self._loop.run_until_complete(story)

    async def end(self, orders: list[Order], *, watched_s: int) -> list[Order]:
        """Wait until nothing is left to do about the orders, `watched_s` longer, and until nothing is again.

        What was undone, or refused in doubt, is looked at once more later; the books agree after that.
        """
        for wait_s in (0, watched_s):
            await asyncio.sleep(wait_s)
            await self._rest(orders)
        return [await self.town.now(order) for order in orders]

    async def _rest(self, orders: list[Order]) -> None:
        for step_s in (*[1] * 60, *[60] * 1_500):  # a day and an hour: the slowest attempts are hours apart
            due = [one for order in orders for one in await self.town.store.due_of(order.key)]
            if all(one.kind == "watch" for one in due):
                return
            await asyncio.sleep(step_s)
        raise AssertionError(f"still unsettled after a day: {due}")

    def begin(self, story: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Let a piece begin; it goes on whenever time does."""
        return self._loop.create_task(story)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.tell(self._life.aclose())
        self.tell(self._loop.shutdown_asyncgens())
        self._loop.close()
