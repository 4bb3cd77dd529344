"""What the wallets really say: the sandbox's own replies and callbacks to the gateway's own requests.

One account of the sandbox and the gateway's channel for it go through every operation and script.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from paymux.channels.contract import (
    Close,
    HttpRequest,
    HttpResponse,
    Operation,
    Pay,
    Precreate,
    Query,
    Refund,
    RefundQuery,
    Reverse,
)
from paymux.channels.registry import open_channel
from paymux.domain.payways import SubPayway
from paymux.sandbox.messages import Call, Callback
from paymux.sandbox.world import World
from tests.fuzz.keys import fuzz_keys
from tests.harness.counterfeit import account_of

NOW_MS = 1_790_000_000_000
AMOUNT, PART = 1234, 234
NOTIFY_URL = "http://127.0.0.1:9/callbacks"
_PREFIXES = {"alipay": "28", "wechat": "13"}
_FRONT_ENDS = {"alipay": (SubPayway.QR, SubPayway.MINI), "wechat": tuple(SubPayway)[1:]}
"""Alipay's other kinds of order are signed links: nothing is sent for them, so there is no reply to read."""
_SCRIPTS = ("00", "01", "02", "03", "06", "07", "08", "09", "10", "12", "13", "15", "17", "18", "19")
_SETTLED_MS = 20_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """One operation and the wallet's genuine reply to it."""

    account: str
    operation: Operation
    response: HttpResponse


class Wallet:
    """One account of the sandbox, and the gateway's channel for it."""

    def __init__(self, name: str) -> None:
        self._now_ms = NOW_MS
        self._numbers = 0
        self.name = name
        self.world = World(7, lambda: self._now_ms, keys=fuzz_keys(), amount_scripts=False)
        rows: list[dict[str, object]] = self.world.accounts()
        row = next(row for row in rows if row["name"] == name)
        self.account = account_of(row, "m")
        self.channel = open_channel(self.account)
        self.callbacks: list[Callback] = []

    def number(self) -> str:
        """Return an order number nobody used."""
        self._numbers += 1
        return f"71{self._numbers:014d}"

    def ask(self, operation: Operation) -> HttpResponse | None:
        """Send an operation as the gateway would; None when nothing comes back."""
        request = self.channel.build(operation, now_ms=self._now_ms, nonce="n0nce")
        assert isinstance(request, HttpRequest), "nothing to send"
        reply = self.world.handle(
            Call(
                method=request.method,
                path=urlsplit(request.url).path,
                headers=request.headers,
                body=request.body,
                client_cert=True,
            )
        )
        return (
            None if reply.lost else HttpResponse(status=reply.status, headers=reply.headers, body=reply.body)
        )

    def wait(self, ms: int) -> None:
        """Let time pass, and keep the callbacks that are sent meanwhile."""
        end_ms = self._now_ms + ms
        while (next_ms := self.world.next_event_ms()) is not None and next_ms <= end_ms:
            self._now_ms = max(next_ms, self._now_ms)
            for callback in self.world.run_due():
                self.callbacks.append(callback)
                self.world.callback_answered(callback.id, 200, _THANKS[callback.ack])
        self._now_ms = end_ms

    def stories(self) -> Iterator[Operation]:
        """Yield every kind of operation, in every state the scripts lead to."""
        for script in _SCRIPTS:
            yield from self._barcode_story(script)
        for sub_payway in _FRONT_ENDS[self.account.channel]:
            yield from self._front_end_story(sub_payway)

    def _barcode_story(self, script: str) -> Iterator[Operation]:
        number, refund_no = self.number(), self.number()
        yield self.pay(number, script)
        yield Query(out_trade_no=number, amount=AMOUNT)
        self.wait(_SETTLED_MS)
        yield Query(out_trade_no=number, amount=AMOUNT)
        yield self.refund(number, refund_no)
        yield RefundQuery(out_trade_no=number, refund_no=refund_no, amount=PART)
        self.wait(_SETTLED_MS)
        yield RefundQuery(out_trade_no=number, refund_no=refund_no, amount=PART)
        yield Reverse(out_trade_no=number)
        again = self.number()
        yield self.pay(again, script)
        yield Reverse(out_trade_no=again)
        yield Query(out_trade_no=again, amount=AMOUNT)

    def _front_end_story(self, sub_payway: SubPayway) -> Iterator[Operation]:
        number, closed = self.number(), self.number()
        for one in (number, closed):
            yield self.precreate(one, sub_payway)
        yield Close(out_trade_no=closed)
        yield Close(out_trade_no=closed)
        yield Query(out_trade_no=closed, amount=AMOUNT)
        yield Query(out_trade_no=number, amount=AMOUNT)
        trade = self.world.bank.find(self.name, number)
        assert trade is not None, "the order is not in the wallet's books"
        self.world.bank.pay(trade, self.world.bank.buyers_of(trade.wallet)[0].name)
        self.wait(_SETTLED_MS)
        yield Query(out_trade_no=number, amount=AMOUNT)
        yield Close(out_trade_no=number)

    def pay(self, number: str, script: str = "00") -> Pay:
        """Return a barcode pay that plays a script."""
        return Pay(
            out_trade_no=number,
            amount=AMOUNT,
            auth_code=f"{_PREFIXES[self.account.channel]}00000000000000{script}",
            subject="两杯咖啡 & <more>",
            terminal_sn="T1",
            notify_url=NOTIFY_URL,
            ctime_ms=NOW_MS,
        )

    def precreate(self, number: str, sub_payway: SubPayway = SubPayway.QR) -> Precreate:
        """Return an order for a buyer to come."""
        return Precreate(
            out_trade_no=number,
            amount=AMOUNT,
            sub_payway=sub_payway,
            subject="tea",
            payer_uid="2088000011112222",
            notify_url=NOTIFY_URL,
            ctime_ms=self._now_ms,
            expires_ms=self._now_ms + 240_000,
        )

    def refund(self, number: str, refund_no: str) -> Refund:
        """Return a refund of a part."""
        return Refund(
            out_trade_no=number, refund_no=refund_no, amount=PART, total=AMOUNT, notify_url=NOTIFY_URL
        )


_THANKS = {"success": b"success", "xml": b"<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>"}


@functools.cache
def lived(account: str) -> tuple[Wallet, tuple[Exchange, ...]]:
    """Return an account that has been through everything, and what was said; made once per process."""
    wallet = Wallet(account)
    said = [(operation, wallet.ask(operation)) for operation in wallet.stories()]
    return wallet, tuple(
        Exchange(account, operation, response) for operation, response in said if response is not None
    )


def exchanges(channel: str) -> tuple[Exchange, ...]:
    """Return what both accounts of a channel were told: one of each kind of reply to each operation."""
    kept: dict[tuple[object, ...], Exchange] = {}
    for name in ACCOUNTS[channel]:
        wallet, said = lived(name)
        for one in said:
            outcome = wallet.channel.read(one.operation, one.response)
            shape = (
                name,
                type(one.operation),
                getattr(one.operation, "sub_payway", ""),
                type(outcome),
                getattr(outcome, "provider_code", ""),
                one.response.status,
            )
            kept.setdefault(shape, one)
    return tuple(kept.values())


ACCOUNTS = {"alipay": ("alipay", "alipay-cert"), "wechat": ("wechat", "wechat-hmac")}
"""Channel → the sandbox's accounts: keys and certificates, MD5 and HMAC-SHA256."""
