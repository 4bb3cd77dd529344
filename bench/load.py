"""Tills that pay and ask, over keep-alive connections; every answer is read and must be the right one."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from bench.shop import OPERATOR, SUBJECT, TERMINAL_SN, TOTAL, upay_sign

_ANSWER_S = 30


class WrongAnswer(Exception):
    """An answer was not what was due: the run is worth nothing."""


class Call(NamedTuple):
    """One request and what its answer must say. `sn` "" means: any."""

    request: bytes
    result_code: str
    client_sn: str
    sn: str = ""


class Work(NamedTuple):
    """What came of a number of calls. `sns` are the orders, by client_sn."""

    calls: int
    elapsed_s: float
    sns: dict[str, str]


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


async def pay(base_url: str, *, count: int, concurrency: int, prefix: str) -> Work:
    """Pay `count` times under client_sns that start with `prefix`; raises `WrongAnswer`."""
    calls = (_pay(base_url, f"{prefix}-{number}") for number in range(count))
    return await _drive(base_url, calls, concurrency)


async def query(base_url: str, *, count: int, concurrency: int, orders: dict[str, str]) -> Work:
    """Ask `count` times for orders (client_sn → sn) that are settled; raises `WrongAnswer`."""
    calls = [_query(base_url, client_sn, sn) for client_sn, sn in orders.items()]
    return await _drive(base_url, (calls[number % len(calls)] for number in range(count)), concurrency)


async def _drive(base_url: str, calls: Iterable[Call], concurrency: int) -> Work:
    waiting = iter(calls)
    lines = [await _connect(base_url) for _ in range(concurrency)]
    sns: dict[str, str] = {}
    began_s = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as tills:
            tasks = [tills.create_task(_till(line, waiting, sns)) for line in lines]
    except* (ConnectionError, TimeoutError, WrongAnswer) as errors:
        raise WrongAnswer(repr(errors.exceptions[0])) from errors
    finally:
        for line in lines:
            line.close()
    return Work(calls=sum(task.result() for task in tasks), elapsed_s=time.perf_counter() - began_s, sns=sns)


async def _till(line: "_Line", waiting: Iterator[Call], sns: dict[str, str]) -> int:
    """Do one call after the other until none is left; return how many."""
    done = 0
    for call in waiting:
        async with asyncio.timeout(_ANSWER_S):
            status, body = await line.post(call.request)
        sns[call.client_sn] = _checked(call, status, body)
        done += 1
    return done


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


def _pay(base_url: str, client_sn: str) -> Call:
    body = {
        "terminal_sn": TERMINAL_SN,
        "client_sn": client_sn,
        "total_amount": TOTAL,
        "dynamic_id": "134567890123456789",
        "subject": SUBJECT,
        "operator": OPERATOR,
    }
    return Call(_signed(base_url, "/upay/v2/pay", body), "PAY_SUCCESS", client_sn)


def _query(base_url: str, client_sn: str, sn: str) -> Call:
    body = {"terminal_sn": TERMINAL_SN, "sn": sn}
    return Call(_signed(base_url, "/upay/v2/query", body), "SUCCESS", client_sn, sn)


def _signed(base_url: str, path: str, fields: dict[str, str]) -> bytes:
    body = msgspec.json.encode(fields)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(base_url).netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: {TERMINAL_SN} {upay_sign(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
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
