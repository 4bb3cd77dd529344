"""A quick stub of WeChat's micropay: believes everything, and answers a correctly signed SUCCESS.

`python -m bench.wallet PORT`. Its CPU time is nobody's: it only has to be quick and the same for all.
"""

import asyncio
import hashlib
import re
import sys
import time
from itertools import count
from typing import cast

import httptools
import uvloop

from bench.shop import API_KEY, APP_ID, MCH_ID

_FIELD = re.compile(r"<(out_trade_no|total_fee|nonce_str)>(?:<!\[CDATA\[)?([^<\]]*)")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
_BEIJING_S = 8 * 3600


class Wallet(asyncio.Protocol):
    """One keep-alive connection from a gateway."""

    _numbers = count(4_200_000_000_000_000_000_000_000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Get ready for requests."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        """Collect the body."""
        self._body += part

    def on_message_complete(self) -> None:
        """Take the money."""
        reply = _paid(self._body.decode(), number=next(self._numbers))
        self._body.clear()
        self._transport.write(_HEAD % len(reply) + reply)


def _paid(request: str, *, number: int) -> bytes:
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
        "time_end": time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + _BEIJING_S)),
        "total_fee": asked["total_fee"],
        "trade_type": "MICROPAY",
        "transaction_id": str(number),
    }  # sorted by name, as the signature wants them
    text = "&".join(f"{name}={value}" for name, value in fields.items()) + f"&key={API_KEY}"
    fields["sign"] = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
    inner = "".join(f"<{name}><![CDATA[{value}]]></{name}>" for name, value in fields.items())
    return f"<xml>{inner}</xml>".encode()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Wallet, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
