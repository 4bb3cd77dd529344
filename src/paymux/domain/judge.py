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
from paymux.domain.verdict import TIMEOUT, Verdict, bump, movement

# -- the payment


def took(order: Order, now_ms: int, said: Took) -> Verdict | None:
    """The wallet holds the money: PAID, unless somebody has begun to undo the order (promise M4)."""
    late = bool(order.undo_tsn) or order.status in UNDONE
    status = next_status(order.status, Fact.TOOK_LATE if late else Fact.TOOK)
    if status is not order.status:
        return _paid(order, said, now_ms)
    if order.undo_tsn and not order.paid:
        known = replace(bump(order), paid=order.total, trade_no=said.trade_no)
        pay = pay_movement(known)  # it ends when the order does
        text = "paid while being undone; undoing goes on"
        return Verdict(order=known, transactions=(pay,), what="order.took_late", text=text)
    return None


def prepared(order: Order, now_ms: int, said: Prepared) -> Verdict | None:
    """The QR code or the front-end's parameters are here; nobody has paid yet."""
    del now_ms
    if order.qr_code or order.wap_pay_request:
        return None
    shown = replace(bump(order), qr_code=said.qr_code, wap_pay_request=said.wap_pay_request)
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
    return _over(order, undo, status, now_ms, reason=reason, watch="")


def give_up(
    order: Order, undo: Transaction | None, now_ms: int, *, tsn: str, by: UndoBy, reason: Refused
) -> Verdict | None:
    """The time to pay is over (or the start failed): begin to reverse; no mere success makes it PAID now."""
    if undo is not None or order.status is not OrderStatus.CREATED:
        return None
    next_status(order.status, Fact.GIVE_UP)
    reverse = movement(order, tsn=tsn, kind=TransactionKind.REVERSE, amount=order.total, now_ms=now_ms)
    reverse = replace(reverse, undo_by=by)
    pending = replace(bump(order), undo_tsn=tsn, error_code=reason.error_code, error_message=reason.text)
    return Verdict(order=pending, transactions=(reverse,), what="reverse.begun", text=reason.text)


# -- undoing


def cancel_asked(
    order: Order, undo: Transaction | None, now_ms: int, *, tsn: str, by: UndoBy, operator: str
) -> Verdict | None:
    """The shop wants the order undone. A reversal already under way is taken over, not doubled."""
    status = next_status(order.status, Fact.CANCEL_ASKED)
    if status is order.status:
        return None  # the same wish is under way: join it
    asked = replace(bump(order), status=status, latest_operator=operator or order.operator)
    if undo is not None:
        asked = replace(asked, latest_status=TransactionStatus.IN_PROG)
        return Verdict(order=asked, what="cancel.joined", text="joins the reversal under way")
    cancel = movement(order, tsn=tsn, kind=TransactionKind.CANCEL, amount=order.total, now_ms=now_ms)
    cancel = replace(cancel, undo_by=by, operator=operator)
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
    """A reversal came too late for a paid order: give the money back by a refund of everything.

    The undo's time begins anew: what the wallet's rules made us wait for must not use up the refund's quick
    attempts.
    """
    if undo is None or undo.undo_by == UndoBy.REFUND:
        return None
    switched_undo = replace(undo, undo_by=UndoBy.REFUND, status=TransactionStatus.CREATED, ctime_ms=now_ms)
    switched = replace(
        bump(order), paid=order.total, refunding=order.total - order.refunded, trade_no=said.trade_no
    )
    known = TransactionStatus.SUCCESS if order.paid else TransactionStatus.CREATED
    pay = pay_movement(switched, known, order.finish_ms)
    return Verdict(
        order=switched,
        transactions=(switched_undo,) if order.trade_no else (pay, switched_undo),
        what="undo.by_refund",
        text="the wallet cannot reverse it any more",
    )


def undone(order: Order, undo: Transaction | None, now_ms: int, said: GaveBack) -> Verdict | None:
    """The cancel or reversal is done; of an order that was thought to stand, loudly."""
    status = next_status(order.status, Fact.UNDONE)
    if undo is None or status is order.status:
        return None
    if order.paid and said.had_taken is False:
        return None  # the cancel overtook its pay: what it closed was not yet what we know was taken
    reason = Refused(error_code=order.error_code, text=order.error_message)
    watch = order.sn if undo.undo_by != UndoBy.REFUND and said.had_taken is not True else ""
    over = _over(order, undo, status, now_ms, reason=reason, watch=watch, channel_ms=said.at_ms)
    return replace(over, alarm=True, what="undo.done_after_all") if order.status is OrderStatus.PAID else over


def doubted(order: Order, movement: Transaction, now_ms: int) -> Verdict | None:
    """A request for this movement may still arrive at the wallet: until it has, no refusal is definite."""
    unsure = replace(movement, doubt_ms=now_ms)
    return Verdict(order=bump(order), transactions=(unsure,), what="movement.in_doubt")


def undo_refused(order: Order, undo: Transaction | None, now_ms: int, said: Refused) -> Verdict | None:
    """The wallet holds the money and will not give it back: the sale stands (or stays with the operator)."""
    status = next_status(order.status, Fact.UNDO_REFUSED)
    if undo is None or status is order.status:
        return None
    return _stands(order, undo, status, now_ms, said)


def sale_stands(order: Order, undo: Transaction | None, now_ms: int) -> Verdict | None:
    """An operator decides what the wallet would not tell: the money is there, and stays.

    We look at the undo again later: it may have been carried out meanwhile, or people may have erred.
    """
    status = next_status(order.status, Fact.SALE_STANDS)
    if undo is None:
        return None
    said = Refused(error_code="TRADE_HAS_SUCCESS", text="人工确认已支付")
    stands = _stands(order, undo, status, now_ms, said)
    return replace(stands, what="sale.stands", alarm=False, watch=undo.tsn)


def _stands(order: Order, undo: Transaction, status: OrderStatus, now_ms: int, said: Refused) -> Verdict:
    """Keep a sale that was to be undone."""
    ended = _ended_undo(undo, now_ms, _undo_failure(undo), said)
    stands = replace(
        bump(order),
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
    pay = pay_movement(order, TransactionStatus.SUCCESS, now_ms)
    return Verdict(
        order=stands,
        transactions=(pay, ended),
        what="undo.refused",
        text=f"{said.provider_code} {said.text}".strip(),
        notify=True,
        alarm=True,
        watch=ended.tsn if ended.doubt_ms else "",
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
    stuck = replace(bump(order), status=status, latest_status=latest)
    text = "the wallet gives no definite answer; attempts go on slowly"
    ended = replace(undo, status=latest, finish_ms=now_ms)
    return Verdict(order=stuck, transactions=(ended,), what="undo.spent", text=text, notify=True, alarm=True)


# -- parts


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
    pay = pay_movement(paid, TransactionStatus.SUCCESS, now_ms)
    return Verdict(order=paid, transactions=(pay,), what="order.paid", notify=True)


def _over(
    order: Order,
    undo: Transaction | None,
    status: OrderStatus,
    now_ms: int,
    *,
    reason: Refused,
    watch: str,
    channel_ms: int = 0,
) -> Verdict:
    """End a sale as PAY_CANCELED or CANCELED: nothing is held at the wallet any more."""
    by_refund = undo is not None and undo.undo_by == UndoBy.REFUND
    canceled = status is OrderStatus.CANCELED
    latest = TransactionStatus.SUCCESS if canceled else TransactionStatus.FAIL_CANCELED
    over = replace(
        bump(order),
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
        [] if order.finish_ms and canceled else [pay_movement(over, TransactionStatus.FAIL_CANCELED, now_ms)]
    )
    if undo is not None:
        movements.append(_ended_undo(undo, now_ms, TransactionStatus.SUCCESS, None))
    what = "order.canceled" if canceled else "order.pay_canceled"
    return Verdict(
        order=over, transactions=tuple(movements), what=what, text=reason.text, notify=True, watch=watch
    )


def pay_movement(
    order: Order, status: TransactionStatus = TransactionStatus.CREATED, finish_ms: int = 0
) -> Transaction:
    """The first movement of an order; it bears the order's own number."""
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
