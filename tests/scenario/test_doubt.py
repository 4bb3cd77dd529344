"""Requests that arrive late, refusals that are not the last word, wallets that give up what they accepted."""

import asyncio
from collections.abc import Callable

import pytest

from paymux.channels.contract import ClientTls, HttpRequest, HttpResponse
from paymux.channels.transport import NoReply
from paymux.domain.order import OrderStatus, TransactionStatus
from paymux.sandbox import alipay_trades, wechat_trades
from paymux.sandbox.messages import Reply
from tests.harness.town import WALLETS, Town, in_town

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))
MARKS = {"alipay": "alipay.trade.", "wechat": "/secapi/pay/"}
LATE_S = 20


def first_is_late(town: Town, mark: str, *, then: Callable[[], None]) -> None:
    """Let the first request with `mark` reach the wallet only 20 s later, long after we stopped waiting."""
    plain, late = town.wire.send, []

    async def arrive(lane: str, tls: ClientTls | None, request: HttpRequest) -> None:
        await asyncio.sleep(LATE_S)
        then()
        await plain(lane, tls, request)

    async def send(lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
        if late or mark not in request.url + request.body.decode():
            return await plain(lane, tls, request)
        late.append(asyncio.create_task(arrive(lane, tls, request)))
        await asyncio.sleep(request.timeout_s)
        raise NoReply("timed out")

    town.wire.send = send  # type: ignore[method-assign]  # the network is slow


class PoorSeller:
    """While `broke`, no wallet gives anything of this seller's money back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broke = True
        words = ("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
        alipay = alipay_trades.AlipayTrades
        self._stop(monkeypatch, alipay, "_refuse_refund", lambda: alipay_trades.Rejected(*words))
        self._stop(monkeypatch, alipay, "_void", lambda: alipay_trades.Rejected(*words, retry_flag="N"))
        broke = wechat_trades.Failed("NOTENOUGH", "余额不足")
        self._stop(monkeypatch, wechat_trades.WechatTrades, "_refuse_refund", lambda: broke)

    def earns(self) -> None:
        """A sale comes in."""
        self.broke = False

    def _stop(
        self, patch: pytest.MonkeyPatch, owner: type, name: str, refusal: Callable[[], Exception]
    ) -> None:
        plain = getattr(owner, name)

        def maybe(*args: object, **more: object) -> object:
            if self.broke:
                raise refusal()
            return plain(*args, **more)

        patch.setattr(owner, name, maybe)


@BOTH
def test_a_refund_on_its_way_is_not_refused(wallet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request arrives after a repeat was refused: one refund, booked once, and nothing lost."""
    seller = PoorSeller(monkeypatch)

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        first_is_late(town, MARKS[wallet] + "refund", then=seller.earns)
        answer = await town.refund(order, 40, "R1")
        assert answer.transaction is not None
        assert answer.transaction.status is TransactionStatus.CREATED
        order = await town.rest(order)
        assert (order.refunded, order.status) == (40, OrderStatus.PARTIAL_REFUNDED)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_a_refund_that_stays_refused_is_given_up(wallet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused again when nothing can be on its way any more: back to PAID, and asked about later."""
    PoorSeller(monkeypatch)

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        first_is_late(town, MARKS[wallet] + "refund", then=lambda: None)
        await town.refund(order, 40, "R1")
        order = await town.rest(order)
        assert (order.status, order.refunding) == (OrderStatus.PAID, 0)
        assert [due.kind.value for due in await town.store.due_of(order.key)] == ["watch"]

    in_town(story)


def test_a_reversal_on_its_way_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alipay's first cancel arrives after a repeat was refused: CANCELED, as the wallet has it."""
    seller = PoorSeller(monkeypatch)

    async def story(town: Town) -> None:
        order = await town.pay("alipay", "00")
        first_is_late(town, "alipay.trade.cancel", then=seller.earns)
        order = await town.rest((await town.cancel(order)).order)
        assert order.status is OrderStatus.CANCELED
        await town.assert_books_agree()

    in_town(story)


@pytest.mark.parametrize("end", ["REFUNDCLOSE", "CHANGE"])
def test_a_refund_wechat_gives_up_is_not_money_back(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted, then closed by WeChat: the cancel did not happen, whatever trade_state REFUND suggests."""
    plain = wechat_trades.WechatTrades._refund_row

    def ended(self: wechat_trades.WechatTrades, *args: object) -> dict[str, str]:
        row = plain(self, *args)  # type: ignore[arg-type]  # whatever it is called with
        return {name: end if name.startswith("refund_status") else value for name, value in row.items()}

    monkeypatch.setattr(wechat_trades.WechatTrades, "_refund_row", ended)

    async def story(town: Town) -> None:
        order = await town.rest(await town.precreate("wechat", "00"))
        await town.cancel(order)
        await asyncio.sleep(900)
        order = await town.now(order)
        expected = OrderStatus.PAID if end == "REFUNDCLOSE" else OrderStatus.CANCEL_ERROR
        assert (order.status, order.refunded) == (expected, 0)
        assert town.alarms

    in_town(story)


@BOTH
def test_a_late_success_is_found_when_the_wallet_comes_back(wallet: str) -> None:
    """The line is dead for hours after the reversal: looks count only when they are answered."""

    async def story(town: Town) -> None:
        town.wire.mail_lost = True
        order = await town.rest(await town.pay(wallet, "14"))
        town.wire.cut = True
        await asyncio.sleep(3 * 3600)
        town.wire.cut = False
        await asyncio.sleep(2 * 3600)
        order = await town.rest(order)
        assert (order.status, order.paid, order.refunded) == (OrderStatus.PAY_CANCELED, 100, 100)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_nothing_is_charged_after_the_shop_gave_up(wallet: str) -> None:
    """The wallet cannot be reached, the till cancels, the line comes back: no pay request goes out."""

    async def story(town: Town) -> None:
        town.wire.cut = True
        paying = asyncio.create_task(town.pay(wallet, "00", client_sn="X"))
        await asyncio.sleep(0.5)
        order = await town.store.order_by_client_sn(town.terminal.bucket, town.terminal.merchant_sn, "X")
        assert order is not None
        town.wire.cut = False
        canceling = asyncio.create_task(town.cancel(order))
        await paying
        order = await town.rest((await canceling).order)
        assert order.status is OrderStatus.CANCELED
        assert not any(b"auth_code" in one.body for one in town.wire.sent)

    in_town(story)


@BOTH
def test_a_stuck_cancel_by_refund_ends(wallet: str) -> None:
    """The wallet is away past the budget, then takes the refund: CANCEL_ERROR becomes CANCELED."""

    async def story(town: Town) -> None:
        order = await town.rest(await town.precreate(wallet, "00"))
        town.wire.cut = True
        await town.cancel(order)
        await asyncio.sleep(400)
        assert (await town.now(order)).status is OrderStatus.CANCEL_ERROR
        town.wire.cut = False
        order = await town.rest(order, within_s=200)
        assert order.status is OrderStatus.CANCELED
        await town.assert_books_agree()

    in_town(story)


def test_a_cancel_wechat_gave_up_is_carried_out_after_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refund WeChat had closed goes through later: the order that stood is CANCELED, loudly."""
    plain = wechat_trades.WechatTrades._refund_row
    closed = True

    def ended(self: wechat_trades.WechatTrades, *args: object) -> dict[str, str]:
        row = plain(self, *args)  # type: ignore[arg-type]  # whatever it is called with
        if not closed:
            return row
        return {
            name: "REFUNDCLOSE" if name.startswith("refund_status") else value for name, value in row.items()
        }

    monkeypatch.setattr(wechat_trades.WechatTrades, "_refund_row", ended)

    async def story(town: Town) -> None:
        nonlocal closed
        order = await town.rest(await town.precreate("wechat", "00"))
        await town.cancel(order)
        order = await town.rest(order)
        assert order.status is OrderStatus.PAID
        closed = False
        await asyncio.sleep(4_000)
        order = await town.now(order)
        assert (order.status, order.paid, order.refunded) == (OrderStatus.CANCELED, 100, 100)
        assert "undo.done_after_all" in [alarm["event"] for alarm in town.alarms]
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_an_earlier_refunds_reply_proves_nothing(wallet: str) -> None:
    """The first refund's genuine reply comes back for the second, which is not done: it is repeated."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        plain, replies = town.wire.send, []

        async def send(lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
            if MARKS[wallet] + "refund" not in request.url + request.body.decode() or "query" in request.url:
                return await plain(lane, tls, request)
            if len(replies) != 1:
                replies.append(await plain(lane, tls, request))
                return replies[-1]
            replies.append(replies[0])
            return replies[0]

        town.wire.send = send  # type: ignore[method-assign]  # somebody on the line keeps a request
        await town.refund(order, 48, "R1")
        order = await town.rest(order)
        answer = await town.refund(order, 27, "R2")
        assert answer.transaction is not None
        assert answer.transaction.status is TransactionStatus.SUCCESS
        assert len(replies) == 3
        await town.assert_books_agree()
        assert (await town.rest(order)).refunded == 75

    in_town(story)


@pytest.mark.parametrize("wish", ["cancel", "refund"])
@BOTH
def test_calls_that_cross_do_not_hurry_each_other(wallet: str, wish: str) -> None:
    """Two calls about one failing undo or refund keep the gaps between requests: no storm."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        well = town.world.handle
        town.world.handle = lambda _: Reply(status=500, body=b"busy")  # type: ignore[method-assign]  # all are sick
        before = len(town.wire.sent)
        if wish == "cancel":
            await asyncio.gather(town.cancel(order), town.cancel(order))
        else:
            await asyncio.gather(*(town.refund(order, 100, "R1") for _ in range(2)))
        assert 2 <= len(town.wire.sent) - before <= 30
        town.world.handle = well  # type: ignore[method-assign]  # as before
        await town.rest(order)
        await town.assert_books_agree()

    in_town(story)
