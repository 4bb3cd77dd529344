"""QR and front-end orders (C扫B): the buyer pays by himself; we hand out the code and watch.

upay-v2.md §5. A precreate moves no money, so its request is repeated under the same number until the code is
here; when it does not come, the order is undone before anybody is told that it failed (M4).
"""

from paymux.channels.contract import Precreate
from paymux.domain import judge
from paymux.domain.order import Order
from paymux.domain.outcome import Prepared, Refused
from paymux.domain.payways import SubPayway
from paymux.domain.requests import PrecreateRequest
from paymux.flows.call import Said, call
from paymux.flows.desk import Desk
from paymux.flows.handover import leave_to_recovery
from paymux.flows.intent import draft, take_in
from paymux.flows.learn import learn, not_started, refuse
from paymux.flows.pay import may_start, stood_still
from paymux.flows.progress import Progress
from paymux.flows.pursue import follow
from paymux.flows.record import fresh, record
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
    async with desk.turns.of(order.key) as waited:
        if (waited or stood_still(desk, order)) and not await may_start(desk, order):
            return await fresh(desk, order.key)
        said, unsure = await _until_prepared(desk, order, _operation(desk, order, request), until_ms)
        desk.crash("precreate.after_send")
        order = await _record(desk, order, said, unsure=unsure)
        desk.crash("precreate.after_record")
    if order.undo_tsn:
        progress = Progress(order=order, look_ms=desk.clock.now_ms())
        return await follow(desk, progress, until_ms=until_ms, own_undo=order.undo_tsn)
    return order


async def _until_prepared(desk: Desk, order: Order, operation: Precreate, until_ms: int) -> tuple[Said, bool]:
    """Repeat the request, unchanged, until a code or a definite answer is here or the time is nearly up.

    The flag tells whether any of the requests may have arrived without our knowing its end: then the order
    must be undone at the wallet, whatever the last one met.
    """
    unsure = False
    while True:
        said = await call(desk, order, operation)
        definite = isinstance(said.outcome, Prepared | Refused) or not_started(said.outcome) is not None
        if definite and not unsure:
            return said, False
        unsure = unsure or not definite
        late = desk.clock.now_ms() + _REPEAT_GAP_MS >= until_ms
        if isinstance(said.outcome, Prepared | Refused) or late:
            return said, True
        await desk.clock.sleep(_REPEAT_GAP_MS)
        if not await may_start(desk, order):
            return said, True
        await desk.store.add_events((said.event,))


async def _record(desk: Desk, order: Order, said: Said, *, unsure: bool) -> Order:
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
    if nothing_done is not None and not unsure:
        return await refuse(desk, order, nothing_done, said)
    if isinstance(outcome, Refused) and not unsure:
        return await learn(desk, order, said)
    await desk.store.add_events((said.event,))
    return await begin_reversal(desk, await fresh(desk, order.key), _NOT_PREPARED)


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
