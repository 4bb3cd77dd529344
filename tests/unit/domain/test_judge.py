"""Whatever is learned in whatever order, the books of one order stay whole (promises M1 to M4)."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from paymux.domain import judge, refund_judge
from paymux.domain.errors import RequestRefused
from paymux.domain.order import UNDONE, Order, OrderStatus, Transaction, TransactionStatus, UndoBy
from paymux.domain.order_states import Contradiction
from paymux.domain.outcome import GaveBack, Refused, Took, Trouble
from paymux.domain.refund_rules import check_refund, is_repeat
from paymux.domain.verdict import OPEN_REFUND, UNSETTLED, Verdict

TOTAL = 100
NO = Refused(error_code="TRADE_FAILED", text="no")
YES = Took(trade_no="T1", amount=TOTAL)
BACK = GaveBack(trade_no="T1")


def new_order() -> Order:
    """An order as it is right after its intent."""
    return Order(
        bucket=1,
        merchant_id="M1",
        sn="7000000000000001",
        client_sn="C1",
        store_sn="S1",
        terminal_sn="T1",
        account="a",
        channel="alipay",
        payway="1",
        sub_payway="1",
        total=TOTAL,
        digest="",
        subject="tea",
        ctime_ms=1,
        deadline_ms=2,
        latest_tsn="7000000000000001",
    )


class Book:
    """One order with its movements, moved by verdicts as storage would."""

    def __init__(self) -> None:
        self.order = new_order()
        self.movements: dict[str, Transaction] = {}
        self.seen: list[OrderStatus] = [OrderStatus.CREATED]
        self.numbers = 0

    def apply(self, verdict: Verdict | None) -> None:
        """Write a verdict over what is there."""
        if verdict is None:
            return
        assert verdict.order.version == self.order.version + 1
        self.order = verdict.order
        self.movements.update({one.tsn: one for one in verdict.transactions})
        self.seen.append(self.order.status)

    @property
    def undo(self) -> Transaction | None:
        """The cancel or reverse under way."""
        return self.movements.get(self.order.undo_tsn)

    def tsn(self) -> str:
        """A fresh number."""
        self.numbers += 1
        return f"tsn{self.numbers}"

    def refunds(self) -> list[Transaction]:
        """All refunds, oldest first."""
        return [one for one in self.movements.values() if one.kind in {"refund", "late_refund"}]


def step(book: Book, what: str, amount: int, by: UndoBy) -> None:
    """Let one thing be learned or asked, as the flows would ask it."""
    order = book.order
    if by is UndoBy.REFUND and not (what == "cancel" and order.status is OrderStatus.PAID):
        by = UndoBy.CLOSE  # only a paid order is ever taken back by a refund from the start
    if what == "refund":
        refund(book, amount)
    elif what.startswith("refund_") and what != "refund_instead":
        refund_answer(book, what)
    elif what == "took":
        book.apply(judge.took(order, 5, YES))
        if book.order.status in UNDONE:
            book.apply(refund_judge.late_refund(book.order, 5, tsn=book.tsn(), said=YES))
    elif what == "refused" and order.status in UNSETTLED:
        book.apply(judge.refused(order, book.undo, 5, NO))
    else:
        undoing(book, what, by)


def undoing(book: Book, what: str, by: UndoBy) -> None:
    """Something about taking the order back."""
    order, undo = book.order, book.undo
    if what == "give_up":
        book.apply(judge.give_up(order, undo, 5, tsn=book.tsn(), by=by, reason=NO))
    elif what == "cancel":
        book.apply(judge.cancel_asked(order, undo, 5, tsn=book.tsn(), by=by, operator="op"))
    elif what == "refund_instead":
        book.apply(judge.refund_instead(order, undo, 5, YES))
    elif what == "undone":
        book.apply(judge.undone(order, undo, 5, BACK))
    elif what == "undo_refused":
        book.apply(judge.undo_refused(order, undo, 5, NO))
    elif what == "undo_spent":
        book.apply(judge.undo_spent(order, undo, 5, Trouble.IO))


def refund(book: Book, amount: int) -> None:
    """A merchant asks for a refund; the number is its amount, so that repeats happen."""
    number = f"R{amount % 4}"
    known = next((one for one in book.refunds() if one.refund_request_no == number), None)
    if known is not None and is_repeat(known, amount):
        return
    check_refund(book.order, amount)
    tsn = book.tsn()
    book.apply(
        refund_judge.refund_asked(book.order, known, 5, tsn=tsn, amount=amount, number=number, operator="op")
    )


def refund_answer(book: Book, what: str) -> None:
    """The wallet answers about the oldest refund under way."""
    waiting = [one for one in book.refunds() if one.status in OPEN_REFUND or one.status == "REFUND_ERROR"]
    if not waiting:
        return
    first = waiting[0]
    if what == "refund_done":
        book.apply(refund_judge.refund_done(book.order, first, 5, BACK))
    elif what == "refund_refused":
        book.apply(refund_judge.refund_refused(book.order, first, 5, NO))
    elif what == "refund_spent":
        book.apply(refund_judge.refund_spent(book.order, first, 5))
    elif what == "refund_accepted":
        book.apply(refund_judge.refund_accepted(book.order, first, 5))


THINGS = [
    "took",
    "refused",
    "give_up",
    "cancel",
    "refund_instead",
    "undone",
    "undo_refused",
    "undo_spent",
    "refund",
    "refund_done",
    "refund_refused",
    "refund_spent",
    "refund_accepted",
]
STORY = st.lists(
    st.tuples(
        st.sampled_from(THINGS), st.integers(min_value=1, max_value=TOTAL + 5), st.sampled_from(UndoBy)
    ),
    max_size=25,
)


@settings(max_examples=400)
@given(STORY)
def test_the_books_of_an_order_stay_whole(story: list[tuple[str, int, UndoBy]]) -> None:
    """After any story the amounts add up and agree with the status and the movements."""
    book = Book()
    for what, amount, by in story:
        with contextlib.suppress(Contradiction, RequestRefused):
            step(book, what, amount, by)
        check(book)


def check(book: Book) -> None:
    """The invariants of DESIGN §1 that one order can show."""
    order = book.order
    assert order.refunded >= 0
    assert order.refunding >= 0
    assert order.refunded + order.refunding <= order.paid <= order.total
    assert order.paid in {0, order.total}
    undo = book.undo
    by_refund = undo.amount if undo is not None and undo.undo_by == UndoBy.REFUND else 0
    reserved = sum(
        one.amount
        for one in book.refunds()
        if one.status in OPEN_REFUND or (one.status is TransactionStatus.REFUND_ERROR and not one.error_code)
    )
    assert order.refunding == reserved + by_refund
    done = sum(one.amount for one in book.refunds() if one.status is TransactionStatus.SUCCESS)
    if order.status not in UNDONE:
        assert order.refunded == done
    check_pay(book)
    check_status(book)


def check_pay(book: Book) -> None:
    """The pay is written down when the order ends or the wallet tells its number, by which it is found."""
    order, pay = book.order, book.movements.get(book.order.sn)
    assert pay is not None or (order.status in UNSETTLED and not order.trade_no)
    assert not order.trade_no or (pay is not None and pay.trade_no == order.trade_no)


def check_status(book: Book) -> None:
    """The status says what the amounts say, and never takes back what was told."""
    order = book.order
    if order.status is OrderStatus.PAID:
        assert (order.paid, order.refunded, order.refunding) == (TOTAL, 0, 0)
    if order.status is OrderStatus.REFUNDED:
        assert order.refunded == TOTAL
    if order.status is OrderStatus.PARTIAL_REFUNDED:
        assert 0 < order.refunded < TOTAL
    if order.status in UNDONE:
        assert order.undo_tsn == ""
        assert order.paid == order.refunded + order.refunding
        assert order.net == 0
    assert bool(order.undo_tsn) <= (order.status in UNSETTLED)
    for told, then in zip(book.seen, book.seen[1:], strict=False):
        assert told not in UNDONE or then is told
