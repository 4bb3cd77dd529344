"""What a till is told, over the true wire: real flows, both wallets, a real database, in virtual time.

The last two digits of a barcode (of a QR order's amount) choose what the wallet does: 00 paid, 01 password
typed, 02 no money, 03 expired code, 10 buyer walks away, 17 and 18 refund troubles.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from paymux.domain.limits import Limits
from paymux.domain.people import Terminal
from paymux.wire.server import build_app
from tests.contract.upay.edge import Till, biz, outcome, refusal
from tests.harness.town import Town, in_town

ALIPAY, WECHAT = "28000000000000", "13000000000000"
"""Barcodes without their last four digits."""

Story = Callable[[Town, Till], Awaitable[None]]


def tell(story: Story, *, limits: Limits | None = None) -> None:
    """Give the story a town and a till of it."""

    async def told(town: Town) -> None:
        await story(town, Till(build_app(town.desk)))
        await town.rest_all(await town.store.orders(status=None, after=None, limit=100))
        await town.assert_books_agree()

    in_town(told, limits=limits)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("00", ("PAY_SUCCESS", "", "PAID", "SUCCESS")),
        ("01", ("PAY_SUCCESS", "", "PAID", "SUCCESS")),
        ("02", ("PAY_FAIL", "INSUFFICIENT_FUND", "PAY_CANCELED", "FAIL_CANCELED")),
        ("03", ("PAY_FAIL", "EXPIRED_BARCODE", "PAY_CANCELED", "FAIL_CANCELED")),
    ],
)
@pytest.mark.parametrize("barcode", [ALIPAY, WECHAT])
def test_pay(barcode: str, script: str, told: tuple[str, str, str, str]) -> None:
    """A barcode pay says what the wallet said, in the printed words."""

    async def story(_: Town, till: Till) -> None:
        answer = await till.pay(f"{barcode}00{script}", "C1")
        assert outcome(answer) == told
        data = biz(answer)["data"]
        assert (data["client_sn"], data["client_tsn"]) == ("C1", "C1")
        assert data["net_amount"] == ("100" if told[2] == "PAID" else "0")
        assert len(data["sn"]) == 16
        assert bool(data["finish_time"])
        assert bool(data["channel_finish_time"]) == (told[2] == "PAID")

    tell(story)


def test_pay_still_in_progress() -> None:
    """A buyer who does not answer: PAY_IN_PROGRESS with CREATED; later queries tell the end."""

    async def story(town: Town, till: Till) -> None:
        answer = await till.pay(f"{ALIPAY}0010", "C1")
        assert outcome(answer) == ("PAY_IN_PROGRESS", "", "CREATED", "IN_PROG")
        await town.rest_all(await town.store.orders(status=None, after=None, limit=9))
        answer = await till.call("query", client_sn="C1")
        assert outcome(answer) == ("SUCCESS", "", "PAY_CANCELED", "FAIL_CANCELED")

    tell(story, limits=Limits(pay_wait_s=5))


def test_a_used_client_sn() -> None:
    """FAIL and CLIENT_SN_CONFLICT; the order is shown only to who sent the very same request again (M7)."""

    async def story(town: Town, till: Till) -> None:
        first = biz(await till.pay(f"{ALIPAY}0000", "C1"))["data"]
        same = await till.pay(f"{ALIPAY}0000", "C1")
        assert outcome(same) == ("FAIL", "CLIENT_SN_CONFLICT", "PAID", "SUCCESS")
        assert biz(same)["data"]["sn"] == first["sn"]
        other = biz(await till.pay(f"{ALIPAY}0000", "C1", total_amount="101"))
        assert other == {
            "result_code": "FAIL",
            "error_code": "CLIENT_SN_CONFLICT",
            "error_message": "client_sn C1 在系统中已经存在",
        }
        assert len(await town.store.orders(status=None, after=None, limit=9)) == 1

    tell(story)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"dynamic_id": "99999"}, "INVALID_BARCODE"), ({"payway": "101"}, "UNEXPECTED_PROVIDER_ERROR")],
)
def test_pay_refused_before_anything(fields: dict[str, str], code: str) -> None:
    """FAIL: no order, no data, nothing sent to a wallet."""

    async def story(town: Town, till: Till) -> None:
        answer = await till.pay(f"{ALIPAY}0000", "C1", **fields)
        assert outcome(answer) == ("FAIL", code, "", "")
        assert town.wire.sent == []

    tell(story)


def test_precreate_and_pay() -> None:
    """A QR order waits CREATED with its code, its picture's address, and is PAID once scanned."""

    async def story(_: Town, till: Till) -> None:
        answer = await till.precreate("C1", total_amount="100")
        assert outcome(answer) == ("PRECREATE_SUCCESS", "", "CREATED", "CREATED")
        data = biz(answer)["data"]
        assert data["qr_code"]
        assert data["qr_code_image_url"].startswith("http://gateway.example/upay/qrcode?content=")
        assert "wap_pay_request" not in data
        await asyncio.sleep(30)
        assert outcome(await till.call("query", sn=data["sn"])) == ("SUCCESS", "", "PAID", "SUCCESS")

    tell(story)


def test_precreate_for_a_front_end() -> None:
    """sub_payway 3 needs payer_uid and gives wap_pay_request, text that holds JSON."""

    async def story(_: Town, till: Till) -> None:
        bare = await till.precreate("C1", sub_payway="3")
        assert refusal(bare) == ("400", "INVALID_PARAMS")
        assert bare["error_message"] == "payer_uid不可以为空"
        answer = await till.precreate("C1", sub_payway="3", payer_uid="okSzXt3uY4-W8fKBH7B4z8seMzBU")
        assert outcome(answer)[0] == "PRECREATE_SUCCESS"
        assert '"paySign"' in biz(answer)["data"]["wap_pay_request"]

    tell(story)


@pytest.mark.parametrize(
    ("payway", "told"),
    [
        ("1", ("PRECREATE_FAIL", "PAY_CANCELED")),
        ("3", ("PRECREATE_FAIL_IN_PROGRESS", "CREATED")),
    ],
)
def test_precreate_without_a_code(payway: str, told: tuple[str, str]) -> None:
    """A wallet that gives no code: PRECREATE_FAIL once undone; WeChat may not be closed yet."""

    async def story(_: Town, till: Till) -> None:
        answer = await till.precreate("C1", payway=payway, total_amount="112")
        assert outcome(answer)[::2] == told
        assert bool(biz(answer)["error_code"]) == (told[0] == "PRECREATE_FAIL")
        assert "qr_code" not in biz(answer)["data"]

    tell(story)


def test_query_finds_by_sn_then_client_sn() -> None:
    """A real sn wins over a foreign client_sn, an unknown one falls back to it; neither: not found (§6)."""

    async def story(_: Town, till: Till) -> None:
        sn = biz(await till.pay(f"{WECHAT}0000", "C1"))["data"]["sn"]
        await till.pay(f"{WECHAT}0100", "C2")
        for found in (
            {"sn": sn, "client_sn": "C2"},
            {"sn": "7" * 16, "client_sn": "C1"},
            {"client_sn": "C1"},
        ):
            assert biz(await till.call("query", **found))["data"]["sn"] == sn
        assert outcome(await till.call("query", sn="7" * 16)) == ("FAIL", "UPAY_ORDER_NOT_EXISTS", "", "")

    tell(story)


def test_refunds() -> None:
    """Part, repeat, conflict, too much, the rest, nothing left: each its code (§7.1)."""

    async def story(_: Town, till: Till) -> None:
        sn = biz(await till.pay(f"{WECHAT}0000", "C1"))["data"]["sn"]

        async def refund(number: str, amount: str) -> dict[str, object]:
            return await till.call("refund", sn=sn, refund_request_no=number, refund_amount=amount)

        done = ("REFUND_SUCCESS", "", "PARTIAL_REFUNDED", "SUCCESS")
        first = await refund("r1", "30")
        assert outcome(first) == done
        assert biz(first)["data"]["client_tsn"] == "C1-r1"
        assert biz(first)["data"]["net_amount"] == "70"
        again = await refund("r1", "30")
        assert biz(again)["data"]["tsn"] == biz(first)["data"]["tsn"]
        assert outcome(again) == done
        assert outcome(await refund("r1", "31"))[:2] == ("FAIL", "REFUND_REQUEST_CONFLICT")
        assert outcome(await refund("r2", "71"))[:3] == (
            "FAIL",
            "REFUNDABLE_AMOUNT_NOT_ENOUGH",
            "PARTIAL_REFUNDED",
        )
        assert outcome(await refund("r2", "70"))[::2] == ("REFUND_SUCCESS", "REFUNDED")
        assert outcome(await refund("r3", "1"))[:2] == ("FAIL", "UPAY_REFUND_INVALID_ORDER_STATE")
        one = biz(await till.call("query", sn=sn, refund_request_no="r1"))["data"]
        assert (one["client_tsn"], one["status"], one["order_status"]) == ("C1-r1", "SUCCESS", "REFUNDED")

    tell(story)


def test_a_refund_the_wallet_refuses() -> None:
    """REFUND_FAIL with the reason; the sale stands."""

    async def story(_: Town, till: Till) -> None:
        sn = biz(await till.pay(f"{ALIPAY}0018", "C1"))["data"]["sn"]
        answer = await till.call("refund", sn=sn, refund_request_no="r1", refund_amount="100")
        assert outcome(answer) == ("REFUND_FAIL", "SELLER_BALANCE_NOT_ENOUGH", "PAID", "REFUND_ERROR")
        assert biz(answer)["error_message"] == "卖家余额不足"

    tell(story)


@pytest.mark.parametrize("name", ["cancel", "revoke"])
def test_cancel_of_a_paid_order(name: str) -> None:
    """CANCEL_SUCCESS and CANCELED, whichever call; a second one is told it has nothing to do."""

    async def story(_: Town, till: Till) -> None:
        sn = biz(await till.pay(f"{WECHAT}0000", "C1"))["data"]["sn"]
        answer = await till.call(name, sn=sn)
        assert outcome(answer) == ("CANCEL_SUCCESS", "", "CANCELED", "SUCCESS")
        assert biz(answer)["data"]["net_amount"] == "0"
        assert outcome(await till.call(name, sn=sn))[:3] == ("FAIL", "UPAY_CANCEL_ORDER_NOOP", "CANCELED")

    tell(story)


def test_cancel_of_a_payment_under_way() -> None:
    """CANCEL_ABORT_SUCCESS; the pay call that was waiting is told PAY_FAIL."""

    async def story(_: Town, till: Till) -> None:
        paying = asyncio.create_task(till.pay(f"{ALIPAY}0010", "C1"))
        await asyncio.sleep(5)
        answer = await till.call("cancel", client_sn="C1")
        assert outcome(answer)[::2] == ("CANCEL_ABORT_SUCCESS", "CANCELED")
        assert outcome(await paying)[::2] == ("PAY_FAIL", "CANCELED")

    tell(story)


def test_cancel_after_a_refund_and_of_nothing() -> None:
    """Refunded orders cannot be cancelled; unknown ones need not be (old clients rely on the code)."""

    async def story(_: Town, till: Till) -> None:
        sn = biz(await till.pay(f"{ALIPAY}0000", "C1"))["data"]["sn"]
        await till.call("refund", sn=sn, refund_request_no="r1", refund_amount="100")
        answer = await till.call("cancel", sn=sn)
        assert outcome(answer)[:3] == ("FAIL", "UPAY_CANCEL_INVALID_ORDER_STATE", "REFUNDED")
        assert biz(answer)["error_message"] == f"当前的订单{sn}状态是REFUNDED"
        assert outcome(await till.call("cancel", client_sn="C9")) == ("FAIL", "UPAY_ORDER_NOT_EXISTS", "", "")

    tell(story)


@pytest.mark.parametrize(
    "reflect", ["abc", '{"a":1}', {"tips": "100"}, {"n": 1.50, "b": [True, None]}, 7, "json:x"]
)
@pytest.mark.parametrize("spelling", ["reflect", "reflact"])
def test_reflect_comes_back_in_the_type_it_was_sent(spelling: str, reflect: object) -> None:
    """Text stays text, an object an object; the oldest edition's spelling is read, the right one written."""

    async def story(_: Town, till: Till) -> None:
        answer = await till.pay(f"{WECHAT}0000", "C1", **{spelling: reflect})
        assert biz(answer)["data"]["reflect"] == reflect
        assert biz(await till.call("query", client_sn="C1"))["data"]["reflect"] == reflect

    tell(story)


def test_a_terminal_sees_only_its_merchants_orders() -> None:
    """Another merchant's sn does not exist, for no call (promise M9)."""

    async def story(town: Town, till: Till) -> None:
        sn = biz(await till.pay(f"{WECHAT}0000", "C1"))["data"]["sn"]
        key = "1" * 32
        stranger = Terminal(terminal_sn="200000000000000002", merchant_sn="2", store_sn="2", current_key=key)
        await town.store.put_people(terminals=(stranger,))
        other = Till(till.app, sn=stranger.terminal_sn, key=key)
        refund = {"refund_request_no": "r1", "refund_amount": "1"}
        for name, more in (("query", {}), ("cancel", {}), ("revoke", {}), ("refund", refund)):
            answer = await other.call(name, sn=sn, client_sn="C1", **more)
            assert outcome(answer) == ("FAIL", "UPAY_ORDER_NOT_EXISTS", "", ""), name

    tell(story)
