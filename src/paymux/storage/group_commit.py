"""Many writes, one fsync: whatever waits while one commit runs goes into the next (DESIGN §7).

Statements run in the event loop's thread, where they cost microseconds; only COMMIT, which waits for the
disk, runs in the writer thread. So a batch costs two thread switches instead of two per statement, and one
wake-up of the loop. Without a thread everything runs in the loop, which makes a story replayable.

One writer at a time is the rule of SQLite; another process may be it. Then the batch tries again soon, and
gives up with `StorageFailed` after `_BUSY_TRIES`.
"""

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from paymux.domain.errors import PaymuxError, StorageFailed

_BATCH_MAX = 64
"""Statements of a batch hold up the loop for a millisecond or two; beyond 32 a bigger batch saves little."""
_BUSY_GAP_S = 0.01
_BUSY_TRIES = 500
"""Five seconds: longer than any transaction of ours, shorter than a till's patience."""

Result = TypeVar("Result")


class _Unit:
    """One write and who waits for it. `future` is only the receipt: cancelling it does not stop the write."""

    __slots__ = ("args", "future", "work")

    def __init__(
        self, future: asyncio.Future[Any], work: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        self.future = future
        self.work = work
        self.args = args

    @property
    def is_awaited(self) -> bool:
        """Somebody still wants to know."""
        return not self.future.done() and not self.future.get_loop().is_closed()


_Job = Callable[[], object]


class GroupCommit:
    """The one way to write through `connection` (opened with isolation_level None, busy_timeout 0)."""

    def __init__(self, connection: sqlite3.Connection, *, threaded: bool) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._waiting: deque[_Unit] = deque()
        self._alone: deque[_Unit] = deque()
        self._writing_for: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="paymux-writer", daemon=True)
        self._threaded = threaded
        if threaded:
            self._thread.start()

    def submit(self, work: Callable[..., Result], *args: object) -> asyncio.Future[Result]:
        """Run `work(cursor, *args)` in the next transaction; its result arrives once that is durable.

        What `work` raises undoes it alone, neighbours keep theirs; as `StorageFailed` but for our own errors.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if self._closed:
            future.set_exception(StorageFailed("the database is closed"))
            return future
        self._waiting.append(_Unit(future, work, args))
        if self._writing_for is not loop:
            self._take_over(loop)
        return future

    async def close(self) -> None:
        """Finish what waits, then end the thread. The connection stays open for its owner to close."""
        if self._closed:
            return
        last = self.submit(lambda _cursor: None)
        self._closed = True
        await last
        if self._threaded:
            self._jobs.put(None)
            self._thread.join()

    # -- in the loop: begin → run → commit → committed → begin …

    def _take_over(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to write. A loop that ended amid a commit gets it finished, heard by nobody, first."""
        if self._writing_for is not None:
            if self._threaded:
                idle = threading.Event()
                self._jobs.put(idle.set)
                idle.wait()
            self._roll_back()
        self._writing_for = loop
        loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop, tries_left: int = _BUSY_TRIES) -> None:
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if _is_busy(error) and tries_left:
                loop.call_later(_BUSY_GAP_S, self._begin, loop, tries_left - 1)
            else:
                self._refuse(self._take(), error)
                self._go_on(loop)
            return
        self._run(loop, self._take())

    def _take(self) -> list[_Unit]:
        """What goes into one transaction: everything that waits, or one that failed in company."""
        if self._alone:
            return [self._alone.popleft()]
        return [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH_MAX))]

    def _run(self, loop: asyncio.AbstractEventLoop, batch: list[_Unit]) -> None:
        cursor = self._cursor
        try:
            results = [unit.work(cursor, *unit.args) for unit in batch]
        except Exception as error:  # noqa: BLE001 - whatever one write raises is handed to its waiter
            self._failed(loop, batch, error)
            return
        if self._threaded:
            self._jobs.put(partial(self._commit_and_tell, loop, batch, results))
        else:
            self._committed(loop, batch, results, self._commit())

    def _committed(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Unit],
        results: list[object],
        error: sqlite3.Error | None,
    ) -> None:
        if error is not None:
            self._failed(loop, batch, error)
            return
        for unit, result in zip(batch, results, strict=True):
            if unit.is_awaited:
                unit.future.set_result(result)
        self._go_on(loop)

    def _failed(self, loop: asyncio.AbstractEventLoop, batch: list[_Unit], error: Exception) -> None:
        """Nothing of the batch is kept. In company: each is tried alone; alone: its waiter is told."""
        self._roll_back()
        if len(batch) > 1:
            self._alone.extend(batch)
        else:
            self._refuse(batch, error)
        self._go_on(loop)

    def _refuse(self, batch: list[_Unit], error: Exception) -> None:
        for unit in batch:
            if unit.is_awaited:
                unit.future.set_exception(explained(error))

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """The waiters just woken run first: what they write next shares the next commit."""
        if self._alone or self._waiting:
            loop.call_soon(self._begin, loop)
        else:
            self._writing_for = None

    # -- in the writer thread

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _commit_and_tell(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Unit], results: list[object]
    ) -> None:
        error = self._commit()
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody is left to be told
            loop.call_soon_threadsafe(self._committed, loop, batch, results, error)

    def _commit(self) -> sqlite3.Error | None:
        try:
            self._cursor.execute("COMMIT")
        except sqlite3.Error as error:
            return error
        return None

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")


def explained(error: Exception) -> PaymuxError:
    """The error in our words, its cause kept; no database error quotes a parameter."""
    if isinstance(error, PaymuxError):
        return error
    failed = StorageFailed(f"the database did not do it: {error}")
    failed.__cause__ = error
    return failed


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
