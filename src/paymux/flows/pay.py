"""Barcode pay (B扫C): intent, call, outcome. What stays unknown ends in recovery, not in an answer.

upay-v2.md §4; DESIGN §5; 00-principles.md §2. The call waits for the wallet up to `pay_wait_s`.
"""

from paymux.channels.contract import Pay
from paymux.domain.errors import BarcodeUnknown
from paymux.domain.order import Order, OrderStatus
from paymux.domain.outcome import AlreadyExists, Unknown
from paymux.domain.payways import SubPayway, payway_of_barcode
from paymux.domain.requests import PayRequest
from paymux.flows.call import Said, call
from paymux.flows.desk import Desk
from paymux.flows.intent import draft, take_in
from paymux.flows.learn import learn, not_started, refuse
from paymux.flows.progress import Progress
from paymux.flows.pursue import follow, look_again
from paymux.flows.record import fresh

_MOMENT_MS = 250
"""From draft to sending takes milliseconds; after more, somebody may have undone the order meanwhile."""
SEND_TRIES = 3
"""Connections refused outright move no money, so they are tried again at once, a second apart."""


async def pay(desk: Desk, request: PayRequest) -> Order:
    """Charge the buyer's barcode; return the order as it is when the wallet answered or the wait is over.

    Raises `BarcodeUnknown`, `PaywayNotServed`, `ClientSnConflict`; `StorageFailed` before anything was sent.
    """
    payway = request.payway or payway_of_barcode(request.dynamic_id)
    if payway is None:
        raise BarcodeUnknown
    merchant = request.terminal.merchant_sn
    account, channel = await desk.wallets.for_payway(merchant, payway, SubPayway.BARCODE)
    order = draft(
        desk,
        request,
        account,
        channel,
        payway=payway,
        sub_payway=SubPayway.BARCODE,
        secret=request.dynamic_id,
        life_s=channel.capabilities.schedule.pay_deadline_s,
    )
    wait_s = desk.limits.pay_wait_s
    await take_in(desk, order, wait_s=wait_s)
    desk.crash("pay.after_intent")
    async with desk.turns.of(order.key) as waited:
        said = await send_start(desk, order, _operation(desk, order, request), look=waited)
        if said is None:
            return await fresh(desk, order.key)
        desk.crash("pay.after_send")
        progress = await after_start(desk, order, said)
        desk.crash("pay.after_record")
    if not progress.look_ms:
        return progress.order
    return await follow(desk, progress, until_ms=order.ctime_ms + wait_s * 1000)


async def send_start(desk: Desk, order: Order, operation: Pay, *, look: bool) -> Said | None:
    """Send the one request that may take money; again only while not one byte has left this machine.

    `look`: somebody had a turn at the order before.

    None when the order must not be paid any more: somebody has undone it while we waited or stood still.
    """
    said: Said | None = None
    for number in range(SEND_TRIES):
        if number:
            await desk.clock.sleep(1000)
        if (number or look or stood_still(desk, order)) and not await may_start(desk, order):
            return said
        if said is not None:
            await desk.store.add_events((said.event,))
        said = await call(desk, order, operation)
        if not isinstance(said.outcome, Unknown) or said.outcome.sent:
            return said
    return said


async def may_start(desk: Desk, order: Order) -> bool:
    """Whether the order still waits to be paid, now."""
    now = await fresh(desk, order.key)
    waits = now.status is OrderStatus.CREATED and not now.undo_tsn
    return waits and desk.clock.now_ms() < now.deadline_ms


def stood_still(desk: Desk, order: Order) -> bool:
    """Whether more than a moment lies between the draft and now: then look again before sending."""
    return desk.clock.now_ms() - order.ctime_ms > _MOMENT_MS


async def after_start(desk: Desk, order: Order, said: Said) -> Progress:
    """Record the reply to the pay request and say when to ask next."""
    outcome = said.outcome
    nothing_done = not_started(outcome)
    if nothing_done is not None:
        return Progress(order=await refuse(desk, order, nothing_done, said))
    order = await learn(desk, order, said)
    if isinstance(outcome, AlreadyExists):
        return Progress(order=order, look_ms=desk.clock.now_ms())
    return await look_again(desk, order, outcome, attempt=0)


def _operation(desk: Desk, order: Order, request: PayRequest) -> Pay:
    return Pay(
        out_trade_no=order.sn,
        amount=order.total,
        auth_code=request.dynamic_id.strip(),
        subject=order.subject,
        description=order.description,
        operator=order.operator,
        store_sn=order.store_sn,
        terminal_sn=order.terminal_sn,
        detail=order.detail,
        notify_url=desk.callback_url(order),
        ctime_ms=order.ctime_ms,
    )
