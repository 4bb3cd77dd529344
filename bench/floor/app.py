"""A bare ASGI handler: verify the body's MD5, call the wallet once, two batched commits, a small answer.

Nothing is validated, decided, recovered or remembered about anything else: no gateway can be cheaper on this
stack. A query is one SELECT. Run by uvicorn, with paymux's own settings; BENCH_DATABASE and BENCH_WALLET say
where things are.
"""

import gc
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import count
from typing import Any

import aiohttp
import msgspec

from bench.floor.memory import open_memory
from bench.shop import API_KEY, APP_ID, MCH_ID, upay_sign

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SIGNED = (
    f"appid={APP_ID}&auth_code={{auth_code}}&body={{body}}&mch_id={MCH_ID}&nonce_str={{nonce}}"
    f"&out_trade_no={{sn}}&spbill_create_ip=127.0.0.1&total_fee={{total}}&key={API_KEY}"
)
_XML = (
    f"<xml><appid>{APP_ID}</appid><auth_code>{{auth_code}}</auth_code><body>{{body}}</body>"
    f"<mch_id>{MCH_ID}</mch_id><nonce_str>{{nonce}}</nonce_str><out_trade_no>{{sn}}</out_trade_no>"
    "<spbill_create_ip>127.0.0.1</spbill_create_ip><total_fee>{total}</total_fee><sign>{sign}</sign></xml>"
)


class _Pay(msgspec.Struct):
    client_sn: str
    total_amount: str
    dynamic_id: str
    subject: str


class _Query(msgspec.Struct):
    sn: str


_READ_PAY = msgspec.json.Decoder(_Pay)
_READ_QUERY = msgspec.json.Decoder(_Query)
_WRITE = msgspec.json.Encoder()


class Floor:
    """The ASGI application."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer /upay/v2/pay and /upay/v2/query; everything else is not our business."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = (await receive())["body"]
        if scope["path"] == "/upay/v2/pay":
            answer = await self._pay(body, dict(scope["headers"])[b"authorization"])
        else:
            answer = await self._query(body)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    async def _pay(self, body: bytes, authorization: bytes) -> bytes:
        if not hmac.compare_digest(authorization.split()[1], upay_sign(body).encode()):
            raise PermissionError("the signature does not verify")
        wish = _READ_PAY.decode(body)
        sn = str(next(self._sns))
        await self._memory.create(sn, wish.client_sn, int(wish.total_amount), _now_ms())
        async with self._session.post(self._wallet, data=_request(wish, sn)) as reply:
            if b"<result_code><![CDATA[SUCCESS]]>" not in await reply.read():
                raise ValueError("the wallet refused")
        await self._memory.settle(sn, _now_ms())
        return _answer("PAY_SUCCESS", sn, wish.client_sn, "PAID")

    async def _query(self, body: bytes) -> bytes:
        sn = _READ_QUERY.decode(body).sn
        client_sn, _, status, _, _ = await self._memory.read(sn)
        return _answer("SUCCESS", sn, client_sn, status)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._memory = await open_memory(os.environ["BENCH_DATABASE"])
        self._wallet = os.environ["BENCH_WALLET"] + "/pay/micropay"
        self._sns = count(7_000_000_000_000_000)
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)  # as paymux does
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


app = Floor()


def _request(wish: _Pay, sn: str) -> bytes:
    said = {
        "auth_code": wish.dynamic_id,
        "body": wish.subject,
        "nonce": sn,
        "sn": sn,
        "total": wish.total_amount,
    }
    signed = hashlib.md5(_SIGNED.format_map(said).encode(), usedforsecurity=False).hexdigest().upper()
    return _XML.format_map(said | {"sign": signed}).encode()


def _answer(result_code: str, sn: str, client_sn: str, status: str) -> bytes:
    data = {"sn": sn, "client_sn": client_sn, "order_status": status}
    biz = {"result_code": result_code, "data": data}
    return _WRITE.encode({"result_code": "200", "biz_response": biz})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
