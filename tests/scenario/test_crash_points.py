"""The process dies at each named place, is started again, and the story ends the same (fault catalogue 1)."""

import asyncio
import contextlib

import pytest

from paymux.domain.order import Order, OrderStatus
from paymux.kit.crash import POINTS
from tests.harness.town import WALLETS, Crashed, Town, in_town

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))
PAYS = ("alipay.trade.pay", "<auth_code>")


async def the_order(town: Town) -> Order:
    """The only order in town."""
    (order,) = await town.store.orders(status=None, after=None, limit=10)
    return order


def points(flow: str) -> list[str]:
    """The crash points of one flow."""
    return [point for point in POINTS if point.startswith(flow + ".")]


@BOTH
@pytest.mark.parametrize("script", ["00", "01", "02", "05", "10", "14", "15"])
@pytest.mark.parametrize("point", [*points("pay"), *points("undo"), *points("notify")])
def test_a_barcode_payment_survives(wallet: str, point: str, script: str) -> None:
    """One pay request at most, a definite end, equal books, and the merchant told how it ended."""

    async def story(town: Town) -> None:
        died = town.arm(point)
        with contextlib.suppress(Crashed):
            await town.pay(wallet, script)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(200):
                await died.wait()
        await town.restart()
        await asyncio.sleep(900)
        order = await town.rest(await the_order(town))
        asked = [one for one in town.wire.sent if any(mark.encode() in one.body for mark in PAYS)]
        assert len(asked) <= 1
        assert order.status in {OrderStatus.PAID, OrderStatus.PAY_CANCELED}
        assert [body["order_status"] for _, _, body in town.wire.told][-1:] == [order.status.value]
        await town.assert_books_agree()

    in_town(story)


@BOTH
@pytest.mark.parametrize("script", ["00", "05", "10", "14"])
@pytest.mark.parametrize("point", points("precreate"))
def test_a_qr_order_survives(wallet: str, point: str, script: str) -> None:
    """A code nobody saw is closed at the wallet; one that was paid is known to be paid."""

    async def story(town: Town) -> None:
        town.arm(point)
        with contextlib.suppress(Crashed):
            await town.precreate(wallet, script)
        await town.restart()
        await asyncio.sleep(900)
        order = await town.rest(await the_order(town))
        assert order.status in {OrderStatus.PAID, OrderStatus.PAY_CANCELED}
        await town.assert_books_agree()

    in_town(story)


@BOTH
@pytest.mark.parametrize("script", ["00", "17", "18"])
@pytest.mark.parametrize("point", points("refund"))
def test_a_refund_survives(wallet: str, point: str, script: str) -> None:
    """The refund happens once or is refused; nothing stays reserved, and the till may ask again."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, script)
        town.arm(point)
        with contextlib.suppress(Crashed):
            await town.refund(order, 60, "R1")
        await town.restart()
        order = await town.rest(order)
        answer = await town.refund(order, 60, "R1")
        order = await town.rest(answer.order)
        assert (order.refunding, order.refunded) == (0, 0 if script == "18" else 60)
        await town.assert_books_agree()

    in_town(story)


@BOTH
@pytest.mark.parametrize("way", ["barcode", "qr"])
@pytest.mark.parametrize("point", points("undo"))
def test_a_cancel_survives(wallet: str, point: str, way: str) -> None:
    """Once the shop's wish is recorded it is carried out; before, the order is as it was."""

    async def story(town: Town) -> None:
        order = await (town.pay if way == "barcode" else town.precreate)(wallet, "00")
        order = await town.rest(order)
        town.arm(point)
        with contextlib.suppress(Crashed):
            await town.cancel(order)
        await town.restart()
        order = await town.rest(order)
        assert order.status is OrderStatus.CANCELED
        await town.assert_books_agree()

    in_town(story)
