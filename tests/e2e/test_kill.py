"""The plug is pulled: at every named place, wherever it happens under load, and while it starts.

What the scenario tests tell in virtual time is told here once with true processes: SIGKILL, what fsync left
on the disk, a new process on the same files. Afterwards both sets of books agree to the fen, the wallet moved
no money twice, and the merchant knows how it ended.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from paymux.kit.crash import POINTS
from tests.harness.children import Child, street
from tests.harness.live import (
    WALLETS,
    Ear,
    Gateway,
    NoAnswer,
    Shop,
    Till,
    Wallets,
    barcode,
    notify_key,
    open_http,
    shop,
    tables,
)

STARTS_AT_ONCE = 4
"""A start is pure computing: more at once only make each other late."""

Journal = list[tuple[str, int]]
SOLD: Journal = [("pay", 100)]


@dataclass(frozen=True)
class End:
    """How a story must end: our status, both books (paid, refunded), the wallet's movements."""

    status: str
    books: tuple[int, int]
    journal: Journal


PAID = End("PAID", (100, 0), SOLD)
NEVER_SOLD = End("CANCELED", (0, 0), [])
CANCELED = End("CANCELED", (0, 0), [*SOLD, ("reverse", 100)])
PARTLY_REFUNDED = End("PARTIAL_REFUNDED", (100, 30), [*SOLD, ("refund", 30)])
ENDS = {
    "pay.after_intent": NEVER_SOLD,
    "precreate.after_intent": NEVER_SOLD,
    "undo": CANCELED,
    "refund": PARTLY_REFUNDED,
    "pay": PAID,
    "precreate": PAID,
    "notify": PAID,
}
"""Point, or its flow → the end. What no wallet ever heard of is cancelled by the till, as tills do."""

VISITED = [point for point in POINTS if point != "notify.after_intent"]
"""A notification's intent is part of the order's commit: nothing is between them to die at."""
CASES = [(point, "00") for point in VISITED] + [("pay.after_send", "05"), ("pay.after_record", "05")]
"""(crash point, script): 05 takes the money and loses the reply."""


class Life:
    """One gateway that will be killed, its till, its wallets and its merchant's server."""

    def __init__(self, gateway: Gateway, till: Till, wallets: Wallets, ear: Ear, *, wallet: str) -> None:
        self.gateway = gateway
        self.till = till
        self.wallets = wallets
        self.wallet = wallet
        self._ear = ear

    @property
    def name(self) -> str:
        """What the story is called; the till's client_sn, and its path at the merchant's server."""
        return self.gateway.data.name

    async def begin(self, flow: str, script: str) -> None:
        """Do what visits the crash point; whether an answer comes before the end is a matter of luck."""
        with suppress(NoAnswer):
            if flow == "precreate":
                await self.till.precreate(WALLETS[self.wallet][0], self.name, notify_url=self._notify_url)
                return
            code = barcode(self.wallet, 7, script)
            await self.till.pay(code, self.name, notify_url=self._notify_url)
            if flow == "undo":
                await self.till.call("cancel", client_sn=self.name)
            if flow == "refund":
                await self.till.refund(self.name, "R1", 30)

    async def go_on(self, flow: str, end: End) -> None:
        """After the restart: what a till does that got no answer. It asks, and sends the same again."""
        answer = await self.till.call("query", client_sn=self.name)
        assert answer["result_code"] == "SUCCESS", "the intent was not durable"
        if end is NEVER_SOLD:
            await self.till.call("cancel", client_sn=self.name)
        elif flow == "pay":
            again = await self.till.pay(barcode(self.wallet, 7, "00"), self.name)
            assert again["error_code"] == "CLIENT_SN_CONFLICT"
        elif flow == "refund":
            again = await self.till.refund(self.name, "R1", 30)
            assert again["result_code"] in {"REFUND_SUCCESS", "REFUND_IN_PROGRESS"}

    async def assert_end(self, end: End, public_pem: str) -> None:
        """Our books, the wallet's books, its journal, and the merchant all tell the same end."""
        [(sn, *ours)] = self.gateway.rows("SELECT sn, status, paid, refunded FROM orders")
        assert ours == [end.status, *end.books]
        assert (await self.wallets.books()).get(sn, (0, 0)) == end.books
        assert [(what, fen) for what, _, fen, _ in await self.wallets.journal(sn)] == end.journal
        kinds = self.gateway.rows("SELECT kind, COUNT(*) FROM transactions GROUP BY kind")
        assert {count for _, count in kinds} == {1}
        told = self._ear.at(f"/{self.name}")
        assert end.status in {one.order["order_status"] for one in told}
        assert all(one.is_signed(public_pem) for one in told)

    @property
    def _notify_url(self) -> str:
        return f"{self._ear.url}/{self.name}"


@pytest.mark.parametrize("wallet", sorted(WALLETS))
def test_every_crash_point(wallet: str, tmp_path: Path) -> None:
    """Killed at each named place and started again, every story ends as if nothing had happened."""

    async def story() -> None:
        async with lives(tmp_path, wallet, [f"{point}-{script}" for point, script in CASES]) as all_lives:
            starting = asyncio.Semaphore(STARTS_AT_ONCE)
            ends = await asyncio.gather(
                *(survive(life, *case, starting) for life, case in zip(all_lives, CASES, strict=True)),
                return_exceptions=True,
            )
        failed = {case: end for case, end in zip(CASES, ends, strict=True) if end is not None}
        for error in failed.values():
            assert isinstance(error, Exception)
            error.add_note(str(failed))
            raise error

    asyncio.run(story())


async def survive(life: Life, point: str, script: str, starting: asyncio.Semaphore) -> None:
    """Live through one kill."""
    flow = point.partition(".")[0]
    end = ENDS.get(point) or ENDS[flow]
    async with starting:
        await life.gateway.start(crash_at=point)
    await life.begin(flow, script)
    assert await life.gateway.process.ended() == -9
    async with starting:
        await life.gateway.start()
    await life.go_on(flow, end)
    if (life.wallet, point) == ("wechat", "precreate.after_intent"):
        assert_waits_for_wechat(life)
        return
    await life.gateway.settled()
    async with open_http() as http:
        await life.assert_end(end, await notify_key(http, life.gateway))


def assert_waits_for_wechat(life: Life) -> None:
    """WeChat closes no order in its first 300 s: the wish to cancel is kept, and so is the date."""
    [(status, ctime_ms)] = life.gateway.rows("SELECT status, ctime_ms FROM orders")
    assert status == "CANCEL_INPROGRESS"
    [(kind, _, run_at_ms)] = life.gateway.unsettled()
    assert kind == "recover"
    assert run_at_ms <= ctime_ms + 300_000


@asynccontextmanager
async def lives(folder: Path, wallet: str, names: list[str]) -> AsyncIterator[list[Life]]:
    """Gateways not yet started, one per name, each with a sandbox and a shop of its own."""
    with ExitStack() as opened:
        urls = await open_street(folder, len(names), opened)
        shops = [shop(number) for number, _ in enumerate(names, start=1)]
        async with open_http() as http, Ear() as ear:
            wallets = [Wallets(http, url) for url in urls]
            await provisioned(folder, wallet, dict(zip(shops, wallets, strict=True)), names)
            gateways = [opened.enter_context(Gateway(folder / name)) for name in names]
            yield [
                Life(gateway, till_of(http, gateway, one), its, ear, wallet=wallet)
                for gateway, one, its in zip(gateways, shops, wallets, strict=True)
            ]


def till_of(http: aiohttp.ClientSession, gateway: Gateway, one: Shop) -> Till:
    """The shop's imported terminal."""
    return Till(http, gateway.url, sn=one.terminal_sn, key=one.terminal_key)


async def open_street(folder: Path, count: int, opened: ExitStack) -> list[str]:
    """Start so many sandboxes; they end with `opened`."""
    child = Child(street, count, log=folder / "street.log")
    opened.callback(child.end)
    urls = json.loads(await child.said("["))
    assert len(urls) == count
    return [str(url) for url in urls]


async def provisioned(folder: Path, wallet: str, shops: dict[Shop, Wallets], names: list[str]) -> None:
    """Make one data directory in which every shop is known, and a copy of it for each name."""
    with Gateway(folder / "template") as template:
        await template.provision(tables({one: await its.accounts(wallet) for one, its in shops.items()}))
        await template.start()
        assert await template.stop() == 0
        for name in names:
            shutil.copytree(template.data, folder / name)
