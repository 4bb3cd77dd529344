"""Refunds: once per number, never a fen above what was paid, and the truth about refusals (M3, M7)."""

import asyncio
from dataclasses import replace

import pytest

from paymux.domain.errors import RefundRequestConflict, RequestRefused, StateForbids
from paymux.domain.limits import Limits
from paymux.domain.order import OrderStatus, TransactionStatus
from paymux.domain.requests import OrderAnswer, RefundRequest
from paymux.flows.desk import Bell, Turns
from paymux.flows.refund import refund
from tests.harness.town import WALLETS, Town, in_town

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))


@BOTH
def test_parts_then_the_rest(wallet: str) -> None:
    """PARTIAL_REFUNDED until nothing is left, then REFUNDED; one fen more is refused."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        seen = [(await town.refund(order, amount, f"R{amount}")).order for amount in (30, 50, 20)]
        rested = await town.rest(order)
        assert [one.net for one in seen] == [70, 20, 0]
        assert rested.status is OrderStatus.REFUNDED
        with pytest.raises(StateForbids, match="可退金额不足"):
            await town.refund(order, 1, "R1")
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_32_refunds_at_once_never_exceed_the_amount(wallet: str) -> None:
    """32 different refunds of 7 fen out of 100: exactly 14 succeed, at the wallet too."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        answers = await asyncio.gather(
            *(town.refund(order, 7, f"R{k}") for k in range(32)), return_exceptions=True
        )
        order = await town.rest(order)
        given = [one for one in answers if isinstance(one, OrderAnswer)]
        refused = [one for one in answers if isinstance(one, RequestRefused)]
        assert (len(given), len(refused)) == (14, 18)
        assert (order.refunded, order.status) == (98, OrderStatus.PARTIAL_REFUNDED)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_the_same_refund_32_times_is_one_refund(wallet: str) -> None:
    """A till that retries its refund from every corner moves the money once."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "17")
        answers = await asyncio.gather(*(town.refund(order, 40, "R1") for _ in range(32)))
        order = await town.rest(order)
        assert {answer.transaction.tsn for answer in answers if answer.transaction} == {
            (await town.movements(order))[1].tsn
        }
        assert (order.refunded, len(await town.movements(order))) == (40, 2)
        again = await town.refund(order, 40, "R1")
        assert again.transaction is not None
        assert again.transaction.status is TransactionStatus.SUCCESS
        with pytest.raises(RefundRequestConflict):
            await town.refund(order, 41, "R1")
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_a_repeat_waits_for_the_maker_of_its_refund(wallet: str) -> None:
    """A repeat in another process sends nothing while the maker tries, and still hears how that ended."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        elsewhere = replace(town.desk, turns=Turns(), bell=Bell())
        request = RefundRequest(ref=town.ref(order), refund_request_no="R1", amount=40, operator="ann")
        answers = await asyncio.gather(*(refund(desk, request) for desk in [town.desk] + [elsewhere] * 31))
        heard = [answer.transaction and answer.transaction.status for answer in answers]
        assert heard == [TransactionStatus.SUCCESS] * 32
        await town.assert_books_agree()

    in_town(story, limits=Limits(refund_wait_s=3))


def test_a_repeat_in_another_process_hears_soon_how_it_ended() -> None:
    """No bell rings across processes: whoever waits there looks for himself, within about a second."""

    async def story(town: Town) -> None:
        order = await town.pay("alipay", "00")
        here, elsewhere = (replace(town.desk, turns=Turns(), bell=Bell(look_ms=1_000)) for _ in range(2))
        request = RefundRequest(ref=town.ref(order), refund_request_no="R1", amount=40, operator="ann")
        began_ms = town.clock.now_ms()
        answers = await asyncio.gather(refund(here, request), refund(elsewhere, request))
        assert town.clock.now_ms() - began_ms < 2_000
        heard = [answer.transaction and answer.transaction.status for answer in answers]
        assert heard == [TransactionStatus.SUCCESS] * 2

    in_town(story)


@BOTH
def test_a_refund_answered_system_error_is_repeated_with_its_number(wallet: str) -> None:
    """Script 17: done at the wallet, first answer an error; the repeat finds it done, nothing moves twice."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "17")
        answer = await town.refund(order, 60, "R1")
        order = await town.rest(order)
        assert answer.transaction is not None
        assert (order.refunded, order.status) == (60, OrderStatus.PARTIAL_REFUNDED)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_a_refused_refund_leaves_the_order_as_it_was(wallet: str) -> None:
    """Script 18: the seller's balance is empty; the reservation ends and the number may be tried again."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "18")
        for _ in range(2):
            answer = await town.refund(order, 60, "R1")
            assert answer.transaction is not None
            assert answer.transaction.status is TransactionStatus.REFUND_ERROR
            assert answer.transaction.error_code == "SELLER_BALANCE_NOT_ENOUGH"
            order = await town.rest(order)
            assert (order.status, order.refunding, order.refunded) == (OrderStatus.PAID, 0, 0)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_a_silent_wallet_gets_the_refund_later(wallet: str) -> None:
    """The wallet is away for ten minutes: REFUND_ERROR and an alarm, then the refund happens, once."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        town.wire.cut = True
        answer = await town.refund(order, 100, "R1")
        assert answer.order.status is OrderStatus.REFUND_INPROGRESS
        await asyncio.sleep(600)
        stuck = await town.now(order)
        assert (stuck.status, stuck.refunding) == (OrderStatus.REFUND_ERROR, 100)
        assert any(alarm["event"] == "refund.spent" for alarm in town.alarms)
        town.wire.cut = False
        order = await town.rest(order, within_s=120)
        assert (order.status, order.refunded) == (OrderStatus.REFUNDED, 100)
        await town.assert_books_agree()

    in_town(story)
