"""QR and front-end orders (C扫B): the buyer pays by himself; we hand out the code and watch.

upay-v2.md §5. A precreate moves no money, so its request is repeated under the same number until the code is
here; when it does not come, the order is undone before anybody is told that it failed (M4).
"""

from paymux.channels.contract import Precreate
from paymux.domain import judge
from paymux.domain.order import Order, OrderStatus
from paymux.domain.outcome import Prepared, Refused
from paymux.domain.payways import SubPayway
from paymux.domain.requests import PrecreateRequest
from paymux.flows.call import Said, call
from paymux.flows.desk import Desk
from paymux.flows.handover import leave_to_recovery
from paymux.flows.intent import draft, take_in
from paymux.flows.learn import learn, not_started, refuse
from paymux.flows.progress import Progress
from paymux.flows.pursue import follow
from paymux.flows.record import record
from paymux.flows.undo import begin_reversal
from paymux.storage.contract import DueKind

_NOT_PREPARED = Refused(error_code="TRADE_FAILED", text="预下单失败，支付通道没有返回结果")
_REPEAT_GAP_MS = 500


async def precreate(desk: Desk, request: PrecreateRequest) -> Order:
    """Make an order the buyer can pay; return it with qr_code or wap_pay_request, or undone.

    Raises `PaywayNotServed`, `ClientSnConflict`; `StorageFailed` before anything was sent.
    """
    merchant = request.terminal.merchant_sn
    account, channel = await desk.wallets.for_payway(merchant, request.payway, request.sub_payway)
    order = draft(
        desk,
        request,
        account,
        channel,
        payway=request.payway,
        sub_payway=request.sub_payway,
        secret=request.payer_uid,
        life_s=desk.limits.precreate_life_s,
    )
    wait_s = desk.limits.precreate_wait_s
    await take_in(desk, order, wait_s=wait_s)
    desk.crash("precreate.after_intent")
    until_ms = order.ctime_ms + wait_s * 1000
    said = await _until_prepared(desk, order, _operation(desk, order, request), until_ms)
    desk.crash("precreate.after_send")
    order = await _record(desk, order, said)
    desk.crash("precreate.after_record")
    if order.undo_tsn:
        return await follow(desk, Progress(order=order, look_ms=desk.clock.now_ms()), until_ms=until_ms)
    return order


async def _until_prepared(desk: Desk, order: Order, operation: Precreate, until_ms: int) -> Said:
    """Repeat the request, unchanged, until a code or a definite answer is here or the time is nearly up."""
    while True:
        said = await call(desk, order, operation)
        outcome = said.outcome
        if isinstance(outcome, Prepared | Refused) or not_started(outcome) is not None:
            return said
        if desk.clock.now_ms() + _REPEAT_GAP_MS >= until_ms:
            return said
        await desk.store.add_events((said.event,))
        await desk.clock.sleep(_REPEAT_GAP_MS)


async def _record(desk: Desk, order: Order, said: Said) -> Order:
    outcome = said.outcome
    if isinstance(outcome, Prepared):
        prepared = outcome
        order = await record(
            desk, order, lambda now, _, ms: judge.prepared(now, ms, prepared), heard=said.event
        )
        look_ms = desk.clock.now_ms() + desk.limits.precreate_gaps_s[0] * 1000
        await leave_to_recovery(desk, order.key, DueKind.RECOVER, order.sn, look_ms=look_ms)
        return order
    nothing_done = not_started(outcome)
    if nothing_done is not None:
        return await refuse(desk, order, nothing_done, said)
    order = await learn(desk, order, said)
    return await begin_reversal(desk, order, _NOT_PREPARED) if order.status is OrderStatus.CREATED else order


def _operation(desk: Desk, order: Order, request: PrecreateRequest) -> Precreate:
    return Precreate(
        out_trade_no=order.sn,
        amount=order.total,
        sub_payway=SubPayway(order.sub_payway),
        subject=order.subject,
        description=order.description,
        operator=order.operator,
        store_sn=order.store_sn,
        terminal_sn=order.terminal_sn,
        payer_uid=request.payer_uid,
        detail=order.detail,
        notify_url=desk.callback_url(order),
        ctime_ms=order.ctime_ms,
        expires_ms=order.deadline_ms,
    )
