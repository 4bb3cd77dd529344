"""Fen inside, yuan text at Alipay's edge; no float comes near."""

from __future__ import annotations

import re

_YUAN = re.compile(r"(\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)


def yuan(amount_fen: int) -> str:
    """Write fen as yuan with two decimals: 1 → `0.01`, -250 → `-2.50`."""
    sign = "-" if amount_fen < 0 else ""
    whole, rest = divmod(abs(amount_fen), 100)
    return f"{sign}{whole}.{rest:02d}"


def fen_of_yuan(text: str) -> int | None:
    """Read yuan text with at most two decimals; fen, or None when it has another form."""
    match = _YUAN.fullmatch(text)
    return int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0")) if match else None
