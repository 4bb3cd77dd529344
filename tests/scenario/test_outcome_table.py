"""docs/outcomes.md: how every script ends, written from what really happened."""

import asyncio
from pathlib import Path

from paymux.domain.order import Order
from paymux.sandbox.scripts import SCRIPTS
from paymux.wire.upay_v2.replies import pay_answer, precreate_answer
from tests.harness.town import WALLETS, Town, in_town

PAGE = Path(__file__).parents[2] / "docs" / "outcomes.md"
HEAD = """# How every sandbox script ends

Written by `tests/scenario/test_outcome_table.py` from one run in virtual time: both wallets, every script,
as a barcode payment and as a QR order, nobody helping. *Answer* is what the till's call was told and after
how many seconds; *end* is the order's last status, why, and after how many seconds; *books* are paid and
refunded in fen, the wallet's and ours (they must be equal, or the test fails).

| wallet | way | script | meaning | answer | end | books: wallet | books: ours |
|---|---|---|---|---|---|---|---|
"""


def test_the_table_in_the_docs_is_what_happens() -> None:
    """All scripts at once in one town; a changed outcome writes the page anew, to be looked at."""
    page = HEAD + "\n".join(in_town(told)) + "\n"
    before = PAGE.read_text() if PAGE.exists() else ""
    if page != before:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page)
    assert page == before, "docs/outcomes.md was out of date and has been written anew: look at it, commit it"


async def told(town: Town) -> list[str]:
    """Run every script and return the table's lines."""
    cases = [(wallet, way, digits) for wallet in WALLETS for way in ("barcode", "QR") for digits in SCRIPTS]
    lines = await asyncio.gather(*(line(town, *case) for case in cases))
    await asyncio.sleep(4_000)
    await town.assert_books_agree()
    return lines


async def line(town: Town, wallet: str, way: str, digits: str) -> str:
    """One script's line."""
    began_ms = town.clock.now_ms()
    order = await (town.pay(wallet, digits) if way == "barcode" else town.precreate(wallet, digits))
    answered_s = round((town.clock.now_ms() - began_ms) / 1000)
    answer = pay_answer(order) if way == "barcode" else precreate_answer(order, image_url="")
    order = await town.rest(order)
    ended_s = round((order.finish_ms - began_ms) / 1000)
    await asyncio.sleep(700)
    order = await town.rest(order)
    theirs = town.wallet_books().get(order.sn)
    cells = (
        wallet,
        way,
        digits,
        SCRIPTS[digits].meaning.rpartition("· ")[2],
        f"{answer.outcome} ({answered_s} s)",
        f"{end(order)} ({ended_s} s)",
        "never heard of it" if theirs is None else f"{theirs[0]} − {theirs[1]}",
        f"{order.paid} − {order.refunded}",
    )
    return f"| {' | '.join(cells)} |"


def end(order: Order) -> str:
    """Status and reason."""
    return f"{order.status} {order.error_code}".strip()
