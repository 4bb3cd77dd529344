"""What no wallet would tell, a human may decide: once, with name and reason kept (DESIGN §4)."""

import asyncio

import pytest

from paymux.channels.contract import ClientTls, HttpRequest, HttpResponse
from paymux.channels.transport import NoReply
from paymux.domain.errors import StateForbids
from paymux.domain.order import Order, OrderStatus
from paymux.flows.history import apart
from paymux.flows.resolve import end_refund, give_up_sale, keep_sale, tell_again
from tests.harness.town import WALLETS, Town, in_town

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))
BY = {"who": "operator ann", "why": "the portal shows it"}


async def unclear(town: Town, wallet: str) -> Order:
    """An order nobody can tell the truth about: the wallet has gone away."""
    town.wire.mail_lost = True
    paying = asyncio.create_task(town.pay(wallet, "05"))
    await asyncio.sleep(1)
    town.wire.cut = True
    order = await paying
    await asyncio.sleep(600)
    order = await town.now(order)
    assert order.status is OrderStatus.PAY_ERROR
    return order


@BOTH
def test_the_sale_stands(wallet: str) -> None:
    """PAY_ERROR and the money is there: PAID, nothing left to do, and the merchant is told."""

    async def story(town: Town) -> None:
        order = await keep_sale(town.desk, await unclear(town, wallet), **BY)
        await town.rest(order)
        assert (order.status, order.paid) == (OrderStatus.PAID, order.total)
        assert town.wire.told[-1][2]["order_status"] == "PAID"
        town.wire.cut = False
        await asyncio.sleep(4_000)
        assert (await town.now(order)).status is OrderStatus.PAID
        await town.assert_books_agree()
        kept = [one for event in await town.store.events(order.key) for one in apart(event, channel=wallet)]
        assert ("operator ann", "the portal shows it") in [(event.who, event.text) for event in kept]
        with pytest.raises(StateForbids, match="only what is unclear"):
            await give_up_sale(town.desk, order, **BY)

    in_town(story)


@BOTH
def test_nothing_is_held(wallet: str) -> None:
    """PAY_ERROR and no money: PAY_CANCELED; and if the human was wrong, the money still goes back."""

    async def story(town: Town) -> None:
        order = await give_up_sale(town.desk, await unclear(town, wallet), **BY)
        assert order.status is OrderStatus.PAY_CANCELED
        town.wire.cut = False
        await asyncio.sleep(4_000)
        order = await town.rest(order)
        assert (order.status, order.paid) == (OrderStatus.PAY_CANCELED, order.refunded)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_the_sale_was_kept_though_its_refund_was_carried_out(wallet: str) -> None:
    """The human erred: what the wallet gave back is booked when it can be asked again, and loudly."""

    async def story(town: Town) -> None:
        order = await town.precreate(wallet, "00")
        await asyncio.sleep(60)
        plain = town.wire.send

        async def reply_is_lost(lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
            await plain(lane, tls, request)
            raise NoReply("timed out")

        town.wire.send = reply_is_lost  # type: ignore[method-assign]  # the wallet works, and is mute
        town.wire.mail_lost = True
        await town.cancel(order)
        await asyncio.sleep(600)
        order = await keep_sale(town.desk, await town.now(order), **BY)
        assert order.status is OrderStatus.PAID
        town.wire.send = plain  # type: ignore[method-assign]  # it speaks again
        await asyncio.sleep(4_000)
        order = await town.rest(order)
        assert order.status is OrderStatus.CANCELED
        assert any(alarm["event"] == "undo.done_after_all" for alarm in town.alarms)
        await town.assert_books_agree()

    in_town(story)


@BOTH
@pytest.mark.parametrize("done", [True, False])
def test_a_refund_nobody_confirms(wallet: str, *, done: bool) -> None:
    """REFUND_ERROR ends as the human says; a refund that was refused may be asked for again."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        town.wire.cut = True
        await town.refund(order, 60, "R1")
        await asyncio.sleep(600)
        refund = (await town.movements(order))[1]
        order = await end_refund(town.desk, await town.now(order), refund, done=done, **BY)
        assert order.status is (OrderStatus.PARTIAL_REFUNDED if done else OrderStatus.PAID)
        assert (order.refunding, order.refunded) == (0, 60 if done else 0)
        with pytest.raises(StateForbids, match="not unclear"):
            await end_refund(town.desk, order, (await town.movements(order))[1], done=done, **BY)

    in_town(story)


def test_a_merchant_is_told_again() -> None:
    """A notification that was given up goes out again when somebody asks for it."""

    async def story(town: Town) -> None:
        town.wire.shop_answers = lambda _: b"sorry"
        order = await town.pay("alipay", "00")
        await asyncio.sleep(100_000)
        town.wire.shop_answers = lambda _: b"success"
        assert await tell_again(town.desk, order, who="operator ann") == 1
        await asyncio.sleep(5)
        (note,) = await town.store.notifications(order.key)
        assert note.status == "DELIVERED"

    in_town(story)
