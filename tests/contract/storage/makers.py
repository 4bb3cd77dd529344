"""Records for the store's tests: a merchant's orders, one step at a time."""

from msgspec.structs import replace

from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.domain.people import bucket_of
from paymux.storage.contract import Change, Due, DueKind, Event, Notification

NOW_MS = 1_700_000_000_000


class TurnedClock:
    """A clock a test turns by hand."""

    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        """Whatever the test says."""
        return self.ms

    async def sleep(self, wait_ms: int) -> None:
        """Time passes at once."""
        self.ms += wait_ms


def an_order(number: int = 1, *, merchant: str = "m1", **changes: object) -> Order:
    """A fresh order of 100 fen; sn, client_sn and times come from its number."""
    sn = f"7{number:015d}"
    order = Order(
        bucket=bucket_of(merchant),
        merchant_id=merchant,
        sn=sn,
        client_sn=f"c{number}",
        store_sn="s1",
        terminal_sn="t1",
        account="main",
        channel="alipay",
        payway="1",
        sub_payway="1",
        total=100,
        digest="d",
        subject="coffee",
        ctime_ms=NOW_MS + number,
        deadline_ms=NOW_MS + 60_000,
        latest_tsn=sn,
    )
    return replace(order, **changes)


def a_movement(order: Order, *, tsn: str = "", kind: str = "pay", **changes: object) -> Transaction:
    """A movement of the order; by default its pay."""
    movement = Transaction(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        tsn=tsn or order.sn,
        kind=TransactionKind(kind),
        status=TransactionStatus.CREATED,
        amount=order.total,
        ctime_ms=order.ctime_ms,
    )
    return replace(movement, **changes)


def a_due(order: Order, *, kind: DueKind = DueKind.RECOVER, ref: str = "", run_at_ms: int = NOW_MS) -> Due:
    """Work about the order; by default its recovery, now."""
    return Due(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        ref=ref or order.sn,
        kind=kind,
        sn=order.sn,
        run_at_ms=run_at_ms,
    )


def an_event(order: Order, event_id: str, *, at_ms: int = NOW_MS, text: str = "") -> Event:
    """A line of the order's history."""
    return Event(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        event_id=event_id,
        at_ms=at_ms,
        who="gateway",
        what="order.paid",
        text=text,
    )


def a_notification(order: Order, notification_id: str) -> Notification:
    """A message about the order."""
    return Notification(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        notification_id=notification_id,
        url="https://shop.example/paid",
        body='{"sn":"7"}',
        ctime_ms=NOW_MS,
    )


def intent(order: Order) -> Change:
    """The first commit of a sale: the order, which is its own pay yet, and its due row."""
    return Change(order=order, due=(a_due(order),))


def next_version(order: Order, **changes: object) -> Change:
    """The change from an order to its next version."""
    return Change(order=replace(order, version=order.version + 1, **changes), before=order)


def paid(order: Order) -> Change:
    """The second commit of a sale: paid, nothing left to do, one line of history."""
    change = next_version(order, status=OrderStatus.PAID, paid=order.total, trade_no=f"w{order.sn}")
    return replace(
        change,
        transactions=(a_movement(order, status=TransactionStatus.SUCCESS, trade_no=change.order.trade_no),),
        done=((order.sn, DueKind.RECOVER),),
        events=(an_event(order, f"e{order.sn}"),),
    )


def reserved(order: Order, amount: int, number: str) -> Change:
    """Reserve an amount for the refund `number`."""
    change = next_version(order, status=OrderStatus.REFUND_INPROGRESS, refunding=order.refunding + amount)
    refund = a_movement(
        order, tsn=f"r{order.sn}-{number}", kind="refund", amount=amount, refund_request_no=number
    )
    due = a_due(order, kind=DueKind.REFUND, ref=refund.tsn)
    return replace(change, transactions=(refund,), due=(due,))
