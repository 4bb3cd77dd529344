"""Writes in company: together on the disk, each on its own account."""

import asyncio

import pytest
from msgspec.structs import replace

from paymux.domain.errors import StorageFailed
from paymux.storage.contract import Change, Store
from tests.contract.storage.conftest import Engine
from tests.contract.storage.makers import an_event, an_order, intent, next_version, paid


def _broken(number: int) -> Change:
    """A change whose last row no database takes."""
    change = intent(an_order(number))
    return replace(change, events=(an_event(change.order, "same"), an_event(change.order, "same")))


def test_a_failing_write_fails_alone(engine: Engine) -> None:
    """Forty writes at once, each tenth broken: the broken ones are told, all others are there."""

    async def story(store: Store) -> None:
        changes = [_broken(n) if n % 10 == 3 else intent(an_order(n)) for n in range(40)]
        results = await asyncio.gather(*(store.save(one) for one in changes), return_exceptions=True)
        for number, (change, result) in enumerate(zip(changes, results, strict=True)):
            if number % 10 == 3:
                assert isinstance(result, StorageFailed)
                assert await store.order(change.order.key) is None
            else:
                assert result is True
                assert await store.order(change.order.key) == change.order

    engine.run(story)


def test_company_keeps_the_order_of_one_client(engine: Engine) -> None:
    """Changes handed in at once, a broken one among them: each is judged after the one before."""
    order = an_order()
    versions = [order]
    for _ in range(5):
        versions.append(replace(versions[-1], version=versions[-1].version + 1))
    chain = [next_version(one) for one in versions[:-1]]

    async def story(store: Store) -> None:
        await store.save(intent(order))
        waiting = [store.save(chain[0]), store.save(_broken(9)), *(store.save(one) for one in chain[1:])]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [one for one in results if not isinstance(one, StorageFailed)] == [True] * len(chain)
        assert await store.order(order.key) == versions[-1]

    engine.run(story)


def test_more_than_one_batch_at_once(engine: Engine) -> None:
    """Hundreds of writes in one turn of the loop all get their own answer."""
    orders = [an_order(n, merchant=f"m{n % 5}") for n in range(300)]

    async def story(store: Store) -> None:
        assert all(await asyncio.gather(*(store.save(intent(order)) for order in orders)))
        assert all(await asyncio.gather(*(store.save(paid(order)) for order in orders)))
        assert len(await store.orders(status=None, after=None, limit=1_000)) == 300

    engine.run(story)


def test_a_cancelled_waiter_does_not_cancel_its_write(engine: Engine) -> None:
    """A client hangs up while its order is being written: it is written, and neighbours notice nothing."""
    orders = [an_order(n) for n in range(8)]

    async def story(store: Store) -> None:
        tasks = [asyncio.create_task(store.save(intent(order))) for order in orders]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[1::2] == [True] * 4
        assert all(isinstance(one, asyncio.CancelledError) for one in results[::2])
        assert await store.save(intent(an_order(99)))
        for order in orders:
            assert await store.order(order.key) == order

    engine.run(story)


def test_close_finishes_what_waits(engine: Engine) -> None:
    """Everything handed in before `close` is durable after it; what comes later is refused."""
    orders = [an_order(n) for n in range(100)]

    async def first(store: Store) -> None:
        tasks = [asyncio.create_task(store.save(intent(order))) for order in orders]
        await asyncio.sleep(0)
        await store.close()
        assert all(await asyncio.gather(*tasks))
        with pytest.raises(StorageFailed):
            await store.save(intent(an_order(999)))
        with pytest.raises(StorageFailed):
            await store.save(intent(an_order(999, merchant="another")))
        with pytest.raises(StorageFailed):
            await store.order(orders[0].key)
        await store.close()

    async def second(store: Store) -> None:
        assert [one.sn for one in await store.orders(status=None, after=None, limit=1_000)] == [
            order.sn for order in orders
        ]

    engine.run(first)
    engine.run(second)


def test_nobody_reads_what_is_not_yet_durable(engine: Engine) -> None:
    """While writes are under way a reader sees an order wholly or not at all, never without its due work."""
    orders = [an_order(n) for n in range(60)]

    async def story(store: Store) -> None:
        writing = asyncio.gather(*(store.save(intent(order)) for order in orders))
        while not writing.done():
            for order in orders:
                seen = await store.order(order.key) is not None
                assert len(await store.due_of(order.key)) >= seen
            await asyncio.sleep(0)
        assert all(await writing)

    engine.run(story)
