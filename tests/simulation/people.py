"""Everybody but the tills: merchants' servers that are deaf or rude, an operator, and intruders."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from paymux.channels.contract import HttpResponse
from paymux.channels.transport import NoReply, NotSent
from paymux.domain.errors import PaymuxError
from paymux.domain.order import OrderStatus, TransactionStatus
from paymux.flows.resolve import end_refund, give_up_sale, keep_sale
from paymux.sandbox.records import State
from paymux.sandbox.world import World
from tests.simulation.checkers.kept import Kept
from tests.simulation.checkers.told import ToldChecker
from tests.simulation.history import History
from tests.simulation.process import Door, Process
from tests.simulation.roads import TICK_S, Roads
from tests.simulation.weather import Weather

if TYPE_CHECKING:
    from paymux.domain.order import Order
    from paymux.storage.contract import Store

OPERATOR_GAP_S = 40
"""How often somebody looks at what is unclear."""
_UNCLEAR_MS = 61_000
"""Nobody decides about what became unclear lately: a request may still be on its way for a minute."""

Sign = Callable[[str], str]


class MerchantServer:
    """Takes notifications: signed ones only, if it is in the mood."""

    def __init__(
        self, *, name: str, weather: Weather, dice: Random, told: ToldChecker, history: History, sign: Sign
    ) -> None:
        self._name = name
        self._deaf, self._rude = weather.deaf, weather.rude
        self._dice = dice
        self._told = told
        self._history = history
        self._sign = sign

    def calm(self) -> None:
        """From now on it hears and thanks."""
        self._deaf = self._rude = 0.0

    async def hear(self, headers: dict[str, str], body: bytes, timeout_s: int) -> HttpResponse:
        """One POST; what is heard is noted even when the thanks get lost."""
        await asyncio.sleep(TICK_S)
        roll = self._dice.random() if self._deaf or self._rude else 1.0
        if roll < self._deaf / 2:
            raise NotSent("connection refused")
        if roll < self._deaf:
            await asyncio.sleep(timeout_s)
            raise NoReply("timed out")
        text = body.decode()
        data = msgspec.json.decode(body)
        if headers.get("Authorization") != self._sign(text):
            raise AssertionError(f"a notification of {data['sn']} bears no valid signature")
        rude = self._dice.random() < self._rude
        self._told.hears(text, data, accepted=not rude)
        self._history.note(self._name, "thanks" if not rude else "is rude", data["sn"], data["order_status"])
        if not rude:
            return HttpResponse(status=200, headers={}, body=b"success")
        if self._dice.random() < 0.3:
            raise NoReply("connection reset")
        return HttpResponse(status=self._dice.choice((200, 500, 404)), headers={}, body=b"fail")


class Operator:
    """Somebody who looks into the wallets' own portals and ends what no wallet would tell."""

    def __init__(
        self,
        world: World,
        roads: Roads,
        kept: Kept,
        store: "Store",
        door: Door,
        history: History,
    ) -> None:
        self.decisions = 0
        self._world = world
        self._roads = roads
        self._kept = kept
        self._store = store
        self._door = door
        self._history = history

    async def work(self) -> None:
        """Look at all that is unclear, again and again."""
        while True:
            await asyncio.sleep(OPERATOR_GAP_S)
            for status in (OrderStatus.PAY_ERROR, OrderStatus.CANCEL_ERROR, OrderStatus.REFUND_ERROR):
                for order in await self._store.orders(status=status, after=None, limit=50):
                    process, now_ms = self._door(), self._world.now_ms()
                    quiet = not self._roads.under_way[order.sn]
                    patient = quiet and now_ms - self._kept.orders[order.sn].status_ms > _UNCLEAR_MS
                    if process is not None and patient:
                        await process.spawn(self._decide(process, order))

    async def _decide(self, process: Process, order: "Order") -> None:
        trade = self._world.bank.find(order.account, order.sn)
        held = bool(trade and trade.paid_fen)
        self.decisions += 1
        self._kept.decided.add(order.sn)
        self._history.note("operator", "decides", order.sn, f"{order.status}, held: {held}")
        try:
            if order.status is OrderStatus.REFUND_ERROR:
                await self._end_refunds(process, order)
            elif held:
                await keep_sale(process.desk, order, who="operator", why="the portal shows the money")
            else:
                if trade is not None and trade.state is State.WAITING:
                    self._world.bank.close(trade)  # by hand, in the wallet's portal
                await give_up_sale(process.desk, order, who="operator", why="the portal shows nothing")
        except PaymuxError as refusal:
            self._history.note("operator", "is refused", order.sn, str(refusal))

    async def _end_refunds(self, process: Process, order: "Order") -> None:
        trade = self._world.bank.find(order.account, order.sn)
        for refund in await self._store.transactions(order.key):
            if refund.status is TransactionStatus.REFUND_ERROR and not refund.error_code:
                done = bool(trade and trade.refund_named(refund.tsn))
                order = await end_refund(process.desk, order, refund, done=done, who="operator", why="portal")
