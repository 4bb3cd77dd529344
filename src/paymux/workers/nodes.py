"""Processes that share a database make numbers of their own nodes: each borrows some, and nobody's run out.

A number holds its second, and a holder makes none beyond the end of his lease; the next holder's begin
after it, ahead of time if need be. So no two numbers are equal, however wrong the machines' clocks are, and
whoever is taken for dead by mistake only has to find another place (kit/ids.py).
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from structlog.typing import FilteringBoundLogger

from paymux.domain.errors import ConfigurationBroken, PaymuxError
from paymux.kit.clock import Clock
from paymux.kit.ids import NODES_A_BLOCK, Ids
from paymux.storage.contract import Store

NODES_A_PROCESS = 2
"""2,048 numbers a second; who sells more takes them ahead of time. A block serves eight processes."""
LEASE_MS = 30_000
RENEW_MS = 1_000
_SILENT_MS = 3 * RENEW_MS
"""Who did not renew for so long is probably dead; his place is given away when no other one is free."""
_PATIENCE_MS = 10_000
"""How long a new process waits for a place: several that died within seconds leave none at once."""


@asynccontextmanager
async def borrowed_ids(
    store: Store, clock: Clock, *, block: int, log: FilteringBoundLogger
) -> AsyncIterator[Ids]:
    """Numbers from free nodes of the block, kept as long as the context lasts.

    Raises `ConfigurationBroken` when every node of the block is taken.
    """
    keeper = _Keeper(store, clock, block=block, log=log)
    await keeper.take()
    ids = Ids(clock, nodes=keeper.nodes, after_ms=keeper.after_ms)
    ids.lease(until_ms=keeper.until_ms)
    keeping = asyncio.create_task(keeper.keep(ids))
    try:
        yield ids
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await keeper.let_go(ids)


class _Keeper:
    """Holds some nodes for this process, from after the last holder's lease (`after_ms`) to `until_ms`."""

    def __init__(self, store: Store, clock: Clock, *, block: int, log: FilteringBoundLogger) -> None:
        self._store = store
        self._clock = clock
        self._block = block
        self._log = log
        self._holder = f"{socket.gethostname()} {os.getpid()} {Ids(clock).nonce()[:8]}"
        self._node = 0
        self.after_ms = 0
        self.until_ms = 0

    @property
    def nodes(self) -> range:
        """The nodes held."""
        return range(self._node, self._node + NODES_A_PROCESS)

    async def take(self) -> None:
        """Take the place that was left longest ago; raises `ConfigurationBroken` when all are in use."""
        until_ms = self._clock.now_ms() + _PATIENCE_MS
        while not await self._try():
            if self._clock.now_ms() >= until_ms:
                raise ConfigurationBroken(
                    f"all {NODES_A_BLOCK // NODES_A_PROCESS} places of number_block {self._block} are taken: "
                    "choose another block for this process"
                )
            await self._clock.sleep(RENEW_MS)

    async def _try(self) -> bool:
        first = self._block * NODES_A_BLOCK
        nodes = range(first, first + NODES_A_BLOCK, NODES_A_PROCESS)
        for last_ms, node in sorted([(await self._store.node_until_ms(node), node) for node in nodes]):
            now_ms = self._clock.now_ms()
            if last_ms > now_ms + LEASE_MS - _SILENT_MS:
                break
            until_ms = now_ms + LEASE_MS
            if await self._store.take_node(node, self._holder, now_ms=last_ms + 1, until_ms=until_ms):
                self._node, self.after_ms, self.until_ms = node, last_ms, until_ms
                return True
        return False

    async def keep(self, ids: Ids) -> None:
        """Renew in time; without the database numbers end with the lease, and so do sales."""
        while True:
            await self._clock.sleep(RENEW_MS)
            try:
                await self._renew(ids)
            except PaymuxError:
                self._log.exception("node.not_renewed", node=self._node)

    async def _renew(self, ids: Ids) -> None:
        """For a lease from now, or from our newest number: who sells more than his share is ahead of time."""
        until_ms = max(self._clock.now_ms(), ids.used_until_ms) + LEASE_MS
        if await self._store.keep_node(self._node, self._holder, until_ms=until_ms):
            ids.lease(until_ms=until_ms)
            return
        self._log.warning("node.lost", node=self._node)  # we stood still for longer than the lease
        await self.take()
        ids.lease(until_ms=self.until_ms, nodes=self.nodes, after_ms=self.after_ms)

    async def let_go(self, ids: Ids) -> None:
        """Free the nodes for the next one, from after our last number on."""
        try:
            await self._store.keep_node(self._node, self._holder, until_ms=ids.used_until_ms)
        except PaymuxError:
            self._log.exception("node.not_let_go", node=self._node)
