"""How writes come together: at once for who is alone, with a moment's patience where many write."""

import asyncio

from paymux.storage.lane import Lane
from tests.harness.virtual_time import VirtualClock, VirtualLoop, run_virtually


def _batches(waves: list[tuple[int, int]]) -> list[int]:
    """The sizes of the batches when so many writes come at such a time (ms); a batch takes 2 ms."""
    sizes: list[int] = []
    loop = VirtualLoop()

    async def story() -> None:
        async def together(items: list[int]) -> list[int]:
            sizes.append(len(items))
            await asyncio.sleep(0.002)
            return items

        async def alone(item: int, /, *, unsure: bool) -> int:
            raise AssertionError((item, unsure))

        lane = Lane(together, alone, clock=VirtualClock(loop))

        async def write(number: int, at_ms: int) -> None:
            await asyncio.sleep(at_ms / 1000)
            assert await lane.submit(number) == number

        writes = [(at_ms, number) for at_ms, count in waves for number in range(count)]
        await asyncio.gather(*(write(number, at_ms) for at_ms, number in writes))

    run_virtually(story(), loop)
    return sizes


def test_who_writes_alone_never_waits() -> None:
    """One write every 3 ms: each has a batch of its own."""
    assert _batches([(3 * n, 1) for n in range(10)]) == [1] * 10


def test_what_comes_while_a_batch_is_written_is_the_next_one() -> None:
    """Two more, a millisecond after the first."""
    assert _batches([(0, 1), (1, 2)]) == [1, 2]


def test_in_company_a_lane_gathers_for_a_moment() -> None:
    """After a batch of eight, what comes one by one within 3 ms is one batch; then nobody waits any more."""
    assert _batches([(0, 8), (1, 1), (3, 1), (4, 1), (20, 1), (23, 1)]) == [8, 3, 1, 1]
