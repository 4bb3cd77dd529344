"""The roads between gateway, wallets and merchants: messages get lost, late, doubled, garbled and mixed up.

What is on the road belongs to the road: it arrives even when the process that sent it is dead by then.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

from paymux.channels.contract import ClientTls, HttpRequest, HttpResponse
from paymux.channels.transport import NoReply, NotSent
from paymux.sandbox.messages import Call, Callback, Reply
from paymux.sandbox.world import World
from tests.harness.counterfeit import call_of
from tests.harness.virtual_time import VirtualLoop
from tests.simulation.checkers.sent import SentChecker, Wish
from tests.simulation.history import History
from tests.simulation.weather import Weather

LATE_S_MAX = 55
"""A request is on the road no longer than this: `limits.doubt_s` says 60."""
TICK_S = 0.01
"""Journeys take whole ticks: what happens at the same moment meets in the same commit, and races."""
_CALLBACK_PATIENCE_S = 5
_STALE_REPLIES = 50
_DOUBLED = frozenset({"pay", "precreate", "query"})
"""What a road may deliver twice though it was answered. A refund that was refused, and comes again by itself
when the seller has earned enough, is beyond anybody's protocol."""


_SUCCESS = re.compile(rb'"code":"10000"|<result_code><!\[CDATA\[SUCCESS')
_NUMBER = re.compile(rb"""(out_trade_no(?:=|":"|><!\[CDATA\[))\d+""")
_YUAN = re.compile(rb"""((?:total|receipt|buyer_pay|invoice)_amount(?:=|":"))[\d.]+""")
_FEN = re.compile(rb"""((?:total|cash)_fee><!\[CDATA\[)\d+""")


class Hearing(Protocol):
    """A merchant's server at the end of the road."""

    def calm(self) -> None:
        """From now on it hears and thanks."""

    async def hear(self, headers: dict[str, str], body: bytes, timeout_s: int) -> HttpResponse:
        """Take in one notification."""


class Fault(StrEnum):
    """What may happen to one request and its reply; the names are those of the weather's rates."""

    REFUSED = "refused"
    REQUEST_LOST = "request_lost"
    REQUEST_LATE = "request_late"
    REQUEST_TWICE = "request_twice"
    REPLY_LOST = "reply_lost"
    REPLY_SLOW = "reply_slow"
    REPLY_GARBLED = "reply_garbled"
    REPLY_CROSSED = "reply_crossed"
    REPLY_FORGED = "reply_forged"


OUTAGES = (Fault.REFUSED, Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.REPLY_GARBLED)
"""How a wallet is when it is out: gone, mute, mute but at work, or talking nonsense."""


class Roads:
    """Every way between the houses of the town, and what happens there."""

    def __init__(
        self,
        *,
        loop: VirtualLoop,
        world: World,
        weather: Weather,
        dice: Random,
        history: History,
        sent: SentChecker,
    ) -> None:
        self.world = world
        self.outages: dict[str, Fault] = {}
        self.troubles = 0
        self.callbacks: list[Callback] = []
        self.under_way: Counter[str] = Counter()
        """How many late requests about an order are still to arrive."""
        self._poor: set[str] = set()
        self.merchants: dict[str, Hearing] = {}
        self.deliver: Callable[[Callback], asyncio.Future[tuple[int, bytes] | None]] = _nobody
        self._loop = loop
        self._weather = weather
        self._calm = False
        self._dice = dice
        self._history = history
        self._sent = sent
        self._rates = [(fault, rate) for fault in Fault if (rate := getattr(weather, fault.value))]
        self._any = sum(rate for _, rate in self._rates)
        self._old_replies: dict[str, list[HttpResponse]] = {}
        self._next_stir: asyncio.TimerHandle | None = None

    def calm(self) -> None:
        """From now on every message arrives, once and in time."""
        self._rates, self._any = [], 0.0
        self._calm = True
        self.outages = {}
        for merchant in self.merchants.values():
            merchant.calm()

    # -- gateway → wallet

    async def to_wallet(
        self, who: str, lane: str, tls: ClientTls | None, request: HttpRequest
    ) -> HttpResponse:
        """Carry one call of a process to a wallet, and the reply back."""
        wish = self._sent.read(request)
        fault = self._fault(lane)
        if fault is Fault.REFUSED:
            self.troubled(wish.sn, fault)
            await asyncio.sleep(0.001)
            raise NotSent("connection refused")
        self._sent.sent(who, lane, wish)
        self._history.note(who, f"> {wish.operation}", wish.sn, request.body)
        if fault is not None:
            self.troubled(wish.sn, fault)
        call = call_of(request, tls)
        future: asyncio.Future[HttpResponse] = self._loop.create_future()
        self._travel(call, wish, fault, future, request.timeout_s)
        return await future

    def troubled(self, sn: str, what: str) -> None:
        """Something went wrong on purpose."""
        self.troubles += 1
        self._sent.troubled(sn)
        self._history.note("fate", what, sn)

    def _fault(self, lane: str) -> Fault | None:
        out = self.outages.get(lane.partition("/")[2])
        if out is not None:
            return out
        if not self._any:
            return None
        roll = self._dice.random()
        if roll >= self._any:
            return None
        for fault, rate in self._rates:
            roll -= rate
            if roll < 0:
                return fault
        return None

    def _travel(
        self,
        call: Call,
        wish: Wish,
        fault: Fault | None,
        future: "asyncio.Future[HttpResponse]",
        timeout_s: int,
    ) -> None:
        dice, later = self._dice, self._loop.call_later
        go_s = _journey_s(dice)
        if fault is Fault.REPLY_FORGED:
            later(go_s, self._arrive_forged, future, wish)
            return
        if fault in (Fault.REQUEST_LOST, Fault.REQUEST_LATE):
            silent_s = timeout_s if dice.random() < 0.7 else dice.random() * timeout_s
            later(silent_s, _settle, future, NoReply("timed out"))
            if fault is Fault.REQUEST_LATE:
                self.under_way[wish.sn] += 1
                later(silent_s + dice.random() * (LATE_S_MAX - silent_s), self._arrive_late, call, wish)
            return
        later(go_s, self._arrive, call, wish, fault, future, timeout_s - go_s)
        if fault is Fault.REQUEST_TWICE and wish.operation in _DOUBLED:
            self.under_way[wish.sn] += 1
            later(go_s + dice.random() ** 2 * LATE_S_MAX / 2, self._arrive_late, call, wish)

    def _arrive_late(self, call: Call, wish: Wish) -> None:
        self.under_way[wish.sn] -= 1
        if wish.operation in {"pay", "precreate"}:
            self._sent.kept.started_late.add(wish.sn)
        self._handle(call, wish, "arrives late")

    def _arrive(
        self,
        call: Call,
        wish: Wish,
        fault: Fault | None,
        future: "asyncio.Future[HttpResponse]",
        left_s: float,
    ) -> None:
        dice = self._dice
        reply = self._handle(call, wish, "")
        response = HttpResponse(status=reply.status, headers=reply.headers, body=reply.body)
        back_s = _journey_s(dice) + reply.delay_ms / 1000
        if fault is Fault.REPLY_SLOW:
            back_s += dice.random() * 20
        elif fault is Fault.REPLY_GARBLED:
            response = _garbled(response, dice)
        elif fault is Fault.REPLY_CROSSED:
            response = self._crossed(wish, response)
        if reply.lost or fault is Fault.REPLY_LOST or back_s > left_s:
            hangs_up = dice.random() < 0.2
            self._sent.troubled(wish.sn)
            self._loop.call_later(
                min(back_s, left_s) if hangs_up else left_s,
                _settle,
                future,
                NoReply("connection reset" if hangs_up else "timed out"),
            )
            return
        self._loop.call_later(back_s, self._come_back, future, response, wish)

    def _arrive_forged(self, future: "asyncio.Future[HttpResponse]", wish: Wish) -> None:
        if not future.done():
            response = self._forged(wish)
            self._history.note("intruder", f"< {wish.operation}", wish.sn, response.body)
            future.set_result(response)

    def _come_back(self, future: "asyncio.Future[HttpResponse]", response: HttpResponse, wish: Wish) -> None:
        if not future.done():
            if wish.operation in {"pay", "query"}:
                self._sent.kept.proved(wish.sn, response.body, by=wish.operation)
            self._history.note("wallet", f"< {wish.operation}", wish.sn, response.body)
            future.set_result(response)

    def _handle(self, call: Call, wish: Wish, how: str) -> Reply:
        if wish.operation == "refund":
            self._let_balance_vary(wish.sn)
        reply = self.world.handle(call)
        self._sent.arrived(wish)
        if wish.operation in {"reverse", "close"}:
            self._sent.kept.undone_at_wallet(wish.sn)
        if how:
            self._history.note("fate", f"{wish.operation} {how}", wish.sn, reply.body)
        self.stir()
        if self._any and not reply.lost and _NUMBER.search(reply.body):
            kept = self._old_replies.setdefault(wish.operation, [])
            kept.append(HttpResponse(status=reply.status, headers=reply.headers, body=reply.body))
            del kept[:-_STALE_REPLIES]
        return reply

    def _let_balance_vary(self, sn: str) -> None:
        """A seller who is too poor for a refund now may not be a moment later, and the other way round."""
        order = self._sent.kept.orders.get(sn)
        trade = self.world.bank.find(order.account, sn) if order else None
        if trade is not None and (trade.script == "18" or sn in self._poor):
            self._poor.add(sn)
            trade.script = "00" if self._calm else self._dice.choice(("18", "00"))

    def _crossed(self, wish: Wish, response: HttpResponse) -> HttpResponse:
        """Another request's genuine reply, of the same operation or of any other, that names its order.

        Replies without any number cannot be told apart by anybody; they never leave their own connection.
        """
        known = list(self._old_replies) or [wish.operation]
        operation = wish.operation if self._dice.random() < 0.7 else self._dice.choice(known)
        return self._dice.choice(self._old_replies.get(operation, [response]))

    def _forged(self, wish: Wish) -> HttpResponse:
        """A success that no wallet signed: another order's reply with this order's number and amount in it.

        Whoever forges it keeps the request for himself: nothing happens at the wallet.
        """
        olds, number = self._old_replies.get(wish.operation, ()), wish.sn.encode()
        kept = [old for old in olds if _SUCCESS.search(old.body) and number not in old.body]
        order = self._sent.kept.orders.get(wish.sn)
        if not kept or order is None:
            return HttpResponse(status=200, headers={}, body=b'{"code":"10000"}')
        old = self._dice.choice(kept)
        return HttpResponse(status=200, headers=old.headers, body=forged(old.body, wish.sn, order.total))

    # -- wallet → gateway

    def stir(self) -> None:
        """The wallets have something to do at some time: look again then."""
        next_ms = self.world.next_event_ms()
        if self._next_stir is not None:
            self._next_stir.cancel()
            self._next_stir = None
        if next_ms is not None:
            wait_s = max(next_ms - self.world.now_ms(), 0) / 1000
            self._next_stir = self._loop.call_later(wait_s, self._live)

    def _live(self) -> None:
        self._next_stir = None
        for callback in self.world.run_due():
            self._call_back(callback)
        self.stir()

    def _call_back(self, callback: Callback) -> None:
        weather, dice = self._weather, self._dice
        if self._calm:
            self._post(callback, ack_lost=False)
            return
        about = callback.url.rpartition("/")[2]
        if dice.random() < weather.callback_lost:
            self.troubled(about, "callback lost")
            self._loop.call_later(_CALLBACK_PATIENCE_S, self._unheard, callback)
            return
        wait_s = dice.random() * 40 if dice.random() < weather.callback_slow else 0.01
        ack_lost = dice.random() < weather.callback_ack_lost
        self._loop.call_later(wait_s, lambda: self._post(callback, ack_lost=ack_lost))
        if dice.random() < weather.callback_twice:
            self._loop.call_later(wait_s + dice.random() * 20, lambda: self._post(callback, ack_lost=True))

    def _post(self, callback: Callback, *, ack_lost: bool) -> None:
        self.callbacks.append(callback)
        self._sent.kept.proved(callback.url.rpartition("/")[2], callback.body, by="callback")
        self._history.note("wallet", "callback", callback.url.rpartition("/")[2], callback.body)
        answer = self.deliver(callback)
        answer.add_done_callback(lambda done: self._answered(callback, done.result(), ack_lost=ack_lost))

    def _answered(self, callback: Callback, answer: tuple[int, bytes] | None, *, ack_lost: bool) -> None:
        status, body = (0, b"") if answer is None or ack_lost else answer
        self._history.note("wallet", "callback answered", callback.url.rpartition("/")[2], f"{status}")
        self.world.callback_answered(callback.id, status, body)
        self.stir()

    def _unheard(self, callback: Callback) -> None:
        self.world.callback_answered(callback.id, 0, b"")
        self.stir()

    # -- gateway → merchant

    async def to_merchant(
        self, who: str, url: str, headers: dict[str, str], body: bytes, timeout_s: int
    ) -> HttpResponse:
        """Deliver a notification."""
        about = body.partition(b'"sn":"')[2][:16].decode()
        self._history.note(who, "tells merchant", about, body)
        merchant = self.merchants[urlsplit(url).hostname or ""]
        return await merchant.hear(headers, body, timeout_s)


def forged(body: bytes, sn: str, total: int) -> bytes:
    """A genuine message with another order's number and amount; its signature is now worth nothing."""
    yuan = b"%d.%02d" % divmod(total, 100)
    body = _NUMBER.sub(rb"\g<1>" + sn.encode(), body)
    return _FEN.sub(rb"\g<1>%d" % total, _YUAN.sub(rb"\g<1>" + yuan, body))


def _journey_s(dice: Random) -> float:
    """Mostly a hundredth of a second, sometimes more than one; whole ticks: things happen together."""
    return TICK_S * (1 + int(dice.random() ** 8 * 150))


def _settle(future: "asyncio.Future[HttpResponse]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _garbled(response: HttpResponse, dice: Random) -> HttpResponse:
    """One byte changed, the end cut off, nothing at all, or a proxy's own page."""
    body = response.body
    place = dice.randrange(max(len(body), 1))
    damaged = dice.choice(
        (
            (200, body[:place] + bytes([dice.randrange(256)]) + body[place + 1 :]),
            (200, body[:place]),
            (200, b""),
            (502, b"<html><h1>502 Bad Gateway</h1></html>"),
        )
    )
    return HttpResponse(status=damaged[0], headers=response.headers, body=damaged[1])


def _nobody(_: Callback) -> "asyncio.Future[tuple[int, bytes] | None]":
    raise AssertionError("no gateway is connected to the roads")
