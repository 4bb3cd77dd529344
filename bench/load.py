"""Tills that pay and ask, over keep-alive connections; every answer is read and must be the right one."""

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count as numbers
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from bench.shop import OPERATOR, SUBJECT, TOTAL, WECHAT_TILL, Till

_ANSWER_S = 60


class WrongAnswer(Exception):
    """An answer was not what was due: the run is worth nothing."""


class Call(NamedTuple):
    """One request and what its answer must say. `sn` "" means: any."""

    request: bytes
    result_code: str
    client_sn: str
    sn: str = ""


class Work(NamedTuple):
    """What came of a number of calls. `sns` are the orders, by client_sn; `waits_s` how long each took."""

    calls: int
    elapsed_s: float
    sns: dict[str, str]
    waits_s: list[float]


class _Data(msgspec.Struct):
    sn: str
    client_sn: str
    order_status: str


class _Biz(msgspec.Struct):
    result_code: str
    data: _Data


class _Reply(msgspec.Struct):
    result_code: str
    biz_response: _Biz


_READ = msgspec.json.Decoder(_Reply)


async def pay(
    base_url: str,
    *,
    count: int,
    concurrency: int,
    prefix: str,
    till: Till = WECHAT_TILL,
    notify_url: str = "",
) -> Work:
    """Pay `count` times under client_sns that start with `prefix`; raises `WrongAnswer`."""
    calls = (_pay(base_url, f"{prefix}-{number}", till, notify_url) for number in range(count))
    return await _drive(base_url, calls, concurrency)


async def query(base_url: str, *, count: int, concurrency: int, orders: dict[str, str]) -> Work:
    """Ask `count` times for orders (client_sn → sn) that are settled; raises `WrongAnswer`."""
    calls = [_query(base_url, client_sn, sn) for client_sn, sn in orders.items()]
    return await _drive(base_url, (calls[number % len(calls)] for number in range(count)), concurrency)


async def pay_at_rate(
    base_url: str, *, per_s: float, seconds: float, prefix: str, till: Till = WECHAT_TILL
) -> Work:
    """Pay at a steady pace, whether answers come or not; raises `WrongAnswer`."""
    began_s = time.perf_counter()
    free: list[_Line] = []
    sns: dict[str, str] = {}
    waits_s: list[float] = []

    async def one(call: Call) -> None:
        line = free.pop() if free else await _connect(base_url)
        await _answered(line, call, sns, waits_s)
        free.append(line)

    async with _tills(free) as tills:
        for number in numbers():
            now_s = time.perf_counter() - began_s
            if now_s >= seconds:
                break
            await asyncio.sleep(max(number / per_s - now_s, 0))
            tills.create_task(one(_pay(base_url, f"{prefix}-{number}", till, "")))
    elapsed_s = time.perf_counter() - began_s
    return Work(calls=len(waits_s), elapsed_s=elapsed_s, sns=sns, waits_s=waits_s)


async def pause(seconds: float) -> None:
    """Let time pass."""
    await asyncio.sleep(seconds)


def ask_wallet(url: str) -> str:
    """Ask the stub wallet something about itself."""
    with urllib.request.urlopen(url, timeout=_ANSWER_S) as reply:  # noqa: S310 - it is our own wallet
        text: str = reply.read().decode()
    return text


async def _drive(base_url: str, calls: Iterable[Call], concurrency: int) -> Work:
    waiting = iter(calls)
    lines = [await _connect(base_url) for _ in range(concurrency)]
    sns: dict[str, str] = {}
    waits_s: list[float] = []
    began_s = time.perf_counter()
    async with _tills(lines) as tills:
        for line in lines:
            tills.create_task(_till(line, waiting, sns, waits_s))
    elapsed_s = time.perf_counter() - began_s
    return Work(calls=len(waits_s), elapsed_s=elapsed_s, sns=sns, waits_s=waits_s)


@asynccontextmanager
async def _tills(lines: list["_Line"]) -> AsyncIterator[asyncio.TaskGroup]:
    """Tills at work; at the end their lines are closed. Raises `WrongAnswer` for what went wrong first."""
    try:
        async with asyncio.TaskGroup() as tills:
            yield tills
    except* (ConnectionError, TimeoutError, WrongAnswer) as errors:
        raise WrongAnswer(repr(errors.exceptions[0])) from errors
    finally:
        for line in lines:
            line.close()


async def _till(line: "_Line", waiting: Iterator[Call], sns: dict[str, str], waits_s: list[float]) -> None:
    """Do one call after the other until none is left."""
    for call in waiting:
        await _answered(line, call, sns, waits_s)


async def _answered(line: "_Line", call: Call, sns: dict[str, str], waits_s: list[float]) -> None:
    began_s = time.perf_counter()
    async with asyncio.timeout(_ANSWER_S):
        status, body = await line.post(call.request)
    waits_s.append(time.perf_counter() - began_s)
    sns[call.client_sn] = _checked(call, status, body)


def _checked(call: Call, status: int, body: bytes) -> str:
    """Return the order's sn; raises `WrongAnswer` unless the answer is the one that is due."""
    try:
        biz = _READ.decode(body).biz_response
    except msgspec.MsgspecError as error:
        raise WrongAnswer(f"HTTP {status}, {error}: {body[:500]!r}") from error
    data = biz.data
    right = (biz.result_code, data.order_status, data.client_sn) == (call.result_code, "PAID", call.client_sn)
    if status != 200 or not right or not data.sn or (call.sn and data.sn != call.sn):
        raise WrongAnswer(f"HTTP {status}: {body[:500]!r}")
    return data.sn


# -- requests


def _pay(base_url: str, client_sn: str, till: Till, notify_url: str) -> Call:
    body = {
        "terminal_sn": till.terminal_sn,
        "client_sn": client_sn,
        "total_amount": TOTAL,
        "dynamic_id": till.dynamic_id,
        "subject": SUBJECT,
        "operator": OPERATOR,
    }
    if notify_url:
        body["notify_url"] = notify_url
    return Call(_signed(base_url, "/upay/v2/pay", body, till), "PAY_SUCCESS", client_sn)


def _query(base_url: str, client_sn: str, sn: str) -> Call:
    body = {"terminal_sn": WECHAT_TILL.terminal_sn, "sn": sn}
    return Call(_signed(base_url, "/upay/v2/query", body, WECHAT_TILL), "SUCCESS", client_sn, sn)


def _signed(base_url: str, path: str, fields: dict[str, str], till: Till) -> bytes:
    body = msgspec.json.encode(fields)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(base_url).netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: {till.terminal_sn} {till.sign(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


# -- connections


class _Line(asyncio.Protocol):
    """One keep-alive connection: a request out, its reply back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._reply: asyncio.Future[tuple[int, bytes]] | None = None

    def post(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Return what becomes (status, body)."""
        reply = self._reply = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            reply.set_exception(ConnectionError("the server closed the connection"))
        self._transport.write(request)
        return reply

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        assert self._reply is not None
        body = bytes(self._body)
        self._body.clear()
        if not self._reply.done():
            self._reply.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionError(f"the server closed the connection ({exc})"))

    def close(self) -> None:
        self._transport.close()


async def _connect(base_url: str) -> _Line:
    host, _, port = urlsplit(base_url).netloc.partition(":")
    _, line = await asyncio.get_running_loop().create_connection(_Line, host, int(port))
    return line
