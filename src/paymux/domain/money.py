"""Money text in and out. Inside, money is an `int` of minor units (fen); text exists only at the edges.

Sources: upay-v2.md §1 ("amounts: strings of digits, unit fen, at most 10 digits"); Alipay speaks yuan text
with two decimals (channels/01-alipay.md).
"""

import re

CURRENCY = "CNY"
FEN_MAX = 9_999_999_999
"""Ten digits: above 100 million yuan is refused (upay-v2.md §1)."""

_FEN_TEXT = re.compile(r"[0-9]{1,10}", re.ASCII)
_YUAN_TEXT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,2})?", re.ASCII)


class AmountInvalid(ValueError):
    """The text is no amount of money."""


def fen_from_text(text: str) -> int:
    """Read `"120"` as 120 fen; 1 to 10 ASCII digits, more than zero.

    Raises `AmountInvalid` for anything else, such as `"1_0"`, full-width digits, signs, blanks or zero.
    """
    if not _FEN_TEXT.fullmatch(text) or int(text) == 0:
        raise AmountInvalid(text)
    return int(text)


def yuan_from_fen(amount_fen: int) -> str:
    """Write 120 fen as `"1.20"`, the form Alipay wants."""
    return f"{amount_fen // 100}.{amount_fen % 100:02d}"


def fen_from_yuan(text: str) -> int:
    """Read `"1.2"`, `"1.20"` or `"1"` yuan as fen; raises `AmountInvalid` for anything else."""
    if not _YUAN_TEXT.fullmatch(text):
        raise AmountInvalid(text)
    yuan, _, fen = text.partition(".")
    return int(yuan) * 100 + int(fen.ljust(2, "0"))
