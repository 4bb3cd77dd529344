"""Which order does a caller mean? sn first, then client_sn, always under its own merchant (promise M9).

upay-v2.md §6: a real sn wins over a foreign client_sn; an unknown sn falls back to client_sn. Some tills
refund by the channel's trade_no put into `sn` (§7.1).
"""

from paymux.domain.errors import OrderNotFound
from paymux.domain.order import Order, OrderKey
from paymux.domain.requests import OrderRef
from paymux.flows.desk import Desk


async def find(desk: Desk, ref: OrderRef, *, trade_no_too: bool = False) -> Order:
    """The order meant; raises `OrderNotFound`."""
    merchant = ref.terminal.merchant_sn
    bucket = ref.terminal.bucket
    order: Order | None = None
    if ref.sn:
        order = await desk.store.order(OrderKey(bucket, merchant, ref.sn))
    if order is None and ref.client_sn:
        order = await desk.store.order_by_client_sn(bucket, merchant, ref.client_sn)
    if order is None and ref.sn and trade_no_too:
        order = await desk.store.order_by_trade_no(bucket, merchant, ref.sn)
    if order is None:
        raise OrderNotFound
    return order
