"""The shops of the benchmark: the same numbers and keys for every system, the wallet and the load."""

import hashlib
from typing import NamedTuple

MERCHANT_SN = "1680000000001"
STORE_SN = "1580000000001"
TERMINAL_SN = "100000000000001"
TERMINAL_KEY = "5f4dcc3b5aa765d61d8327deb882cf99"
SUBJECT = "一杯拿铁咖啡"
OPERATOR = "cashier-01"
TOTAL = "1"
"""Fen, as every call says it."""

APP_ID = "wx0000000000000001"
MCH_ID = "1230000109"
API_KEY = "192006250b4c09247ec02edce69f6a2d"
"""What the shop's WeChat account signs with."""
ALIPAY_APP_ID = "2021000000000001"


class Till(NamedTuple):
    """Who calls, and the barcode that is scanned there: it chooses the wallet."""

    terminal_sn: str
    terminal_key: str
    dynamic_id: str

    def sign(self, body: bytes) -> str:
        """Return the signature of a body: 32 lower hex digits (upay-v2.md §1.1)."""
        return _md5(body, self.terminal_key)


WECHAT_TILL = Till(TERMINAL_SN, TERMINAL_KEY, "134567890123456789")
ALIPAY_TILL = Till(TERMINAL_SN, TERMINAL_KEY, "287654321098765432")
OTHER_MERCHANT_SN = "1680000000002"
OTHER_STORE_SN = "1580000000002"
OTHER_TILL = Till("100000000000002", "7c6a180b36896a0a8c02787eeafb0e4c", "134567890123456789")
"""A till of another merchant, whose wallet can be frozen."""


def upay_sign(body: bytes) -> str:
    """Return the first shop's signature of a body."""
    return _md5(body, TERMINAL_KEY)


def _md5(body: bytes, key: str) -> str:
    return hashlib.md5(body + key.encode(), usedforsecurity=False).hexdigest()
