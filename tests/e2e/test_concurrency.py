"""Many clients at the same moment, each on a connection of its own: one payment, no fen too much."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.harness.live import (
    APP_ID,
    VENDOR_KEY,
    VENDOR_SN,
    WALLETS,
    Gateway,
    Json,
    SandboxChild,
    Till,
    Wallets,
    barcode,
    biz,
    open_http,
    shop,
)

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))
CLIENTS = 32


class Counterpart:
    """A till of shop 1 and the wallets behind the gateway."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway, sandbox: SandboxChild) -> None:
        one = shop(1)
        self.http = http
        self.url = gateway.url
        self.till = Till(http, gateway.url, sn=one.terminal_sn, key=one.terminal_key)
        self.wallets = Wallets(http, sandbox.url)

    async def sold(self, wallet: str, client_sn: str) -> str:
        """Sell for 1 yuan; return the sn."""
        answer = await self.till.pay(barcode(wallet, 1, "00"), client_sn)
        assert answer["result_code"] == "PAY_SUCCESS"
        return str(answer["data"]["sn"])

    async def new_till(self, device_id: str) -> Till:
        """Activate a device at shop 2."""
        fields = {"app_id": APP_ID, "code": shop(2).code, "device_id": device_id}
        vendor = Till(self.http, self.url, sn=VENDOR_SN, key=VENDOR_KEY)
        made = biz(await vendor.post("/terminal/activate", json.dumps(fields).encode()))
        return Till(self.http, self.url, sn=made["terminal_sn"], key=made["terminal_key"])


def tell(gateway: Gateway, sandbox: SandboxChild, story: Callable[[Counterpart], Awaitable[None]]) -> None:
    """Tell a story with its own client."""

    async def told() -> None:
        async with open_http() as http:
            await story(Counterpart(http, gateway, sandbox))

    asyncio.run(told())


def count(answers: list[Json]) -> Counter[tuple[str, str]]:
    """How often each (result_code, error_code) was answered."""
    return Counter((answer["result_code"], answer["error_code"]) for answer in answers)


@BOTH
@pytest.mark.parametrize("content", ["equal", "different"])
def test_one_client_sn_is_one_payment(
    gateway: Gateway, sandbox: SandboxChild, wallet: str, content: str
) -> None:
    """32 tills, one number: one is paid, 31 hear of the conflict, the wallet moves money once."""

    async def story(shops: Counterpart) -> None:
        client_sn = f"one-{wallet}-{content}"
        totals = [100 + (n if content == "different" else 0) for n in range(CLIENTS)]
        pays = (
            shops.till.pay(barcode(wallet, 1, "00"), client_sn, total_amount=str(total)) for total in totals
        )
        answers = await asyncio.gather(*pays)
        assert count(answers) == {("PAY_SUCCESS", ""): 1, ("FAIL", "CLIENT_SN_CONFLICT"): CLIENTS - 1}
        [paid] = [one["data"] for one in answers if one["result_code"] == "PAY_SUCCESS"]
        movements = await shops.wallets.journal(paid["sn"])
        assert movements == [("pay", paid["sn"], int(paid["total_amount"]), "")]
        assert gateway.rows("SELECT sn FROM orders WHERE client_sn = ?", client_sn) == [(paid["sn"],)]

    tell(gateway, sandbox, story)


@BOTH
def test_refunds_never_exceed_the_payment(gateway: Gateway, sandbox: SandboxChild, wallet: str) -> None:
    """32 refunds of 7 fen of 100 at once: 14 go through, 18 are refused, 2 fen stay (promise M3)."""

    async def story(shops: Counterpart) -> None:
        client_sn = f"sevens-{wallet}"
        sn = await shops.sold(wallet, client_sn)
        answers = await asyncio.gather(*(shops.till.refund(client_sn, f"R{n}", 7) for n in range(CLIENTS)))
        assert count(answers) == {
            ("REFUND_SUCCESS", ""): 14,
            ("FAIL", "REFUNDABLE_AMOUNT_NOT_ENOUGH"): CLIENTS - 14,
        }
        assert (await shops.wallets.books())[sn] == (100, 98)
        assert gateway.rows("SELECT refunded, refunding FROM orders WHERE sn = ?", sn) == [(98, 0)]
        numbers = [number for what, _, _, number in await shops.wallets.journal(sn) if what == "refund"]
        assert len(set(numbers)) == len(numbers) == 14

    tell(gateway, sandbox, story)


@BOTH
def test_one_refund_number_is_one_refund(gateway: Gateway, sandbox: SandboxChild, wallet: str) -> None:
    """The same refund 32 times at once: all hear of its success, the money goes back once (promise M7)."""

    async def story(shops: Counterpart) -> None:
        client_sn = f"same-{wallet}"
        sn = await shops.sold(wallet, client_sn)
        answers = await asyncio.gather(*(shops.till.refund(client_sn, "R1", 30) for _ in range(CLIENTS)))
        assert count(answers) == {("REFUND_SUCCESS", ""): CLIENTS}
        assert len({answer["data"]["tsn"] for answer in answers}) == 1
        assert (await shops.wallets.books())[sn] == (100, 30)
        other = await shops.till.refund(client_sn, "R1", 31)
        assert other["error_code"] == "REFUND_REQUEST_CONFLICT"

    tell(gateway, sandbox, story)


def test_check_ins_at_once_lock_nobody_out(gateway: Gateway, sandbox: SandboxChild) -> None:
    """8 check-ins with one key: that key and the newest stay valid, the undelivered ones die (§3.2)."""

    async def story(shops: Counterpart) -> None:
        till = await shops.new_till("race")
        first = till.key
        answers = await asyncio.gather(*(check_in(till, "race", first) for _ in range(8)))
        keys = [biz(answer)["terminal_key"] for answer in answers]
        assert len({*keys, first}) == 9
        assert await opens(till, first)
        newest = [key for key in keys if await opens(till, key)]
        assert len(newest) == 1
        next_key = biz(await check_in(till, "race", newest[0]))["terminal_key"]
        assert [await opens(till, key) for key in (next_key, newest[0], first)] == [True, True, False]

    tell(gateway, sandbox, story)


def test_check_ins_with_different_keys(gateway: Gateway, sandbox: SandboxChild) -> None:
    """4 check-ins with the current key race 4 with the last: whoever is refused, two keys stay valid."""

    async def story(shops: Counterpart) -> None:
        till = await shops.new_till("mixed")
        last = till.key
        current = biz(await check_in(till, "mixed", last))["terminal_key"]
        answers = await asyncio.gather(*(check_in(till, "mixed", key) for key in [current, last] * 4))
        assert {answer["error_code"] for answer in answers} <= {"", "ILLEGAL_SIGN"}
        made = [answer["biz_response"]["terminal_key"] for answer in answers if not answer["error_code"]]
        assert made
        valid = [key for key in (current, last, *made) if await opens(till, key)]
        assert len(valid) == 2
        assert len({*valid} & {*made}) == 1

    tell(gateway, sandbox, story)


async def check_in(till: Till, device_id: str, key: str) -> Json:
    """Ask for a new key with this one."""
    fields = {"terminal_sn": till.sn, "device_id": device_id}
    return await till.post("/terminal/checkin", json.dumps(fields).encode(), key=key)


async def opens(till: Till, key: str) -> bool:
    """Whether the gateway takes a call that is signed with the key."""
    body = json.dumps({"terminal_sn": till.sn, "client_sn": "none"}).encode()
    answer = await till.post("/upay/v2/query", body, key=key)
    assert answer["error_code"] in {"", "ILLEGAL_SIGN"}
    return not answer["error_code"]


@pytest.mark.parametrize("script", ["00", "01", "05"])
def test_a_cancel_that_races_its_payment(gateway: Gateway, sandbox: SandboxChild, script: str) -> None:
    """16 sales, each cancelled while it is paid: no money is kept, nothing told becomes untrue (M4)."""

    async def story(shops: Counterpart) -> None:
        numbers = [f"race-{script}-{n}" for n in range(16)]
        pays = [asyncio.create_task(shops.till.pay(barcode("alipay", 1, script), one)) for one in numbers]
        cancels = await asyncio.gather(*(cancelled(shops.till, one) for one in numbers))
        paid = await asyncio.gather(*pays)
        for pay, cancel in zip(paid, cancels, strict=True):
            assert cancel["result_code"] in {"CANCEL_SUCCESS", "CANCEL_ABORT_SUCCESS"}
            await given_back(gateway, shops.wallets, pay["data"]["sn"])
            met_paid = cancel["result_code"] == "CANCEL_SUCCESS"
            assert pay["result_code"] != "PAY_SUCCESS" or met_paid

    tell(gateway, sandbox, story)


async def given_back(gateway: Gateway, wallets: Wallets, sn: str) -> None:
    """The order is undone, and soon neither book holds money: a pay that the cancel overtook goes back."""
    for _ in range(100):
        await gateway.settled()
        [(status, *ours)] = gateway.rows("SELECT status, paid, refunded FROM orders WHERE sn = ?", sn)
        assert status == "CANCELED"
        theirs = list((await wallets.books()).get(sn, (0, 0)))
        if theirs == ours and ours[0] == ours[1]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError((sn, ours, theirs))


async def cancelled(till: Till, client_sn: str) -> Json:
    """Cancel as soon as the gateway knows the order."""
    while (answer := await till.call("cancel", client_sn=client_sn))["error_code"] == "UPAY_ORDER_NOT_EXISTS":
        pass
    return answer
