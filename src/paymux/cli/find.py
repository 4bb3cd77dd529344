"""Which order does an operator mean? Any of its numbers will do, whoever the merchant is."""

from paymux.domain.errors import ConfigurationBroken
from paymux.domain.order import Order, OrderKey
from paymux.domain.people import bucket_of
from paymux.storage.contract import Store


async def find_order(memory: Store, number: str) -> Order:
    """The order whose sn, client_sn or trade_no is `number`; raises `ConfigurationBroken`.

    Two merchants may use one client_sn: then both sn are named, to be asked again.
    """
    found: dict[OrderKey, Order] = {}
    for merchant in await memory.merchants():
        sn, bucket = merchant.merchant_sn, bucket_of(merchant.merchant_sn)
        for order in (
            await memory.order(OrderKey(bucket, sn, number)),
            await memory.order_by_client_sn(bucket, sn, number),
            await memory.order_by_trade_no(bucket, sn, number),
        ):
            if order is not None:
                found[order.key] = order
    if not found:
        raise ConfigurationBroken(f"no order has {number} as its sn, client_sn or trade_no")
    if len(found) > 1:
        sns = ", ".join(f"{key.sn} (merchant {key.merchant_id})" for key in found)
        raise ConfigurationBroken(f"{number} is the number of several orders: ask for one of {sns}")
    return next(iter(found.values()))
