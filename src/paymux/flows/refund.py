"""Full or part, once per refund_request_no: reserve, ask the wallet, record; repeats are safe (M3, M7).

upay-v2.md §7.1; 00-principles.md §3: an unknown outcome is repeated with the *same* number, an accepted
refund is asked about. The amount stays reserved until the answer is definite.
"""

import msgspec

from paymux.channels.contract import Operation, Query, Refund, RefundQuery
from paymux.domain import refund_judge
from paymux.domain.errors import OrderNotFound
from paymux.domain.order import Order, OrderKey, Transaction, TransactionKind, TransactionStatus
from paymux.domain.outcome import GaveBack, InProgress, Misconfigured, Outcome, Refused, Unknown
from paymux.domain.refund_rules import check_refund, is_repeat
from paymux.domain.requests import OrderAnswer, RefundRequest
from paymux.domain.verdict import OPEN_REFUND, Verdict, is_unfinished
from paymux.flows.call import Said, call
from paymux.flows.desk import Desk
from paymux.flows.doubt import is_definite, keep_doubt, not_before_ms
from paymux.flows.find import find
from paymux.flows.gaps import quick_gap_ms, slow_gap_ms
from paymux.flows.handover import GRACE_MS, leave_to_recovery
from paymux.flows.record import Judge, about_tsn, fresh, record
from paymux.storage.contract import DueKind

_REASON = "退款"


class RefundProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a refund is; `look_ms` 0: nothing is left to do."""

    order: Order
    refund: Transaction
    look_ms: int = 0


async def refund(desk: Desk, request: RefundRequest) -> OrderAnswer:
    """Give money back; the answer's transaction is the refund of that number.

    Raises `OrderNotFound`, `StateForbids`, `RefundTooLarge`, `RefundRequestConflict`.
    """
    order = await find(desk, request.ref, trade_no_too=True)
    until_ms = desk.clock.now_ms() + desk.limits.refund_wait_s * 1000
    number = request.refund_request_no

    async def of_number(now: Order) -> Transaction | None:
        return await desk.store.refund(now.key, number)

    who, tsn = f"terminal {request.ref.terminal.terminal_sn}", desk.ids.sn()
    reserve, look_ms = Reservation(request, tsn), until_ms + GRACE_MS
    order = await record(desk, order, reserve, about=of_number, who=who, look_ms=look_ms)
    desk.crash("refund.after_intent")
    movement = await of_number(order)
    if movement is None:
        raise OrderNotFound
    if movement.status in OPEN_REFUND:
        return await _follow(desk, order.key, movement.tsn, until_ms, first=reserve.made)
    return OrderAnswer(order=order, transaction=movement)


async def refund_step(desk: Desk, order: Order, refund: Transaction, *, first: bool) -> RefundProgress:
    """Try once to finish a refund; anybody may repeat this at any time.

    `first`: the caller has reserved it himself, and nothing was sent for it yet.
    """
    async with desk.turns.of(order.key):
        order = await fresh(desk, order.key)
        return await _step(desk, order, await _reread(desk, order, refund.tsn), first=first)


async def check_refused(desk: Desk, order: Order, refund: Transaction) -> Outcome:
    """Ask about a refund we called refused: if it was carried out after all it is booked, loudly."""
    query = RefundQuery(out_trade_no=order.sn, refund_no=refund.tsn, amount=refund.amount)
    asked = await call(desk, order, query)
    if isinstance(asked.outcome, GaveBack):
        await _book(desk, order, refund, asked)
    else:
        await desk.store.add_events((asked.event,))
    return asked.outcome


async def _step(desk: Desk, order: Order, refund: Transaction, *, first: bool) -> RefundProgress:
    if not is_unfinished(refund):
        return RefundProgress(order=order, refund=refund)
    earliest_ms = not_before_ms(refund, first=first, begun_ms=refund.ctime_ms)
    if refund.status is TransactionStatus.CREATED and desk.clock.now_ms() < earliest_ms:
        return RefundProgress(order=order, refund=refund, look_ms=earliest_ms)
    said = await call(desk, order, _operation(desk, order, refund))
    if isinstance(said.outcome, Unknown) and said.outcome.not_found:
        await desk.store.add_events((said.event,))
        said = await call(desk, order, refund_request(desk, order, refund, reason=_REASON))
    desk.crash("refund.after_send")
    order = await _conclude(desk, order, refund, said, first=first)
    desk.crash("refund.after_record")
    refund = await _reread(desk, order, refund.tsn)
    if not is_unfinished(refund):
        return RefundProgress(order=order, refund=refund)
    return await _later(desk, order, refund, said.outcome)


class Reservation:
    """The judgement of a refund request, made anew each time somebody was faster; `made`: it reserved."""

    def __init__(self, request: RefundRequest, tsn: str) -> None:
        self._request = request
        self._tsn = tsn
        self.made = False

    def __call__(self, now: Order, known: Transaction | None, now_ms: int) -> Verdict | None:
        """Reserve the amount, unless this is the same refund asked for again."""
        request = self._request
        self.made = known is None or not is_repeat(known, request.amount)
        if not self.made:
            return None
        check_refund(now, request.amount)
        return refund_judge.refund_asked(
            now,
            known,
            now_ms,
            tsn=self._tsn,
            amount=request.amount,
            number=request.refund_request_no,
            operator=request.operator,
        )


async def _follow(desk: Desk, key: OrderKey, tsn: str, until_ms: int, *, first: bool) -> OrderAnswer:
    order = await fresh(desk, key)
    movement = await _reread(desk, order, tsn)
    progress = RefundProgress(order=order, refund=movement, look_ms=desk.clock.now_ms())
    while progress.look_ms and progress.look_ms <= until_ms and not desk.bell.closing:
        progress = await refund_step(desk, progress.order, progress.refund, first=first)
        first = first and not progress.refund.doubt_ms
        progress = await _wait(desk, progress, min(progress.look_ms, until_ms))
    progress = await _wait(desk, progress, until_ms)
    if progress.look_ms:
        await leave_to_recovery(desk, key, DueKind.REFUND, tsn, look_ms=progress.look_ms)
    return OrderAnswer(order=progress.order, transaction=progress.refund)


async def _wait(desk: Desk, progress: RefundProgress, until_ms: int) -> RefundProgress:
    """Wait, unless the refund ends sooner; others' attempts ring too, and do not shorten the gap."""
    while progress.look_ms and desk.clock.now_ms() < until_ms and not desk.bell.closing:
        await desk.bell.wait(progress.order.key, until_ms - desk.clock.now_ms())
        order = await fresh(desk, progress.order.key)
        refund = await _reread(desk, order, progress.refund.tsn)
        look_ms = progress.look_ms if is_unfinished(refund) else 0
        progress = RefundProgress(order=order, refund=refund, look_ms=look_ms)
    return progress


def _operation(desk: Desk, order: Order, refund: Transaction) -> Operation:
    """An accepted or stuck refund is asked about first; one that was never acknowledged is sent again."""
    if refund.status is TransactionStatus.CREATED:
        return refund_request(desk, order, refund, reason=_REASON)
    return RefundQuery(out_trade_no=order.sn, refund_no=refund.tsn, amount=refund.amount)


def refund_request(desk: Desk, order: Order, movement: Transaction, *, reason: str) -> Refund:
    """What a wallet is asked for by a refund, or by an undo that goes by refund; `reason` is for people."""
    return Refund(
        out_trade_no=order.sn,
        refund_no=movement.tsn,
        amount=movement.amount,
        total=order.total,
        before=order.refunded,
        reason=reason,
        notify_url=desk.callback_url(order, refund_tsn=movement.tsn),
    )


async def _conclude(desk: Desk, order: Order, refund: Transaction, said: Said, *, first: bool) -> Order:
    outcome = said.outcome
    if isinstance(outcome, Refused | Misconfigured):
        sure = first and is_definite(desk, refund, first=True, begun_ms=refund.ctime_ms)
        if not sure:
            return await _doubtful_no(desk, order, refund, said)
    if isinstance(outcome, Unknown) and outcome.sent:
        return await keep_doubt(desk, order, refund, said)
    return await _book(desk, order, refund, said)


async def _doubtful_no(desk: Desk, order: Order, refund: Transaction, said: Said) -> Order:
    """A refusal of a *repeat* counts when nothing is on its way any more and the refund query agrees."""
    if isinstance(said.outcome, Misconfigured):
        await desk.store.add_events((said.event,))
        return order
    if not is_definite(desk, refund, first=False, begun_ms=refund.ctime_ms):
        return await keep_doubt(desk, order, refund, said)
    await desk.store.add_events((said.event,))
    query = RefundQuery(out_trade_no=order.sn, refund_no=refund.tsn, amount=refund.amount)
    asked = await call(desk, order, query)
    if isinstance(asked.outcome, Unknown) and asked.outcome.not_found:
        asked = Said(outcome=said.outcome, event=asked.event)
    return await _book(desk, order, refund, asked)


async def _book(desk: Desk, order: Order, refund: Transaction, said: Said) -> Order:
    """Record a definite answer; keep any other one."""
    verdict = _verdict(said.outcome)
    if verdict is None:
        await desk.store.add_events((said.event,))
        return order
    order = await record(desk, order, verdict, about=about_tsn(desk, refund.tsn), heard=said.event)
    if isinstance(said.outcome, Refused) and refund.kind is TransactionKind.LATE_REFUND:
        return await _void_if_undone(desk, order, refund)
    return order


def _verdict(outcome: Outcome) -> Judge | None:
    """What to record about a refund; None when the outcome is no definite answer."""
    if isinstance(outcome, GaveBack):
        done = outcome
        return lambda now, re, ms: refund_judge.refund_done(now, re, ms, done) if re else None
    if isinstance(outcome, InProgress):
        return lambda now, re, ms: refund_judge.refund_accepted(now, re, ms) if re else None
    if isinstance(outcome, Misconfigured):
        outcome = Refused(error_code="TRADE_FAILED", text=f"支付通道配置错误: {outcome.provider_code}")
    if isinstance(outcome, Refused):
        refused = outcome
        return lambda now, re, ms: refund_judge.refund_refused(now, re, ms, refused) if re else None
    return None


async def _void_if_undone(desk: Desk, order: Order, refund: Transaction) -> Order:
    """A refused late refund: perhaps the wallet has undone the payment by itself."""
    said = await call(desk, order, Query(out_trade_no=order.sn, amount=order.total))
    if not isinstance(said.outcome, Refused):
        await desk.store.add_events((said.event,))
        return order

    def void(now: Order, late: Transaction | None, now_ms: int) -> Verdict | None:
        return refund_judge.late_refund_void(now, late, now_ms) if late else None

    return await record(desk, order, void, about=about_tsn(desk, refund.tsn), heard=said.event)


async def _later(desk: Desk, order: Order, refund: Transaction, outcome: Outcome) -> RefundProgress:
    """Quick gaps within the budget; then slow ones, and REFUND_ERROR unless it is on its way."""
    now_ms = desk.clock.now_ms()
    waited_ms = now_ms - refund.ctime_ms
    if waited_ms < desk.limits.refund_budget_s * 1000:
        gaps = (await desk.wallets.of(order)).capabilities.schedule.refund_gaps_s
        return RefundProgress(order=order, refund=refund, look_ms=now_ms + quick_gap_ms(gaps, waited_ms))
    if not isinstance(outcome, InProgress):

        def spent(now: Order, late: Transaction | None, ms: int) -> Verdict | None:
            return refund_judge.refund_spent(now, late, ms) if late else None

        order = await record(desk, order, spent, about=about_tsn(desk, refund.tsn))
        refund = await _reread(desk, order, refund.tsn)
    look_ms = now_ms + slow_gap_ms(desk.limits, refund.ctime_ms, now_ms)
    return RefundProgress(order=order, refund=refund, look_ms=look_ms)


async def _reread(desk: Desk, order: Order, tsn: str) -> Transaction:
    found = await desk.store.transaction(order.key, tsn)
    if found is None:
        raise OrderNotFound
    return found
