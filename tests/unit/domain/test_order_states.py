"""The grid status × fact: every pair decided, and the promises that can be read off it."""

import itertools

import pytest

from paymux.domain.order import UNDONE, OrderStatus
from paymux.domain.order_states import NEXT, Contradiction, Fact, next_status

# What a cashier may rely on, written a second time and by hand: fact, then from → to.
# Everything not listed keeps its status or is a contradiction.
MOVES = {
    Fact.TOOK: {"CREATED": "PAID"},
    Fact.TOOK_LATE: {},
    Fact.SILENT: {},
    Fact.GIVE_UP: {},
    Fact.REFUSED: {
        "CREATED": "PAY_CANCELED",
        "PAY_ERROR": "PAY_CANCELED",
        "CANCEL_INPROGRESS": "CANCELED",
        "CANCEL_ERROR": "CANCELED",
    },
    Fact.UNDONE: {
        "CREATED": "PAY_CANCELED",
        "PAID": "CANCELED",
        "PAY_ERROR": "PAY_CANCELED",
        "CANCEL_INPROGRESS": "CANCELED",
        "CANCEL_ERROR": "CANCELED",
    },
    Fact.UNDO_REFUSED: {"CREATED": "PAID", "CANCEL_INPROGRESS": "PAID", "CANCEL_ERROR": "PAID"},
    Fact.UNDO_SPENT: {"CREATED": "PAY_ERROR", "CANCEL_INPROGRESS": "CANCEL_ERROR"},
    Fact.SALE_STANDS: {"PAY_ERROR": "PAID", "CANCEL_ERROR": "PAID"},
    Fact.CANCEL_ASKED: dict.fromkeys(("CREATED", "PAID", "PAY_ERROR", "CANCEL_ERROR"), "CANCEL_INPROGRESS"),
    Fact.REFUND_ASKED: dict.fromkeys(("PAID", "PARTIAL_REFUNDED"), "REFUND_INPROGRESS"),
    Fact.REFUNDS_OPEN: {},
    Fact.REFUNDED_NONE: dict.fromkeys(("REFUND_INPROGRESS", "REFUND_ERROR"), "PAID"),
    Fact.REFUNDED_PART: dict.fromkeys(("REFUND_INPROGRESS", "REFUND_ERROR"), "PARTIAL_REFUNDED"),
    Fact.REFUNDED_ALL: dict.fromkeys(("REFUND_INPROGRESS", "REFUND_ERROR"), "REFUNDED"),
    Fact.REFUND_SPENT: {"REFUND_INPROGRESS": "REFUND_ERROR"},
}
PAIRS = list(itertools.product(OrderStatus, Fact))


@pytest.mark.parametrize(("status", "fact"), PAIRS)
def test_every_pair_is_decided(status: OrderStatus, fact: Fact) -> None:
    """Each status and fact has one answer: the move written above, no move, or a contradiction."""
    following = NEXT[status, fact]
    if status.value in MOVES[fact]:
        assert following == MOVES[fact][status.value]
    else:
        assert following in {None, status}


def test_the_grid_has_no_other_cells() -> None:
    """Nothing is decided twice or for a status that does not exist."""
    assert sorted(NEXT) == sorted(PAIRS)


def test_silence_is_never_an_answer() -> None:
    """SILENT changes no status (promise M6)."""
    assert all(NEXT[status, Fact.SILENT] is status for status in OrderStatus)


@pytest.mark.parametrize("status", sorted(UNDONE))
def test_undone_stays_undone(status: OrderStatus) -> None:
    """What a client was told is over never comes back to life (promise M4)."""
    assert {NEXT[status, fact] for fact in Fact} <= {status, None}


def test_only_cancel_and_refund_leave_paid() -> None:
    """PAID never silently becomes unpaid (promise M4); UNDONE is a cancel carried out after all, loudly."""
    leaving = {fact for fact in Fact if NEXT[OrderStatus.PAID, fact] not in {None, OrderStatus.PAID}}
    assert leaving == {Fact.CANCEL_ASKED, Fact.REFUND_ASKED, Fact.UNDONE}


def test_no_success_makes_an_order_paid_once_undoing_began() -> None:
    """A late success is refunded, not adopted (promise M2)."""
    assert all(NEXT[status, Fact.TOOK_LATE] in {None, status} for status in OrderStatus)


def test_errors_are_no_graves() -> None:
    """Every *_ERROR status has a way out."""
    for status in (OrderStatus.PAY_ERROR, OrderStatus.CANCEL_ERROR, OrderStatus.REFUND_ERROR):
        assert {NEXT[status, fact] for fact in Fact} - {None, status}


def test_a_contradiction_names_both() -> None:
    """The alarm tells what was heard of an order in which status."""
    with pytest.raises(Contradiction, match="REFUSED cannot be true of an order in status PAID"):
        next_status(OrderStatus.PAID, Fact.REFUSED)
