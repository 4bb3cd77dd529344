"""The whole gateway in one process: ASGI over a real SQLite in memory, its wallets in the sandbox.

Time is virtual, so nothing waits. What inputs leave behind would slow it down and hide the next one's fault
behind the last one's order, so it is made anew from time to time.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from paymux.domain.limits import Limits
from paymux.domain.order import Order
from paymux.sandbox.world import World
from paymux.wire.server import build_app
from tests.contract.upay.edge import HttpReply, http, open_vendor
from tests.fuzz.keys import fuzz_keys
from tests.harness.counterfeit import account_of
from tests.harness.town import MERCHANT, Town
from tests.harness.virtual_time import VirtualLoop

LIFE = 400
"""How many inputs one gateway lives through."""
INCIDENTS = {"call.failed", "callback.failed", "readyz.failed"}
"""What is logged when something happened that nobody foresaw."""
BODY_BYTES_MAX = 4096
_LIMITS = Limits(
    pay_wait_s=1, precreate_wait_s=1, cancel_wait_s=1, refund_wait_s=1, body_bytes_max=BODY_BYTES_MAX
)

T = TypeVar("T")


class Gateway:
    """`call` it as a client would; `town` has its store, its wallets' books and its alarms."""

    def __init__(self) -> None:
        self._served = LIFE
        self._loop: VirtualLoop | None = None

    def renewed(self) -> bool:
        """Make it anew when it is time; True when that was done."""
        self._served += 1
        if self._served < LIFE:
            return False
        self.close()
        self._served = 0
        self._loop = open_loop()
        self.town = _town(self._loop)
        self.app = build_app(self.town.desk, notify_public_pem="-----BEGIN PUBLIC KEY-----\n")
        self.run(self.town.settle_in())
        self.run(open_vendor(self.town, uses=1_000_000))
        self.credentials = {
            str(row["name"]): account_of(row, MERCHANT).credentials for row in self.town.world.accounts()
        }
        self.orders = self.run(self._first_orders())
        return True

    def close(self) -> None:
        """Let go of the store and the loop, if there are any."""
        if self._loop is not None:
            self.run(self.town.store.close())
            close_loop(self._loop)
        self._served, self._loop = LIFE, None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the gateway's loop."""
        assert self._loop is not None
        return self._loop.run_until_complete(work)

    def call(
        self,
        method: str,
        path: str,
        *,
        chunks: Iterable[bytes],
        headers: Iterable[tuple[bytes, bytes]],
        query: str = "",
    ) -> HttpReply:
        """Send one request; an exception of the application is one here."""
        reply = self.run(http(self.app, method, path, chunks=chunks, headers=headers, query=query))
        incidents = [alarm for alarm in self.town.alarms if alarm["event"] in INCIDENTS]
        self.town.alarms.clear()
        assert not incidents, incidents[0].get("exception", incidents[0])
        return reply

    async def _first_orders(self) -> list[Order]:
        """A paid, a waiting and a scannable order at each wallet, for others' requests to be about."""
        town = self.town
        made = [
            order
            for wallet in ("wechat", "alipay")
            for order in (
                await town.pay(wallet, "00"),
                await town.pay(wallet, "10"),
                await town.precreate(wallet, "10"),
            )
        ]
        return [await town.now(order) for order in made]


def open_loop() -> VirtualLoop:
    """Return a virtual loop that is the current one, as libraries expect; `close_loop` it."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    return loop


def close_loop(loop: VirtualLoop) -> None:
    """End what still runs on it, and the loop."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


def _town(loop: VirtualLoop) -> Town:
    town = Town(loop, limits=_LIMITS, seed=1, path=":memory:")
    town.world = town.wire.world = World(1, town.clock.now_ms, keys=fuzz_keys())
    return town
