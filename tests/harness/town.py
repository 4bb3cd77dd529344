"""A town in one process and in virtual time: both wallets, one gateway over a real SQLite, tills and a shop.

Everything between them is the true wire: the gateway's requests are handed to the sandbox as bytes, and the
sandbox's callbacks and the gateway's notifications come back as bytes. Only sockets and waiting are missing.
"""

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import structlog

from paymux.channels.contract import Callback, ClientTls, HttpRequest, HttpResponse
from paymux.channels.registry import open_channel
from paymux.channels.transport import NoReply, NotSent
from paymux.domain.limits import Limits
from paymux.domain.order import Order, OrderKey, Transaction
from paymux.domain.people import Merchant, Store, Terminal
from paymux.domain.requests import OrderAnswer, OrderRef, PayRequest, PrecreateRequest, RefundRequest
from paymux.flows.callback import callback
from paymux.flows.cancel import cancel
from paymux.flows.desk import Desk, Wallets
from paymux.flows.pay import pay
from paymux.flows.precreate import precreate
from paymux.flows.query import query
from paymux.flows.refund import refund
from paymux.kit.crash import CrashPoints
from paymux.kit.ids import Ids
from paymux.kit.seal import Sealer
from paymux.sandbox.keys import KeyRing, make_keys
from paymux.sandbox.world import World
from paymux.storage.contract import Store as Memory
from paymux.storage.sqlite import SqliteStore
from paymux.wire.notify_body import order_body
from paymux.workers.notifications import NotifyRules
from paymux.workers.runner import Workers
from tests.harness.counterfeit import account_of, call_of
from tests.harness.virtual_postgres import open_virtually
from tests.harness.virtual_time import VirtualClock, VirtualLoop, run_virtually

MERCHANT, STORE, TERMINAL = "1680000000000001", "1580000000000001", "100000000000000001"
NOTIFY_URL = "http://shop.example/notify"
CALLBACK_BASE = "http://gateway.example"
WALLETS = {"alipay": ("1", "28"), "wechat": ("3", "13")}
"""Wallet → payway and how its barcodes begin."""

T = TypeVar("T")
SEALER = Sealer(bytes(32))
DSN = [""]
"""The last one is where towns keep their orders; empty: in memory, by SQLite."""
_CALLBACK_PATH = re.compile(r"/callbacks/([^/]+)/(\d+)/([^/]+)/(\d+)(?:/refunds/(\d+))?")


@functools.cache
def sandbox_keys() -> KeyRing:
    """One key ring for the whole test process: RSA keys are slow to make and nobody's secret here."""
    return make_keys()


class Wire:
    """`Transport` that carries requests to the sandbox's core, and notifications to the town's shop."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[HttpRequest] = []
        self.told: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.shop_answers: Callable[[int], bytes] = lambda _: b"success"
        self.cut = False
        self.mail_lost = False
        self.stirred = asyncio.Event()

    async def send(self, lane: str, tls: ClientTls | None, request: HttpRequest) -> HttpResponse:
        """Hand a request to the wallets; lost replies and slow ones behave as on a socket."""
        del lane
        if self.cut:
            raise NotSent("connection refused")
        self.sent.append(request)
        self.stirred.set()
        reply = self.world.handle(call_of(request, tls))
        if reply.lost:
            await asyncio.sleep(request.timeout_s)
            raise NoReply("timed out")
        if reply.delay_ms > request.timeout_s * 1000:
            await asyncio.sleep(request.timeout_s)
            raise NoReply("timed out")
        await asyncio.sleep(0.02 + reply.delay_ms / 1000)
        return HttpResponse(status=reply.status, headers=reply.headers, body=reply.body)

    async def post_to_merchant(
        self, url: str, headers: dict[str, str], body: bytes, timeout_s: int
    ) -> HttpResponse:
        """Deliver a notification to the town's shop."""
        del timeout_s
        self.told.append((url, headers, msgspec.json.decode(body)))
        return HttpResponse(status=200, headers={}, body=self.shop_answers(len(self.told)))

    async def close(self) -> None:
        """Nothing to close."""


class Crashed(BaseException):
    """The process died here: no handler may catch it."""


class Town:
    """The world, the gateway's desk and its workers, and short words for what a till does."""

    def __init__(
        self, loop: VirtualLoop, *, limits: Limits, seed: int, path: str, store: Memory | None = None
    ) -> None:
        self.clock = VirtualClock(loop)
        self.world = World(seed, self.clock.now_ms, keys=sandbox_keys())
        self.wire = Wire(self.world)
        self.store: Memory = store or SqliteStore(path, sealer=SEALER, clock=self.clock, threaded=False)
        self.alarms: list[dict[str, Any]] = []
        self._limits, self._births = limits, seed
        self.desk, self.workers = self._gateway()
        self.mail: list[Callback] = []
        self.callbacks: list[tuple[str, int]] = []
        self.numbers = 0
        self.terminal = Terminal(
            terminal_sn=TERMINAL, merchant_sn=MERCHANT, store_sn=STORE, current_key="0" * 32
        )

    def _gateway(self) -> tuple[Desk, Workers]:
        self._births += 1
        desk = Desk(
            store=self.store,
            wallets=Wallets(self.store, open_channel),
            transport=self.wire,
            clock=self.clock,
            ids=Ids(self.clock, seed=self._births),
            limits=self._limits,
            log=self._log(),
            callback_base=CALLBACK_BASE,
            notification_body=lambda order, movement: order_body(order, movement).decode(),
            crash=CrashPoints(),
        )
        return desk, Workers(desk, NotifyRules(sign=lambda _: "signature"))

    def arm(self, point: str) -> asyncio.Event:
        """Let the gateway die at its next visit to a crash point; the event tells that it has."""
        died = asyncio.Event()

        def dying(place: str) -> None:
            if place == point and not died.is_set():
                died.set()
                raise Crashed(point)

        object.__setattr__(self.desk, "crash", dying)
        return died

    async def restart(self) -> None:
        """Let go of the old process as a kill would, and start a new one on the same database."""
        for lane in self.workers._lanes:
            for task in list(lane._under_way):
                task.cancel()
        await self.workers.stop(drain_s=60)
        self.desk, self.workers = self._gateway()
        await self.desk.ids.settle()
        self.workers.start()

    async def settle_in(self) -> None:
        """Write the merchant, its terminal and its channel accounts."""
        await self.desk.ids.settle()
        accounts = tuple(account_of(row, MERCHANT) for row in self.world.accounts() if row["name"] in WALLETS)
        await self.store.put_people(
            merchants=(Merchant(merchant_sn=MERCHANT, name="tea house"),),
            stores=(Store(store_sn=STORE, merchant_sn=MERCHANT, name="first"),),
            terminals=(self.terminal,),
            accounts=accounts,
        )

    # -- what a till does

    def number(self) -> str:
        """A client_sn nobody used."""
        self.numbers += 1
        return f"C{self.numbers:06d}"

    async def pay(
        self, wallet: str, script: str, *, total: int = 100, client_sn: str = "", **more: str
    ) -> Order:
        """Scan a barcode whose last two digits choose the sandbox's script."""
        _, prefix = WALLETS[wallet]
        request = PayRequest(
            terminal=self.terminal,
            client_sn=client_sn or self.number(),
            total=total,
            dynamic_id=f"{prefix}{self.numbers:014d}{script}",
            subject="tea",
            operator="ann",
            notify_url=NOTIFY_URL,
            **more,
        )
        return await pay(self.desk, request)

    async def precreate(
        self, wallet: str, script: str, *, yuan: int = 1, client_sn: str = "", **more: str
    ) -> Order:
        """Show a QR code; the last two digits of its amount choose the script."""
        payway, _ = WALLETS[wallet]
        request = PrecreateRequest(
            terminal=self.terminal,
            client_sn=client_sn or self.number(),
            total=yuan * 100 + int(script),
            payway=payway,
            subject="tea",
            operator="ann",
            notify_url=NOTIFY_URL,
            **more,
        )
        return await precreate(self.desk, request)

    def ref(self, order: Order) -> OrderRef:
        """Name an order as a till would."""
        return OrderRef(terminal=self.terminal, sn=order.sn)

    async def query(self, order: Order) -> OrderAnswer:
        """Ask the gateway."""
        return await query(self.desk, self.ref(order))

    async def cancel(self, order: Order) -> OrderAnswer:
        """Undo the order."""
        return await cancel(self.desk, self.ref(order))

    async def refund(self, order: Order, amount: int, number: str) -> OrderAnswer:
        """Give money back."""
        request = RefundRequest(ref=self.ref(order), refund_request_no=number, amount=amount, operator="ann")
        return await refund(self.desk, request)

    # -- what can be seen

    async def now(self, order: Order) -> Order:
        """The order as stored."""
        found = await self.store.order(order.key)
        assert found is not None
        return found

    async def movements(self, order: Order) -> list[Transaction]:
        """All movements of the order."""
        return await self.store.transactions(order.key)

    async def rest(self, order: Order, *, within_s: int = 700) -> Order:
        """Wait until nothing is left to do about the order but to watch for late success."""
        return (await self.rest_all([order], within_s=within_s))[0]

    async def rest_all(self, orders: list[Order], *, within_s: int = 700) -> list[Order]:
        """Wait until recovery has nothing left to do about any of them, in bounded virtual time."""
        for _ in range(within_s):
            due = [one for order in orders for one in await self.store.due_of(order.key)]
            if all(one.kind == "watch" for one in due):
                return [await self.now(order) for order in orders]
            await asyncio.sleep(1)
        left = {one.kind.value: one for one in due}
        raise AssertionError(f"still unsettled after {within_s} s: {left}")

    async def books(self) -> dict[str, tuple[int, int]]:
        """Our books: out_trade_no → (paid, refunded), fen."""
        found = await self.store.orders(status=None, after=None, limit=100_000)
        return {order.sn: (order.paid, order.refunded) for order in found}

    def wallet_books(self) -> dict[str, tuple[int, int]]:
        """The wallets' books, the other witness."""
        rows = msgspec.convert(self.world.books(), list[dict[str, Any]])
        return {row["out_trade_no"]: (row["paid"], row["refunded"]) for row in rows}

    async def assert_books_agree(self) -> None:
        """Both sets of books tell the same, to the fen; what the wallets never heard of is nothing here."""
        theirs = self.wallet_books()
        ours = await self.books()
        assert {sn: amounts for sn, amounts in ours.items() if sn in theirs} == theirs
        assert all(amounts == (0, 0) for sn, amounts in ours.items() if sn not in theirs)
        await self._assert_found_by_trade_no()

    async def _assert_found_by_trade_no(self) -> None:
        """Whatever told an order the wallet's number for it: by that number it is found."""
        for order in await self.store.orders(status=None, after=None, limit=100_000):
            if order.trade_no:
                place = (order.bucket, order.merchant_id, order.trade_no)
                assert await self.store.order_by_trade_no(*place) == order

    # -- the wallets' own life

    async def live(self) -> None:
        """Let the wallets' timed happenings come to pass and deliver their callbacks."""
        while True:
            self.wire.stirred.clear()
            for one in self.world.run_due():
                await self._deliver(one.id, one.url, one.headers, one.body)
            next_ms = self.world.next_event_ms()
            wait_ms = None if next_ms is None else max(next_ms - self.clock.now_ms(), 1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms and wait_ms / 1000):
                    await self.wire.stirred.wait()

    async def _deliver(self, one_id: str, url: str, headers: dict[str, str], body: bytes) -> None:
        if self.wire.cut or self.wire.mail_lost:
            self.world.callback_answered(one_id, 0, b"")
            return
        found = _CALLBACK_PATH.fullmatch(urlsplit(url).path)
        assert found is not None, url
        account, bucket, merchant, sn, _ = found.groups()
        key = OrderKey(int(bucket), merchant, sn)
        raw = Callback(method="POST", query="", headers=headers, body=body)
        self.mail.append(raw)
        try:
            ack = await callback(self.desk, account, key, raw)
        except Crashed:
            self.world.callback_answered(one_id, 0, b"")
            return
        self.callbacks.append((sn, ack.status))
        self.world.callback_answered(one_id, ack.status, ack.body)

    def _log(self) -> structlog.typing.FilteringBoundLogger:
        def keep(_logger: object, _name: str, event: dict[str, Any]) -> str:
            if event.get("alarm"):
                self.alarms.append(event)
            raise structlog.DropEvent

        return structlog.wrap_logger(
            structlog.PrintLogger(), processors=[structlog.processors.format_exc_info, keep]
        )


@contextlib.asynccontextmanager
async def town_life(town: Town) -> AsyncIterator[Town]:
    """Workers and wallets at work around a story."""
    await town.settle_in()
    town.workers.start()
    living = asyncio.create_task(town.live())
    try:
        yield town
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        await town.workers.stop(drain_s=60)
        await town.store.close()
    if living.done() and not living.cancelled() and living.exception() is not None:
        raise living.exception()  # type: ignore[misc]  # the line above made sure it is one


def in_town(
    story: Callable[[Town], Coroutine[Any, Any, T]],
    *,
    limits: Limits | None = None,
    seed: int = 1,
    path: Path | None = None,
) -> T:
    """Tell a story in a fresh town, in virtual time, and return what it returns."""
    loop = VirtualLoop()

    async def told() -> T:
        store = None
        if DSN[-1]:
            store = await open_virtually(DSN[-1], sealer=SEALER, clock=VirtualClock(loop))
        where = str(path) if path else ":memory:"
        town = Town(loop, limits=limits or Limits(), seed=seed, path=where, store=store)
        async with town_life(town):
            return await story(town)

    return run_virtually(told(), loop)
