"""Who tells the merchant, and who does when he dies: messages under their sale's row, and under their own."""

import asyncio
import contextlib
from typing import Any

import pytest

from paymux.channels.contract import HttpResponse
from paymux.domain.limits import Limits
from paymux.domain.order import Order, OrderStatus
from paymux.flows.handover import GRACE_MS
from paymux.storage.contract import Due, DueKind
from tests.harness.town import Crashed, Town, in_town

SALE_S = Limits().pay_wait_s + GRACE_MS // 1000
"""When a sale's own row runs."""


class Gate:
    """The way to the shop: shut, messages hang on it; each that passes is told."""

    def __init__(self, town: Town) -> None:
        self.open = asyncio.Event()
        post = town.wire.post_to_merchant

        async def held(*given: Any) -> HttpResponse:  # noqa: ANN401 - handed on
            await self.open.wait()
            return await post(*given)

        town.wire.post_to_merchant = held  # type: ignore[method-assign]  # a server that hangs for a while


async def left(town: Town, order: Order) -> set[tuple[DueKind, bool]]:
    """The order's due work: its kind, and whether it stands under the sale's own number."""
    return {(due.kind, due.ref == order.sn) for due in await town.store.due_of(order.key)}


def told(town: Town) -> list[str]:
    """What the merchant heard, in order."""
    return [body["order_status"] for _, _, body in town.wire.told]


def test_a_message_stands_under_its_sales_row_until_it_is_told() -> None:
    """The process that commits a message carries it at once: no row is put for it, and nobody claims one."""

    async def story(town: Town) -> None:
        gate, claim_due, claimed = Gate(town), town.store.claim_due, []

        async def watched(**asked: Any) -> list[Due]:  # noqa: ANN401 - handed on
            found = await claim_due(**asked)
            claimed.extend(found)
            return found

        town.store.claim_due = watched  # type: ignore[method-assign]  # looked at
        order = await town.pay("alipay", "00")
        await asyncio.sleep(1)
        assert await left(town, order) == {(DueKind.RECOVER, True)}
        gate.open.set()
        await asyncio.sleep(1)
        assert told(town) == ["PAID"]
        assert await left(town, order) == set()
        await asyncio.sleep(2 * SALE_S)
        assert claimed == []

    in_town(story)


def test_a_message_whose_process_died_is_told_when_the_sales_row_runs() -> None:
    """Its carrier died on the way: another one brings it, once."""

    async def story(town: Town) -> None:
        gate = Gate(town)
        order = await town.pay("alipay", "00")
        await asyncio.sleep(0.1)
        await town.restart()
        gate.open.set()
        await asyncio.sleep(SALE_S - 2)
        assert told(town) == []
        await asyncio.sleep(4)
        assert told(town) == ["PAID"]
        assert await left(town, order) == set()

    in_town(story)


def test_a_message_that_nobody_took_gets_a_row_of_its_own_and_its_gaps() -> None:
    """The first try fails: from then on it is like any other, and the sale's row is gone."""

    async def story(town: Town) -> None:
        town.wire.shop_answers = lambda tries: b"success" if tries == 2 else b"busy"
        order = await town.pay("alipay", "00")
        await asyncio.sleep(0.5)
        assert (told(town), await left(town, order)) == (["PAID"], {(DueKind.NOTIFY, False)})
        await asyncio.sleep(2)
        assert (told(town), await left(town, order)) == (["PAID"] * 2, set())

    in_town(story)


@pytest.mark.parametrize("cancel_dies", [False, True])
@pytest.mark.parametrize("teller_dies", [False, True])
def test_a_cancel_while_its_sale_is_being_told(*, cancel_dies: bool, teller_dies: bool) -> None:
    """Neither takes the other's row away: the cancel comes to its end, and both messages come, in order."""

    async def story(town: Town) -> None:
        gate = Gate(town)
        order = await town.pay("alipay", "00")
        if cancel_dies:
            town.arm("undo.after_intent")
        with contextlib.suppress(Crashed):
            await town.cancel(order)
        if not teller_dies:
            gate.open.set()
            await asyncio.sleep(1)
        await town.restart()
        gate.open.set()
        order = await town.rest(order)
        assert order.status is OrderStatus.CANCELED
        assert told(town) == ["PAID", "CANCELED"]
        await town.assert_books_agree()

    in_town(story)


def test_a_refund_while_its_sale_is_being_told() -> None:
    """The later message waits for the earlier one, whose carrier died."""

    async def story(town: Town) -> None:
        gate = Gate(town)
        order = await town.pay("wechat", "00")
        await town.refund(order, 30, "R1")
        await asyncio.sleep(1)
        await town.restart()
        gate.open.set()
        await town.rest(order)
        assert told(town) == ["PAID", "PARTIAL_REFUNDED"]

    in_town(story)


def test_a_slow_teller_and_recovery_leave_nothing_behind() -> None:
    """The sale's row runs while the first try hangs: told twice at most, and then nothing is left to do."""

    async def story(town: Town) -> None:
        gate = Gate(town)
        order = await town.pay("alipay", "00")
        await asyncio.sleep(SALE_S + 2)
        assert await left(town, order) == {(DueKind.RECOVER, True)}
        gate.open.set()
        await town.rest(order)
        assert told(town) in (["PAID"], ["PAID", "PAID"])

    in_town(story)


def test_a_qr_orders_message_has_a_row_of_its_own() -> None:
    """The order's row runs again and again: the message's is left alone for a lease, then it is anybody's."""

    async def story(town: Town) -> None:
        gate = Gate(town)
        order = await town.precreate("alipay", "00")
        order = await until_paid(town, order)
        assert await left(town, order) == {(DueKind.NOTIFY, False)}
        (work,) = await town.store.due_of(order.key)
        assert work.run_at_ms == order.finish_ms + Limits().lease_s * 1000
        await town.restart()
        gate.open.set()
        await asyncio.sleep(Limits().lease_s - 5)
        assert told(town) == []
        await asyncio.sleep(10)
        assert (told(town), await left(town, order)) == (["PAID"], set())

    in_town(story)


async def until_paid(town: Town, order: Order) -> Order:
    """Wait for the buyer."""
    for _ in range(100):
        order = await town.now(order)
        if order.status is OrderStatus.PAID:
            return order
        await asyncio.sleep(1)
    raise AssertionError("nobody paid")


def test_messages_of_a_busy_gateway_are_left_to_whoever_has_hands() -> None:
    """While as many messages are under way as may be, new ones are committed for anybody, and told later."""

    async def story(town: Town) -> None:
        town.workers._lanes[1]._at_once = 1
        gate = Gate(town)
        first, second = await town.pay("alipay", "00"), await town.pay("alipay", "00")
        assert await left(town, first) == {(DueKind.RECOVER, True)}
        assert await left(town, second) == {(DueKind.NOTIFY, False)}
        gate.open.set()
        await town.rest_all([first, second])
        assert len(town.wire.told) == 2

    in_town(story)


def test_a_busy_merchants_messages_come_when_there_is_room() -> None:
    """One at a time: what found no room does not wait for its sale's row."""

    async def story(town: Town) -> None:
        gate = Gate(town)
        first, second = await town.pay("alipay", "00"), await town.pay("alipay", "00")
        await asyncio.sleep(0.1)
        assert await left(town, second) == {(DueKind.NOTIFY, False)}
        gate.open.set()
        await asyncio.sleep(10)
        assert len(town.wire.told) == 2
        assert await left(town, first) == await left(town, second) == set()

    in_town(story, limits=Limits(per_merchant_at_once=1))


@pytest.mark.parametrize("point", ["notify.after_send", "notify.after_record"])
def test_a_teller_that_dies_about_the_delivery_leaves_nothing_behind(point: str) -> None:
    """Before its record the message is told again, after it never."""

    async def story(town: Town) -> None:
        died = town.arm(point)
        order = await town.pay("alipay", "00")
        await asyncio.wait_for(died.wait(), 10)
        await town.restart()
        await asyncio.sleep(SALE_S + 5)
        assert told(town) == ["PAID"] * (2 if point == "notify.after_send" else 1)
        assert await left(town, order) == set()

    in_town(story)
