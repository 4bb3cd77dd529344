"""`paymux admin …`: looks at the whole gateway."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from paymux.app import open_memory
from paymux.channels.registry import CHANNELS
from paymux.cli.resolve import notify, resolve
from paymux.config import Settings, load
from paymux.domain.money import yuan_from_fen
from paymux.domain.order import UNDONE, Order, OrderStatus
from paymux.domain.payways import PAYWAY_NAMES
from paymux.storage.citus_schema import distribution

_PAGE = 1_000

MISSING = {
    "4": "baidu",
    "5": "jdpay",
    "6": "qqwallet",
    "7": "nfc",
    "8": "lakala",
    "9": "cmpay",
    "15": "lakala",
    "16": "cmb",
    "17": "unionpay",
    "18": "bestpay",
    "19": "weixin-local",
    "20": "alipay-global",
    "22": "sodexo",
    "100": "stored-value",
    "101": "giftcard",
}
"""Payway → the channel that would serve it, for payways no adapter serves yet."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of our books, in the shape of the sandbox's (DESIGN §10). Amounts are fen."""

    wallet: str
    out_trade_no: str
    paid: int
    refunded: int
    currency: str
    state: str


class ChannelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One channel: `status` is "ready" or "missing", and then `reason` says why."""

    channel: str
    payways: tuple[str, ...]
    sub_payways: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    status: str = "ready"
    reason: str = ""


@click.group()
def admin() -> None:
    """Look at books and channels; decide what no wallet would tell; spread the database."""


admin.add_command(resolve)
admin.add_command(notify)


@admin.command()
def citus() -> None:
    """Print the SQL that spreads the database over the workers of a Citus cluster (docs/scaling.md)."""
    click.echo(distribution(), nl=False)


@admin.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON array; amounts in fen.")
@click.pass_obj
def books(config: Path | None, *, as_json: bool) -> None:
    """What we think every order's wallet holds; to be held against the wallet's own books."""
    rows = asyncio.run(_books(load(config)))
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        amounts = f"{yuan_from_fen(row.paid):>12} {yuan_from_fen(row.refunded):>12} {row.currency}"
        click.echo(f"{row.wallet:<10} {row.out_trade_no}  {amounts}  {row.state}")


@admin.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
def channels(*, as_json: bool) -> None:
    """Which channels there are, what each can do, and which payways nobody serves yet."""
    rows = list(_channels())
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        click.echo(f"{row.channel:<14} {row.status:<8} payways {', '.join(row.payways)}")
        if row.reason:
            click.echo(f"{'':<14} {row.reason}")
        else:
            click.echo(f"{'':<14} sub_payways {', '.join(row.sub_payways)}; {', '.join(row.operations)}")


async def _books(settings: Settings) -> list[Row]:
    rows: list[Row] = []
    async with open_memory(settings, existing=True) as memory:
        after = None
        while page := await memory.orders(status=None, after=after, limit=_PAGE):
            rows += map(row_of, page)
            after = page[-1].key
    return rows


def row_of(order: Order) -> Row:
    """An order as a line of the books."""
    return Row(
        wallet=order.channel,
        out_trade_no=order.sn,
        paid=order.paid,
        refunded=order.refunded,
        currency=order.currency,
        state=_state(order),
    )


def _state(order: Order) -> str:
    """Say in the wallets' words what we believe of the trade; UNKNOWN where we do not know."""
    if order.status in {OrderStatus.PAY_ERROR, OrderStatus.CANCEL_ERROR}:
        return "UNKNOWN"
    if order.paid:
        left = order.paid - order.refunded
        return "PAID" if left == order.paid else "PARTIAL_REFUNDED" if left else "REFUNDED"
    if order.status not in UNDONE:
        return "WAITING"
    reversed_by_us = order.status is OrderStatus.CANCELED or order.error_code == "TRADE_TIMEOUT"
    return "REVERSED" if reversed_by_us else "CLOSED"


def _channels() -> Iterator[ChannelRow]:
    served: set[str] = set()
    for name, channel in CHANNELS.items():
        can = channel.capabilities
        served.update(can.payways)
        yield ChannelRow(
            channel=name,
            payways=can.payways,
            sub_payways=tuple(map(str, can.sub_payways)),
            operations=can.operations,
        )
    for payway, name in MISSING.items():
        if payway not in served:
            reason = f"{PAYWAY_NAMES[payway]}: no adapter yet"
            yield ChannelRow(channel=name, payways=(payway,), status="missing", reason=reason)
