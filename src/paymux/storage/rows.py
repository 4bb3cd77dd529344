"""Row ↔ record. Rows are tuples in the order queries.sql names the columns, which is the records' own order.

Written out field by field: this is the hot path, and a reader can check it against the query.
"""

from typing import Any, TypeVar

import msgspec

from paymux.domain.order import Order, OrderKey, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.domain.people import Account, ActivationCode, Merchant, Terminal, Vendor
from paymux.domain.people import Store as Shop
from paymux.kit.seal import Sealer
from paymux.storage.contract import Due, DueKind, Event, Notification, NotificationStatus

Record = TypeVar("Record")
Row = tuple[Any, ...]
"""What a database hands out; the `*_of` functions below give it types."""

# Text → member; a dict is five times as quick as calling the enum.
_ORDER_STATUS = {one.value: one for one in OrderStatus}
_KIND = {one.value: one for one in TransactionKind}
_STATUS = {one.value: one for one in TransactionStatus}
_DUE_KIND = {one.value: one for one in DueKind}
_NOTIFICATION_STATUS = {one.value: one for one in NotificationStatus}


def without_nul(record: Record, kind: Any) -> Record:  # noqa: ANN401 - a type, or an alias of one
    """The record with U+FFFD in place of U+0000, which PostgreSQL's texts cannot hold."""
    text = msgspec.json.encode(record).replace(b"\\u0000", b"\\ufffd")
    found: Record = msgspec.json.decode(text, type=kind)
    return found


# -- the money path


def key_row(key: OrderKey) -> Row:
    """The three parameters that find an order."""
    return (key.bucket, key.merchant_id, key.sn)


def order_row(order: Order) -> Row:
    """All columns, for insert_order."""
    return (
        order.bucket,
        order.merchant_id,
        order.sn,
        order.client_sn,
        order.store_sn,
        order.terminal_sn,
        order.account,
        order.channel,
        order.payway,
        order.sub_payway,
        order.currency,
        order.digest,
        order.subject,
        order.description,
        order.operator,
        order.reflect,
        order.notify_url,
        order.detail,
        order.qr_code,
        order.wap_pay_request,
        order.undo_tsn,
        order.error_code,
        order.error_message,
        order.latest_tsn,
        order.latest_kind.value,
        order.latest_operator,
        order.latest_client_tsn,
        order.total,
        order.ctime_ms,
        order.deadline_ms,
        order.asked_ms,
        order.refunded,
        order.refunding,
        order.paid,
        order.version,
        order.finish_ms,
        order.channel_finish_ms,
        order.status.value,
        order.latest_status.value,
        order.trade_no,
        order.payer_uid,
        order.payer_login,
        order.payment_list,
    )


def next_order_row(order: Order, before: Order) -> Row:
    """What may change, then the guard, for update_order."""
    return (
        order.paid,
        order.refunded,
        order.refunding,
        order.status.value,
        order.version,
        order.undo_tsn,
        order.trade_no,
        order.payer_uid,
        order.payer_login,
        order.payment_list,
        order.qr_code,
        order.wap_pay_request,
        order.error_code,
        order.error_message,
        order.deadline_ms,
        order.finish_ms,
        order.channel_finish_ms,
        order.latest_tsn,
        order.latest_kind.value,
        order.latest_status.value,
        order.latest_operator,
        order.latest_client_tsn,
        before.bucket,
        before.merchant_id,
        before.sn,
        before.version,
        before.status.value,
    )


def order_of(row: Row) -> Order:
    """Read {order_columns}."""
    return Order(
        bucket=row[0],
        merchant_id=row[1],
        sn=row[2],
        client_sn=row[3],
        store_sn=row[4],
        terminal_sn=row[5],
        account=row[6],
        channel=row[7],
        payway=row[8],
        sub_payway=row[9],
        currency=row[10],
        digest=row[11],
        subject=row[12],
        description=row[13],
        operator=row[14],
        reflect=row[15],
        notify_url=row[16],
        detail=row[17],
        qr_code=row[18],
        wap_pay_request=row[19],
        undo_tsn=row[20],
        error_code=row[21],
        error_message=row[22],
        latest_tsn=row[23],
        latest_kind=_KIND[row[24]],
        latest_operator=row[25],
        latest_client_tsn=row[26],
        total=row[27],
        ctime_ms=row[28],
        deadline_ms=row[29],
        asked_ms=row[30],
        refunded=row[31],
        refunding=row[32],
        paid=row[33],
        version=row[34],
        finish_ms=row[35],
        channel_finish_ms=row[36],
        status=_ORDER_STATUS[row[37]],
        latest_status=_STATUS[row[38]],
        trade_no=row[39],
        payer_uid=row[40],
        payer_login=row[41],
        payment_list=row[42],
    )


def transaction_row(movement: Transaction) -> Row:
    """All columns, for put_transaction."""
    return (
        movement.bucket,
        movement.merchant_id,
        movement.sn,
        movement.tsn,
        movement.kind.value,
        movement.status.value,
        movement.amount,
        movement.operator,
        movement.refund_request_no,
        str(movement.undo_by),
        movement.trade_no,
        movement.error_code,
        movement.error_message,
        movement.ctime_ms,
        movement.finish_ms,
        movement.channel_finish_ms,
        movement.doubt_ms,
    )


def transaction_of(row: Row) -> Transaction:
    """Read {transaction_columns}."""
    return Transaction(
        bucket=row[0],
        merchant_id=row[1],
        sn=row[2],
        tsn=row[3],
        kind=_KIND[row[4]],
        status=_STATUS[row[5]],
        amount=row[6],
        operator=row[7],
        refund_request_no=row[8],
        undo_by=row[9],
        trade_no=row[10],
        error_code=row[11],
        error_message=row[12],
        ctime_ms=row[13],
        finish_ms=row[14],
        channel_finish_ms=row[15],
        doubt_ms=row[16],
    )


def event_row(event: Event) -> Row:
    """All columns, for add_event."""
    return (
        event.bucket,
        event.merchant_id,
        event.sn,
        event.event_id,
        event.at_ms,
        event.who,
        event.what,
        event.text,
    )


def event_of(row: Row) -> Event:
    """Read an event's columns."""
    return Event(
        bucket=row[0],
        merchant_id=row[1],
        sn=row[2],
        event_id=row[3],
        at_ms=row[4],
        who=row[5],
        what=row[6],
        text=row[7],
    )


def due_row(due: Due) -> Row:
    """{due_columns} and no lease, for put_due."""
    return (due.bucket, due.merchant_id, due.ref, due.kind.value, due.sn, due.run_at_ms, due.attempts, 0)


def due_key_row(due: Due) -> Row:
    """The four parameters that find a row of due work."""
    return (due.bucket, due.merchant_id, due.ref, due.kind.value)


def due_of(row: Row) -> Due:
    """Read {due_columns}."""
    return Due(
        bucket=row[0],
        merchant_id=row[1],
        ref=row[2],
        kind=_DUE_KIND[row[3]],
        sn=row[4],
        run_at_ms=row[5],
        attempts=row[6],
    )


def notification_row(note: Notification) -> Row:
    """All columns, for add_notification."""
    return (
        note.bucket,
        note.merchant_id,
        note.sn,
        note.notification_id,
        note.url,
        note.body,
        note.ctime_ms,
        note.order_version,
        note.last_ms,
        note.attempts,
        note.status.value,
        note.last_answer,
    )


def delivery_row(note: Notification) -> Row:
    """What an attempt came to, and the key, for save_delivery."""
    return (
        note.status.value,
        note.attempts,
        note.last_ms,
        note.last_answer,
        note.bucket,
        note.merchant_id,
        note.sn,
        note.notification_id,
    )


def work_of_delivery(
    note: Notification, *, next_ms: int | None, under_sale: bool
) -> tuple[list[Row], list[Row]]:
    """The rows of due work that an attempt ends (their first four columns are the key), and those it puts."""
    place = (note.bucket, note.merchant_id)
    own = (*place, note.notification_id, DueKind.NOTIFY.value, note.sn, next_ms or 0, 0, 0)
    sale = (*place, note.sn, DueKind.RECOVER.value, note.sn, 0, 0, 0)
    put = [] if next_ms is None else [own]
    if under_sale:
        return [sale], put
    return [] if put else [own], put


def notification_of(row: Row) -> Notification:
    """Read {notification_columns}."""
    return Notification(
        bucket=row[0],
        merchant_id=row[1],
        sn=row[2],
        notification_id=row[3],
        url=row[4],
        body=row[5],
        ctime_ms=row[6],
        order_version=row[7],
        last_ms=row[8],
        attempts=row[9],
        status=_NOTIFICATION_STATUS[row[10]],
        last_answer=row[11],
    )


# -- people: secrets are sealed for their table, column and row


def vendor_row(vendor: Vendor, sealer: Sealer) -> Row:
    """For put_vendor."""
    key = sealer.seal(vendor.vendor_key, "vendors", "vendor_key", vendor.vendor_sn)
    return (vendor.vendor_sn, key, vendor.app_id)


def vendor_of(row: Row, sealer: Sealer) -> Vendor:
    """Read a vendor's columns."""
    key = sealer.unseal(row[1], "vendors", "vendor_key", row[0])
    return Vendor(vendor_sn=row[0], vendor_key=key, app_id=row[2])


def merchant_row(merchant: Merchant) -> Row:
    """For put_merchant."""
    return (merchant.merchant_sn, merchant.name, merchant.timezone)


def merchant_of(row: Row) -> Merchant:
    """Read a merchant's columns."""
    return Merchant(merchant_sn=row[0], name=row[1], timezone=row[2])


def store_row(shop: Shop) -> Row:
    """For put_store."""
    return (shop.store_sn, shop.merchant_sn, shop.name)


def store_of(row: Row) -> Shop:
    """Read a store's columns."""
    return Shop(store_sn=row[0], merchant_sn=row[1], name=row[2])


def code_row(code: ActivationCode) -> Row:
    """For put_activation_code."""
    return (code.code, code.store_sn, code.uses_left, code.expires_ms)


def code_of(row: Row) -> ActivationCode:
    """Read an activation code's columns."""
    return ActivationCode(code=row[0], store_sn=row[1], uses_left=row[2], expires_ms=row[3])


def terminal_row(terminal: Terminal, sealer: Sealer) -> Row:
    """For put_terminal and add_terminal."""
    return (
        terminal.terminal_sn,
        terminal.merchant_sn,
        terminal.store_sn,
        terminal.app_id,
        terminal.device_id,
        terminal.client_sn,
        terminal.name,
        int(terminal.active),
        *keys_row(
            terminal.terminal_sn, current_key=terminal.current_key, last_key=terminal.last_key, sealer=sealer
        ),
    )


def keys_row(terminal_sn: str, *, current_key: str, last_key: str, sealer: Sealer) -> Row:
    """The sealed keys of a terminal, for rotate_key."""
    return (
        sealer.seal(current_key, "terminals", "current_key", terminal_sn),
        sealer.seal(last_key, "terminals", "last_key", terminal_sn),
    )


def terminal_of(row: Row, sealer: Sealer) -> Terminal:
    """Read {terminal_columns}."""
    return Terminal(
        terminal_sn=row[0],
        merchant_sn=row[1],
        store_sn=row[2],
        app_id=row[3],
        device_id=row[4],
        client_sn=row[5],
        name=row[6],
        active=bool(row[7]),
        current_key=sealer.unseal(row[8], "terminals", "current_key", row[0]),
        last_key=sealer.unseal(row[9], "terminals", "last_key", row[0]),
    )


def account_row(account: Account, *, position: int, sealer: Sealer) -> Row:
    """For put_account."""
    plain = msgspec.json.encode(account.credentials).decode()
    return (
        account.merchant_sn,
        account.name,
        account.channel,
        msgspec.json.encode(account.payways).decode(),
        account.base_url,
        sealer.seal(plain, "accounts", "credentials", account.merchant_sn, account.name),
        position,
    )


def account_of(row: Row, sealer: Sealer) -> Account:
    """Read an account's columns."""
    plain = sealer.unseal(row[5], "accounts", "credentials", row[0], row[1])
    return Account(
        merchant_sn=row[0],
        name=row[1],
        channel=row[2],
        payways=msgspec.json.decode(row[3], type=tuple[str, ...]),
        base_url=row[4],
        credentials=msgspec.json.decode(plain, type=dict[str, str]),
    )


def positions(given: list[Account], places: dict[str, int]) -> list[int]:
    """Accounts given together share out, in the order given, the places they had and new ones at the end.

    So a file with two accounts swapped swaps them, and one account put alone stays where it was.
    """
    names = dict.fromkeys(account.name for account in given)
    had = sorted(places[name] for name in names if name in places)
    after = max(places.values(), default=-1) + 1
    free = [*had, *range(after, after + len(names) - len(had))]
    position = dict(zip(names, free, strict=True))
    return [position[account.name] for account in given]
