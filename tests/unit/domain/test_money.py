"""Amount texts at the edges: exactly the allowed ones become money."""

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.domain.money import FEN_MAX, AmountInvalid, fen_from_text, fen_from_yuan, yuan_from_fen

FEN = st.integers(min_value=1, max_value=FEN_MAX)


@given(FEN)
def test_fen_text_round_trips(amount_fen: int) -> None:
    """Every amount up to ten digits is read as itself."""
    assert fen_from_text(str(amount_fen)) == amount_fen


@given(FEN)
def test_yuan_text_is_exact(amount_fen: int) -> None:
    """No fen is lost or made between fen and Alipay's yuan text."""
    text = yuan_from_fen(amount_fen)
    assert Decimal(text) * 100 == amount_fen
    assert len(text.partition(".")[2]) == 2
    assert fen_from_yuan(text) == amount_fen or amount_fen > 99_999_999_999


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "00",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "1_0",
        " 1",
        "1 ",
        "１２",
        "٣",
        "12345678901",
        "0x10",
        "NaN",
        "1\n",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """Python's int() would take some of these; money does not."""
    with pytest.raises(AmountInvalid):
        fen_from_text(text)


@pytest.mark.parametrize(
    "text", ["", ".5", "1.", "1.234", "-1", "1,00", "1e2", "１.00", "NaN", "1_0.00", "1.00\n"]
)
def test_other_yuan_texts_are_refused(text: str) -> None:
    """A wallet's amount in another form proves nothing."""
    with pytest.raises(AmountInvalid):
        fen_from_yuan(text)


@given(st.text())
def test_any_text_is_money_or_refused(text: str) -> None:
    """Nothing else can happen."""
    with contextlib.suppress(AmountInvalid):
        assert 0 < fen_from_text(text) <= FEN_MAX
