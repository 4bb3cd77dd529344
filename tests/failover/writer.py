"""`python -m tests.failover.writer`: two gateways' stores, and tills that write through them until killed.

Each order is an intent, then paid. Of some orders both gateways refund most at the same moment, so that one
of them must be refused. What the store said stands in the gateway's own file before it counts for anything.
"""

import asyncio
import itertools
import random
import sys
from collections.abc import Awaitable
from pathlib import Path

from msgspec.structs import replace

from paymux.domain.errors import StorageFailed
from paymux.domain.order import Order
from paymux.kit.clock import SystemClock
from paymux.kit.seal import Sealer
from paymux.storage.contract import Change, Store
from paymux.storage.opener import open_store
from tests.contract.storage.makers import an_event, an_order, intent, paid, reserved
from tests.failover.told import Outcome, Recorder, What

GATEWAYS = 2
"""Stores in one process; each has connections and lanes of its own, as a gateway has."""
TILLS = 2
"""Per gateway: enough that writes meet in one batch."""
_PAUSE_S = 0.05
_REFUND_EVERY = 4
_REFUND = 60
"""Of 100: two of these are too much."""


class Gateway:
    """One store, and the file in which its answers are kept."""

    def __init__(self, store: Store, recorder: Recorder, name: str) -> None:
        self.store = store
        self.name = name
        self._recorder = recorder

    async def write(self, change: Change, what: What, key: str, amount: int = 0) -> bool:
        """Save a change and note what was said; True when it is acknowledged."""
        outcome = await _outcome(self.store.save(change))
        self._recorder.note(outcome, what, sn=change.order.sn, key=key, amount=amount)
        return outcome is Outcome.DONE

    async def read(self, order: Order) -> None:
        """Look at an order that is paid; a gateway that does not see this reads from yesterday's leader."""
        try:
            seen = await self.store.order(order.key)
        except StorageFailed:
            outcome = Outcome.UNKNOWN
        else:
            outcome = Outcome.DONE if seen is not None and seen.paid else Outcome.REFUSED
        self._recorder.note(outcome, What.READ, sn=order.sn, key=order.sn)


async def sell(gateways: list[Gateway], order: Order, *, first: int, refund: bool) -> None:
    """One sale, as far as the store lets it go."""
    gateway = gateways[first]
    if not await gateway.write(intent(order), What.INTENT, order.sn):
        return
    sale = paid(order)
    if not await gateway.write(sale, What.PAID, sale.events[0].event_id, order.total):
        return
    await gateways[first - 1].read(order)
    if refund:
        await asyncio.gather(*(_refund(one, sale.order) for one in gateways))


async def _refund(gateway: Gateway, order: Order) -> None:
    change = reserved(order, _REFUND, gateway.name)
    tsn = change.transactions[0].tsn
    change = replace(change, events=(an_event(order, f"e{tsn}"),))  # as the gateway does with every verdict
    await gateway.write(change, What.REFUND, tsn, _REFUND)


async def _outcome(saving: Awaitable[bool]) -> Outcome:
    try:
        return Outcome.DONE if await saving else Outcome.REFUSED
    except StorageFailed:
        return Outcome.UNKNOWN


async def _till(gateways: list[Gateway], number: int, first: int, seed: str) -> None:
    dice = random.Random(f"{seed} till {number}")
    for sale in itertools.count(1):
        order = an_order(number * 1_000_000_000 + sale, merchant=f"m{number}")
        await sell(gateways, order, first=first, refund=dice.randrange(_REFUND_EVERY) == 0)
        await asyncio.sleep(_PAUSE_S * dice.uniform(0.5, 1.5))


async def _write(dsn: str, folder: Path, number: int, seed: str) -> None:
    clock, sealer = SystemClock(), Sealer(b"k" * 32)
    gateways = []
    for which in range(GATEWAYS):
        name = f"g{number}{which}"
        store = await open_store(dsn, sealer=sealer, clock=clock)
        gateways.append(Gateway(store, Recorder(folder / f"{name}.told"), name))
    tills = range(GATEWAYS * TILLS)
    await asyncio.gather(*(_till(gateways, number * 10 + one, one % GATEWAYS, seed) for one in tills))


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
