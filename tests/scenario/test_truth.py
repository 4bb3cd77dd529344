"""What a gateway must not get wrong: repeats, silence, late money, lost databases, nosy tills."""

import asyncio

import pytest

from paymux.domain.errors import ClientSnConflict, StorageFailed
from paymux.domain.order import Order, OrderStatus, TransactionKind
from paymux.storage.contract import Change
from tests.harness.town import NOTIFY_URL, WALLETS, Town, in_town

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))


@BOTH
def test_32_tills_with_one_client_sn_make_one_payment(wallet: str) -> None:
    """One wins; the others hear a conflict, and the wallet hears one pay request."""

    async def story(town: Town) -> None:
        answers = await asyncio.gather(
            *(town.pay(wallet, "00", client_sn="SAME") for _ in range(32)), return_exceptions=True
        )
        paid = [one for one in answers if isinstance(one, Order)]
        conflicts = [one for one in answers if isinstance(one, ClientSnConflict)]
        assert (len(paid), len(conflicts), len(town.wire.sent)) == (1, 31, 1)
        assert {one.field for one in conflicts} == {""}
        assert {one.sn for one in conflicts} == {paid[0].sn}
        await town.assert_books_agree()

    in_town(story)


def test_other_content_under_a_used_client_sn_is_named() -> None:
    """The conflict says in which field the request differs from the first one (promise M7)."""

    async def story(town: Town) -> None:
        await town.pay("alipay", "00", client_sn="SAME", total=100)
        for field, more in (
            ("total", {"total": 101}),
            ("description", {"description": "green"}),
            ("dynamic_id", {"script": "01"}),
        ):
            asked = {"script": "00", "total": 100} | more
            with pytest.raises(ClientSnConflict) as conflict:
                await town.pay("alipay", client_sn="SAME", **asked)  # type: ignore[arg-type]  # mixed kinds
            assert conflict.value.field == field

    in_town(story)


@BOTH
def test_late_success_is_refunded_loudly(wallet: str) -> None:
    """Script 14: the wallet takes the money after it answered our reversal; it goes back, status as told."""

    async def story(town: Town) -> None:
        order = await town.rest(await town.pay(wallet, "14"))
        await asyncio.sleep(700)
        order = await town.rest(order)
        kinds = [one.kind for one in await town.movements(order)]
        assert order.status is OrderStatus.PAY_CANCELED
        assert (order.paid, order.refunded, order.net) == (100, 100, 0)
        assert kinds == [TransactionKind.PAY, TransactionKind.REVERSE, TransactionKind.LATE_REFUND]
        assert [alarm["event"] for alarm in town.alarms] == ["order.late_success"]
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_an_unreachable_wallet_is_a_quick_definite_no(wallet: str) -> None:
    """Not one byte left this machine: PAY_CANCELED within seconds, nothing to resolve (MONEY-BUGS B1)."""

    async def story(town: Town) -> None:
        town.wire.cut = True
        began = town.clock.now_ms()
        order = await town.pay(wallet, "00")
        assert order.status is OrderStatus.PAY_CANCELED
        assert town.clock.now_ms() - began < 5_000
        await asyncio.sleep(1)
        assert [body["order_status"] for _, _, body in town.wire.told] == ["PAY_CANCELED"]
        assert await town.store.due_of(order.key) == []

    in_town(story)


@BOTH
def test_an_unknown_payment_is_never_failed_by_time(wallet: str) -> None:
    """The wallet goes away after taking the money: PAY_ERROR and an alarm, never PAY_CANCELED (B5, B13)."""

    async def story(town: Town) -> None:
        town.wire.mail_lost = True
        paying = asyncio.create_task(town.pay(wallet, "05"))
        await asyncio.sleep(1)
        town.wire.cut = True
        order = await paying
        assert order.status is OrderStatus.CREATED
        await asyncio.sleep(3_600)
        order = await town.now(order)
        assert order.status is OrderStatus.PAY_ERROR
        assert any(alarm["event"] == "undo.spent" for alarm in town.alarms)
        town.wire.cut = False
        order = await town.rest(order, within_s=120)
        assert order.status is OrderStatus.PAY_CANCELED
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_tills_that_poll_wildly_do_not_reach_the_wallet(wallet: str) -> None:
    """500 queries in 20 s of an order under way: the wallet is asked at most once per gap (DESIGN §5)."""

    async def story(town: Town) -> None:
        paying = asyncio.create_task(town.pay(wallet, "10", client_sn="X"))
        await asyncio.sleep(0.5)
        found = await town.store.order_by_client_sn(town.terminal.bucket, town.terminal.merchant_sn, "X")
        assert found is not None
        for _ in range(100):
            await asyncio.gather(*(town.query(found) for _ in range(5)))
            await asyncio.sleep(0.2)
        assert len(town.wire.sent) < 20
        await town.rest(await paying)

    in_town(story)


@BOTH
def test_a_lost_callback_does_not_matter(wallet: str) -> None:
    """Every callback vanishes: the QR order is found paid by asking, and the merchant is told (B24)."""

    async def story(town: Town) -> None:
        town.wire.mail_lost = True
        order = await town.rest(await town.precreate(wallet, "00"), within_s=120)
        assert order.status is OrderStatus.PAID
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_nothing_is_sent_when_the_intent_is_not_durable(wallet: str) -> None:
    """The database refuses the first commit: the wallet hears nothing (promise M5)."""

    async def story(town: Town) -> None:
        async def full(_change: Change) -> bool:
            raise StorageFailed("disk full")

        town.store.save = full  # type: ignore[method-assign]  # the disk is full
        with pytest.raises(StorageFailed):
            await town.pay(wallet, "00")
        assert town.wire.sent == []
        assert town.wallet_books() == {}

    in_town(story)


@BOTH
def test_the_merchant_is_told_once_per_status(wallet: str) -> None:
    """PAID, then PARTIAL_REFUNDED: two notifications, each written with its change (promise M8, B6)."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "16")
        await asyncio.sleep(30)
        await town.refund(order, 30, "R1")
        await town.rest(order)
        assert [body["order_status"] for _, _, body in town.wire.told] == ["PAID", "PARTIAL_REFUNDED"]
        assert {url for url, _, _ in town.wire.told} == {NOTIFY_URL}
        assert {headers["Authorization"] for _, headers, _ in town.wire.told} == {"signature"}

    in_town(story)


def test_a_deaf_merchant_is_told_again_and_given_up_after_a_day() -> None:
    """1, 5, 30, 600 s and then every hour; after a day GAVE_UP, visible and with an alarm."""

    async def story(town: Town) -> None:
        town.wire.shop_answers = lambda _: b"sorry"
        order = await town.pay("alipay", "00")
        await asyncio.sleep(100_000)
        (note,) = await town.store.notifications(order.key)
        assert (note.status, note.last_answer) == ("GAVE_UP", "200 sorry")
        assert note.attempts == len(town.wire.told) == 5 + 24
        assert [alarm["event"] for alarm in town.alarms] == ["notification.gave_up"]

    in_town(story)


def test_a_merchant_that_recovers_is_told() -> None:
    """The third try is answered `success`: it ends there (B14)."""

    async def story(town: Town) -> None:
        town.wire.shop_answers = lambda tries: b"success" if tries == 3 else b"busy"
        order = await town.pay("alipay", "00")
        await asyncio.sleep(7_200)
        (note,) = await town.store.notifications(order.key)
        assert (note.status, note.attempts, len(town.wire.told)) == ("DELIVERED", 3, 3)

    in_town(story)
