"""What an order becomes when something is learned or decided: pure functions from order to `Verdict`.

Each takes the order as it is now and, where one is concerned, the movement (`undo`: the cancel or reverse
under way, `refund`: the refund), and returns what has to be written, or None when nothing changes. They
raise `Contradiction` where the grid in `order_states.py` says `!`. `flows/record.py` commits verdicts under
compare-and-set and judges again when somebody was faster.
"""

import msgspec
from msgspec.structs import replace

from paymux.domain.order import (
    UNDONE,
    Order,
    OrderStatus,
    Transaction,
    TransactionKind,
    TransactionStatus,
    UndoBy,
)
from paymux.domain.order_states import Fact, next_status
from paymux.domain.outcome import GaveBack, Prepared, Refused, Took, Trouble

UNSETTLED = frozenset(
    {OrderStatus.CREATED, OrderStatus.CANCEL_INPROGRESS, OrderStatus.PAY_ERROR, OrderStatus.CANCEL_ERROR}
)
"""Statuses in which recovery has something to do about the payment itself."""

OPEN_REFUND = frozenset({TransactionStatus.CREATED, TransactionStatus.IN_PROG})
"""A refund whose amount is reserved and whose end is not known."""


TIMEOUT = Refused(error_code="TRADE_TIMEOUT", text="交易超时自动撤单")
"""Nobody paid in time."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be written. `what` and `text` go into the history; `alarm` calls an operator.

    `notify`: the merchant is to be told. `watch`: ask again later whether the wallet took money after all.
    """

    order: Order
    transactions: tuple[Transaction, ...] = ()
    what: str
    text: str = ""
    notify: bool = False
    alarm: bool = False
    watch: bool = False


# -- the payment


def took(order: Order, undo: Transaction | None, now_ms: int, said: Took) -> Verdict | None:
    """The wallet holds the money: PAID, unless somebody has begun to undo the order (promise M4)."""
    if said.given_back:
        return refused(order, undo, now_ms, Refused(error_code="TRADE_FAILED", text="已在钱包侧退回"))
    late = bool(order.undo_tsn) or order.status in UNDONE
    status = next_status(order.status, Fact.TOOK_LATE if late else Fact.TOOK)
    if status is not order.status:
        return _paid(order, said, now_ms)
    if order.undo_tsn and not order.paid:
        known = replace(_bump(order), paid=order.total, trade_no=said.trade_no)
        return Verdict(order=known, what="order.took_late", text="paid while being undone; undoing goes on")
    return None


def prepared(order: Order, now_ms: int, said: Prepared) -> Verdict | None:
    """The QR code or the front-end's parameters are here; nobody has paid yet."""
    del now_ms
    if order.qr_code or order.wap_pay_request:
        return None
    shown = replace(_bump(order), qr_code=said.qr_code, wap_pay_request=said.wap_pay_request)
    return Verdict(order=shown, what="order.prepared")


def refused(order: Order, undo: Transaction | None, now_ms: int, said: Refused) -> Verdict | None:
    """The wallet took nothing, or the trade is closed there: the sale is over and no money is held."""
    status = next_status(order.status, Fact.REFUSED)
    if status is order.status:
        return None
    reason = said
    if order.error_code:
        reason = Refused(error_code=order.error_code, text=order.error_message)
    elif now_ms >= order.deadline_ms:
        reason = TIMEOUT  # the wallet closed it because its time was up (upay-v2.md §5)
    return _over(order, undo, status, now_ms, reason=reason, watch=False)


def give_up(
    order: Order, undo: Transaction | None, now_ms: int, *, tsn: str, by: UndoBy, reason: Refused
) -> Verdict | None:
    """The time to pay is over (or the start failed): begin to reverse; no mere success makes it PAID now."""
    if undo is not None or order.status is not OrderStatus.CREATED:
        return None
    next_status(order.status, Fact.GIVE_UP)
    reverse = _movement(order, tsn=tsn, kind=TransactionKind.REVERSE, amount=order.total, now_ms=now_ms)
    reverse = replace(reverse, undo_by=by, status=TransactionStatus.IN_PROG)
    pending = replace(_bump(order), undo_tsn=tsn, error_code=reason.error_code, error_message=reason.text)
    return Verdict(order=pending, transactions=(reverse,), what="reverse.begun", text=reason.text)


# -- undoing


def cancel_asked(
    order: Order, undo: Transaction | None, now_ms: int, *, tsn: str, by: UndoBy, operator: str
) -> Verdict | None:
    """The shop wants the order undone. A reversal already under way is taken over, not doubled."""
    status = next_status(order.status, Fact.CANCEL_ASKED)
    if status is order.status:
        return None  # the same wish is under way: join it
    asked = replace(_bump(order), status=status, latest_operator=operator or order.operator)
    if undo is not None:
        asked = replace(asked, latest_status=TransactionStatus.IN_PROG)
        return Verdict(order=asked, what="cancel.joined", text="joins the reversal under way")
    cancel = _movement(order, tsn=tsn, kind=TransactionKind.CANCEL, amount=order.total, now_ms=now_ms)
    cancel = replace(cancel, undo_by=by, operator=operator, status=TransactionStatus.IN_PROG)
    asked = replace(
        asked,
        undo_tsn=tsn,
        refunding=order.refundable if by is UndoBy.REFUND else 0,
        latest_tsn=tsn,
        latest_kind=TransactionKind.CANCEL,
        latest_status=TransactionStatus.IN_PROG,
        latest_client_tsn="",
    )
    return Verdict(order=asked, transactions=(cancel,), what="cancel.asked", text=f"by {by}")


def refund_instead(order: Order, undo: Transaction | None, now_ms: int, said: Took) -> Verdict | None:
    """A reversal came too late for a paid order: give the money back by a refund of everything."""
    del now_ms
    if undo is None or undo.undo_by == UndoBy.REFUND:
        return None
    switched = replace(
        _bump(order), paid=order.total, refunding=order.total - order.refunded, trade_no=said.trade_no
    )
    return Verdict(
        order=switched,
        transactions=(replace(undo, undo_by=UndoBy.REFUND),),
        what="undo.by_refund",
        text="the wallet cannot reverse it any more",
    )


def undone(order: Order, undo: Transaction | None, now_ms: int, said: GaveBack) -> Verdict | None:
    """The cancel or reversal is done."""
    status = next_status(order.status, Fact.UNDONE)
    if undo is None or status is order.status:
        return None
    reason = Refused(error_code=order.error_code, text=order.error_message)
    watch = undo.undo_by != UndoBy.REFUND and said.had_taken is not True
    return _over(order, undo, status, now_ms, reason=reason, watch=watch, channel_ms=said.at_ms)


def undo_refused(order: Order, undo: Transaction | None, now_ms: int, said: Refused) -> Verdict | None:
    """The wallet holds the money and will not give it back: the sale stands (or stays with the operator)."""
    status = next_status(order.status, Fact.UNDO_REFUSED)
    if undo is None or status is order.status:
        return None
    return _stands(order, undo, status, now_ms, said)


def sale_stands(order: Order, undo: Transaction | None, now_ms: int) -> Verdict | None:
    """An operator decides what the wallet would not tell: the money is there, and stays."""
    status = next_status(order.status, Fact.SALE_STANDS)
    if undo is None:
        return None
    said = Refused(error_code="TRADE_HAS_SUCCESS", text="人工确认已支付")
    return _stands(order, undo, status, now_ms, said)


def _stands(order: Order, undo: Transaction, status: OrderStatus, now_ms: int, said: Refused) -> Verdict:
    """Keep a sale that was to be undone."""
    ended = _ended_undo(undo, now_ms, _undo_failure(undo), said)
    stands = replace(
        _bump(order),
        status=status,
        undo_tsn="",
        paid=order.total,
        refunding=0,
        error_code=said.error_code,
        error_message=said.text,
        finish_ms=now_ms,
    )
    if undo.kind is TransactionKind.REVERSE:
        stands = replace(stands, latest_status=TransactionStatus.SUCCESS)
    else:
        stands = replace(stands, latest_status=ended.status)
    pay = _pay_movement(order, TransactionStatus.SUCCESS, now_ms)
    return Verdict(
        order=stands,
        transactions=(pay, ended),
        what="undo.refused",
        text=f"{said.provider_code} {said.text}".strip(),
        notify=True,
        alarm=True,
    )


def undo_spent(
    order: Order, undo: Transaction | None, now_ms: int, trouble: Trouble | None
) -> Verdict | None:
    """Quick attempts were in vain: PAY_ERROR or CANCEL_ERROR in front of an operator; slow attempts go on."""
    status = next_status(order.status, Fact.UNDO_SPENT)
    if undo is None or status is order.status:
        return None
    latest = TransactionStatus.CANCEL_ERROR
    if undo.kind is TransactionKind.REVERSE:
        latest = TransactionStatus(f"FAIL_{trouble}_3") if trouble else TransactionStatus.FAIL_ERROR
    stuck = replace(_bump(order), status=status, latest_status=latest)
    text = "the wallet gives no definite answer; attempts go on slowly"
    ended = replace(undo, status=latest, finish_ms=now_ms)
    return Verdict(order=stuck, transactions=(ended,), what="undo.spent", text=text, notify=True, alarm=True)


# -- refunds


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
        refund = _movement(order, tsn=tsn, kind=TransactionKind.REFUND, amount=amount, now_ms=now_ms)
        refund = replace(refund, refund_request_no=number, operator=operator)
    else:
        refund = replace(
            refund,
            status=TransactionStatus.CREATED,
            error_code="",
            error_message="",
            ctime_ms=now_ms,
            finish_ms=0,
        )
    reserved = replace(
        _bump(order),
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
    refund = _movement(order, tsn=tsn, kind=TransactionKind.LATE_REFUND, amount=order.total, now_ms=now_ms)
    owing = replace(_bump(order), paid=order.total, refunded=0, refunding=order.total, trade_no=said.trade_no)
    return Verdict(
        order=owing,
        transactions=(refund,),
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
    return Verdict(order=_bump(order), transactions=(accepted,), what="refund.accepted")


def refund_done(order: Order, refund: Transaction, now_ms: int, said: GaveBack) -> Verdict | None:
    """The amount is back with the buyer."""
    if refund.status not in OPEN_REFUND and refund.status is not TransactionStatus.REFUND_ERROR:
        return None
    if refund.status is TransactionStatus.REFUND_ERROR and refund.error_code:
        return None  # refused for good and its reservation given up: only a new request reserves again
    emptied = replace(
        _bump(order), refunding=order.refunding - refund.amount, refunded=order.refunded + refund.amount
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
    return _refund_ended(emptied, done, now_ms, what="refund.done", text=f"{refund.amount} fen")


def refund_refused(order: Order, refund: Transaction, now_ms: int, said: Refused) -> Verdict | None:
    """A definite no: the reservation ends, the order is as before. A late success is never given up."""
    if refund.kind is TransactionKind.LATE_REFUND:
        return refund_spent(order, refund, now_ms)
    if refund.status is TransactionStatus.SUCCESS or refund.error_code:
        return None
    given_up = replace(_bump(order), refunding=order.refunding - refund.amount)
    failed = replace(
        refund,
        status=TransactionStatus.REFUND_ERROR,
        error_code=said.error_code,
        error_message=said.text,
        finish_ms=now_ms,
    )
    return _refund_ended(given_up, failed, now_ms, what="refund.refused", text=said.text)


def refund_spent(order: Order, refund: Transaction, now_ms: int) -> Verdict | None:
    """Quick attempts were in vain: REFUND_ERROR, an alarm; the amount stays reserved, slow ones go on."""
    if refund.status not in OPEN_REFUND:
        return None
    status = next_status(order.status, Fact.REFUND_SPENT)
    stuck = replace(_bump(order), status=status)
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
    void = replace(_bump(order), paid=0, refunding=0)
    ended = replace(refund, status=TransactionStatus.FAIL_CANCELED, finish_ms=now_ms)
    return Verdict(order=void, transactions=(ended,), what="late_refund.void")


# -- parts


def _bump(order: Order) -> Order:
    return replace(order, version=order.version + 1)


def _paid(order: Order, said: Took, now_ms: int) -> Verdict:
    paid = replace(
        order,
        version=order.version + 1,
        status=OrderStatus.PAID,
        paid=order.total,
        trade_no=said.trade_no,
        payer_uid=said.payer_uid,
        payer_login=said.payer_login,
        payment_list=msgspec.json.encode(said.payments).decode() if said.payments else "",
        finish_ms=now_ms,
        channel_finish_ms=said.paid_at_ms or now_ms,
        latest_status=TransactionStatus.SUCCESS,
    )
    pay = _pay_movement(paid, TransactionStatus.SUCCESS, now_ms)
    return Verdict(order=paid, transactions=(pay,), what="order.paid", text=said.trade_no, notify=True)


def _over(
    order: Order,
    undo: Transaction | None,
    status: OrderStatus,
    now_ms: int,
    *,
    reason: Refused,
    watch: bool,
    channel_ms: int = 0,
) -> Verdict:
    """End a sale as PAY_CANCELED or CANCELED: nothing is held at the wallet any more."""
    by_refund = undo is not None and undo.undo_by == UndoBy.REFUND
    canceled = status is OrderStatus.CANCELED
    latest = TransactionStatus.SUCCESS if canceled else TransactionStatus.FAIL_CANCELED
    over = replace(
        _bump(order),
        status=status,
        undo_tsn="",
        paid=order.paid if by_refund else 0,
        refunded=order.paid if by_refund else 0,
        refunding=0,
        error_code="" if canceled else reason.error_code,
        error_message="" if canceled else reason.text,
        finish_ms=now_ms,
        channel_finish_ms=channel_ms,
        latest_status=latest,
    )
    movements = (
        [] if order.finish_ms and canceled else [_pay_movement(over, TransactionStatus.FAIL_CANCELED, now_ms)]
    )
    if undo is not None:
        movements.append(_ended_undo(undo, now_ms, TransactionStatus.SUCCESS, None))
    what = "order.canceled" if canceled else "order.pay_canceled"
    return Verdict(
        order=over, transactions=tuple(movements), what=what, text=reason.text, notify=True, watch=watch
    )


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


def _movement(order: Order, *, tsn: str, kind: TransactionKind, amount: int, now_ms: int) -> Transaction:
    return Transaction(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        tsn=tsn,
        kind=kind,
        status=TransactionStatus.CREATED,
        amount=amount,
        ctime_ms=now_ms,
    )


def pay_movement(order: Order) -> Transaction:
    """The first movement of an order; it bears the order's own number."""
    return _pay_movement(order, TransactionStatus.CREATED, 0)


def _pay_movement(order: Order, status: TransactionStatus, finish_ms: int) -> Transaction:
    return Transaction(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        tsn=order.sn,
        kind=TransactionKind.PAY,
        status=status,
        amount=order.total,
        operator=order.operator,
        trade_no=order.trade_no,
        error_code=order.error_code,
        error_message=order.error_message,
        ctime_ms=order.ctime_ms,
        finish_ms=finish_ms,
        channel_finish_ms=order.channel_finish_ms,
    )


def _ended_undo(
    undo: Transaction, now_ms: int, status: TransactionStatus, said: Refused | None
) -> Transaction:
    return replace(
        undo,
        status=status,
        finish_ms=now_ms,
        error_code=said.error_code if said else "",
        error_message=said.text if said else "",
    )


def _undo_failure(undo: Transaction) -> TransactionStatus:
    reverse = undo.kind is TransactionKind.REVERSE
    return TransactionStatus.FAIL_ERROR if reverse else TransactionStatus.CANCEL_ERROR
