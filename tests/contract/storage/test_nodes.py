"""Processes that share a database never make equal numbers: a node's numbers belong to one at a time."""

import asyncio

import pytest
import structlog

from paymux.domain.errors import ConfigurationBroken, StorageFailed
from paymux.kit.ids import Ids
from paymux.storage.contract import Store
from paymux.workers import nodes
from paymux.workers.nodes import LEASE_MS, NODES_A_PROCESS, RENEW_MS, borrowed_ids
from tests.contract.storage.conftest import Engine
from tests.contract.storage.makers import NOW_MS, TurnedClock

LOG = structlog.get_logger()


class StillClock(TurnedClock):
    """Who waits by it waits for ever: nobody renews a lease."""

    async def sleep(self, wait_ms: int) -> None:
        """Never over."""
        del wait_ms
        await asyncio.Event().wait()


class SteppedClock(TurnedClock):
    """Time passes when the test says so, and whoever waited for it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = asyncio.Condition()

    async def sleep(self, wait_ms: int) -> None:
        """Until the test has let so much time pass."""
        end_ms = self.ms + wait_ms
        async with self._passed:
            await self._passed.wait_for(lambda: self.ms >= end_ms)

    async def step(self, ms: int) -> None:
        """Let time pass."""
        self.ms += ms
        async with self._passed:
            self._passed.notify_all()


def test_a_node_has_one_holder(engine: Engine) -> None:
    """Of sixteen that want it at once one gets it, and it is his until the lease is over."""

    async def story(store: Store) -> None:
        other = await engine.open()
        won = await asyncio.gather(
            *(
                one.take_node(4, f"{one}{n}", now_ms=NOW_MS, until_ms=NOW_MS + 100)
                for one in (store, other)
                for n in range(8)
            )
        )
        assert won.count(True) == 1
        assert not await other.take_node(4, "late", now_ms=NOW_MS + 100, until_ms=NOW_MS + 300)
        assert await other.take_node(4, "late", now_ms=NOW_MS + 101, until_ms=NOW_MS + 300)
        assert await store.node_until_ms(4) == NOW_MS + 300
        assert await store.node_until_ms(5) == 0
        await other.close()

    engine.run(story)


def test_only_the_holder_keeps_a_node(engine: Engine) -> None:
    """Renewed or let go by its holder, and by nobody else."""

    async def story(store: Store) -> None:
        assert await store.take_node(0, "a", now_ms=NOW_MS, until_ms=NOW_MS + 100)
        assert not await store.keep_node(0, "b", until_ms=NOW_MS + 900)
        assert await store.keep_node(0, "a", until_ms=NOW_MS + 500)
        assert await store.node_until_ms(0) == NOW_MS + 500
        assert await store.keep_node(0, "a", until_ms=NOW_MS - 1)
        assert await store.take_node(0, "b", now_ms=NOW_MS, until_ms=NOW_MS + 100)
        assert not await store.keep_node(0, "a", until_ms=NOW_MS + 900)

    engine.run(story)


def test_a_block_serves_eight_and_the_ninth_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has nodes of his own; when one leaves, the next one takes over after his numbers."""
    monkeypatch.setattr(nodes, "_PATIENCE_MS", 0)

    async def story(store: Store) -> None:
        clock = StillClock()
        held = [borrowed_ids(store, clock, block=3, log=LOG) for _ in range(8)]
        ids = [await one.__aenter__() for one in held]
        numbers = [one.sn() for one in ids for _ in range(2_048)]
        assert len(set(numbers)) == len(numbers)
        with pytest.raises(ConfigurationBroken, match="number_block 3"):
            async with borrowed_ids(store, clock, block=3, log=LOG):
                pass
        await held[5].__aexit__(None, None, None)
        async with borrowed_ids(store, clock, block=3, log=LOG) as heir:
            assert heir.sn() not in numbers
        for one in held[:5] + held[6:]:
            await one.__aexit__(None, None, None)

    engine.run(story)


def test_places_of_the_dead_are_given_away(engine: Engine) -> None:
    """Processes that die one after the other do not use up the places; no number is made twice."""

    async def story(store: Store) -> None:
        clock, numbers, silent = StillClock(), set(), []
        for _ in range(40):
            dying = borrowed_ids(store, clock, block=0, log=LOG)
            ids = await dying.__aenter__()
            made = {ids.sn() for _ in range(2_500)}
            assert len(made) == 2_500
            assert not made & numbers
            numbers |= made
            silent.append(dying)  # it neither renews nor lets go
            clock.ms += 1_000
        assert await store.node_until_ms(0) > clock.ms

    engine.run(story)


def test_who_sells_more_than_his_numbers_is_ahead_of_time(engine: Engine) -> None:
    """Minutes of more than 2,048 sales a second once ended all sales: the lease goes with the numbers."""

    async def story(store: Store) -> None:
        clock, numbers = SteppedClock(), set[str]()
        async with borrowed_ids(store, clock, block=0, log=LOG) as ids:
            for _ in range(40):
                numbers |= {ids.sn() for _ in range(2 * 1024 * NODES_A_PROCESS)}
                await clock.step(RENEW_MS)
                for _ in range(1_000):
                    if await store.node_until_ms(0) >= ids.used_until_ms + LEASE_MS:
                        break
                    await asyncio.sleep(0)
            assert len(numbers) == 40 * 2 * 1024 * NODES_A_PROCESS
            assert await store.node_until_ms(0) >= ids.used_until_ms > clock.ms + LEASE_MS
        assert await store.node_until_ms(0) >= ids.used_until_ms

    engine.run(story)


def test_numbers_end_with_the_lease_and_the_heirs_begin_after_it() -> None:
    """A process that cannot renew sells nothing more; the heir begins after it, whatever his clock says."""
    clock = TurnedClock()
    ours = range(NODES_A_PROCESS)
    ids = Ids(clock, nodes=ours)
    ids.lease(until_ms=clock.ms + LEASE_MS)
    numbers = []
    for _ in range(LEASE_MS // 10 - 200):
        numbers.append(ids.sn())
        clock.ms += 10
    clock.ms = NOW_MS + LEASE_MS
    with pytest.raises(StorageFailed):
        ids.sn()
    clock.ms = NOW_MS + LEASE_MS + 1
    heir = Ids(clock, nodes=ours)
    assert heir.sn() > max(numbers)


def test_who_stood_still_too_long_takes_other_nodes() -> None:
    """New nodes, newer numbers, never one of the old ones."""
    clock = TurnedClock()
    ids = Ids(clock, nodes=range(2))
    ids.lease(until_ms=clock.ms + LEASE_MS)
    before = [ids.sn() for _ in range(100)]
    ids.lease(until_ms=clock.ms + LEASE_MS, nodes=range(8, 10))
    after = [ids.sn() for _ in range(100)]
    assert not set(before) & set(after)
    assert min(after) > max(before)
