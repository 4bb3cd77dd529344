"""Cancel and the races around it: one winner, and what was told stays true (promises M2, M4)."""

import asyncio
from dataclasses import replace

import pytest

from paymux.channels.contract import ClientTls, HttpRequest, HttpResponse
from paymux.domain.errors import StateForbids
from paymux.domain.order import Order, OrderStatus, TransactionKind
from paymux.flows.cancel import cancel
from paymux.flows.desk import Bell, Turns
from paymux.kit.ids import Ids
from paymux.sandbox.records import State
from paymux.storage.contract import Change
from tests.harness.town import WALLETS, Town, in_town

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))
DAY_S = 86_400
STARTS = ("auth_code", "alipay.trade.precreate", "/pay/unifiedorder")
"""How requests that lead to money are told from others."""


@BOTH
def test_cancel_of_a_paid_order_gives_the_money_back(wallet: str) -> None:
    """PAID on the same day → CANCELED, nothing left at the wallet."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        answer = await town.cancel(order)
        order = await town.rest(answer.order)
        assert (answer.before, order.status, order.net) == (OrderStatus.PAID, OrderStatus.CANCELED, 0)
        assert town.wallet_books()[order.sn] == (0, 0)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_cancel_of_a_paid_qr_order_gives_the_money_back(wallet: str) -> None:
    """WeChat reverses barcode pays only: a paid QR order goes back by refund."""

    async def story(town: Town) -> None:
        order = await town.rest(await town.precreate(wallet, "00"))
        order = await town.rest((await town.cancel(order)).order)
        assert order.status is OrderStatus.CANCELED
        paid, refunded = town.wallet_books()[order.sn]
        assert paid == refunded
        await town.assert_books_agree()

    in_town(story)


@BOTH
@pytest.mark.parametrize("script", ["01", "05", "10", "13", "14", "15"])
@pytest.mark.parametrize("after_s", [0, 1, 4, 14, 30, 44])
def test_cancel_during_a_payment_has_one_winner(wallet: str, script: str, after_s: int) -> None:
    """Whatever the moment: CANCELED and no money held, or PAID kept with the cancel refused."""

    async def story(town: Town) -> None:
        number = town.number()
        paying = asyncio.create_task(town.pay(wallet, script, client_sn=number))
        await asyncio.sleep(after_s + 0.5)
        order = await by_number(town, number)
        answer = await town.cancel(order)
        paid = await paying
        order = await town.rest(answer.order)
        assert order.status is OrderStatus.CANCELED
        assert paid.status is not OrderStatus.PAID or answer.before is OrderStatus.PAID
        await asyncio.sleep(4_000)
        await town.rest(order)
        theirs = town.wallet_books()[order.sn]
        assert theirs[0] == theirs[1]
        await town.assert_books_agree()

    in_town(story)


async def by_number(town: Town, client_sn: str) -> Order:
    """The order a till made."""
    found = await town.store.order_by_client_sn(town.terminal.bucket, town.terminal.merchant_sn, client_sn)
    assert found is not None
    return found


@BOTH
@pytest.mark.parametrize("after_s", [0, 1, 2, 60, 239])
def test_cancel_of_a_qr_order_has_one_winner(wallet: str, after_s: int) -> None:
    """A QR order somebody is paying: the cancel wins and the money goes back."""

    async def story(town: Town) -> None:
        order = await town.precreate(wallet, "10")
        await asyncio.sleep(after_s + 0.3)
        order = await town.rest((await town.cancel(order)).order)
        assert order.status is OrderStatus.CANCELED
        await town.assert_books_agree()

    in_town(story)


@BOTH
@pytest.mark.parametrize("kind", ["pay", "precreate"])
def test_what_was_cancelled_before_it_went_out_never_goes_out(wallet: str, kind: str) -> None:
    """The process hears late that its intent is durable; a cancel met it meanwhile: no request for money."""

    async def story(town: Town) -> None:
        prompt, number = town.store.save, town.number()

        async def heard_late(change: Change) -> bool:
            held = await prompt(change)
            if change.before is None:
                await asyncio.sleep(0.5)
            return held

        town.store.save = heard_late  # type: ignore[method-assign]  # the process stands still
        starting = asyncio.create_task(
            town.pay(wallet, "00", client_sn=number)
            if kind == "pay"
            else town.precreate(wallet, "00", client_sn=number)
        )
        await asyncio.sleep(0.1)
        order = (await town.cancel(await by_number(town, number))).order
        await starting
        order = await town.rest(order)
        assert order.status is OrderStatus.CANCELED
        sent = [one.url + one.body.decode() for one in town.wire.sent]
        assert not [one for one in sent if any(mark in one for mark in STARTS)]
        await town.assert_books_agree()

    in_town(story)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("kind", ["pay", "precreate"])
def test_a_cancel_never_overtakes_what_it_cancels(kind: str, *, elsewhere: bool) -> None:
    """The start is slow on its way: the undo, of this process or another, goes out when it has arrived."""

    async def story(town: Town) -> None:
        plain, number = town.wire.send, town.number()

        async def start_is_slow(lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
            if any(mark in request.url + request.body.decode() for mark in STARTS):
                await asyncio.sleep(6)
            return await plain(lane, tls, request)

        town.wire.send = start_is_slow  # type: ignore[method-assign]  # the network is slow
        start = town.pay if kind == "pay" else town.precreate
        starting = asyncio.create_task(start("alipay", "00", client_sn=number))
        await asyncio.sleep(0.5)
        order = await by_number(town, number)
        if elsewhere:
            ids = Ids(town.clock, seed=99)
            other = replace(town.desk, turns=Turns(), bell=Bell(), ids=ids)
            await town.clock.sleep(1_000)
            await cancel(other, town.ref(order))
        else:
            await town.cancel(order)
        await starting
        order = await town.rest(order)
        assert order.status is OrderStatus.CANCELED
        trade = town.world.bank.find(order.account, order.sn)
        assert trade is not None
        assert trade.state is not State.WAITING
        assert not any(alarm["event"] == "order.late_success" for alarm in town.alarms)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_two_cancels_at_once_are_one(wallet: str) -> None:
    """Cancel and revoke pressed together: one movement undoes the order."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        await asyncio.gather(*(town.cancel(order) for _ in range(8)))
        order = await town.rest(order)
        kinds = [one.kind for one in await town.movements(order)]
        assert order.status is OrderStatus.CANCELED
        assert kinds == [TransactionKind.PAY, TransactionKind.CANCEL]

    in_town(story)


@BOTH
def test_what_cannot_be_cancelled_says_why(wallet: str) -> None:
    """Another day, after a refund, or twice: refused, and the order stays as it is."""

    async def story(town: Town) -> None:
        canceled = await town.rest((await town.cancel(await town.pay(wallet, "00"))).order)
        refunded = await town.pay(wallet, "00")
        await town.refund(refunded, 30, "R1")
        yesterday = await town.pay(wallet, "00")
        await asyncio.sleep(DAY_S)
        for order, code in (
            (canceled, "UPAY_CANCEL_ORDER_NOOP"),
            (refunded, "UPAY_CANCEL_INVALID_ORDER_STATE"),
            (yesterday, "UPAY_CANCEL_INVALID_ORDER_STATE"),
        ):
            before = await town.now(order)
            with pytest.raises(StateForbids) as refused:
                await town.cancel(order)
            assert refused.value.error_code == code
            assert await town.now(order) == before

    in_town(story)
