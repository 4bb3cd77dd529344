"""Refunds: tills of one shop reach for the same money at once, through two gateways of two processes each.

Real HTTP, one PostgreSQL, one sandbox. Neighbouring calls go to different gateways, so what crosses meets in
the database only.
"""

import asyncio
import json
import shutil
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Self

import aiohttp
import msgspec

from tests.contention.brawls import WALLETS, Ask, Brawl, brawls
from tests.contention.findings import Breach, Finding
from tests.contention.journal import now_ms
from tests.contention.refunds_checker import DONE, Account, Movement, Told, crossings, weigh
from tests.harness.children import until
from tests.harness.live import (
    APP_ID,
    VENDOR_KEY,
    VENDOR_SN,
    Gateway,
    NoAnswer,
    SandboxChild,
    Till,
    Wallets,
    barcode,
    biz,
    shop,
    tables,
)
from tests.harness.postgres import Server, fetch, new_schema

GATEWAYS, WORKERS, TILLS = 2, 2, 6
_AT_ONCE = 24
"""Brawls at the same time."""
_SETTINGS: dict[str, object] = {
    "PAYMUX_CANCEL_SAME_DAY_ONLY": "false",
    "PAYMUX_LIMITS_PAY_WAIT_S": 12,
    "PAYMUX_LIMITS_CANCEL_WAIT_S": 12,
    "PAYMUX_LIMITS_DOUBT_S": 2,
}
"""Calls may take their time, no midnight amid a run, and doubts end within seconds."""
REFUND_WAIT_S = 3
"""A call that joins a refund of another process hears of its end when this is over: no bell rings there."""
_UPSETS = ("call.failed", "worker.failed", "worker.claim_failed", "order.contradiction", "due.orphan")
"""Alarms that have no reason here."""
_START_S = 60
SETTLED_S, BRISK_S = 180, 40
"""How long after the last answer something may be open yet."""
CROSSED_MIN = 50
"""Percent of the refunds that must have been asked for while another gateway was busy with the same sale."""


class Tally(msgspec.Struct, kw_only=True):
    """What a run came to.

    `refunds`: numbers; `crossed`: calls that met a refund under way at the other gateway; `contended`: the
    numbers of both.
    `made`: refunds at the wallets; `joined`: calls that were told of a refund another till's call had made;
    `refused`: calls that found the money spoken for.
    """

    sales: int = 0
    refunds: int = 0
    contended: int = 0
    calls: int = 0
    crossed: int = 0
    made: int = 0
    joined: int = 0
    refused: int = 0
    cancels_won: int = 0
    fen_paid: int = 0
    fen_back: int = 0


class RefundFigures(msgspec.Struct, kw_only=True):
    """The run and what was found."""

    processes: int
    tally: Tally
    findings: list[Finding]


async def contend_for_refunds(
    server: Server, folder: Path, *, refunds: int, seed: str, brisk: bool = False
) -> RefundFigures:
    """Let tills fight for so many refunds, and weigh it.

    `brisk`: with one process for each gateway, which starts soon, and wallets that decide at once.
    """
    workers, wait_s = (1, 1) if brisk else (WORKERS, REFUND_WAIT_S)
    async with _Street(folder, new_schema(server), workers=workers, refund_wait_s=wait_s) as street:
        plans = brawls(refunds, tills=TILLS, seed=seed, brisk=brisk)
        places, sold = asyncio.Semaphore(_AT_ONCE), {}

        async def one(brawl: Brawl) -> None:
            async with places:
                sold[brawl.client_sn] = await street.fight(brawl)

        async with asyncio.TaskGroup() as group:
            for brawl in plans:
                group.create_task(one(brawl))
        accounts = {account.sn: account for account in sold.values()}
        findings = await street.settled(within_s=BRISK_S if brisk else SETTLED_S)
        await street.look(accounts)
        findings += [*street.findings, *weigh(accounts.values()), *await street.books_differ()]
        tally = _tally(plans, sold)
    if 100 * tally.contended < CROSSED_MIN * tally.refunds:
        findings.append(Finding(Breach.IDLE, "tills", f"only {tally.contended} refunds were contended"))
    return RefundFigures(processes=GATEWAYS * workers, tally=tally, findings=findings)


class _Street:
    """The gateways, the wallets and the tills: even ones at the first gateway, odd ones at the second."""

    def __init__(self, folder: Path, dsn: str, *, workers: int, refund_wait_s: int) -> None:
        self._folder = folder
        self._dsn = dsn
        self._refund_wait_s = refund_wait_s
        self._workers = workers
        self._opened = AsyncExitStack()
        self._tills: list[Till] = []
        self.findings: list[Finding] = []

    async def __aenter__(self) -> Self:
        opened = self._opened
        sandbox = opened.enter_context(SandboxChild(self._folder))
        await sandbox.ready()
        settings = _SETTINGS | {"PAYMUX_DATABASE": self._dsn}
        settings["PAYMUX_LIMITS_REFUND_WAIT_S"] = self._refund_wait_s
        workers = str(self._workers)
        self._gateways = [
            opened.enter_context(Gateway(self._folder / f"gateway{n}", "--workers", workers, **settings))
            for n in range(GATEWAYS)
        ]
        self._http = await opened.enter_async_context(_unfaithful_http())
        self.wallets = Wallets(self._http, sandbox.url)
        first = self._gateways[0]
        await first.provision(tables({shop(1): await self.wallets.accounts(*WALLETS)}))
        for gateway in self._gateways:
            if gateway is not first:
                shutil.copytree(first.data, gateway.data)
            await gateway.start()
            await until(
                lambda on=gateway: len(on.events("gateway.ready")) == self._workers,  # type: ignore[misc]  # bound now
                within_s=_START_S,
                what="all serve",
            )
        self._tills = [await self._till(number) for number in range(TILLS)]
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._opened.aclose()

    async def _till(self, number: int) -> Till:
        """Activate a device of the shop, at its own gateway."""
        url = self._gateways[number % GATEWAYS].url
        vendor = Till(self._http, url, sn=VENDOR_SN, key=VENDOR_KEY)
        fields = {"app_id": APP_ID, "code": shop(1).code, "device_id": f"device{number}"}
        made = biz(await vendor.post("/terminal/activate", json.dumps(fields).encode()))
        return Till(self._http, url, sn=made["terminal_sn"], key=made["terminal_key"])

    async def fight(self, brawl: Brawl) -> Account:
        """Sell, then let everybody fall upon it at once; return what they were told."""
        code = barcode(brawl.wallet, int(brawl.client_sn[1:]), brawl.script)
        till = self._tills[brawl.asks[0].till]
        paid = await till.pay(code, brawl.client_sn, total_amount=str(brawl.total))
        account = Account(sn=str(paid["data"]["sn"]), total=brawl.total)
        if paid["result_code"] != "PAY_SUCCESS":
            self.findings.append(Finding(Breach.UPSET, account.sn, f"it was not paid at once: {paid}"))
            return account
        if brawl.slow_ms:
            late = {"fault": "slow_ms", "slow_ms": brawl.slow_ms, "out_trade_no": account.sn}
            await self.wallets.arm(**late)
        account.told += await asyncio.gather(*(self._ask(brawl, ask) for ask in brawl.asks))
        if brawl.again:
            once_more = {ask.number: Ask(ask.till + 1, ask.number, ask.amount) for ask in brawl.asks}
            account.told += [await self._ask(brawl, ask) for ask in once_more.values()]
        return account

    async def _ask(self, brawl: Brawl, ask: Ask) -> Told:
        till, sent_ms = self._tills[ask.till % TILLS], now_ms()
        who = {"client_sn": brawl.client_sn, "operator": str(ask.till)}  # so that our books know who made it
        try:
            if ask.number:
                fields = {"refund_request_no": ask.number, "refund_amount": str(ask.amount)}
                answer = await till.call("refund", **who, **fields)
            else:
                answer = await till.call("cancel", **who)
        except (NoAnswer, AssertionError) as error:
            answer = {"result_code": "none", "error_code": repr(error)}
        return Told(
            ask=ask,
            sent_ms=sent_ms,
            answered_ms=now_ms(),
            result=answer["result_code"],
            error=answer.get("error_code", ""),
            tsn=answer.get("data", {}).get("tsn", ""),
        )

    # -- when the tills are quiet

    async def settled(self, *, within_s: int) -> list[Finding]:
        """Wait until the gateways have nothing left to do; what is left, and what they complained of."""
        left = "SELECT ref, kind, attempts FROM due WHERE kind <> 'watch'"
        with suppress(AssertionError):
            await until(lambda: not fetch(self._dsn, left), within_s=within_s, what="everything is settled")
        found = [
            Finding(Breach.INDEFINITE, ref, f"{kind} is open after {attempts} attempts")
            for ref, kind, attempts in fetch(self._dsn, left)
        ]
        for gateway in self._gateways:
            found += [
                Finding(Breach.UPSET, name, str(event)) for name in _UPSETS for event in gateway.events(name)
            ]
        return found

    async def look(self, accounts: dict[str, Account]) -> None:
        """Add what the tables and the wallets say of each sale."""
        orders = fetch(self._dsn, "SELECT sn, status, paid, refunded, refunding FROM orders")
        for sn, *now in orders:
            one = accounts[sn]
            one.status, one.paid, one.refunded, one.refunding = now
        columns = "sn, tsn, kind, status, amount, refund_request_no, operator, ctime_ms, finish_ms"
        found = fetch(self._dsn, f"SELECT {columns} FROM transactions WHERE kind <> 'pay'")  # noqa: S608 - a constant
        for sn, tsn, kind, status, fen, number, till, *times_ms in found:
            by = int(till) if till else None
            accounts[sn].movements.append(Movement(tsn, kind, status, fen, number, by, *times_ms))
        for what, sn, fen, number in await self.wallets.journal():
            if what == "pay":
                accounts[sn].taken.append(fen)
            else:
                accounts[sn].back.append((number, fen))

    async def books_differ(self) -> list[Finding]:
        """Both sets of books, as each side publishes them."""
        ours, theirs = await self._gateways[0].books(), await self.wallets.books()
        return [
            Finding(Breach.UNBALANCED, sn, f"{ours.get(sn)} here, {theirs.get(sn)} at the wallet")
            for sn in ours.keys() | theirs.keys()
            if ours.get(sn) != theirs.get(sn)
        ]


def _unfaithful_http() -> aiohttp.ClientSession:
    """A client that opens a connection for each call: it may come to any process of its gateway."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60))


def _tally(plans: list[Brawl], sold: dict[str, Account]) -> Tally:
    tally = Tally(sales=len(plans))
    for brawl in plans:
        account = sold[brawl.client_sn]
        met = list(crossings(account))
        done = [told for told in account.told if told.result == DONE]
        refunds = [one for one in account.movements if one.kind == "refund" and one.status == "SUCCESS"]
        tally.refunds += len(brawl.numbers)
        tally.contended += len(
            {number for told, one in met for number in (told.ask.number, one.number)} - {""}
        )
        tally.calls += len(account.told)
        tally.crossed += len({id(told) for told, _ in met})
        tally.made += len(refunds)
        tally.joined += len(done) - len({told.ask.number for told in done})
        tally.refused += sum(told.error == "REFUNDABLE_AMOUNT_NOT_ENOUGH" for told in account.told)
        tally.cancels_won += account.status == "CANCELED"
        tally.fen_paid += account.paid
        tally.fen_back += account.refunded
    return tally
