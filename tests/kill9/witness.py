"""The witness: holds the gateway's public outputs against the wallets' books and against what shops remember.

It shares nothing with the gateway: no code, no table. It hears answers of the printed protocol, the books
that `paymux admin books --json` prints, the notifications, and the sandbox's books, journal and transcript.
"""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from tests.harness.live import Ear, Gateway, Json, Wallets
from tests.kill9.memory import DEFINITE, UNDONE, Breach, Finding, Memory, RefundWish, Sale, Told

Rows = dict[str, Json]
Ask = Callable[[Sale], Awaitable[Json | None]]
"""Asks the gateway about a sale; the order as the answer shows it, None when the gateway knows of none."""

_OUR_NUMBER = re.compile(r"out_trade_no\W+(?:CDATA\W+)?(7[0-9]{15})")


@dataclass(frozen=True)
class Look:
    """What the wallets and the gateway say, the wallets heard first: nothing of theirs may be news to us."""

    theirs: Rows
    journal: list[Json]
    ours: Rows


class Witness:
    """Looks at one era."""

    def __init__(self, gateway: Gateway, wallets: Wallets, ear: Ear, memory: Memory) -> None:
        self._gateway = gateway
        self._wallets = wallets
        self._ear = ear
        self._memory = memory
        self._sent: Counter[str] = Counter()
        self._sent_until_ms = 0

    async def glance(self) -> list[Finding]:
        """What must hold at any moment, whatever is under way."""
        told = [(sale, sale.told, dict(sale.refunds)) for sale in self._memory.sales.values()]
        look = await self._look()
        return [*self._safety(told, look), *await self._sent_twice()]

    async def rest(self, ask: Ask, public_pem: str, *, within_s: int, calm_s: int) -> list[Finding]:
        """Wait until everything is definite and told, and look; what is still wrong at the end is wrong.

        Nothing may be wrong after `calm_s` more, either: by then who pays late has paid.
        """
        began_s, calm_since_s = time.monotonic(), 0.0
        while True:
            now_s = time.monotonic()
            look = await self._look()
            findings = [Finding(Breach.INDEFINITE, "it is open", sn) for sn in _open(look)]
            if not findings or now_s > began_s + within_s:
                findings = [*await self.glance(), *await self._settled(look, ask, public_pem)]
            calm_since_s = 0.0 if findings else calm_since_s or now_s
            if now_s > began_s + within_s or (calm_since_s and now_s >= calm_since_s + calm_s):
                return findings
            await asyncio.sleep(min(10, 1 + (now_s - began_s) / 10))

    # -- looking

    async def _look(self) -> Look:
        theirs = await self._wallets.rows("books")
        journal = [row for row in await self._wallets.rows("journal") if row["what"] != "topup"]
        ours = json.loads(await self._gateway.run("admin", "books", "--json"))
        return Look(theirs=_by_number(theirs), journal=journal, ours=_by_number(ours))

    async def _sent_twice(self) -> list[Finding]:
        """The channel boundary: what was *sent*, not only what the wallet let through."""
        entries = await self._wallets.rows("transcript")
        for entry in entries:
            if entry["kind"] == "call" and entry["time_ms"] > self._sent_until_ms and _takes_money(entry):
                found = _OUR_NUMBER.search(entry["request"])
                if found:
                    self._sent[found[1]] += 1
        self._sent_until_ms = max([self._sent_until_ms, *(entry["time_ms"] for entry in entries)])
        return [
            Finding(Breach.DOUBLED, f"the payment was sent {times} times", sn)
            for sn, times in self._sent.items()
            if times > 1
        ]

    # -- safety

    def _safety(self, told: list[tuple[Sale, Told, dict[str, RefundWish]]], look: Look) -> Iterator[Finding]:
        for sn in look.theirs.keys() - look.ours.keys():
            yield Finding(Breach.LOST, f"a wallet knows an order the gateway does not: {look.theirs[sn]}", sn)
        yield from _doubled(look)
        taken = {row["out_trade_no"] for row in look.journal if row["what"] == "pay"}
        refunds = {(row["out_trade_no"], row["refund_no"]): row["amount_fen"] for row in look.journal}
        for sale, known, wishes in told:
            if known.sn:
                yield from _kept(sale, known, look, taken)
                yield from _refunds_kept(known.sn, wishes, look, refunds)

    # -- when everything is calm

    async def _settled(self, look: Look, ask: Ask, public_pem: str) -> list[Finding]:
        findings = list(_balanced(look))
        findings += [
            Finding(Breach.INDEFINITE, f"it is still {look.ours[sn]['state']}", sn) for sn in _open(look)
        ]
        heard, forged = self._heard(public_pem)
        findings += [Finding(Breach.UNTOLD, "a notification bears a wrong signature") for _ in range(forged)]
        sns = set()
        for sale in list(self._memory.sales.values()):
            data = await ask(sale)
            if data is not None:
                sns.add(data["sn"])
                findings += _as_told(data, look.ours.get(data["sn"]), heard.get(data["sn"]))
        findings += [
            Finding(Breach.DOUBLED, "an order that belongs to no sale", sn) for sn in look.ours.keys() - sns
        ]
        return findings

    def _heard(self, public_pem: str) -> tuple[dict[str, Json], int]:
        """The last notification about each order, and how many bear a wrong signature."""
        signed = [one for one in self._ear.told if one.is_signed(public_pem)]
        return {one.order["sn"]: one.order for one in signed}, len(self._ear.told) - len(signed)


def _open(look: Look) -> list[str]:
    """The orders we ourselves do not know the end of."""
    return [sn for sn, row in look.ours.items() if row["state"] in {"WAITING", "UNKNOWN"}]


def _doubled(look: Look) -> Iterator[Finding]:
    """Per order one payment; per refund number one refund; never more back than was taken."""
    moves = Counter((row["what"], row["out_trade_no"], row["refund_no"]) for row in look.journal)
    for (what, sn, number), times in moves.items():
        if times > 1:
            yield Finding(Breach.DOUBLED, f"{what} {number} happened {times} times at the wallet", sn)
    kept: Counter[str] = Counter()
    for row in look.journal:
        kept[row["out_trade_no"]] += row["amount_fen"] if row["what"] == "pay" else -row["amount_fen"]
    for sn, fen in kept.items():
        if fen < 0:
            yield Finding(Breach.DOUBLED, f"{-fen} fen more went back than came", sn)


def _kept(sale: Sale, known: Told, look: Look, taken: set[str]) -> Iterator[Finding]:
    """What a shop was told of its order is so, in our books and at the wallet."""
    row = look.ours.get(known.sn)
    if row is None:
        yield Finding(Breach.LOST, "a till was told of an order that does not exist", known.sn)
        return
    if not known.held:
        return
    if known.sn not in taken:
        yield Finding(Breach.LOST, "a till was told that it is paid, and no wallet took money", known.sn)
    elif not row["paid"] and not (sale.cancel_asked and row["state"] == "REVERSED"):
        yield Finding(Breach.LOST, f"a till was told that it is paid, and our books say {row}", known.sn)


def _refunds_kept(
    sn: str, wishes: dict[str, RefundWish], look: Look, refunds: dict[tuple[str, str], int]
) -> Iterator[Finding]:
    done = [wish for wish in wishes.values() if wish.result == "REFUND_SUCCESS"]
    for wish in done:
        if refunds.get((sn, wish.tsn)) != wish.amount:
            yield Finding(Breach.LOST, f"refund {wish.tsn} was told done, and is not at the wallet", sn)
    if sn in look.ours and look.ours[sn]["refunded"] < sum(wish.amount for wish in done):
        yield Finding(Breach.LOST, f"refunds told done are not in our books: {look.ours[sn]}", sn)


def _balanced(look: Look) -> Iterator[Finding]:
    """Equal to the fen; what the wallets never heard of is nothing here."""
    for sn, row in look.ours.items():
        theirs = look.theirs.get(sn, {"paid": 0, "refunded": 0})
        if (row["paid"], row["refunded"]) != (theirs["paid"], theirs["refunded"]):
            yield Finding(Breach.UNBALANCED, f"ours {row}, the wallet's {theirs}", sn)


def _as_told(data: Json, row: Json | None, heard: Json | None) -> Iterator[Finding]:
    """An order as it is shown: definite, as in the books, and as the merchant's server heard it last."""
    sn, status, net = data["sn"], data["order_status"], int(data["net_amount"])
    if status not in DEFINITE:
        yield Finding(Breach.INDEFINITE, f"it is still {status}", sn)
        return
    if row is None or net != row["paid"] - row["refunded"] or (status in UNDONE and net):
        yield Finding(Breach.UNBALANCED, f"shown as {status} with {net} fen, our books say {row}", sn)
    last = (heard["order_status"], int(heard["net_amount"])) if heard else None
    if last != (status, net):
        yield Finding(Breach.UNTOLD, f"it is {(status, net)}, and the merchant heard last {last}", sn)


def _by_number(rows: list[Json]) -> Rows:
    return {row["out_trade_no"]: row for row in rows}


def _takes_money(entry: Json) -> bool:
    return "method=alipay.trade.pay" in entry["request"] or entry["path"] == "/pay/micropay"
