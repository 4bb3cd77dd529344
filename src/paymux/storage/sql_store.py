"""What the stores of both engines do alike: every question, what is kept opened, and single guarded writes.

An engine says how rows are read (`_all`), how one guarded statement is written (`_write`), and does by
itself what goes in one commit with more (DESIGN §7). All SQL stands in queries.sql.
"""

import hmac
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

from paymux.domain.order import Order, OrderKey, OrderStatus, Transaction
from paymux.domain.people import Account, ActivationCode, Merchant, Terminal, Vendor
from paymux.domain.people import Store as Shop
from paymux.domain.verdict import OPEN
from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage import rows
from paymux.storage.contract import Due, DueKind, Event, Notification
from paymux.storage.kept import Kept
from paymux.storage.rows import Row

Result = TypeVar("Result")
AccountsOf = dict[str, list[Account]]
"""merchant_sn → its accounts, in the order they were given."""


class SqlStore(ABC):
    """The half of a `Store` that needs no knowledge of its engine."""

    def __init__(self, *, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._vendors = Kept(clock, self._by("vendor_by_sn"), self._one(rows.vendor_of))
        self._merchants = Kept(clock, self._by("merchant_by_sn"), lambda found: rows.merchant_of(found[0]))
        self._shops = Kept(clock, self._by("store_by_sn"), lambda found: rows.store_of(found[0]))
        self._terminals = Kept(clock, self._by("terminal_by_sn"), self._one(rows.terminal_of))
        self._accounts = Kept(
            clock,
            self._by("accounts_of_merchant"),
            lambda found: [rows.account_of(row, sealer) for row in found],
        )

    # -- what engines do

    @abstractmethod
    async def _all(self, query: str, parameters: Row) -> list[Row]:
        """Read what is committed; raises `StorageFailed`."""

    @abstractmethod
    async def _write(self, query: str, parameters: Row) -> bool:
        """Commit one guarded statement; whether it took effect."""

    @abstractmethod
    async def _ready(self, kinds: tuple[DueKind, ...], now_ms: int, limit: int) -> list[Row]:
        """The oldest rows of each kind that may be claimed."""

    @abstractmethod
    async def _claim(self, ready: list[Due], now_ms: int, lease_until_ms: int) -> list[Due]:
        """Take a lease on each row that is still as it was read, in one commit."""

    @abstractmethod
    async def _put_people(self, writes: list[tuple[str, Row]], accounts: AccountsOf) -> None:
        """Write reference data, in one commit."""

    @abstractmethod
    async def _activate(self, code: str, terminal: Row, now_ms: int, device: Row | None) -> bool:
        """Spend one use of the code and add the terminal, in one commit; False: nothing was changed."""

    # -- the money path

    async def mark_asked(self, key: OrderKey, *, now_ms: int, gap_ms: int) -> bool:
        """Take the right to ask the channel now."""
        key_row = rows.key_row(key)
        found = await self._all("asked", key_row)
        if not found or 0 < now_ms - gap_ms < found[0][0]:
            return False
        return await self._write("mark_asked", (now_ms, *key_row, now_ms - gap_ms))

    async def order(self, key: OrderKey) -> Order | None:
        """The order as it is now."""
        return await self._first("order_by_key", (key.bucket, key.merchant_id, key.sn), rows.order_of)

    async def order_by_client_sn(self, bucket: int, merchant_id: str, client_sn: str) -> Order | None:
        """By the merchant's own number."""
        return await self._first("order_by_client_sn", (bucket, merchant_id, client_sn), rows.order_of)

    async def order_by_trade_no(self, bucket: int, merchant_id: str, trade_no: str) -> Order | None:
        """By the channel's number."""
        place = (bucket, merchant_id)
        return await self._first("order_by_trade_no", (*place, *place, trade_no), rows.order_of)

    async def orders(self, *, status: OrderStatus | None, after: OrderKey | None, limit: int) -> list[Order]:
        """A page of orders in the order of their numbers."""
        start = (after.sn, after.merchant_id, after.bucket) if after else ("", "", -1)
        if status in OPEN:
            return await self._open_orders(status, start, limit)
        if status is None:
            found = await self._all("orders_page", (*start, limit))
        else:
            found = await self._all("orders_page_settled", (status.value, *start, limit))
        return [rows.order_of(row) for row in found]

    async def _open_orders(self, status: OrderStatus | None, start: Row, limit: int) -> list[Order]:
        """By their due work, each order by itself: whatever shard it lies on."""
        found: list[Order] = []
        while len(found) < limit and (page := await self._all("orders_with_work", (*start, limit))):
            for sn, merchant_id, bucket in page:
                order = await self.order(OrderKey(bucket, merchant_id, sn))
                if order is not None and order.status is status:
                    found.append(order)
            start = page[-1]
        return found[:limit]

    async def transactions(self, key: OrderKey) -> list[Transaction]:
        """All movements of an order, oldest first."""
        return [
            rows.transaction_of(row) for row in await self._all("transactions_of_order", rows.key_row(key))
        ]

    async def transaction(self, key: OrderKey, tsn: str) -> Transaction | None:
        """One movement."""
        return await self._first("transaction_by_tsn", (*rows.key_row(key), tsn), rows.transaction_of)

    async def refund(self, key: OrderKey, refund_request_no: str) -> Transaction | None:
        """The refund the merchant gave this number."""
        return await self._first(
            "refund_by_number", (*rows.key_row(key), refund_request_no), rows.transaction_of
        )

    async def events(self, key: OrderKey) -> list[Event]:
        """The order's history, oldest first."""
        return [rows.event_of(row) for row in await self._all("events_of_order", rows.key_row(key))]

    # -- due work

    async def claim_due(
        self, *, now_ms: int, lease_ms: int, limit: int, kinds: tuple[DueKind, ...]
    ) -> list[Due]:
        """Claim what is due of these kinds, oldest first."""
        ready = [rows.due_of(row) for row in await self._ready(kinds, now_ms, limit)]
        if not ready:
            return []
        ready.sort(key=lambda due: (due.run_at_ms, due.ref, due.kind))
        return await self._claim(ready[:limit], now_ms, now_ms + lease_ms)

    async def put_off(self, due: Due, *, run_at_ms: int) -> None:
        """Give a row back for later."""
        await self._write("put_off", (run_at_ms, *rows.due_key_row(due), due.attempts, due.run_at_ms))

    async def drop_due(self, due: Due) -> None:
        """Delete a row whose work is done or no longer needed."""
        await self._write("drop_due", (*rows.due_key_row(due), due.attempts, due.run_at_ms))

    async def due_of(self, key: OrderKey) -> list[Due]:
        """What still has to be done about an order."""
        return [rows.due_of(row) for row in await self._all("due_of_order", rows.key_row(key) * 4)]

    # -- notifications

    async def notifications(self, key: OrderKey) -> list[Notification]:
        """All notifications about an order, in the order of the versions they tell about."""
        return [
            rows.notification_of(row) for row in await self._all("notifications_of_order", rows.key_row(key))
        ]

    # -- people

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
        """Insert or replace reference data, in one commit."""
        sealer = self._sealer
        writes: list[tuple[str, Row]] = [
            *(("put_vendor", rows.vendor_row(one, sealer)) for one in vendors),
            *(("put_merchant", rows.merchant_row(one)) for one in merchants),
            *(("put_store", rows.store_row(one)) for one in stores),
            *(("put_activation_code", rows.code_row(one)) for one in codes),
            *(("put_terminal", rows.terminal_row(one, sealer)) for one in terminals),
        ]
        of_merchant: AccountsOf = {}
        for account in accounts:
            of_merchant.setdefault(account.merchant_sn, []).append(account)
        await self._put_people(writes, of_merchant)
        for vendor in vendors:
            self._vendors.forget(vendor.vendor_sn)
        for merchant in merchants:
            self._merchants.forget(merchant.merchant_sn)
        for shop in stores:
            self._shops.forget(shop.store_sn)
        for terminal in terminals:
            self._terminals.forget(terminal.terminal_sn)
        for account in accounts:
            self._accounts.forget(account.merchant_sn)

    async def vendor(self, vendor_sn: str) -> Vendor | None:
        """Who signs an activation."""
        return await self._vendors.get(vendor_sn)

    async def merchant(self, merchant_sn: str) -> Merchant | None:
        """Whose money."""
        return await self._merchants.get(merchant_sn)

    async def merchants(self) -> list[Merchant]:
        """All of them."""
        return [rows.merchant_of(row) for row in await self._all("merchants", ())]

    async def shop(self, store_sn: str) -> Shop | None:
        """The store."""
        return await self._shops.get(store_sn)

    async def terminal(self, terminal_sn: str, *, fresh: bool = False) -> Terminal | None:
        """One till with its keys; `fresh` bypasses the cache."""
        return await self._terminals.get(terminal_sn, fresh=fresh)

    async def accounts(self, merchant_sn: str) -> list[Account]:
        """A merchant's channel accounts in the order they were given."""
        return list(await self._accounts.get(merchant_sn) or ())

    async def activate(
        self, code: str, terminal: Terminal, *, now_ms: int, device_once: bool = False
    ) -> bool:
        """Spend one use of the code and add the terminal, in one commit."""
        row = rows.terminal_row(terminal, self._sealer)
        device = (terminal.merchant_sn, terminal.device_id) if device_once else None
        return await self._activate(code, row, now_ms, device)

    async def knows_device(self, merchant_sn: str, device_id: str) -> bool:
        """Tell whether a device is a terminal of the merchant already."""
        return bool(await self._all("terminal_of_device", (merchant_sn, device_id)))

    async def activation_code(self, code: str) -> ActivationCode | None:
        """The code as it is now."""
        return await self._first("activation_code", (code,), rows.code_of)

    async def rotate_key(self, terminal: Terminal, *, signed_with: str, new_key: str) -> bool:
        """Make `new_key` current and `signed_with` last; read again when somebody else was faster."""
        sn = terminal.terminal_sn
        keys = rows.keys_row(sn, current_key=new_key, last_key=signed_with, sealer=self._sealer)
        while found := await self._all("terminal_by_sn", (sn,)):
            now = rows.terminal_of(found[0], self._sealer)
            known = (now.current_key.encode(), now.last_key.encode())
            if not any(hmac.compare_digest(key, signed_with.encode()) for key in known):
                return False
            if await self._write("rotate_key", (*keys, sn, *found[0][-2:])):
                self._terminals.forget(sn)
                return True
        return False

    # -- processes that share the database

    async def take_node(self, node: int, holder: str, *, now_ms: int, until_ms: int) -> bool:
        """Take a node's numbers until then."""
        return await self._write("take_node", (node, holder, until_ms, now_ms))

    async def node_until_ms(self, node: int) -> int:
        """When the node's last lease ended or ends."""
        found = await self._all("node_until", (node,))
        return int(found[0][0]) if found else 0

    async def keep_node(self, node: int, holder: str, *, until_ms: int) -> bool:
        """Keep a node, or let it go."""
        return await self._write("keep_node", (until_ms, node, holder))

    # -- reading

    async def _first(self, query: str, parameters: Row, read: Callable[[Row], Result]) -> Result | None:
        found = await self._all(query, parameters)
        return read(found[0]) if found else None

    def _by(self, query: str) -> Callable[[str], Awaitable[list[Row]]]:
        return lambda name: self._all(query, (name,))

    def _one(self, read: Callable[[Row, Sealer], Result]) -> Callable[[list[Row]], Result]:
        return lambda found: read(found[0], self._sealer)
