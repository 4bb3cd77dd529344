"""Work that would hold up the event loop, done in a thread beside it: everything that waits, in one go.

It is for calls into C that let go of the interpreter while they compute, such as an RSA signature. What comes
while the thread is busy goes into its next round: a lone piece of work does not wait for others, and many
cost one thread switch each way between them.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

_ROUND = 32
"""With so many done, who asked is told even if more is waiting: 32 signatures take 8 ms."""

Result = TypeVar("Result")


class _Job(NamedTuple):
    """One piece of work and who waits for it."""

    future: asyncio.Future[Any]
    work: Callable[[], object]


class _Done(NamedTuple):
    """What came of a piece of work; `error` None: `result` counts."""

    future: asyncio.Future[Any]
    result: object
    error: Exception | None


class Aside:
    """`await aside(work)`. Without its thread (outside `with`) work is done at once, where it is asked for.

    That is how a story stays replayable, and all that a command needs which decides one thing.
    """

    def __init__(self) -> None:
        self._asked: list[_Job] = []
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread = threading.Thread(target=self._serve, name="paymux-aside", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Finish what was asked for, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._hand_over()
            self._jobs.put(None)
            thread.join()

    async def __call__(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, or raise what it raises. It must touch nothing that others change."""
        if self._thread is None:
            return work()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._hand_over)
        self._asked.append(_Job(future, work))
        return await future

    def _hand_over(self) -> None:
        """Hand over what a turn of the loop has asked for: the thread is woken once for all of it."""
        asked, self._asked = self._asked, []
        for start in range(0, len(asked), _ROUND):
            self._jobs.put(asked[start : start + _ROUND])

    # -- in the thread

    def _serve(self) -> None:
        done: list[_Done] = []
        while (jobs := self._jobs.get()) is not None:
            done += map(_finish, jobs)
            if self._jobs.empty() or len(done) >= _ROUND:
                _deliver(done)
                done = []
        if done:
            _deliver(done)


def _finish(job: _Job) -> _Done:
    try:
        return _Done(job.future, job.work(), None)
    except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
        return _Done(job.future, None, error)


def _deliver(done: list[_Done]) -> None:
    done[0].future.get_loop().call_soon_threadsafe(_tell, done)


def _tell(done: list[_Done]) -> None:
    for future, result, error in done:
        if future.done():  # nobody waits any more
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
