"""`paymux explain NUMBER`: the whole story of one order, and what to do next. Reads only."""

import asyncio
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import msgspec

from paymux.app import open_memory
from paymux.cli.find import find_order
from paymux.config import Settings, load
from paymux.flows.explain import Story, tell, write


@click.command()
@click.argument("number")
@click.option("--full", is_flag=True, help="With the wallets' whole (scrubbed) requests and replies.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object; times in ms, amounts in fen.")
@click.option("--timezone", help="Time zone of the times shown (default: the merchant's).")
@click.pass_obj
def explain(config: Path | None, number: str, *, full: bool, as_json: bool, timezone: str | None) -> None:
    """Tell the story of the order whose sn, client_sn or trade_no is NUMBER."""
    story, zone = asyncio.run(_story(load(config), number))
    if as_json:
        click.echo(msgspec.json.encode(story))
    else:
        click.echo(write(story, zone=ZoneInfo(timezone or zone), full=full), nl=False)


async def _story(settings: Settings, number: str) -> tuple[Story, str]:
    async with open_memory(settings, existing=True) as memory:
        order = await find_order(memory, number)
        merchant = await memory.merchant(order.merchant_id)
        story = tell(
            order,
            transactions=await memory.transactions(order.key),
            events=await memory.events(order.key),
            due=await memory.due_of(order.key),
            notifications=await memory.notifications(order.key),
        )
        return story, merchant.timezone if merchant else "Asia/Shanghai"
