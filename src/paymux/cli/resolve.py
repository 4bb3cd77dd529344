"""`paymux admin resolve` and `admin notify`: what a human decides, with name and reason kept for ever."""

import asyncio
from pathlib import Path

import click

from paymux.app import open_desk
from paymux.cli.find import find_order
from paymux.config import Settings, load
from paymux.domain.errors import ConfigurationBroken, RequestRefused
from paymux.domain.order import Order, Transaction
from paymux.flows.desk import Desk
from paymux.flows.resolve import end_refund, give_up_sale, keep_sale, tell_again
from paymux.kit.logs import setup_logs


@click.command()
@click.argument("number")
@click.argument("truth", type=click.Choice(["paid", "nothing-held", "refunded", "not-refunded"]))
@click.option("--refund", metavar="NO", default="", help="Which refund: its tsn or refund_request_no.")
@click.option("--who", required=True, help="Your name, for the order's history.")
@click.option("--why", required=True, help="What you saw, and where, for the order's history.")
@click.pass_obj
def resolve(config: Path | None, number: str, truth: str, refund: str, who: str, why: str) -> None:
    """End the waiting for an order in PAY_ERROR, CANCEL_ERROR or REFUND_ERROR.

    Look into the wallet's own books first; then say what they show: the money is there and the sale stands
    (paid), the wallet holds nothing of it (nothing-held), the refund has reached the buyer (refunded) or
    never will (not-refunded).
    """
    order = asyncio.run(_resolve(load(config), number, truth, refund, f"operator {who}", why))
    click.echo(f"order {order.sn} is {order.status} now")


@click.command()
@click.argument("number")
@click.option("--who", required=True, help="Your name, for the order's history.")
@click.pass_obj
def notify(config: Path | None, number: str, who: str) -> None:
    """Tell the merchant's server again how the order stands; the gateway delivers it within seconds."""
    sent = asyncio.run(_notify(load(config), number, f"operator {who}"))
    click.echo("the newest notification goes out again" if sent else "this order has no notification to send")


async def _resolve(settings: Settings, number: str, truth: str, refund: str, who: str, why: str) -> Order:
    log = setup_logs(level="warning", form="console")
    async with open_desk(settings, log=log) as desk:
        order = await find_order(desk.store, number)
        try:
            if truth == "paid":
                return await keep_sale(desk, order, who=who, why=why)
            if truth == "nothing-held":
                return await give_up_sale(desk, order, who=who, why=why)
            movement = await _refund(desk, order, refund)
            return await end_refund(desk, order, movement, done=truth == "refunded", who=who, why=why)
        except RequestRefused as refused:
            raise ConfigurationBroken(refused.text) from refused


async def _refund(desk: Desk, order: Order, number: str) -> Transaction:
    refunds = [one for one in await desk.store.transactions(order.key) if "refund" in one.kind]
    named = [one for one in refunds if number in (one.tsn, one.refund_request_no)] if number else refunds
    if len(named) != 1:
        known = ", ".join(f"{one.tsn} ({one.status})" for one in refunds) or "none"
        raise ConfigurationBroken(f"say which refund with --refund; the order has {known}")
    return named[0]


async def _notify(settings: Settings, number: str, who: str) -> int:
    async with open_desk(settings, log=setup_logs(level="warning", form="console")) as desk:
        return await tell_again(desk, await find_order(desk.store, number), who=who)
