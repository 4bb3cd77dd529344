"""Which barcode belongs to which wallet (channels/00-principles.md §5)."""

import pytest

from paymux.domain.payways import payway_of_barcode

CODES = [
    ("280000000000000000", "1"),
    ("2512345678901234", "1"),
    ("301234567890123456789012", "1"),
    ("fp" + "a" * 33, "1"),
    ("134567890123456789", "3"),
    ("100000000000000000", "3"),
    ("150000000000000000", "3"),
    ("6212345678901234567", "17"),
    ("910728310408849937", "6"),
    ("515665002854886972", "18"),
    ("181234567890123456", "5"),
    (" 280000000000000000 ", "1"),
    # nearly
    ("251234567890123", None),
    ("3012345678901234567890123", None),
    ("160000000000000000", None),
    ("10000000000000000", None),
    ("62123456789012345", None),
    ("0112345678901234567", None),
    ("８８", None),
    ("", None),
    ("13456789012345678x", None),
]


@pytest.mark.parametrize(("code", "payway"), CODES)
def test_barcode_is_recognised(code: str, payway: str | None) -> None:
    """The first rule that fits the whole code decides; no rule, no guess."""
    assert payway_of_barcode(code) == payway
