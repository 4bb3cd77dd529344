"""Work beside the loop: results and errors come back to who asked, and the loop goes on meanwhile."""

import asyncio
import threading

import pytest

from paymux.kit.aside import Aside


def test_without_its_thread_work_is_done_at_once() -> None:
    """Nothing waits, so a story stays replayable."""

    async def story() -> None:
        asked = Aside()(threading.get_ident)
        with pytest.raises(StopIteration) as done:  # the very first step is the last one
            asked.send(None)
        assert done.value.value == threading.get_ident()

    asyncio.run(story())


def test_everyone_gets_his_own_result() -> None:
    """More pieces of work than fit into a round, all done in one other thread."""

    async def story() -> None:
        with Aside() as aside:
            results = await asyncio.gather(
                *(aside(lambda n=n: (n, threading.get_ident())) for n in range(100))
            )
        assert [number for number, _ in results] == list(range(100))
        assert len({thread for _, thread in results} | {threading.get_ident()}) == 2

    asyncio.run(story())


def test_an_error_reaches_who_asked_and_nobody_else() -> None:
    """Neighbours of one round keep their results."""

    async def story() -> None:
        with Aside() as aside:
            good, bad = aside(lambda: 1), aside(lambda: 1 // 0)
            results = await asyncio.gather(good, bad, aside(lambda: 2), return_exceptions=True)
        assert (results[0], results[2]) == (1, 2)
        assert isinstance(results[1], ZeroDivisionError)

    asyncio.run(story())


def test_the_loop_goes_on_while_the_thread_works() -> None:
    """Work that waits for the loop would never end if it held it up; who gives up harms nobody."""

    async def story() -> None:
        go = threading.Event()
        with Aside() as aside:
            held = asyncio.ensure_future(aside(go.wait))
            given_up = asyncio.ensure_future(aside(lambda: "late"))
            await asyncio.sleep(0)
            given_up.cancel()
            asyncio.get_running_loop().call_later(0.01, go.set)
            assert await held
            assert await aside(lambda: "after") == "after"
        assert given_up.cancelled()
        assert await aside(threading.get_ident) == threading.get_ident()

    asyncio.run(story())


def test_what_was_asked_for_is_finished() -> None:
    """Leaving waits for the thread; the results are there afterwards."""

    async def story() -> None:
        with Aside() as aside:
            asked = asyncio.ensure_future(aside(lambda: "signed"))
            await asyncio.sleep(0)
        assert await asked == "signed"

    asyncio.run(story())
