"""What storage promises, in domain words; every engine keeps the same promises (DESIGN §7, RELIABILITY §2).

- A `Change` is all or nothing, durable before the call returns, and guarded: it takes effect only if the
  order still has the status and version it was judged by. False means somebody was faster: read and judge
  again, and do nothing outside before that (RELIABILITY §0.4).
- Many changes are committed together; a failing one never fails its neighbours.
- `refunded + refunding <= paid <= total` is held by the database itself (promise M3).
- Due work is claimed under a lease by one worker at a time; a lease only saves work.
- Time always comes in as a parameter, epoch milliseconds.
"""

from enum import StrEnum
from typing import Protocol

import msgspec

from paymux.domain.order import Order, OrderKey, OrderStatus, Transaction
from paymux.domain.people import Account, ActivationCode, Merchant, Terminal, Vendor
from paymux.domain.people import Store as Shop


class DueKind(StrEnum):
    """What has to be done later; `ref` is the sn or tsn it is about, or the notification_id.

    A sale's own row (RECOVER, `ref` = sn) may stand for its message as well (decision 21).
    """

    RECOVER = "recover"
    REFUND = "refund"
    WATCH = "watch"
    NOTIFY = "notify"


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work that time must not forget. `sn` is the order it is about."""

    bucket: int
    merchant_id: str
    ref: str
    kind: DueKind
    sn: str
    run_at_ms: int
    attempts: int = 0


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an order's history (promise M11): who did what, when, and in whose words.

    `who`: "terminal 1000…", "gateway", "recovery", the channel's name, an operator. `what`: noun and past
    verb ("order.paid"), a channel operation ("alipay.pay"), or both where a commit keeps the one for the sake
    of the other (flows/history.py). `text` is for people, scrubbed.
    """

    bucket: int
    merchant_id: str
    sn: str
    event_id: str
    at_ms: int
    who: str
    what: str
    text: str = ""


class NotificationStatus(StrEnum):
    """Where a notification is."""

    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    GAVE_UP = "GAVE_UP"


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One message to a merchant's server, the body exactly as it is signed and sent.

    `order_version` is the order's when it was written: that, not a clock, tells which message comes first.
    """

    bucket: int
    merchant_id: str
    sn: str
    notification_id: str
    url: str
    body: str
    ctime_ms: int
    order_version: int = 0
    last_ms: int = 0
    attempts: int = 0
    status: NotificationStatus = NotificationStatus.WAITING
    last_answer: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One commit about one order. `before` None: the order is new (guard: its client_sn is unused).

    `transactions` are written over what is there; `due` rows are put (run_at replaced) and `done` names
    (ref, kind) to delete; events and notifications are added.
    """

    order: Order
    before: Order | None = None
    transactions: tuple[Transaction, ...] = ()
    due: tuple[Due, ...] = ()
    done: tuple[tuple[str, DueKind], ...] = ()
    events: tuple[Event, ...] = ()
    notifications: tuple[Notification, ...] = ()


class Store(Protocol):
    """The whole memory of the gateway. Every write raises `StorageFailed` when it is not durable."""

    # -- the money path
    async def save(self, change: Change) -> bool:
        """Commit a change; False when its guard did not hold (other version, or client_sn in use)."""

    async def add_events(self, events: tuple[Event, ...]) -> None:
        """Add history without changing an order."""

    async def mark_asked(self, key: OrderKey, *, now_ms: int, gap_ms: int) -> bool:
        """Take the right to ask the channel now; False when someone did less than `gap_ms` ago."""

    async def order(self, key: OrderKey) -> Order | None:
        """The order as it is now."""

    async def order_by_client_sn(self, bucket: int, merchant_id: str, client_sn: str) -> Order | None:
        """The merchant's own number for it."""

    async def order_by_trade_no(self, bucket: int, merchant_id: str, trade_no: str) -> Order | None:
        """The channel's number for it, as its pay carries it (some tills refund by it, upay-v2.md §7.1)."""

    async def orders(self, *, status: OrderStatus | None, after: OrderKey | None, limit: int) -> list[Order]:
        """A page of orders in the order of their numbers, which is that of time; for lists and books.

        Those in a status that waits for something (`OPEN`) are found by their due work.
        """

    async def transactions(self, key: OrderKey) -> list[Transaction]:
        """All movements of an order, oldest first."""

    async def transaction(self, key: OrderKey, tsn: str) -> Transaction | None:
        """One movement."""

    async def refund(self, key: OrderKey, refund_request_no: str) -> Transaction | None:
        """The refund the merchant gave this number."""

    async def events(self, key: OrderKey) -> list[Event]:
        """The order's history, oldest first."""

    # -- due work
    async def claim_due(
        self, *, now_ms: int, lease_ms: int, limit: int, kinds: tuple[DueKind, ...]
    ) -> list[Due]:
        """Claim what is due of these kinds, oldest first; nobody else gets it before the lease ends.

        `attempts` counts this claim.
        """

    async def put_off(self, due: Due, *, run_at_ms: int) -> None:
        """Give a row back for later and end its lease.

        Does nothing if the row was settled, put anew or claimed by somebody else meanwhile: `attempts` must
        still be what it was, and the time, too, unless nobody had begun on it yet (attempts 0).
        """

    async def drop_due(self, due: Due) -> None:
        """Delete a row whose work is done, under the same condition as `put_off`: never somebody else's."""

    async def due_of(self, key: OrderKey) -> list[Due]:
        """What still has to be done about an order."""

    # -- notifications
    async def notifications(self, key: OrderKey) -> list[Notification]:
        """All notifications about an order, in the order of the versions they tell about."""

    async def save_delivery(
        self, notification: Notification, *, next_ms: int | None, under_sale: bool = False
    ) -> None:
        """Store an attempt's result; `next_ms` None ends its due row, else the row runs again then.

        `under_sale`: the message had no row of its own but stood under its sale's, which ends here.
        """

    # -- people (reference data, secrets sealed at rest)
    async def put_people(
        self,
        *,
        vendors: tuple[Vendor, ...] = (),
        merchants: tuple[Merchant, ...] = (),
        stores: tuple[Shop, ...] = (),
        codes: tuple[ActivationCode, ...] = (),
        terminals: tuple[Terminal, ...] = (),
        accounts: tuple[Account, ...] = (),
    ) -> None:
        """Insert or replace reference data; activation codes keep the uses already spent."""

    async def vendor(self, vendor_sn: str) -> Vendor | None:
        """Who signs an activation."""

    async def merchant(self, merchant_sn: str) -> Merchant | None:
        """Whose money."""

    async def merchants(self) -> list[Merchant]:
        """All of them."""

    async def shop(self, store_sn: str) -> Shop | None:
        """The store."""

    async def terminal(self, terminal_sn: str, *, fresh: bool = False) -> Terminal | None:
        """One till with its keys; `fresh` bypasses the cache, for a signature that does not match."""

    async def accounts(self, merchant_sn: str) -> list[Account]:
        """A merchant's channel accounts in the order they were given."""

    async def activate(
        self, code: str, terminal: Terminal, *, now_ms: int, device_once: bool = False
    ) -> bool:
        """Spend one use of the code and add the terminal, in one commit.

        False when no use is left, it has expired, the terminal's client_sn is taken under its app_id, or,
        with `device_once`, its device_id is a terminal of the merchant already.
        """

    async def knows_device(self, merchant_sn: str, device_id: str) -> bool:
        """Tell whether a device is a terminal of the merchant already."""

    async def activation_code(self, code: str) -> ActivationCode | None:
        """The code as it is now."""

    async def rotate_key(self, terminal: Terminal, *, signed_with: str, new_key: str) -> bool:
        """Make `new_key` current and `signed_with` last; False when neither key is `signed_with` any more."""

    # -- processes that share the database
    async def take_node(self, node: int, holder: str, *, now_ms: int, until_ms: int) -> bool:
        """Take a node's numbers until then; False while somebody else has them (kit/ids.py)."""

    async def node_until_ms(self, node: int) -> int:
        """When the node's last lease ended or ends; 0 when nobody ever had it."""

    async def keep_node(self, node: int, holder: str, *, until_ms: int) -> bool:
        """Keep a node until then, which may be a time gone by; False when it is not ours any more."""

    async def close(self) -> None:
        """Finish what is waiting and let go of the files."""
