"""Whoever has recorded signed requests can send them again: no money moves twice, in any order (row 21).

Upay v2 signs neither time nor nonce, so the numbers in the bodies are all there is: `client_sn` and
`refund_request_no`. What is asserted is what the wallets were *sent*, not only what they accepted.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from paymux.wire.server import build_app
from tests.contract.upay.edge import CODE, KEY, VENDOR, Till, biz, open_vendor, outcome, refusal, sign
from tests.harness.town import TERMINAL, WALLETS, Town, in_town

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))
Recorded = tuple[str, bytes, str]
"""Path, body and Authorization of a request somebody has seen."""


class Recorder(Till):
    """A till whose every request is recorded."""

    def __init__(self, town: Town) -> None:
        super().__init__(build_app(town.desk))
        self.recorded: list[Recorded] = []

    async def post_bytes(self, path: str, body: bytes, *, authorization: str | None = None) -> dict[str, Any]:
        """Send and remember."""
        given = authorization or f"{self.sn} {sign(body, self.key)}"
        self.recorded.append((path, body, given))
        return await super().post_bytes(path, body, authorization=given)

    async def replay(self, one: Recorded, *, path: str = "") -> dict[str, Any]:
        """Send the very bytes again."""
        return await super().post_bytes(path or one[0], one[1], authorization=one[2])


_MOVING = {
    "micropay",
    "refund",
    "reverse",
    "unifiedorder",
    "closeorder",
    "pay",
    "cancel",
    "precreate",
    "close",
}
_METHOD = re.compile(r"method=alipay\.trade\.([a-z.]+)")


def moved(town: Town) -> Counter[str]:
    """How often each request that moves money, or may, was sent to a wallet."""
    names = []
    for request in town.wire.sent:
        method = _METHOD.search(f"{request.url}&{request.body.decode()}")
        names.append(method[1] if method else request.url.rpartition("/")[2])
    return Counter(name for name in names if name in _MOVING)


def tell(story: Callable[[Town, Recorder], Awaitable[None]]) -> None:
    """Tell a story with a recorder; afterwards the books agree."""

    async def told(town: Town) -> None:
        await story(town, Recorder(town))
        await town.assert_books_agree()

    in_town(told)


@BOTH
def test_a_pay(wallet: str) -> None:
    """Fifty times, one by one and at once, before and after its end: one request to the wallet."""

    async def story(town: Town, till: Recorder) -> None:
        _, prefix = WALLETS[wallet]
        paying = asyncio.create_task(till.pay(f"{prefix}{0:014d}01", "C1"))
        await asyncio.sleep(0.5)
        (one,) = till.recorded
        early = await asyncio.gather(*(till.replay(one) for _ in range(25)))
        assert biz(await paying)["result_code"] == "PAY_SUCCESS"
        late = [await till.replay(one) for _ in range(25)]
        assert {outcome(answer)[:2] for answer in (*early, *late)} == {("FAIL", "CLIENT_SN_CONFLICT")}
        assert {outcome(answer)[2] for answer in late} == {"PAID"}
        assert sum(moved(town).values()) == 1

    tell(story)


@BOTH
def test_a_precreate(wallet: str) -> None:
    """One QR order at the wallet, however often it is asked for."""

    async def story(town: Town, till: Recorder) -> None:
        payway, _ = WALLETS[wallet]
        await till.precreate("Q1", payway=payway)
        answers = await asyncio.gather(*(till.replay(till.recorded[0]) for _ in range(20)))
        assert {outcome(answer)[:2] for answer in answers} == {("FAIL", "CLIENT_SN_CONFLICT")}
        assert sum(moved(town).values()) == 1

    tell(story)


@BOTH
def test_a_refund(wallet: str) -> None:
    """One refund at the wallet; the replays hear what became of it, also after later refunds."""

    async def story(town: Town, till: Recorder) -> None:
        _, prefix = WALLETS[wallet]
        await till.pay(f"{prefix}{0:014d}00", "C1")
        await till.call("refund", client_sn="C1", refund_request_no="R1", refund_amount="30")
        one, before = till.recorded[1], moved(town)
        at_once = await asyncio.gather(*(till.replay(one) for _ in range(20)))
        await till.call("refund", client_sn="C1", refund_request_no="R2", refund_amount="70")
        late = [await till.replay(one) for _ in range(5)]
        assert {outcome(answer)[0] for answer in (*at_once, *late)} == {"REFUND_SUCCESS"}
        assert {biz(answer)["data"]["client_tsn"] for answer in (*at_once, *late)} == {"C1-R1"}
        assert sum((moved(town) - before).values()) == 1

    tell(story)


@BOTH
@pytest.mark.parametrize("name", ["cancel", "revoke"])
def test_a_cancel(wallet: str, name: str) -> None:
    """Undone once; every replay is told that nothing is left to undo."""

    async def story(town: Town, till: Recorder) -> None:
        _, prefix = WALLETS[wallet]
        await till.pay(f"{prefix}{0:014d}00", "C1")
        await asyncio.sleep(20)
        await till.call(name, client_sn="C1")
        one, before = till.recorded[1], moved(town)
        answers = await asyncio.gather(*(till.replay(one) for _ in range(20)))
        assert {outcome(answer)[:2] for answer in answers} == {("FAIL", "UPAY_CANCEL_ORDER_NOOP")}
        assert moved(town) == before

    tell(story)


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_a_whole_day(wallet: str, seed: int) -> None:
    """A day's requests, all of them three times more in any order: not one fen moves."""

    async def story(town: Town, till: Recorder) -> None:
        payway, prefix = WALLETS[wallet]
        for number, script in enumerate(("00", "01", "02", "05", "07", "09", "11", "17", "18")):
            await till.pay(f"{prefix}{number:014d}{script}", f"C{number}")
        await till.precreate("Q1", payway=payway)
        await asyncio.sleep(20)
        await till.call("cancel", client_sn="C0")
        for number, amount in (("1", "40"), ("1", "60"), ("7", "10"), ("8", "20")):
            request_no = f"R{number}-{amount}"
            await till.call(
                "refund", client_sn=f"C{number}", refund_request_no=request_no, refund_amount=amount
            )
        await till.call("query", client_sn="C1")
        orders = await town.store.orders(status=None, after=None, limit=100)
        await town.rest_all(orders)
        before, books = moved(town), await town.books()
        tsns = {one.tsn for order in orders for one in await town.movements(order)}
        again = till.recorded * 3
        random.Random(seed).shuffle(again)
        await asyncio.gather(*(till.replay(one) for one in again))
        await town.rest_all(orders)
        assert await town.books() == books
        assert moved(town)["micropay"] + moved(town)["pay"] == before["micropay"] + before["pay"]
        assert {one.tsn for order in orders for one in await town.movements(order)} == tsns

    tell(story)


@BOTH
def test_a_pays_bytes_elsewhere(wallet: str) -> None:
    """The signature does not cover the path: what was signed to pay pays nothing at any other address."""

    async def story(town: Town, till: Recorder) -> None:
        _, prefix = WALLETS[wallet]
        await till.pay(f"{prefix}{0:014d}00", "C1", payway=WALLETS[wallet][0])
        one, before = till.recorded[0], moved(town)
        for name in ("precreate", "query", "refund"):
            answer = await till.replay(one, path=f"/upay/v2/{name}")
            assert answer["error_code"] == "INVALID_PARAMS" or biz(answer)["result_code"] in {
                "FAIL",
                "SUCCESS",
            }
        assert moved(town) == before

    tell(story)


def test_another_tills_bytes() -> None:
    """Recorded bytes under another till's name, or this till's sign over other bytes: refused."""

    async def story(town: Town, till: Recorder) -> None:
        other = structs.replace(town.terminal, terminal_sn="100000000000000002", current_key="1" * 32)
        await town.store.put_people(terminals=(other,))
        await till.pay(f"13{0:014d}00", "C1")
        path, body, given = till.recorded[0]
        sign_alone = given.split()[1]
        for changed, header in (
            (body, f"{other.terminal_sn} {sign_alone}"),
            (body, f"{VENDOR.vendor_sn} {sign_alone}"),
            (body.replace(b'"100"', b'"1"'), given),
            (body.replace(b"C1", b"C2"), given),
            (body + b"\n", given),
        ):
            answer = await till.replay((path, changed, header))
            assert refusal(answer)[1] in {"ILLEGAL_SIGN", "TERMINAL_NOT_EXISTS"}
        told = await Till(till.app, sn=other.terminal_sn, key=other.current_key).post_bytes(path, body)
        assert refusal(told)[1] == "INVALID_TERMINAL"

    tell(story)


# ---------------------------------------------------------------- terminals


def test_an_activation() -> None:
    """A code for one device makes one terminal; the recorded request makes no second one."""

    async def story(town: Town, _: Recorder) -> None:
        await open_vendor(town, uses=1)
        vendor = Recorder(town)
        vendor.sn, vendor.key = VENDOR.vendor_sn, VENDOR.vendor_key
        biz(await vendor.post("/terminal/activate", {"code": CODE, "device_id": "d1"}))
        for _ in range(3):
            assert refusal(await vendor.replay(vendor.recorded[0]))[1] == "ACTIVATE_FAIL"

    tell(story)


def test_an_activation_where_devices_come_once() -> None:
    """With `refuse_same_device`, a code with uses left makes no second terminal of a recorded request."""

    async def story(town: Town, _: Recorder) -> None:
        await open_vendor(town, uses=9)
        vendor = Recorder(town)
        vendor.app = build_app(replace(town.desk, device_once=True))
        vendor.sn, vendor.key = VENDOR.vendor_sn, VENDOR.vendor_key
        biz(await vendor.post("/terminal/activate", {"code": CODE, "device_id": "d1"}))
        for _ in range(3):
            assert refusal(await vendor.replay(vendor.recorded[0]))[1] == "ACTIVATE_FAIL"

    tell(story)


def test_a_checkin() -> None:
    """Once the till has checked in twice, what the key before signed opens nothing any more."""

    async def story(_: Town, till: Recorder) -> None:
        async def checkin() -> None:
            fields = {"terminal_sn": TERMINAL, "device_id": "d"}
            till.key = biz(await till.post("/terminal/checkin", fields))["terminal_key"]

        assert till.key == KEY
        await till.call("query", client_sn="none")
        for __ in range(2):
            await checkin()
        query, first, _second = till.recorded
        for one in (query, first):
            assert refusal(await till.replay(one))[1] == "ILLEGAL_SIGN"
        assert biz(await till.call("query", client_sn="none"))["result_code"] == "FAIL"

    tell(story)
