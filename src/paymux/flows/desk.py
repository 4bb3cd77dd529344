"""All a flow may touch. Everything arrives through the desk; nothing is imported as global state."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from paymux.channels.contract import Channel
from paymux.channels.transport import Transport
from paymux.domain.errors import PaywayNotServed
from paymux.domain.limits import Limits
from paymux.domain.order import Order, OrderKey, Transaction
from paymux.domain.payways import SubPayway
from paymux.domain.people import Account
from paymux.kit.aside import Aside
from paymux.kit.clock import Clock
from paymux.kit.crash import CrashPoints
from paymux.kit.ids import Ids
from paymux.storage.contract import Due, DueKind, Store

NotificationBody = Callable[[Order, Transaction | None], str]


class Hands(Protocol):
    """Workers of this process, for some kinds of due work."""

    @property
    def free(self) -> bool:
        """Whether one more piece of work would be begun at once."""

    def take(self, due: Due) -> None:
        """Begin on a piece of work that is left to us for a while."""

    def look(self) -> None:
        """There may be due work: look."""


class Bell:
    """Wakes whoever in this process waits for an order, or for due work. A missed ring costs only time.

    Nobody hears another process's bell: with `look_ms` whoever waits is woken that often to look for himself.
    """

    def __init__(self, *, look_ms: int = 0) -> None:
        self._look_ms = look_ms
        self._waiting: dict[OrderKey, asyncio.Event] = {}
        self._hands: dict[DueKind, Hands] = {}
        self.closing = False

    def close(self) -> None:
        """The process is about to end: nobody waits any more; recovery goes on after the restart."""
        self.closing = True
        for event in self._waiting.values():
            event.set()

    def hire(self, hands: Hands, kinds: Iterable[DueKind]) -> None:
        """From now on these workers hear of work of these kinds."""
        self._hands |= dict.fromkeys(kinds, hands)

    def free_hands(self, kind: DueKind) -> Hands | None:
        """Workers who would begin at once on what this process is about to commit, if there are any."""
        hands = self._hands.get(kind)
        return hands if hands is not None and hands.free else None

    def ring_work(self, kind: DueKind) -> None:
        """Work of this kind is due now."""
        hands = self._hands.get(kind)
        if hands is not None:
            hands.look()

    def ring(self, key: OrderKey) -> None:
        """Something was recorded about the order."""
        event = self._waiting.pop(key, None)
        if event is not None:
            event.set()

    async def wait(self, key: OrderKey, wait_ms: int) -> None:
        """Return when the bell rings, after `wait_ms`, to look, or when the process is about to end."""
        if self.closing:
            return
        if self._look_ms:
            wait_ms = min(wait_ms, self._look_ms)
        event = self._waiting.setdefault(key, asyncio.Event())
        try:
            async with asyncio.timeout(max(wait_ms, 0) / 1000):
                await event.wait()
        except TimeoutError:
            if self._waiting.get(key) is event:
                del self._waiting[key]


class Turns:
    """One attempt at a time per order in this process: two that cross could each misread the other's end."""

    def __init__(self) -> None:
        self._locks: dict[OrderKey, tuple[asyncio.Lock, int]] = {}

    def of(self, key: OrderKey) -> "_Turn":
        """Wait for one's turn at an order, and have it to oneself; tells whether somebody was before us."""
        return _Turn(self._locks, key)


class _Turn:
    """One turn: `asynccontextmanager` would do the same at four times the cost, and every pay takes one."""

    __slots__ = ("_key", "_lock", "_locks")

    def __init__(self, locks: dict[OrderKey, tuple[asyncio.Lock, int]], key: OrderKey) -> None:
        self._locks = locks
        self._key = key

    async def __aenter__(self) -> bool:
        self._lock, users = self._locks.get(self._key) or (asyncio.Lock(), 0)
        self._locks[self._key] = (self._lock, users + 1)
        try:
            await self._lock.acquire()
        except asyncio.CancelledError:
            self._leave()
            raise
        return users > 0

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        lock, users = self._locks.pop(self._key)
        if users > 1:
            self._locks[self._key] = (lock, users - 1)


class Wallets:
    """The merchants' channels, opened once per account and kept while the account's record stays the same."""

    def __init__(self, store: Store, open_channel: Callable[[Account], Channel]) -> None:
        self._store = store
        self._open = open_channel
        self._opened: dict[tuple[str, str], tuple[Account, Channel]] = {}

    async def for_payway(
        self, merchant_sn: str, payway: str, sub_payway: SubPayway
    ) -> tuple[Account, Channel]:
        """The merchant's first account that serves the payway; raises `PaywayNotServed`."""
        for account in await self._store.accounts(merchant_sn):
            if payway in account.payways:
                channel = self._channel(account)
                if sub_payway in channel.capabilities.sub_payways:
                    return account, channel
        message = f"不认识的支付通道: payway {payway}, sub_payway {sub_payway}"
        raise PaywayNotServed(message)

    async def of(self, order: Order) -> Channel:
        """The channel an order went out on; raises `PaywayNotServed` when its account was removed."""
        return await self.named(order.merchant_id, order.account)

    async def named(self, merchant_sn: str, name: str) -> Channel:
        """The channel of one account; raises `PaywayNotServed` when there is none of that name."""
        for account in await self._store.accounts(merchant_sn):
            if account.name == name:
                return self._channel(account)
        message = f"merchant {merchant_sn} has no channel account {name}"
        raise PaywayNotServed(message)

    def _channel(self, account: Account) -> Channel:
        key = (account.merchant_sn, account.name)
        known = self._opened.get(key)
        if known is not None and (known[0] is account or known[0] == account):
            return known[1]
        channel = self._open(account)
        self._opened[key] = (account, channel)
        return channel


@dataclass(frozen=True, slots=True)
class Desk:
    """The flows' working place: memory, wallets, sockets, clock, numbers and bounds.

    `callback_base`: URL prefix under which channels reach us. `notification_body` writes the flat order
    object of upay-v2.md §11. `cancel_same_day` and `device_once`: upay-v2.md §13 no. 20 and 23.
    """

    store: Store
    wallets: Wallets
    transport: Transport
    clock: Clock
    ids: Ids
    limits: Limits
    log: FilteringBoundLogger
    callback_base: str
    notification_body: NotificationBody
    cancel_same_day: bool = True
    device_once: bool = False
    crash: CrashPoints = field(default_factory=CrashPoints)
    bell: Bell = field(default_factory=Bell)
    turns: Turns = field(default_factory=Turns)
    aside: Aside = field(default_factory=Aside)

    def callback_url(self, order: Order, *, refund_tsn: str = "") -> str:
        """Where the channel shall call us about this order: one shard look-up (DESIGN §7)."""
        path = f"{order.account}/{order.bucket}/{order.merchant_id}/{order.sn}"
        tail = f"/refunds/{refund_tsn}" if refund_tsn else ""
        return f"{self.callback_base}/callbacks/{path}{tail}"
