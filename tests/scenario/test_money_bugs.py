"""Ways in which real gateways lost or doubled money, each with a test that would catch it here.

The numbers are those of the list of money bugs the design started from. Not here, because the mistake has no
place to happen: B12 and B17 (an order goes out on one channel, once). B11 (a scan of all orders every minute)
is held by the storage contract: every query finds its rows by an index.
"""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from paymux.channels.contract import ClientTls, HttpRequest, Pay
from paymux.channels.registry import open_channel
from paymux.channels.transport import AiohttpTransport, NotSent
from paymux.domain.errors import ClientSnConflict, StorageFailed
from paymux.domain.order import Order, OrderKey, OrderStatus, TransactionKind
from paymux.flows.callback import callback
from paymux.flows.record import fresh
from paymux.sandbox.messages import Call
from paymux.sandbox.server import Sandbox
from paymux.storage.contract import Change
from tests.harness.town import MERCHANT, WALLETS, Town, in_town, sandbox_keys

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))


def pay_requests(town: Town) -> list[HttpRequest]:
    """The requests that may have taken money."""
    return [one for one in town.wire.sent if b"auth_code" in one.body]


def refund_numbers(town: Town) -> list[str]:
    """The refund numbers the wallets heard, in order."""
    found = (
        re.search(rb"out_re(?:fund|quest)_no(?:%22%3A%22|>(?:<!\[CDATA\[)?)(\d+)", one.body)
        for one in town.wire.sent
    )
    return [one.group(1).decode() for one in found if one]


def test_b01_a_read_timeout_strands_no_money() -> None:
    """B1: no reply, no callback: the payment is asked about until it is known to be paid."""

    async def story(town: Town) -> Order:
        town.wire.mail_lost = True
        return await town.pay("alipay", "05")

    assert in_town(story).status is OrderStatus.PAID


@BOTH
def test_b02_system_error_is_not_a_failure(wallet: str) -> None:
    """B2: "system error" after taking the money never becomes a final failure."""

    async def story(town: Town) -> Order:
        town.wire.mail_lost = True
        return await town.pay(wallet, "09")

    assert in_town(story).status is OrderStatus.PAID


@BOTH
@pytest.mark.parametrize("script", ["06", "07", "12", "08"])
def test_b03_no_reply_we_do_not_understand_decides(wallet: str, script: str) -> None:
    """B3: garbage, forgeries, unknown codes and HTTP 500 neither fail nor pay an order by themselves."""

    async def story(town: Town) -> None:
        town.wire.mail_lost = True
        paying = asyncio.create_task(town.pay(wallet, script, client_sn="X"))
        await asyncio.sleep(0.1)
        order = await town.store.order_by_client_sn(town.terminal.bucket, MERCHANT, "X")
        assert order is not None
        taken = town.wallet_books().get(order.sn, (0, 0))[0]
        assert order.status in {OrderStatus.CREATED, OrderStatus.PAID if taken else OrderStatus.CREATED}
        order = await town.rest(await paying)
        assert (order.status is OrderStatus.PAID) == bool(taken)

    in_town(story)


@BOTH
def test_b04_a_late_callback_never_splits_what_is_told_from_what_is_stored(wallet: str) -> None:
    """B4, B24: success after the end is refunded; no notification says PAID of an order that is not."""

    async def story(town: Town) -> None:
        order = await town.rest(await town.pay(wallet, "14"))
        await asyncio.sleep(700)
        order = await town.rest(order)
        assert "PAID" not in {body["order_status"] for _, _, body in town.wire.told}
        assert order.paid == order.refunded == order.total

    in_town(story)


@BOTH
def test_b05_an_unknown_payment_is_reversed(wallet: str) -> None:
    """B5: still unknown at the deadline: reversed at the wallet, not closed by an UPDATE of ours."""

    async def story(town: Town) -> None:
        order = await town.rest(await town.pay(wallet, "15"))
        kinds = [one.kind for one in await town.movements(order)]
        assert order.status is OrderStatus.PAY_CANCELED
        assert kinds == [TransactionKind.PAY, TransactionKind.REVERSE]
        assert town.wallet_books()[order.sn] == (0, 0)

    in_town(story)


@BOTH
def test_b08_a_refund_is_never_closed_by_time(wallet: str) -> None:
    """B8: a day without an answer: the amount stays reserved, and no second refund can slip in."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        town.wire.cut = True
        await town.refund(order, 100, "R1")
        await asyncio.sleep(86_400)
        order = await town.now(order)
        assert (order.status, order.refunding, order.refundable) == (OrderStatus.REFUND_ERROR, 100, 0)
        town.wire.cut = False
        order = await town.rest(order, within_s=4_000)
        assert (order.status, order.refunded) == (OrderStatus.REFUNDED, 100)
        await town.assert_books_agree()

    in_town(story)


@BOTH
def test_b15_an_old_answer_does_not_undo_a_newer_fact(wallet: str) -> None:
    """B15: what was judged by an older version of the order is judged again, not written."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        stale = order
        canceled = await town.rest((await town.cancel(order)).order)
        assert canceled.status is OrderStatus.CANCELED
        answer = await town.query(stale)
        assert answer.order == canceled

    in_town(story)


@BOTH
def test_b16_an_unknown_payment_cannot_be_tried_again_under_its_number(wallet: str) -> None:
    """B16: while we do not know, the same client_sn is refused: no second charge of one sale."""

    async def story(town: Town) -> None:
        paying = asyncio.create_task(town.pay(wallet, "10", client_sn="X"))
        await asyncio.sleep(10)
        with pytest.raises(ClientSnConflict):
            await town.pay(wallet, "00", client_sn="X")
        assert len(pay_requests(town)) == 1
        await town.rest(await paying)

    in_town(story)


@BOTH
def test_b18_a_repeated_refund_keeps_its_number(wallet: str) -> None:
    """B18: every repeat, by us or by the till, names the same refund to the wallet."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "17")
        await asyncio.gather(*(town.refund(order, 60, "R1") for _ in range(4)))
        await town.rest(order)
        assert len(set(refund_numbers(town))) == 1
        assert len(refund_numbers(town)) > 1

    in_town(story)


@BOTH
def test_b19_reply_and_callback_together_are_one_payment(wallet: str) -> None:
    """B19: whoever comes first records it; the merchant is told once."""

    async def story(town: Town) -> None:
        await town.pay(wallet, "16")
        await town.rest(await town.precreate(wallet, "16"))
        await asyncio.sleep(60)
        told = [(body["sn"], body["order_status"]) for _, _, body in town.wire.told]
        assert len(told) == len(set(told)) == 2

    in_town(story)


@BOTH
@pytest.mark.parametrize("script", ["04", "05", "06", "08", "09", "11", "12", "13"])
def test_b20_a_charge_is_sent_once(wallet: str, script: str) -> None:
    """B20: whatever happens to the reply, the pay request is never repeated."""

    async def story(town: Town) -> None:
        await town.rest(await town.pay(wallet, script))
        assert len(pay_requests(town)) == 1

    in_town(story)


def test_b21_a_replayed_refund_callback_refunds_nothing_more() -> None:
    """B21, B22: WeChat's refund callback a hundred times over: one refund, one movement."""

    async def story(town: Town) -> None:
        order = await town.rest(await town.precreate("wechat", "00"))
        await town.refund(order, 40, "R1")
        await asyncio.sleep(60)
        before = await town.rest(order)
        heard = [event for event in await town.store.events(order.key) if "wechat.callback" in event.what]
        assert len(heard) >= 2
        for one in town.mail[-1:] * 100:
            await callback(town.desk, "wechat", order.key, one)
        after = await fresh(town.desk, order.key)
        assert (after.refunded, after.status) == (before.refunded, before.status) == (40, "PARTIAL_REFUNDED")

    in_town(story)


@BOTH
def test_b23_a_cancelled_code_cannot_be_paid(wallet: str) -> None:
    """B23: the order is closed at the wallet, not only with us."""

    async def story(town: Town) -> None:
        order = await town.precreate(wallet, "03")
        await town.rest((await town.cancel(order)).order)
        scan = msgspec.json.encode({"out_trade_no": order.sn, "buyer": f"{wallet}-A", "action": "pay"})
        town.world.handle(Call(method="POST", path="/_sandbox/scan", body=scan))
        assert town.wallet_books()[order.sn] == (0, 0)
        assert (await town.now(order)).status is OrderStatus.CANCELED

    in_town(story)


@BOTH
def test_b25_signing_is_safe_in_threads(wallet: str) -> None:
    """B25: one channel object signs for eight threads at once; every request verifies at the wallet."""

    async def story(town: Town) -> None:
        (account,) = [one for one in await town.store.accounts(MERCHANT) if one.name == wallet]
        channel = open_channel(account)
        _, prefix = WALLETS[wallet]

        def build(number: int) -> HttpRequest:
            operation = Pay(
                out_trade_no=f"{number:016d}",
                amount=number,
                auth_code=f"{prefix}{number:014d}20",
                subject="茶",
                ctime_ms=town.clock.now_ms(),
            )
            request = channel.build(operation, now_ms=town.clock.now_ms(), nonce=f"{number:032x}")
            assert isinstance(request, HttpRequest)
            return request

        with ThreadPoolExecutor(8) as threads:
            requests = list(threads.map(build, range(1, 200)))
        for request in requests:
            await town.wire.send("x", None, request)
        assert sorted(paid for paid, _ in town.wallet_books().values()) == list(range(1, 200))

    in_town(story)


def test_b26_tls_is_verified() -> None:
    """B26: a server whose certificate nobody vouches for hears nothing from us; with its CA it is trusted."""

    async def story() -> None:
        sandbox = Sandbox(keys=sandbox_keys())
        await sandbox.start()
        transport = AiohttpTransport(calls_per_account=4, allow_private_targets=False)
        request = HttpRequest(
            method="GET",
            url=f"{sandbox.secure_base_url}/x",
            headers={},
            body=b"",
            timeout_s=5,
            mutual_tls=True,
        )
        ring = sandbox_keys()
        known = {"certificate": ring.wechat_client.cert, "key": ring.wechat_client.key}
        try:
            with pytest.raises(NotSent, match="certificate verify failed"):
                await transport.send("stranger", ClientTls(**known), request)
            reply = await transport.send("known", ClientTls(**known, ca=ring.tls_ca_cert), request)
            assert reply.status > 0
        finally:
            await transport.close()
            await sandbox.stop()

    asyncio.run(story())


def test_b10_no_secret_is_kept_or_logged() -> None:
    """B10: neither history nor alarms hold a key, a full barcode or a signature."""

    async def story(town: Town) -> None:
        orders = [await town.pay(wallet, script) for wallet in WALLETS for script in ("00", "05", "07", "14")]
        orders += [await town.precreate(wallet, "00") for wallet in WALLETS]
        await town.rest_all(orders)
        for order in orders[:2]:
            await town.refund(order, 1, "R1")
        await asyncio.sleep(700)
        history = [event.text for order in orders for event in await town.store.events(order.key)]
        kept = "\n".join([*history, repr(town.alarms)])
        accounts = await town.store.accounts(MERCHANT)
        secrets = [value for one in accounts for name, value in one.credentials.items() if "key" in name]
        barcodes = {one for sent in town.wire.sent for one in re.findall(rb"\b(?:28|13)\d{16}\b", sent.body)}
        assert barcodes
        for secret in [*secrets, town.terminal.current_key, *(code.decode() for code in barcodes)]:
            assert secret not in kept
        assert not re.search(r"sign[^a-z_]{1,20}[0-9A-Fa-f]{32}", kept)

    in_town(story)


def test_b07_the_database_itself_refuses_too_much() -> None:
    """B7: even a wrong judgement cannot reserve more than was paid: the database says no."""

    async def story(town: Town) -> None:
        order = await town.pay("wechat", "00")
        wrong = msgspec.structs.replace(order, version=order.version + 1, refunding=order.total + 1)
        with pytest.raises(StorageFailed):
            await town.store.save(Change(order=wrong, before=order))
        assert (await town.now(order)) == order

    in_town(story)


@BOTH
def test_b09_each_status_is_told_once_and_to_the_right_address(wallet: str) -> None:
    """B9: a hundred workers' turns later there is one delivery per status, not 2ⁿ."""

    async def story(town: Town) -> None:
        order = await town.pay(wallet, "00")
        await asyncio.sleep(3_600)
        assert [body["sn"] for _, _, body in town.wire.told] == [order.sn]

    in_town(story)


def test_a_callback_for_somebody_elses_order_changes_nothing() -> None:
    """M9: a true callback sent to another order's address is not acknowledged."""

    async def story(town: Town) -> None:
        paid = await town.rest(await town.precreate("wechat", "00"))
        other = await town.precreate("wechat", "03")
        ack = await callback(town.desk, "wechat", other.key, town.mail[0])
        assert b"FAIL" in ack.body
        assert (await town.now(other)).status is OrderStatus.CREATED
        nobody = OrderKey(paid.bucket, paid.merchant_id, "7999999999999999")
        assert b"FAIL" in (await callback(town.desk, "wechat", nobody, town.mail[0])).body

    in_town(story)
