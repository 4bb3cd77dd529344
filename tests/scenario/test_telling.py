"""Who tells the merchant, and who does when he dies: messages under their sale's row, and under their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from paymux.channels.contract import HttpRequest, HttpResponse
from paymux.channels.transport import NoReply
from paymux.domain.limits import Limits
from paymux.domain.order import Order, OrderKey, OrderStatus
from paymux.flows.handover import GRACE_MS
from paymux.flows.resolve import tell_again
from paymux.storage.contract import Due, DueKind, Notification
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
        assert await left(town, order) == {(DueKind.NOTIFY, False)}
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


def test_who_gives_back_late_takes_nothing_that_was_put_anew() -> None:
    """A teller stands still for longer than a lease; another one tells, and an operator has it told again."""

    async def story(town: Town) -> None:
        read, still = town.store.notifications, True

        async def notifications(key: OrderKey) -> list[Notification]:
            nonlocal still
            if still:
                still = False
                town.workers._lanes[1]._at_once = 0  # who stands still claims nothing
                await asyncio.sleep(Limits().lease_s + 5)
                assert [note.status for note in await read(key)] == ["DELIVERED"]
                await tell_again(town.desk, await town.now(order), who="ann")
            return await read(key)

        order = await town.precreate("alipay", "00")
        town.store.notifications = notifications  # type: ignore[method-assign]  # made slow
        await until_paid(town, order)
        async with another_gateway(town):
            await asyncio.sleep(Limits().lease_s + 10)
            town.workers._lanes[1]._at_once = 64
            await town.rest(order)
        assert told(town) == ["PAID", "PAID"]

    in_town(story)


def test_a_pay_left_to_recovery_early_is_told_by_one() -> None:
    """Its process ends, so the sale's row runs soon: who settles it begins to tell, and nobody else does."""

    async def story(town: Town) -> None:
        town.wire.mail_lost = True
        town.wire.shop_answers = lambda _: b"busy"
        asyncio.get_running_loop().call_later(1, town.desk.bell.close)
        order = await town.pay("alipay", "01")
        await town.restart()
        order = await until_paid(town, order)
        await asyncio.sleep(0.9)
        assert told(town) == ["PAID"]

    in_town(story)


def test_a_sales_row_that_runs_early_leaves_its_teller_in_peace() -> None:
    """One process hears the callback and tells; another one claims the sale's row meanwhile."""

    async def story(town: Town) -> None:
        gate = Gate(town)
        asyncio.get_running_loop().call_later(1, town.desk.bell.close)
        order = await town.pay("alipay", "01")
        await town.restart()
        town.workers._lanes[0]._at_once = 0
        async with another_gateway(town):
            order = await until_paid(town, order)
            await asyncio.sleep(Limits().notify_timeout_s - 3)
            gate.open.set()
            await town.rest(order)
        assert told(town) == ["PAID"]

    in_town(story)


def test_telling_does_not_wait_for_a_frozen_wallet() -> None:
    """Money and telling have lanes of their own, also for what a dead process has left."""

    async def story(town: Town) -> None:
        gate, send = Gate(town), town.wire.send

        async def frozen(_lane: str, _tls: object, request: HttpRequest) -> HttpResponse:
            await asyncio.sleep(request.timeout_s)
            raise NoReply("timed out")

        town.wire.send = frozen  # type: ignore[method-assign]  # a wallet that never answers
        stuck = [asyncio.create_task(town.pay("alipay", "00")) for _ in range(50)]
        await asyncio.sleep(1)
        town.wire.send = send  # type: ignore[method-assign]  # it answers one
        order = await town.pay("alipay", "00")
        await asyncio.sleep(0.1)
        town.wire.send = frozen  # type: ignore[method-assign]  # and no more
        for one in stuck:
            one.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        await town.restart()
        gate.open.set()
        await asyncio.sleep(SALE_S + 5)
        assert told(town) == ["PAID"]
        town.wire.send = send  # type: ignore[method-assign]  # it answers again
        assert await left(town, order) == set()

    in_town(story, limits=Limits(per_account_at_once=1))


def test_a_dead_tellers_message_takes_its_turn_among_the_others() -> None:
    """One hand, a shop that hangs, and forty younger messages: the old one is not left for last."""

    async def story(town: Town) -> None:
        tries: list[str] = []

        async def hangs(_url: str, _headers: object, body: bytes, timeout_s: int) -> HttpResponse:
            tries.append(msgspec.json.decode(body)["sn"])
            await asyncio.sleep(timeout_s)
            raise NoReply("timed out")

        town.wire.post_to_merchant = hangs  # type: ignore[method-assign]  # a shop that never answers
        first = await town.pay("alipay", "00")
        await asyncio.sleep(0.1)
        await town.restart()
        town.workers._lanes[1]._at_once = 1
        for _ in range(40):
            await town.pay("alipay", "00")
        await asyncio.sleep(15 * Limits().notify_timeout_s)
        assert tries.count(first.sn) > 1

    in_town(story)


@contextlib.asynccontextmanager
async def another_gateway(town: Town) -> AsyncIterator[None]:
    """A second process beside the town's own."""
    desk, workers = town._gateway()
    await desk.ids.settle()
    workers.start()
    try:
        yield
    finally:
        await workers.stop(drain_s=60)
