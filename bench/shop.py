"""The one shop of the benchmark: the same numbers and keys for every system, the wallet and the load."""

import hashlib

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


def upay_sign(body: bytes) -> str:
    """Return the terminal's signature of a body: 32 lower hex digits (upay-v2.md §1.1)."""
    return hashlib.md5(body + TERMINAL_KEY.encode(), usedforsecurity=False).hexdigest()
