"""The only file that knows every room: settings → store, channels, desk → edges and workers → a server."""

import asyncio
import fcntl
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvicorn
from starlette.types import ASGIApp
from structlog.typing import FilteringBoundLogger

from paymux.channels.registry import open_channel
from paymux.channels.transport import AiohttpTransport
from paymux.config import Settings
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.order import Order, Transaction
from paymux.flows.desk import Bell, Desk, Wallets
from paymux.kit.clock import SystemClock
from paymux.kit.crash import CrashPoints
from paymux.kit.ids import NODES_A_BLOCK, Ids
from paymux.kit.notify_key import NotifyKey
from paymux.kit.seal import Sealer
from paymux.storage.contract import Notification, Store
from paymux.storage.opener import open_store
from paymux.wire.http import BoundedHttp
from paymux.wire.notify_body import order_body
from paymux.wire.server import build_app
from paymux.workers.nodes import borrowed_ids
from paymux.workers.notifications import NotifyRules
from paymux.workers.runner import Workers

_LOOK_MS = 1_000
"""A call that waits for what a call at another process does hears of its end within this time."""


@asynccontextmanager
async def open_memory(settings: Settings, *, existing: bool = False) -> AsyncIterator[Store]:
    """Open the database; `existing`: do not make one. Raises `ConfigurationBroken`."""
    _check_database(settings) if existing else _make_folder(settings.data_dir)
    store = await open_store(settings.dsn, sealer=open_sealer(settings), clock=SystemClock())
    try:
        yield store
    finally:
        await store.close()


def open_sealer(settings: Settings) -> Sealer:
    """The sealing key of the settings; its file is made when it is missing. Raises `ConfigurationBroken`."""
    if settings.master_key:
        return Sealer.from_hex(settings.master_key)
    return Sealer.load_or_create(settings.sealing_key_path)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that works: its desk, the key that signs notifications, and the ASGI application."""

    desk: Desk
    notify_key: NotifyKey
    asgi: ASGIApp


@asynccontextmanager
async def open_gateway(
    settings: Settings, *, log: FilteringBoundLogger, base_url: str = ""
) -> AsyncIterator[Gateway]:
    """Open every room and start the workers; at the end stop them, then let go in the reverse order.

    `base_url` is where the gateway listens when the settings name no `public_url`.
    """
    notify_key = notify_key_of(settings)
    async with open_workshop(settings, log=log, base_url=base_url, notify_key=notify_key) as desk:
        asgi = build_app(
            desk, notify_public_pem=notify_key.public_pem, strict_client_sn=settings.strict_client_sn
        )
        yield Gateway(desk=desk, notify_key=notify_key, asgi=asgi)


def notify_key_of(settings: Settings) -> NotifyKey:
    """The key that signs notifications; made at the first start. Raises `ConfigurationBroken`."""
    _make_folder(settings.data_dir)
    return NotifyKey.load_or_create(settings.notify_key_path)


@asynccontextmanager
async def open_workshop(
    settings: Settings, *, log: FilteringBoundLogger, notify_key: NotifyKey, base_url: str = ""
) -> AsyncIterator[Desk]:
    """Open every room but the edges and start the workers: the part that time needs, without tills."""
    public_url = settings.public_url or base_url or settings.base_url
    async with AsyncExitStack() as opened:
        if settings.database_path is not None:
            opened.enter_context(alone(settings.database_path))
        store = await opened.enter_async_context(open_memory(settings))
        ids = await opened.enter_async_context(_numbers(settings, store, log))
        transport = _transport(settings)
        opened.push_async_callback(transport.close)
        desk = _desk(settings, store, transport, ids, log=log, public_url=public_url)
        opened.enter_context(desk.aside)
        await desk.ids.settle()
        workers = Workers(desk, notify_rules(settings, notify_key))
        opened.push_async_callback(workers.stop, drain_s=settings.shutdown_s)
        workers.start()
        yield desk


@asynccontextmanager
async def open_desk(settings: Settings, *, log: FilteringBoundLogger) -> AsyncIterator[Desk]:
    """A desk beside a gateway at work, for a command that decides something. Raises `ConfigurationBroken`."""
    async with AsyncExitStack() as opened:
        store = await opened.enter_async_context(open_memory(settings, existing=True))
        ids = await opened.enter_async_context(_numbers(settings, store, log))
        transport = _transport(settings)
        opened.push_async_callback(transport.close)
        yield _desk(settings, store, transport, ids, log=log, public_url=settings.public_url)


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Hold the gateway's place at a database file: two would make equal numbers. The lock dies with us.

    Raises `ConfigurationBroken` when another gateway is at work on it, and when the disk cannot be written;
    command-line tools may share it.
    """
    place = database.with_name(database.name + ".serving")
    try:
        place.touch(mode=0o600)
        file = place.open("w")
    except OSError as error:
        raise ConfigurationBroken(f"{place} cannot be written ({error}): is it a writable disk?") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = f"another paymux gateway is at work on {database}: stop it, or choose another data_dir"
            raise ConfigurationBroken(text) from error
        yield


def notify_rules(settings: Settings, key: NotifyKey) -> NotifyRules:
    """How notifications are signed and when they count as delivered (upay-v2.md §11, §13 no. 12)."""

    def sign(note: Notification) -> str:
        signature = key.sign(note.body.encode())
        if settings.notify_header == "bare":
            return signature
        return f"{msgspec.json.decode(note.body)['terminal_sn']} {signature}"

    return NotifyRules(sign=sign, any_2xx=settings.notify_success == "status")


def listen(host: str, port: int) -> socket.socket:
    """Take a TCP port, 0 a free one; raises `ConfigurationBroken` when it is taken."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        text = f"cannot listen on {host}:{port} ({error.strerror}): choose another listen_port"
        raise ConfigurationBroken(text) from error


def url_of(listener: socket.socket) -> str:
    """The http URL of a listening socket, without a trailing slash."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    asgi: ASGIApp,
    listener: socket.socket,
    *,
    stop: asyncio.Event,
    shutdown_s: int,
    on_ready: Callable[[], None],
    on_closing: Callable[[], None],
) -> None:
    """Answer calls until `stop` is set; then give those in flight `shutdown_s` seconds to finish.

    `on_closing` is called first: it lets calls that only wait come to an end.
    """
    config = uvicorn.Config(
        asgi,
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=shutdown_s,
    )
    _calm_gc()
    server = _Server(config, on_ready)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        on_closing()
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        listener.close()


def _calm_gc() -> None:
    """Let the collector pass over what lives for ever, and look at the rest less often.

    Requests leave no cycles behind worth hunting after every 700 objects: it took 3 % of a pay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@contextmanager
def stopping_on_signals() -> Iterator[asyncio.Event]:
    """Inside a running loop: the event SIGINT and SIGTERM set; a second signal cancels the caller's task."""
    stop, loop, task = asyncio.Event(), asyncio.get_running_loop(), asyncio.current_task()

    def heard() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, heard)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Server(uvicorn.Server):
    """A server that says when it is ready, and leaves signals to whoever started it."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._on_ready()


def _transport(settings: Settings) -> AiohttpTransport:
    return AiohttpTransport(
        calls_per_account=settings.limits.transport_per_account,
        allow_private_targets=settings.allow_private_targets,
    )


@asynccontextmanager
async def _numbers(settings: Settings, store: Store, log: FilteringBoundLogger) -> AsyncIterator[Ids]:
    """Numbers of the block: all of it beside a database file, which nobody shares (`alone`), else a part."""
    clock, block = SystemClock(), settings.number_block
    if settings.database_path is None:
        async with borrowed_ids(store, clock, block=block, log=log) as ids:
            yield ids
    else:
        yield Ids(clock, nodes=range(block * NODES_A_BLOCK, (block + 1) * NODES_A_BLOCK))


def _desk(
    settings: Settings,
    store: Store,
    transport: AiohttpTransport,
    ids: Ids,
    *,
    log: FilteringBoundLogger,
    public_url: str,
) -> Desk:
    return Desk(
        store=store,
        wallets=Wallets(store, open_channel),
        transport=transport,
        clock=SystemClock(),
        ids=ids,
        limits=settings.limits,
        log=log,
        callback_base=public_url,
        notification_body=_notification_body,
        cancel_same_day=settings.cancel_same_day_only,
        device_once=settings.refuse_same_device,
        crash=CrashPoints(os.environ.get("PAYMUX_CRASH_AT", "")),
        bell=Bell(look_ms=0 if settings.database_path else _LOOK_MS),
    )


def _notification_body(order: Order, movement: Transaction | None) -> str:
    return order_body(order, movement).decode()


def _check_database(settings: Settings) -> None:
    path = settings.database_path
    if path is not None and not path.exists():
        raise ConfigurationBroken(f"there is no database {path}; start `paymux serve`, or mend the settings")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationBroken(f"data_dir {folder} cannot be made: {error}") from error
