"""What an order becomes by its refunds: pure functions from order and refund to `Verdict`, as in `judge.py`.

The amount is reserved before the wallet hears of it and stays reserved until the answer is definite (M3).
"""

from msgspec.structs import replace

from paymux.domain.judge import pay_movement
from paymux.domain.order import UNDONE, Order, Transaction, TransactionKind, TransactionStatus
from paymux.domain.order_states import Contradiction, Fact, next_status
from paymux.domain.outcome import GaveBack, Refused, Took
from paymux.domain.verdict import OPEN_REFUND, Verdict, bump, is_refused, movement


def refund_asked(
    order: Order,
    refund: Transaction | None,
    now_ms: int,
    *,
    tsn: str,
    amount: int,
    number: str,
    operator: str,
) -> Verdict:
    """Reserve `amount` for a refund; `refund` is the refused one that is tried again under its old number.

    The caller has checked the rules (`refund_rules.py`); the database checks the amounts once more.
    """
    status = next_status(order.status, Fact.REFUND_ASKED)
    if refund is None:
        refund = movement(order, tsn=tsn, kind=TransactionKind.REFUND, amount=amount, now_ms=now_ms)
        refund = replace(refund, refund_request_no=number, operator=operator)
    else:
        refund = replace(
            refund,
            status=TransactionStatus.CREATED,
            error_code="",
            error_message="",
            ctime_ms=now_ms,
            finish_ms=0,
            doubt_ms=0,
        )
    reserved = replace(
        bump(order),
        status=status,
        refunding=order.refunding + amount,
        latest_tsn=refund.tsn,
        latest_kind=TransactionKind.REFUND,
        latest_status=TransactionStatus.IN_PROG,
        latest_operator=operator or order.operator,
        latest_client_tsn=f"{order.client_sn}-{number}",
    )
    return Verdict(order=reserved, transactions=(refund,), what="refund.asked", text=f"{amount} fen")


def late_refund(order: Order, now_ms: int, *, tsn: str, said: Took) -> Verdict | None:
    """The wallet took the money of an undone order: give it back, loudly (promises M2, M4)."""
    if order.status not in UNDONE or order.paid:
        return None
    refund = movement(order, tsn=tsn, kind=TransactionKind.LATE_REFUND, amount=order.total, now_ms=now_ms)
    owing = replace(bump(order), paid=order.total, refunded=0, refunding=order.total, trade_no=said.trade_no)
    pay = pay_movement(owing, TransactionStatus.FAIL_CANCELED, order.finish_ms)
    return Verdict(
        order=owing,
        transactions=(refund,) if order.trade_no else (pay, refund),
        what="order.late_success",
        text=f"the wallet took {order.total} fen after the order was undone; refunding it",
        alarm=True,
    )


def refund_accepted(order: Order, refund: Transaction, now_ms: int) -> Verdict | None:
    """The wallet works on the refund; from now on it is asked, not repeated."""
    del now_ms
    if refund.status is not TransactionStatus.CREATED:
        return None
    accepted = replace(refund, status=TransactionStatus.IN_PROG)
    return Verdict(order=bump(order), transactions=(accepted,), what="refund.accepted")


def refund_done(order: Order, refund: Transaction, now_ms: int, said: GaveBack) -> Verdict | None:
    """The amount is back with the buyer."""
    if refund.status is TransactionStatus.SUCCESS or refund.status is TransactionStatus.FAIL_CANCELED:
        return None
    after_all = is_refused(refund)
    if after_all:
        order = _reserved_again(order, refund)
    emptied = replace(
        bump(order), refunding=order.refunding - refund.amount, refunded=order.refunded + refund.amount
    )
    done = replace(
        refund,
        status=TransactionStatus.SUCCESS,
        trade_no=said.trade_no,
        finish_ms=now_ms,
        channel_finish_ms=said.at_ms,
        error_code="",
        error_message="",
    )
    ended = _refund_ended(emptied, done, now_ms, what="refund.done", text=f"{refund.amount} fen")
    return replace(ended, alarm=True, what="refund.done_after_all") if after_all else ended


def refund_refused(order: Order, refund: Transaction, now_ms: int, said: Refused) -> Verdict | None:
    """A definite no: the reservation ends, the order is as before. A late success is never given up."""
    if refund.kind is TransactionKind.LATE_REFUND:
        return refund_spent(order, refund, now_ms)
    if refund.status is TransactionStatus.SUCCESS or refund.error_code:
        return None
    given_up = replace(bump(order), refunding=order.refunding - refund.amount)
    failed = replace(
        refund,
        status=TransactionStatus.REFUND_ERROR,
        error_code=said.error_code,
        error_message=said.text,
        finish_ms=now_ms,
    )
    ended = _refund_ended(given_up, failed, now_ms, what="refund.refused", text=said.text)
    return replace(ended, watch=refund.tsn if refund.doubt_ms else "")


def refund_spent(order: Order, refund: Transaction, now_ms: int) -> Verdict | None:
    """Quick attempts were in vain: REFUND_ERROR, an alarm; the amount stays reserved, slow ones go on."""
    if refund.status not in OPEN_REFUND:
        return None
    status = next_status(order.status, Fact.REFUND_SPENT)
    stuck = replace(bump(order), status=status)
    if order.latest_tsn == refund.tsn:
        stuck = replace(stuck, latest_status=TransactionStatus.REFUND_ERROR)
    failed = replace(refund, status=TransactionStatus.REFUND_ERROR, finish_ms=now_ms)
    text = "the wallet gives no definite answer to the refund; attempts go on slowly"
    notify = status is not order.status
    return Verdict(
        order=stuck, transactions=(failed,), what="refund.spent", text=text, notify=notify, alarm=True
    )


def late_refund_void(order: Order, refund: Transaction, now_ms: int) -> Verdict | None:
    """The wallet shows the late success undone by itself: nothing is held, nothing to refund."""
    if refund.status is TransactionStatus.SUCCESS or not order.paid:
        return None
    void = replace(bump(order), paid=0, refunding=0)
    ended = replace(refund, status=TransactionStatus.FAIL_CANCELED, finish_ms=now_ms)
    return Verdict(order=void, transactions=(ended,), what="late_refund.void")


# -- parts


def _reserved_again(order: Order, refund: Transaction) -> Order:
    """A refund we were told is refused was carried out after all: book it, if there is money for it."""
    if refund.amount > order.refundable:
        message = f"refund {refund.tsn} was carried out though refused, and {order.refundable} fen are left"
        raise Contradiction(message)
    status = next_status(order.status, Fact.REFUND_ASKED)
    return replace(order, status=status, refunding=order.refunding + refund.amount)


def _refund_ended(order: Order, refund: Transaction, now_ms: int, *, what: str, text: str) -> Verdict:
    status = next_status(order.status, _refunds_now(order))
    rested = replace(order, status=status)
    if order.latest_tsn == refund.tsn:
        rested = replace(
            rested,
            latest_status=refund.status,
            finish_ms=now_ms,
            channel_finish_ms=refund.channel_finish_ms,
        )
    notify = refund.kind is TransactionKind.REFUND
    return Verdict(order=rested, transactions=(refund,), what=what, text=text, notify=notify)


def _refunds_now(order: Order) -> Fact:
    if order.refunding:
        return Fact.REFUNDS_OPEN
    if order.refunded == order.paid:
        return Fact.REFUNDED_ALL
    return Fact.REFUNDED_PART if order.refunded else Fact.REFUNDED_NONE
