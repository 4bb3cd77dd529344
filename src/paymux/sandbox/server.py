"""The sandbox on sockets: two loopback ports over the pure core, a client that delivers callbacks.

The plain port serves everything; the TLS port demands a client certificate, as WeChat's refund and reverse
do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import ssl
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from paymux.sandbox import snapshot
from paymux.sandbox.messages import Call, Callback, Reply
from paymux.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paymux.sandbox.keys import KeyRing

HOST = "127.0.0.1"
BODY_MAX_BYTES = 1_000_000
LOOK_S = 1
SAVE_S = 5
DELIVERIES_AT_ONCE_MAX = 50
DELIVERY_TIMEOUT_S = 10
ANSWER_MAX_BYTES = 10_000
KEEP_ALIVE_S = 75
"""Longer than any client keeps a resting connection, as wallets do: a request that meets one which is
just being closed is lost, and nobody asked for that fault."""
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Sandbox:
    """A running sandbox: `await start()`, then `base_url`, `secure_base_url` and `world` are there to use."""

    def __init__(
        self,
        *,
        port: int = 0,
        tls_port: int = 0,
        seed: int = 1,
        data_dir: Path | None = None,
        keys: KeyRing | None = None,
        amount_scripts: bool = True,
    ) -> None:
        """Prepare one; port 0 takes a free port. With `data_dir` keys and books outlive the process."""
        origin = snapshot.load_origin(data_dir, seed) if data_dir else None
        self.world = World(
            origin.seed if origin else seed,
            _now_ms,
            keys=origin.keys if origin else keys,
            amount_scripts=amount_scripts,
        )
        self._ports = (port, tls_port)
        self._data_dir = data_dir
        self._dirty = False
        self._wake = asyncio.Event()
        self._places = asyncio.Semaphore(DELIVERIES_AT_ONCE_MAX)
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._deliveries: dict[str, asyncio.Task[None]] = {}
        self._client: aiohttp.ClientSession | None = None

    @property
    def base_url(self) -> str:
        """The plain port's URL, without a slash at the end."""
        return self.world.base_url

    @property
    def secure_base_url(self) -> str:
        """The TLS port's URL, without a slash at the end."""
        return self.world.secure_base_url

    async def start(self) -> None:
        """Listen, and begin to live; raises OSError when a port is taken."""
        plain, secure = _listen_all(self._ports)
        self.world.base_url = f"http://{HOST}:{plain.getsockname()[1]}"
        self.world.secure_base_url = f"https://{HOST}:{secure.getsockname()[1]}"
        if self._data_dir:
            snapshot.load(self.world, self._data_dir)
        timeout = aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT_S)
        self._client = aiohttp.ClientSession(timeout=timeout)
        with tempfile.TemporaryDirectory() as folder:
            tls = _tls_files(self.world.keys, Path(folder))
            self._serve(plain, client_cert=False)
            self._serve(secure, client_cert=True, **tls)
            while not all(server.started for server in self._servers):
                self._raise_if_failed()
                await asyncio.sleep(0.01)
        self._tasks.append(asyncio.create_task(self._live()))

    async def stop(self) -> None:
        """Stop listening, store the books, end every task."""
        for server in self._servers:
            server.should_exit = True
            server.force_exit = True
        live = self._tasks.pop()
        live.cancel()
        for task in self._deliveries.values():
            task.cancel()
        await asyncio.gather(live, *self._tasks, *self._deliveries.values(), return_exceptions=True)
        if self._client:
            await self._client.close()
        self._dirty = True
        self._save()

    # --- answering ---

    def _serve(self, listener: socket.socket, *, client_cert: bool, **tls: Any) -> None:  # noqa: ANN401 - uvicorn's own options
        async def answer(request: Request) -> Response:
            return await self._answer(request, client_cert=client_cert)

        config = uvicorn.Config(
            Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)]),
            http=_Droppable,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=KEEP_ALIVE_S,
            **tls,
        )
        server = _Server(config)
        self._servers.append(server)
        self._tasks.append(asyncio.create_task(server.serve(sockets=[listener])))

    async def _answer(self, request: Request, *, client_cert: bool) -> Response:
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > BODY_MAX_BYTES:
                return Response(status_code=413)
        call = Call(
            method=request.method,
            path=request.scope["path"],
            query=request.scope["query_string"],
            headers=dict(request.headers),
            body=body,
            client_cert=client_cert,
        )
        reply = self.world.handle(call)
        self._dirty = True
        self._wake.set()
        return await self._send(request, reply)

    async def _send(self, request: Request, reply: Reply) -> Response:
        if reply.delay_ms:
            await asyncio.sleep(reply.delay_ms / 1000 / self.world.bank.clock.rate)
        if reply.lost:
            request.scope["extensions"]["sandbox.drop"]()
            await asyncio.sleep(0)
        return Response(reply.body, status_code=reply.status, headers=reply.headers)

    # --- living ---

    async def _live(self) -> None:
        """Let due things happen, deliver callbacks, store the books from time to time."""
        saved_at_s = time.monotonic()
        while True:
            self._wake.clear()
            for callback in self.world.run_due():
                self._deliver(callback)
            if time.monotonic() - saved_at_s > SAVE_S:
                self._save()
                saved_at_s = time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._pause_s())

    def _pause_s(self) -> float:
        next_ms = self.world.next_event_ms()
        if next_ms is None:
            return LOOK_S
        pause_s = (next_ms - self.world.now_ms()) / 1000 / self.world.bank.clock.rate
        return min(max(pause_s, 0.001), LOOK_S)

    def _deliver(self, callback: Callback) -> None:
        task = asyncio.create_task(self._post(callback))
        self._deliveries[callback.id] = task
        task.add_done_callback(lambda _: self._deliveries.pop(callback.id, None))

    async def _post(self, callback: Callback) -> None:
        """Send one callback, to this machine only; whatever goes wrong counts as no answer."""
        status, answer = 0, b""
        if self._client and is_loopback(callback.url):
            async with self._places:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
                    async with self._client.post(
                        callback.url, data=callback.body, headers=callback.headers, allow_redirects=False
                    ) as reply:
                        status, answer = reply.status, await reply.content.read(ANSWER_MAX_BYTES)
        self.world.callback_answered(callback.id, status, answer)
        self._dirty = True
        self._wake.set()

    def _save(self) -> None:
        if self._data_dir and self._dirty:
            self._dirty = False
            ahead_ms = self.world.bank.clock.now_ms() - _now_ms()
            snapshot.save(self.world, self._data_dir, ahead_ms=ahead_ms)

    def _raise_if_failed(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()


def run(
    *,
    port: int = 0,
    tls_port: int = 0,
    seed: int = 1,
    data_dir: Path | None = None,
    on_ready: Callable[[Sandbox], None] | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM; `on_ready` is called once the ports are open."""

    async def serve() -> None:
        sandbox = Sandbox(port=port, tls_port=tls_port, seed=seed, data_dir=data_dir)
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, over.set)
        await sandbox.start()
        if on_ready:
            on_ready(sandbox)
        await over.wait()
        await sandbox.stop()

    asyncio.run(serve())


def is_loopback(url: str) -> bool:
    """Say whether a URL leads to this machine: callbacks go nowhere else."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https"):
            return False
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    return False


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Droppable(HttpToolsProtocol):
    """Lets the application close a connection without a reply: that is how replies get lost."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"sandbox.drop": self.transport.abort}  # type: ignore[dict-item]  # our own


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _listen_all(ports: tuple[int, int]) -> list[socket.socket]:
    """Open both ports or none."""
    with contextlib.ExitStack() as opened:
        listeners = [opened.enter_context(_listen(port)) for port in ports]
        opened.pop_all()
        return listeners


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


def _tls_files(keys: KeyRing, folder: Path) -> dict[str, object]:
    """Write what OpenSSL only reads from files; they are gone once the server has started."""
    files = {
        "ssl_certfile": keys.tls_server.cert,
        "ssl_keyfile": keys.tls_server.key,
        "ssl_ca_certs": keys.tls_ca_cert,
    }
    paths: dict[str, object] = {}
    for name, text in files.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        paths[name] = str(path)
    return paths | {"ssl_cert_reqs": ssl.CERT_REQUIRED}
