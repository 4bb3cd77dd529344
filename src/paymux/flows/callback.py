"""A channel calls us: verify, hold it against the order, record, and only then acknowledge.

A callback is believed only when its signature, account, number and amount are right (promise M6), and even
then it only confirms what the grid allows: whatever surprises is asked about at the channel first
(00-principles.md §4).
"""

from paymux.channels.contract import Ack, Callback, CallbackFact, CallbackForged, Channel
from paymux.domain import refund_judge
from paymux.domain.errors import PaywayNotServed
from paymux.domain.order import Order, OrderKey, Transaction, TransactionKind
from paymux.domain.outcome import GaveBack, Took
from paymux.domain.verdict import UNSETTLED, Verdict, is_refused
from paymux.flows.call import Said, describe
from paymux.flows.desk import Desk
from paymux.flows.learn import ask, learn
from paymux.flows.record import about_tsn, event, record
from paymux.flows.refund import check_refused, refund_step
from paymux.storage.contract import Event

_NOBODY = Ack(status=404, content_type="text/plain", body=b"unknown")


async def callback(desk: Desk, account: str, key: OrderKey, raw: Callback) -> Ack:
    """Take in one callback; the channel's own thanks are returned only for what is durably recorded."""
    try:
        channel = await desk.wallets.named(key.merchant_id, account)
    except PaywayNotServed:
        return _NOBODY
    order = await desk.store.order(key)
    if order is None or order.account != account:
        desk.log.warning("callback.unknown_order", account=account, sn=key.sn)
        return channel.nack
    fact = _verified(desk, channel, order, raw)
    if fact is None:
        return channel.nack
    heard = _heard(desk, channel, order, raw, fact)
    if fact.refund_no:
        return await _about_refund(desk, channel, order, fact, heard)
    return await _about_payment(desk, channel, order, fact, heard)


def _verified(desk: Desk, channel: Channel, order: Order, raw: Callback) -> CallbackFact | None:
    try:
        fact = channel.verify(raw)
    except CallbackForged as error:
        desk.log.warning("callback.forged", account=order.account, sn=order.sn, reason=str(error))
        return None
    if fact.out_trade_no != order.sn:
        desk.log.warning("callback.other_order", alarm=True, sn=order.sn, names=fact.out_trade_no)
        return None
    return fact


async def _about_payment(desk: Desk, channel: Channel, order: Order, fact: CallbackFact, heard: Event) -> Ack:
    said = Said(outcome=fact.outcome, event=heard)
    if isinstance(fact.outcome, Took) and fact.amount == order.total:
        await learn(desk, order, said)
        return channel.ack
    await desk.store.add_events((heard,))
    if isinstance(fact.outcome, Took) and fact.amount != order.total:
        desk.log.error("callback.other_amount", alarm=True, sn=order.sn, ours=order.total, theirs=fact.amount)
        await ask(desk, order)
        return channel.nack
    if order.status in UNSETTLED and not order.undo_tsn:
        await ask(desk, order)
    return channel.ack


async def _about_refund(desk: Desk, channel: Channel, order: Order, fact: CallbackFact, heard: Event) -> Ack:
    refund = await desk.store.transaction(order.key, fact.refund_no)
    if refund is None:
        desk.log.warning("callback.unknown_refund", alarm=True, sn=order.sn, refund_no=fact.refund_no)
        return channel.nack
    outcome = fact.outcome
    if isinstance(outcome, GaveBack) and fact.amount == refund.amount and refund.tsn != order.undo_tsn:
        done = outcome

        def concluded(now: Order, movement: Transaction | None, now_ms: int) -> Verdict | None:
            return refund_judge.refund_done(now, movement, now_ms, done) if movement else None

        await record(desk, order, concluded, about=about_tsn(desk, refund.tsn), heard=heard)
        return channel.ack
    await desk.store.add_events((heard,))
    if is_refused(refund):
        await check_refused(desk, order, refund)
    elif refund.kind in {TransactionKind.REFUND, TransactionKind.LATE_REFUND}:
        await refund_step(desk, order, refund, first=False)
    return channel.ack


def _heard(desk: Desk, channel: Channel, order: Order, raw: Callback, fact: CallbackFact) -> Event:
    body = channel.scrub(raw.body[:8_000].decode(errors="replace"))
    text = f"< {body}\n= {describe(fact.outcome)}"
    return event(desk, order, who=order.channel, what=f"{order.channel}.callback", text=text)
