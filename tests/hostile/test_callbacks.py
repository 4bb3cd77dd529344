"""Forged, replayed and misdirected callbacks: nobody but the wallet says that an order is paid (row 5, M6).

They come in through the gateway's own address, as bytes. The town's wallets are the witness: an order is paid
in our books when, and only when, it is paid in theirs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paymux.channels.contract import Callback
from paymux.domain.order import Order, OrderStatus
from paymux.domain.people import Account, Merchant, Store
from paymux.sandbox import alipay_signing, wechat_signing
from paymux.sandbox.xmltext import read_xml, write_xml
from paymux.wire.server import build_app
from tests.contract.upay.edge import HttpReply, http
from tests.harness.town import CALLBACK_BASE, WALLETS, Town, in_town, sandbox_keys

BOTH = pytest.mark.parametrize("wallet", sorted(WALLETS))
Fields = dict[str, str]
OTHER = "1680000000000002"


# ---------------------------------------------------------------- letters


class Postman:
    """Reads, rewrites and signs callbacks of one wallet, and brings them wherever he likes."""

    def __init__(self, town: Town, wallet: str) -> None:
        self.town, self.wallet = town, wallet
        rows = msgspec.convert(town.world.accounts(), list[dict[str, Any]])
        (self.account,) = [row for row in rows if row["name"] == wallet]
        self.app = build_app(town.desk)

    def opened(self, letter: Callback) -> Fields:
        """The fields of a callback."""
        return dict(parse_qsl(letter.body.decode())) if self.wallet == "alipay" else read_xml(letter.body)

    def closed(self, fields: Fields) -> bytes:
        """Its body again, whatever its signature is worth."""
        return urlencode(fields).encode() if self.wallet == "alipay" else write_xml(fields)

    def signed(self, fields: Fields, *, key: str = "") -> bytes:
        """The body, signed with the wallet's key or with another one."""
        bare = {name: value for name, value in fields.items() if name != "sign"}
        if self.wallet == "alipay":
            text = alipay_signing.string_to_sign(bare, without=("sign", "sign_type")).encode()
            sign = alipay_signing.sign(text, key or sandbox_keys().alipay.private)
        else:
            sign = wechat_signing.sign(bare, key or self.account["api_key"], bare.get("sign_type", "MD5"))
        return self.closed(bare | {"sign": sign})

    async def bring(self, order: Order, body: bytes, *, path: str = "") -> HttpReply:
        """Bring bytes to an order's address, or to another one."""
        path = path or self.town.desk.callback_url(order).removeprefix(CALLBACK_BASE)
        return await http(self.app, "POST", path, chunks=[body])

    def thanked(self, reply: HttpReply) -> bool:
        """Whether the wallet was thanked, and will not come again."""
        return reply.status == 200 and (reply.body == b"success" or b"SUCCESS" in reply.body)


async def two_orders(town: Town, wallet: str) -> tuple[Order, Order, Callback]:
    """A paid order with the wallet's callback about it, and one that waits, over the same amount."""
    paid = await town.rest(await town.precreate(wallet, "00"))
    await asyncio.sleep(5)
    assert paid.status is OrderStatus.PAID
    letter = next(one for one in town.mail if paid.sn.encode() in one.body)
    waiting = await town.precreate(wallet, "10")
    assert waiting.status is OrderStatus.CREATED
    return paid, waiting, letter


def tell(wallet: str, story: Callable[[Town, Postman, Order, Order, Callback], Awaitable[None]]) -> None:
    """Tell a story of two orders and a postman; afterwards the books agree."""

    async def told(town: Town) -> None:
        paid, waiting, letter = await two_orders(town, wallet)
        await story(town, Postman(town, wallet), paid, waiting, letter)
        assert (await town.now(waiting)).paid == 0
        assert (await town.now(paid)).paid == paid.total
        await town.assert_books_agree()

    in_town(told)


# ---------------------------------------------------------------- replays


@BOTH
def test_replays(wallet: str) -> None:
    """The same callback again, twenty times and at once: thanked for, and nothing happens any more."""

    async def story(town: Town, postman: Postman, paid: Order, _: Order, letter: Callback) -> None:
        told, moved = len(town.wire.told), await town.movements(paid)
        replies = await asyncio.gather(*(postman.bring(paid, letter.body) for _ in range(20)))
        assert all(postman.thanked(reply) for reply in replies)
        await asyncio.sleep(60)
        assert (len(town.wire.told), await town.movements(paid)) == (told, moved)
        assert await town.now(paid) == paid

    tell(wallet, story)


@BOTH
@pytest.mark.parametrize("then", ["refund", "cancel"])
def test_replays_of_an_old_success(wallet: str, then: str) -> None:
    """A success that was true before a refund or cancel does not bring the money back into the books."""

    async def story(town: Town) -> None:
        paid, _, letter = await two_orders(town, wallet)
        await (town.refund(paid, paid.total, "R1") if then == "refund" else town.cancel(paid))
        before = await town.rest(paid)
        postman = Postman(town, wallet)
        for _ in range(3):
            await postman.bring(paid, letter.body)
        after = await town.rest(paid)
        assert (after.status, after.net, after.paid, after.refunded) == (
            before.status,
            before.net,
            before.paid,
            before.refunded,
        )
        await town.assert_books_agree()

    in_town(story)


# ---------------------------------------------------------------- the wrong address


@BOTH
def test_another_orders_address(wallet: str) -> None:
    """A true callback about one order, brought to another one's address, tells nothing and rings an alarm."""

    async def story(town: Town, postman: Postman, _: Order, waiting: Order, letter: Callback) -> None:
        reply = await postman.bring(waiting, letter.body)
        assert not postman.thanked(reply)
        assert town.alarms[-1]["event"] == "callback.other_order"

    tell(wallet, story)


@BOTH
def test_another_accounts_address(wallet: str) -> None:
    """At the other wallet's address, at one of another merchant, at one of nobody: no thanks, no change."""

    async def story(town: Town, postman: Postman, paid: Order, _: Order, letter: Callback) -> None:
        await settle_other_merchant(town)
        (other,) = set(WALLETS) - {wallet}
        sn, bucket = paid.sn, paid.bucket
        for path in (
            f"/callbacks/{other}/{bucket}/{paid.merchant_id}/{sn}",
            f"/callbacks/{wallet}/{bucket}/{OTHER}/{sn}",
            f"/callbacks/{wallet}/{(bucket + 1) % 64}/{paid.merchant_id}/{sn}",
            f"/callbacks/{wallet}/{bucket}/{paid.merchant_id}/{int(sn) + 1}",
            f"/callbacks/nobody/{bucket}/{paid.merchant_id}/{sn}",
            f"/callbacks/{wallet}/{bucket}/nobody/{sn}",
        ):
            assert not postman.thanked(await postman.bring(paid, letter.body, path=path)), path
        assert await town.now(paid) == paid

    tell(wallet, story)


@BOTH
@pytest.mark.parametrize(
    "number", ["64", "9" * 18, "9223372036854775807", "9223372036854775808", "9" * 40, "9" * 4000]
)
def test_buckets_there_are_not(wallet: str, number: str) -> None:
    """A bucket beyond any, of a merchant and account that exist: no such order, and no incident."""

    async def story(town: Town, postman: Postman, paid: Order, _: Order, letter: Callback) -> None:
        path = f"/callbacks/{wallet}/{number}/{paid.merchant_id}/{paid.sn}"
        for tail in ("", "/refunds/7"):
            reply = await postman.bring(paid, letter.body, path=path + tail)
            assert not postman.thanked(reply)
            assert reply.status != 500
        assert [alarm["event"] for alarm in town.alarms if alarm["event"].endswith(".failed")] == []

    tell(wallet, story)


async def settle_other_merchant(town: Town) -> None:
    """A second merchant with accounts of the same names and contracts of its own."""
    theirs = [
        Account(
            name=one.name,
            merchant_sn=OTHER,
            channel=one.channel,
            payways=one.payways,
            base_url=one.base_url,
            credentials=one.credentials | {"app_id": "2021000000000000", "api_key": "k" * 32},
        )
        for one in await town.store.accounts(town.terminal.merchant_sn)
    ]
    await town.store.put_people(
        merchants=(Merchant(merchant_sn=OTHER, name="other"),),
        stores=(Store(store_sn="1580000000000002", merchant_sn=OTHER, name="other"),),
        accounts=tuple(theirs),
    )


# ---------------------------------------------------------------- forgeries


def forgeries(postman: Postman, fields: Fields, waiting: Order) -> dict[str, bytes]:
    """Letters that say the waiting order is paid, made by somebody who has seen a true one."""
    about = fields | {"out_trade_no": waiting.sn}
    strangers_key = sandbox_keys().alipay_merchant.private if postman.wallet == "alipay" else "k" * 32
    unsigned = {name: value for name, value in about.items() if name != "sign"}
    return {
        "the old signature": postman.closed(about),
        "no signature": postman.closed(unsigned),
        "an empty signature": postman.closed(about | {"sign": ""}),
        "zeros": postman.closed(about | {"sign": "0" * len(fields["sign"])}),
        "a stranger's key": postman.signed(about, key=strangers_key),
        "another sign_type": postman.closed(about | {"sign_type": "NONE"}),
        "RSA instead of RSA2": postman.closed(about | {"sign_type": "RSA"}),
        "HMAC announced": postman.closed(about | {"sign_type": "HMAC-SHA256"}),
        "the signature twice": postman.closed(about) + postman.closed({"sign": fields["sign"]}),
        "the order twice": postman.closed(fields) + b"&" + postman.closed({"out_trade_no": waiting.sn}),
        "the order twice, first": postman.closed({"out_trade_no": waiting.sn})
        + b"&"
        + postman.closed(fields),
        "a signature in capitals": postman.closed(about | {"sign": fields["sign"].upper()}),
        "a hidden pair": postman.closed(fields | {"subject": f"x&out_trade_no={waiting.sn}"}),
        "nothing but yes": postman.closed({"out_trade_no": waiting.sn, "trade_status": "TRADE_SUCCESS"}),
        "nothing": b"",
    }


@BOTH
def test_forgeries(wallet: str) -> None:
    """Not one of them is thanked for; the order stays unpaid, and the log says that it was tried."""

    async def story(_: Town, postman: Postman, __: Order, waiting: Order, letter: Callback) -> None:
        for kind, body in forgeries(postman, postman.opened(letter), waiting).items():
            reply = await postman.bring(waiting, body)
            assert (reply.status, postman.thanked(reply)) == (200, False), kind

    tell(wallet, story)


@BOTH
def test_rightly_signed_lies(wallet: str) -> None:
    """Even with the wallet's own signature: another amount, seller, app or currency pays for nothing."""

    async def story(town: Town, postman: Postman, _: Order, waiting: Order, letter: Callback) -> None:
        about = postman.opened(letter) | {"out_trade_no": waiting.sn}
        lies: dict[str, Fields] = {
            "alipay": {"total_amount": "0.01", "app_id": "2021999999999999", "seller_id": "2088999999999999"},
            "wechat": {
                "total_fee": "1",
                "appid": "wx9999999999999999",
                "mch_id": "1999999999",
                "fee_type": "USD",
            },
        }
        for name, value in lies[wallet].items():
            await postman.bring(waiting, postman.signed(about | {name: value}))
            assert (await town.now(waiting)).paid == 0, name
        amounts = [alarm for alarm in town.alarms if alarm["event"] == "callback.other_amount"]
        assert [alarm["sn"] for alarm in amounts] == [waiting.sn]

    tell(wallet, story)


@BOTH
@settings(max_examples=max(settings.default.max_examples // 5, 1))
@given(data=st.data())
def test_letters_with_one_change(wallet: str, data: st.DataObject) -> None:
    """Bytes changed, put in or taken out: never thanked for at an order it is not about."""

    async def story(_: Town, postman: Postman, paid: Order, waiting: Order, letter: Callback) -> None:
        body = letter.body.replace(paid.sn.encode(), waiting.sn.encode())
        for __ in range(20):
            at, to = (data.draw(st.integers(0, len(body))) for __ in range(2))
            piece = data.draw(
                st.binary(max_size=4) | st.sampled_from([b"&", b"%00", b"<", b"]]>", b"&sign=", b"+"])
            )
            changed = body[:at] + piece + body[max(at, to) :]
            assert not postman.thanked(await postman.bring(waiting, changed)), changed

    tell(wallet, story)


@BOTH
def test_callbacks_by_get_and_by_query(wallet: str) -> None:
    """A true callback's fields in the address instead of the body are no callback."""

    async def story(town: Town, postman: Postman, _: Order, waiting: Order, letter: Callback) -> None:
        place = urlsplit(town.desk.callback_url(waiting)).path
        query = urlencode(postman.opened(letter))
        for method in ("GET", "POST"):
            reply = await http(postman.app, method, place, query=query)
            assert not postman.thanked(reply)

    tell(wallet, story)
