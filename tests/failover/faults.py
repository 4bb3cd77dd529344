"""The five ways in which a leader is lost, or its standbys are."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.failover import processes
from tests.failover.cluster import Cluster, Node, until
from tests.failover.settings import TTL_S

LAG_S = 0.8
"""How long standbys are kept from what is being committed before the leader dies: only so does a death tell
synchronous from asynchronous replication, on loopback there is no lag else."""
FROZEN_S = TTL_S + 12
STALLED_S = 6
"""Shorter than wal_sender_timeout: nobody may be declared gone meanwhile."""
_TAKEOVER_S = 90

Fault = Callable[[Cluster, Node, random.Random], Awaitable[None]]


async def switchover(cluster: Cluster, leader: Node, _dice: random.Random) -> None:
    """An operator swaps leader and synchronous standby, for maintenance."""
    candidate = await cluster.sync_standby()
    assert candidate is not None
    await cluster.switch_over(leader, candidate)


async def kill_postgres(_cluster: Cluster, leader: Node, _dice: random.Random) -> None:
    """The leader's PostgreSQL dies, its Patroni sees it."""
    processes.send(leader.postmaster(), signal.SIGKILL)


async def kill_node(cluster: Cluster, leader: Node, dice: random.Random) -> None:
    """The leader's machine dies while its standbys lag behind; it comes back when another one leads."""
    processes.send(leader.postgres("walsender"), signal.SIGSTOP)
    await asyncio.sleep(LAG_S)
    processes.send(leader.everything(), signal.SIGKILL)
    await _taken_over(cluster, leader)
    await asyncio.sleep(dice.uniform(0, 3))
    leader.start()


async def freeze(_cluster: Cluster, leader: Node, dice: random.Random) -> None:
    """The leader's machine stands still until another one leads, and goes on as if nothing had happened."""
    still = leader.everything()
    processes.send(still, signal.SIGSTOP)
    try:
        await asyncio.sleep(FROZEN_S + dice.uniform(0, 5))
    finally:
        processes.send(still, signal.SIGCONT)


async def stall(cluster: Cluster, leader: Node, _dice: random.Random) -> None:
    """Both standbys stop taking in what the leader writes, and go on later."""
    receivers = [one for node in cluster.others(leader) for one in node.postgres("walreceiver")]
    assert len(receivers) == len(cluster.others(leader)), "a standby does not receive"
    processes.send(receivers, signal.SIGSTOP)
    try:
        await asyncio.sleep(STALLED_S)
    finally:
        processes.send(receivers, signal.SIGCONT)


FAULTS: dict[str, Fault] = {
    "switchover": switchover,
    "kill-postgres": kill_postgres,
    "kill-node": kill_node,
    "freeze": freeze,
    "stall": stall,
}

BOUNDS_S = {"switchover": 5, "kill-postgres": 10, "kill-node": 25}
"""How long nothing may be acknowledged, at most."""
LEAST_S = {"stall": STALLED_S - 1, "kill-node": LAG_S}
"""How long nothing may be acknowledged, at least: else commits do not wait for a standby."""


async def _taken_over(cluster: Cluster, former: Node) -> None:
    async def another() -> Node | None:
        with suppress(OSError):
            leader = await cluster.leader()
            return leader if leader is not former else None
        return None

    await until(another, within_s=_TAKEOVER_S, what="another node leads")
