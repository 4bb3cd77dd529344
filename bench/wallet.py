"""Quick stubs of WeChat's micropay, Alipay's pay and a merchant's server, all in one process.

`python -m bench.wallet PORT ALIPAY_KEY_FILE`. They believe everything and answer a correctly signed success.
What comes before `/pay/micropay` in the path says when: `/slow` after a while, `/frozen` never, until
somebody calls `/thaw`, `/busy` after as much work as Alipay's takes. `/own-ms` tells how long slow answers
really took. Their CPU time is nobody's.
"""

import asyncio
import base64
import hashlib
import re
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import ClassVar, cast
from urllib.parse import parse_qs

import httptools
import msgspec
import uvloop
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from bench.shop import API_KEY, APP_ID, MCH_ID

SLOW_S = 0.02
"""How long a slow wallet thinks."""

_FIELD = re.compile(r"<(out_trade_no|total_fee|nonce_str)>(?:<!\[CDATA\[)?([^<\]]*)")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
_BEIJING_S = 8 * 3600
_NUMBERS = count(4_200_000_000_000_000_000_000_000)


class Wallet(asyncio.Protocol):
    """One keep-alive connection from a gateway."""

    key: ClassVar[RSAPrivateKey]
    _held: ClassVar[list[Callable[[], None]]] = []
    _own_s: ClassVar[deque[float]] = deque(maxlen=20_000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Get ready for requests."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()
        self._path = b""

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Keep where it goes."""
        self._path = url.partition(b"?")[0]

    def on_body(self, part: bytes) -> None:
        """Collect the body."""
        self._body += part

    def on_message_complete(self) -> None:
        """Take the money, now or later."""
        body, path = self._body.decode(), self._path
        self._body.clear()
        if path == b"/pay/micropay":
            self._write(_wechat_paid(body))
        elif path == b"/busy/pay/micropay":
            _signature(self.key, body.encode())
            self._write(_wechat_paid(body))
        elif path == b"/slow/pay/micropay":
            began_s = time.perf_counter()
            asyncio.get_running_loop().call_later(SLOW_S, self._late, body, began_s)
        elif path == b"/frozen/pay/micropay":
            self._held.append(lambda: self._write(_wechat_paid(body)))
        elif path == b"/gateway.do":
            self._write(_alipay_paid(body, self.key))
        else:
            self._write(self._other(path))

    def _late(self, body: str, began_s: float) -> None:
        self._own_s.append(time.perf_counter() - began_s)
        self._write(_wechat_paid(body))

    def _other(self, path: bytes) -> bytes:
        if path == b"/own-ms":
            text = str(statistics.median(self._own_s or [0]) * 1000)
            self._own_s.clear()
            return text.encode()
        if path == b"/thaw":
            held = self._held.copy()
            self._held.clear()
            for answer in held:
                answer()
            return str(len(held)).encode()
        return b"success"  # what a merchant's server says to a notification

    def _write(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(_HEAD % len(reply) + reply)


def _wechat_paid(request: str) -> bytes:
    asked = dict(_FIELD.findall(request))
    fields = {
        "appid": APP_ID,
        "bank_type": "CMB_DEBIT",
        "cash_fee": asked["total_fee"],
        "fee_type": "CNY",
        "is_subscribe": "N",
        "mch_id": MCH_ID,
        "nonce_str": asked["nonce_str"],
        "openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
        "out_trade_no": asked["out_trade_no"],
        "result_code": "SUCCESS",
        "return_code": "SUCCESS",
        "time_end": _beijing("%Y%m%d%H%M%S"),
        "total_fee": asked["total_fee"],
        "trade_type": "MICROPAY",
        "transaction_id": str(next(_NUMBERS)),
    }  # sorted by name, as the signature wants them
    text = "&".join(f"{name}={value}" for name, value in fields.items()) + f"&key={API_KEY}"
    fields["sign"] = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return f"<xml>{inner}</xml>".encode()


def _alipay_paid(request: str, key: RSAPrivateKey) -> bytes:
    asked = msgspec.json.decode(parse_qs(request)["biz_content"][0])
    amount = asked["total_amount"]
    content = msgspec.json.encode(
        {
            "code": "10000",
            "msg": "Success",
            "buyer_logon_id": "159****5620",
            "buyer_pay_amount": amount,
            "buyer_user_id": "2088101117955611",
            "fund_bill_list": [{"amount": amount, "fund_channel": "ALIPAYACCOUNT"}],
            "gmt_payment": _beijing("%Y-%m-%d %H:%M:%S"),
            "invoice_amount": amount,
            "out_trade_no": asked["out_trade_no"],
            "receipt_amount": amount,
            "total_amount": amount,
            "trade_no": str(next(_NUMBERS)),
        }
    )
    return b'{"alipay_trade_pay_response":%s,"sign":"%s"}' % (content, _signature(key, content))


def _signature(key: RSAPrivateKey, content: bytes) -> bytes:
    return base64.b64encode(key.sign(content, padding.PKCS1v15(), hashes.SHA256()))


def _beijing(form: str) -> str:
    return time.strftime(form, time.gmtime(time.time() + _BEIJING_S))


async def _serve(port: int, key_pem: bytes) -> None:
    key = serialization.load_pem_private_key(key_pem, password=None)
    assert isinstance(key, RSAPrivateKey)
    Wallet.key = key
    server = await asyncio.get_running_loop().create_server(Wallet, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
