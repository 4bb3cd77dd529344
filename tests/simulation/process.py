"""A gateway process that can die: whatever it reaches the world by is cut at the very moment of its death.

A kill runs no handler that matters: tasks are thrown away, and clock, disk and network answer a dead process
with `Died`. What it had handed over before (a commit in the queue, a request on the road) takes its course.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Scope

from paymux.channels.contract import Channel, ClientTls, HttpRequest, HttpResponse
from paymux.domain.errors import StorageFailed
from paymux.domain.limits import Limits
from paymux.domain.people import Account
from paymux.flows.desk import Desk, Wallets
from paymux.kit.ids import NODES_A_BLOCK, Ids
from paymux.storage.contract import Notification, Store
from paymux.wire.notify_body import order_body
from paymux.wire.server import build_app
from paymux.workers.notifications import NotifyRules
from paymux.workers.runner import Workers
from tests.harness.virtual_time import VirtualClock, VirtualLoop
from tests.simulation.database.contract import Database
from tests.simulation.roads import Roads

CALLBACK_BASE = "http://gateway.example"
DRAIN_S = 20
"""How long a process that is asked to end may take for what is under way."""
_LAST_WORDS_S = 5
"""What is cancelled at the end of that may say this much longer what it has to say."""

_PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)


class Died(BaseException):
    """The process is dead: no handler may catch this, and nothing of it may reach the world."""


def claim_tasks(loop: VirtualLoop) -> None:
    """Let every task belong to the process in whose context it is made, so that it can die with it."""

    def factory(
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        **more: Any,  # noqa: ANN401 - asyncio's own options
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **more)
        process = _PROCESS.get()
        if process is not None:
            process.owns(task)
        return task

    loop.set_task_factory(factory)  # type: ignore[arg-type]  # typeshed wants the exact keyword


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every process of a town has around it."""

    loop: VirtualLoop
    database: Database
    roads: Roads
    open_channel: Callable[[Account], Channel]
    sign: Callable[[Notification], str]
    log: Callable[["Process", dict[str, Any]], None]
    crash: Callable[["Process", str], None]


class Process:
    """One life of one gateway: desk, workers, edge."""

    def __init__(
        self, around: Surroundings, *, name: str, node: int, skew_ms: int, seed: str, limits: Limits
    ) -> None:
        self.name = name
        self.alive = True
        self.ready = False
        self.calls = 0
        self._loop = around.loop
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)
        clock = _MortalClock(self, around.loop, skew_ms=skew_ms)
        self._way = around.database.way_of(name, clock)
        store: Store = _MortalStore(self, self._way.store)  # type: ignore[assignment]  # it reaches through
        nodes = range(node * NODES_A_BLOCK, (node + 1) * NODES_A_BLOCK)
        self.desk = Desk(
            store=store,
            wallets=Wallets(store, around.open_channel),
            transport=_MortalTransport(self, around.roads),
            clock=clock,
            ids=Ids(clock, nodes=nodes, seed=hash_of(seed)),
            limits=limits,
            log=_logger(lambda event: around.log(self, event)),
            callback_base=CALLBACK_BASE,
            notification_body=lambda order, movement: order_body(order, movement).decode(),
        )
        object.__setattr__(self.desk, "crash", lambda point: around.crash(self, point))
        self._workers = Workers(self.desk, NotifyRules(sign=around.sign))
        self._asgi: ASGIApp = build_app(self.desk)

    def spawn(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something as this process."""
        return self._context.run(self._loop.create_task, coro)

    async def start(self) -> None:
        """Settle in and work, as a process does that was just started."""
        await asyncio.wait([self.spawn(self._begin())])
        self.ready = self.alive

    async def _begin(self) -> None:
        await self.desk.ids.settle()
        self._workers.start()

    async def stop(self, *, drain_s: int = DRAIN_S) -> int:
        """End as on SIGTERM; return how many calls did not end by themselves.

        Calls that only wait come to an end, work under way may finish; what is left after `drain_s` is
        cancelled while disk and network still answer, as a server does before it exits.
        """
        self.desk.bell.close()
        stopping = self.spawn(self._workers.stop(drain_s=drain_s))
        await asyncio.wait([stopping], timeout=2 * DRAIN_S)
        waited_s = 0
        while self.calls and self.alive and waited_s < drain_s:
            await asyncio.sleep(1)
            waited_s += 1
        unended = self.calls if self.alive else 0
        writing = self._way.tasks()
        calls = [task for task in self._tasks if task not in writing]
        for task in calls if self.alive else ():
            task.cancel()
        await asyncio.sleep(_LAST_WORDS_S if calls else 0)
        if self.alive:
            await self._way.close()
        self.kill()
        return unended

    def kill(self) -> None:
        """Die here and now, as by SIGKILL."""
        self.alive = False
        for task in list(self._tasks):
            task.cancel()
        self._way.cut()

    def owns(self, task: asyncio.Task[Any]) -> None:
        """Remember a task, to throw it away at death."""
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def must_live(self) -> None:
        """The one door to the world, closed to the dead."""
        if not self.alive:
            raise Died(self.name)

    def call(
        self, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> asyncio.Future[tuple[int, bytes] | None]:
        """Answer one HTTP request; None when the process dies over it."""
        future: asyncio.Future[tuple[int, bytes] | None] = self._loop.create_future()
        if not self.alive:
            future.set_result(None)
            return future
        self.calls += 1
        task = self.spawn(self._serve(method, path, headers, body, future))
        task.add_done_callback(lambda done: self._served(done, future))
        return future

    def called_back(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> asyncio.Future[tuple[int, bytes] | None]:
        """Answer a wallet's callback to the address we gave it."""
        path = "/" + url.partition("//")[2].partition("/")[2]
        return self.call(
            "POST", path, [(name.encode(), value.encode()) for name, value in headers.items()], body
        )

    async def _serve(
        self,
        method: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        future: "asyncio.Future[tuple[int, bytes] | None]",
    ) -> None:
        whole: Message = {"type": "http.request", "body": body, "more_body": False}
        messages = [whole]
        status = 0
        parts: list[bytes] = []

        async def receive() -> Message:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body") and self.alive and not future.done():
                future.set_result((status, b"".join(parts)))

        await self._asgi(_scope(method, path, headers), receive, send)

    def _served(self, task: asyncio.Task[Any], future: "asyncio.Future[tuple[int, bytes] | None]") -> None:
        self.calls -= 1
        if not future.done():
            future.set_result(None)
        if self.alive and not task.cancelled() and task.exception() is not None:
            self.desk.log.error("edge.raised", alarm=True, exc_info=task.exception())

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # the dead complain to nobody


Door = Callable[[], Process | None]
"""Picks a process that lives, as a load balancer does; None when there is none."""


class _MortalClock(VirtualClock):
    """The process's own clock, off by its skew."""

    def __init__(self, process: Process, loop: VirtualLoop, *, skew_ms: int) -> None:
        super().__init__(loop, skew_ms=skew_ms)
        self._process = process

    async def sleep(self, wait_ms: int) -> None:
        """Wait in virtual time."""
        self._process.must_live()
        await super().sleep(wait_ms)


class _MortalStore:
    """The store as one process reaches it: no way through for the dead."""

    def __init__(self, process: Process, store: Store) -> None:
        self._process = process
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method, process = getattr(self._store, name), self._process

        def reach(*args: Any, **named: Any) -> Awaitable[Any]:  # noqa: ANN401 - whatever the store takes and gives
            process.must_live()
            return method(*args, **named)  # type: ignore[no-any-return]  # every call of the store is awaited

        setattr(self, name, reach)
        return reach


class _MortalTransport:
    """The roads as one process reaches them."""

    def __init__(self, process: Process, roads: Roads) -> None:
        self._process = process
        self._roads = roads

    async def send(self, lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
        """Call a wallet."""
        self._process.must_live()
        return await self._roads.to_wallet(self._process.name, lane, tls, request)

    async def post_to_merchant(
        self, url: str, headers: dict[str, str], body: bytes, timeout_s: int
    ) -> HttpResponse:
        """Tell a merchant."""
        self._process.must_live()
        return await self._roads.to_merchant(self._process.name, url, headers, body, timeout_s)

    async def close(self) -> None:
        """Nothing to close."""


def _scope(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


def hash_of(text: str) -> int:
    """A number from a text, the same in every process and on every machine."""
    return int.from_bytes(text.encode(), "big") % (1 << 61)


def _logger(keep: Callable[[dict[str, Any]], None]) -> structlog.typing.FilteringBoundLogger:
    def kept(_logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict) -> str:
        error = event.get("exc_info")
        if isinstance(
            error, StorageFailed
        ):  # a storm brings thousands, and their stacks cost more than all else
            event["exc_info"] = repr(error)
            keep(dict(event))
        else:
            keep(dict(structlog.processors.format_exc_info(_logger, _name, event)))
        raise structlog.DropEvent

    return structlog.wrap_logger(structlog.PrintLogger(), processors=[kept])
