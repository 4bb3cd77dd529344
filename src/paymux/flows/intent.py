"""The first commit of a sale: the wish is durable before anything is sent (promise M5)."""

import hashlib

from paymux.channels.contract import Channel
from paymux.domain.errors import ClientSnConflict
from paymux.domain.order import Order
from paymux.domain.payways import SubPayway
from paymux.domain.people import Account
from paymux.domain.requests import PayRequest, PrecreateRequest
from paymux.flows.desk import Desk
from paymux.flows.handover import GRACE_MS
from paymux.storage.contract import Change, Due, DueKind

_COMPARED = (
    "total",
    "payway",
    "sub_payway",
    "digest",
    "subject",
    "description",
    "operator",
    "reflect",
    "notify_url",
    "detail",
)
"""What makes a repeated client_sn "the same content" (promise M7), in the order differences are named."""


def draft(
    desk: Desk,
    request: PayRequest | PrecreateRequest,
    account: Account,
    channel: Channel,
    *,
    payway: str,
    sub_payway: SubPayway,
    secret: str,
    life_s: int,
) -> Order:
    """A new order in CREATED, not yet stored. `secret` is the barcode or payer, kept only as a digest."""
    terminal = request.terminal
    now_ms = desk.clock.now_ms()
    sn = desk.ids.sn()
    return Order(
        bucket=terminal.bucket,
        merchant_id=terminal.merchant_sn,
        sn=sn,
        client_sn=request.client_sn,
        store_sn=terminal.store_sn,
        terminal_sn=terminal.terminal_sn,
        account=account.name,
        channel=channel.capabilities.name,
        payway=payway,
        sub_payway=sub_payway,
        total=request.total,
        digest=hashlib.sha256(secret.encode()).hexdigest()[:32],
        subject=request.subject,
        description=request.description,
        operator=request.operator,
        reflect=request.reflect,
        notify_url=request.notify_url,
        detail=request.detail,
        ctime_ms=now_ms,
        deadline_ms=now_ms + life_s * 1000,
        latest_tsn=sn,
        latest_operator=request.operator,
        latest_client_tsn=request.client_sn,
    )


async def take_in(desk: Desk, order: Order, *, wait_s: int) -> None:
    """Commit the intent: the order, which is its pay's too, and the due row that finishes it if we die.

    The pay becomes a movement with the first thing that is known about it.

    Raises `ClientSnConflict` when the merchant used the client_sn before; `field` says what differs.
    """
    due = Due(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        ref=order.sn,
        kind=DueKind.RECOVER,
        sn=order.sn,
        run_at_ms=order.ctime_ms + wait_s * 1000 + GRACE_MS,
    )
    if await desk.store.save(Change(order=order, due=(due,))):
        return
    known = await desk.store.order_by_client_sn(order.bucket, order.merchant_id, order.client_sn)
    field = difference(known, order) if known is not None else "client_sn"
    if field:
        desk.log.warning(
            "client_sn.conflict", merchant=order.merchant_id, client_sn=order.client_sn, differs=field
        )
    raise ClientSnConflict(order.client_sn, field=field, sn=known.sn if known is not None else "")


def difference(known: Order, wanted: Order) -> str:
    """Name the first field in which a repeated request differs from the first one; "" when none does."""
    for name in _COMPARED:
        if getattr(known, name) != getattr(wanted, name):
            return {"digest": "dynamic_id"}.get(name, name)
    return ""
