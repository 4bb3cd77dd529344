"""Tell an order's story to a human: who did what, when, in whose words, and what to do next (promise M11).

Pure: from the stored facts to a `Story`, and from a story to text. Nothing is asked, nothing is changed.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from datetime import timezone as fixed_zone

import msgspec
from msgspec.structs import replace

from paymux.domain.judge import pay_movement
from paymux.domain.money import yuan_from_fen
from paymux.domain.order import UNDONE, Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.domain.payways import PAYWAY_NAMES, SubPayway
from paymux.flows.handover import work_ref
from paymux.flows.history import apart
from paymux.storage.contract import Due, DueKind, Event, Notification, NotificationStatus

_RESOLVE = "the waiting: `paymux admin resolve SN paid` or `nothing-held`."
_RESOLVE_REFUND = "the waiting: `paymux admin resolve SN refunded` or `not-refunded`."

STATES: dict[OrderStatus, tuple[str, str]] = {
    OrderStatus.CREATED: (
        "created 已创建: it is not known yet whether the buyer has paid",
        "Wait: the gateway goes on asking the wallet, and reverses the payment when its time is over.",
    ),
    OrderStatus.PAID: ("paid 已支付: the wallet holds the buyer's money for this order", "Nothing."),
    OrderStatus.PAY_CANCELED: (
        "payment cancelled 支付取消: no money was taken, or it is back with the buyer",
        "Nothing. To try again the shop needs a new client_sn.",
    ),
    OrderStatus.PAY_ERROR: (
        "payment error 支付异常: the payment is unclear, and so is its reversal",
        "Hand over no goods until the wallet's merchant portal shows the money under this number; then end "
        + _RESOLVE,
    ),
    OrderStatus.REFUNDED: ("refunded 已全额退款: all of the money is back with the buyer", "Nothing."),
    OrderStatus.PARTIAL_REFUNDED: (
        "partly refunded 已部分退款: a part of the money is back with the buyer",
        "Nothing. The rest can still be refunded, under a new refund_request_no.",
    ),
    OrderStatus.REFUND_INPROGRESS: (
        "refund in progress 退款中: the amount is reserved, and the wallet has not confirmed it yet",
        "Wait: the gateway repeats the refund under the same number until the answer is definite.",
    ),
    OrderStatus.REFUND_ERROR: (
        "refund error 退款异常: it is not known whether the money went back",
        "Look the refund up in the wallet's merchant portal before paying anybody back in cash; then end "
        + _RESOLVE_REFUND,
    ),
    OrderStatus.CANCELED: (
        "cancelled 已撤单: the shop undid the order; the money is back or was never taken",
        "Nothing. To sell again the shop needs a new client_sn.",
    ),
    OrderStatus.CANCEL_INPROGRESS: (
        "cancel in progress 撤单中: the shop wants to undo the order, the wallet has not confirmed it",
        "Wait: the gateway repeats the cancel until the answer is definite.",
    ),
    OrderStatus.CANCEL_ERROR: (
        "cancel error 撤单异常: it is not known whether the money went back",
        "Look up the order number in the wallet's merchant portal; the shop may cancel again, or end "
        + _RESOLVE,
    ),
}
"""Status → what it means, and what a human should do."""

WHATS = {
    "call.answered": "was answered",
    "operator.resolved": "says what the wallet's books show",
    "notification.sent_again": "has the newest notification sent again",
    "order.prepared": "the code to scan is shown 已出码",
    "order.paid": "the order is paid 已支付",
    "order.pay_canceled": "the payment is over, nothing is held 支付取消",
    "order.canceled": "the order is cancelled 已撤单",
    "order.took_late": "the wallet took the money while the order is being undone",
    "order.late_success": "the wallet took the money of an undone order; it goes back 迟到的成功",
    "order.contradiction": "the wallet's word contradicts what we know: look at this",
    "cancel.asked": "the shop asks to cancel 撤单",
    "cancel.joined": "the shop's cancel joins the reversal under way",
    "reverse.begun": "we begin to reverse 冲正",
    "undo.by_refund": "too late to reverse: the money goes back by refund",
    "undo.refused": "the wallet will not undo the order: the sale stands",
    "undo.done_after_all": "the wallet undid the order after all 已撤单",
    "sale.stands": "the sale stands, as the operator says 已支付",
    "movement.in_doubt": "a request may still be on its way: no refusal counts until it cannot be",
    "undo.spent": "quick attempts to undo were in vain; slow ones go on",
    "refund.asked": "a refund is asked for, its amount is reserved 退款",
    "refund.accepted": "the wallet works on the refund",
    "refund.done": "the refund is done 退款成功",
    "refund.refused": "the wallet refuses the refund; its amount is free again",
    "refund.done_after_all": "the refund was carried out after all 退款成功",
    "refund.spent": "quick attempts to refund were in vain; slow ones go on",
    "late_refund.void": "the wallet undid the late success itself",
}
"""Events as people say them; channel operations ("alipay.query") read well enough as they are."""

_KINDS = {
    TransactionKind.PAY: "pay 支付",
    TransactionKind.CANCEL: "cancel 撤单",
    TransactionKind.REVERSE: "reverse 冲正",
    TransactionKind.REFUND: "refund 退款",
    TransactionKind.LATE_REFUND: "refund of a late success 退款",
}
_DUTIES = {
    DueKind.RECOVER: "ask the wallet, or undo",
    DueKind.REFUND: "go on with the refund",
    DueKind.WATCH: "look whether the wallet took the money after all",
    DueKind.NOTIFY: "tell the merchant",
}
_WORK = frozenset({DueKind.RECOVER, DueKind.REFUND})
_EPOCH = datetime(1970, 1, 1, tzinfo=fixed_zone.utc)  # noqa: UP017 - `UTC` would hide that this is a tzinfo


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `amount` is fen when money was concerned; `words` are `who`'s own."""

    at_ms: int
    who: str
    what: str
    amount: int | None = None
    words: str = ""


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to say about an order, as data."""

    order: Order
    steps: tuple[Step, ...]
    movements: tuple[Transaction, ...]
    duties: tuple[Due, ...]
    notifications: tuple[Notification, ...]
    state: str
    advice: tuple[str, ...]


def tell(
    order: Order,
    *,
    transactions: Sequence[Transaction],
    events: Sequence[Event],
    due: Sequence[Due],
    notifications: Sequence[Notification],
) -> Story:
    """Put the stored facts together: steps by time, what is still to do, what it means, what to do next."""
    steps = [*_steps(order, transactions, events), *_deliveries(notifications)]
    state, advice = STATES[order.status]
    story = Story(
        order=order,
        steps=tuple(sorted(steps, key=lambda step: step.at_ms)),
        movements=tuple(_movements(order, transactions)),
        duties=tuple(due),
        notifications=tuple(notifications),
        state=state,
        advice=(advice,),
    )
    return replace(story, advice=(advice, *_more_advice(story)))


def write(story: Story, *, zone: tzinfo, full: bool = False) -> str:
    """Write a story as text; times in `zone`, amounts in yuan. `full` keeps the wallets' transcripts."""
    lines = [
        *_header(story.order),
        "",
        f"Timeline ({zone})",
        *(line for step in story.steps for line in _step_lines(step, zone, full=full)),
        "",
        "Movements 流水",
        *(_movement_line(movement) for movement in story.movements),
        *_section("Notifications 通知", [_note_line(note) for note in story.notifications]),
        *_section("Still to do", [_duty_line(story.order, duty, zone) for duty in story.duties]),
        "",
        f"State    {story.order.status}, {story.state}",
        *_advice_lines(story.advice),
    ]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- the facts


def _steps(order: Order, transactions: Sequence[Transaction], events: Sequence[Event]) -> Iterator[Step]:
    way = "a barcode pay" if order.sub_payway == SubPayway.BARCODE else "an order to be paid"
    yield Step(
        at_ms=order.ctime_ms,
        who=f"terminal {order.terminal_sn}",
        what=f"asks for {way}",
        amount=order.total,
        words=order.subject,
    )
    said = [one for event in events for one in apart(event, channel=order.channel)]
    for event in sorted(said, key=lambda one: (one.at_ms, not _heard(order, one))):
        amount = _amount(order, event, transactions)
        words = WHATS.get(event.what, event.what)
        yield Step(at_ms=event.at_ms, who=event.who, what=words, amount=amount, words=event.text)


def _movements(order: Order, transactions: Sequence[Transaction]) -> Iterator[Transaction]:
    """All movements; a pay of which nothing is known yet is not written down, but it is one."""
    if not any(one.kind is TransactionKind.PAY for one in transactions):
        yield pay_movement(order)
    yield from transactions


def _heard(order: Order, event: Event) -> bool:
    """Whether the channel said it: that comes before what was concluded in the same millisecond."""
    return event.what.startswith(f"{order.channel}.")


def _amount(order: Order, event: Event, transactions: Sequence[Transaction]) -> int | None:
    """The money an event is about, where its name and time make that certain."""
    if event.what in {"order.paid", "order.took_late", "order.late_success"}:
        return order.total
    ends = {"refund.asked": "ctime_ms", "refund.done": "finish_ms", "refund.refused": "finish_ms"}
    if event.what not in ends:
        return None
    moved = {
        one.amount
        for one in transactions
        if one.kind in {TransactionKind.REFUND, TransactionKind.LATE_REFUND}
        and abs(getattr(one, ends[event.what]) - event.at_ms) <= 1
    }
    return moved.pop() if len(moved) == 1 else None


def _deliveries(notifications: Sequence[Notification]) -> Iterator[Step]:
    for note in notifications:
        if not note.attempts:
            continue
        ended = {
            NotificationStatus.DELIVERED: "has been told 通知成功",
            NotificationStatus.GAVE_UP: "could not be told; given up 通知失败",
            NotificationStatus.WAITING: "could not be told yet",
        }[note.status]
        yield Step(at_ms=note.last_ms, who="merchant", what=ended, words=note.last_answer)


def _more_advice(story: Story) -> Iterator[str]:
    status, kinds = story.order.status, {duty.kind for duty in story.duties}
    if status.endswith("_ERROR") and kinds & _WORK:
        yield "The gateway goes on trying by itself, with growing gaps."
    unsettled = status.endswith(("_INPROGRESS", "_ERROR")) or status is OrderStatus.CREATED
    if unsettled and not kinds & _WORK:
        yield "No work is waiting for this order though it is not settled: report this as a fault of paymux."
    if status in UNDONE and DueKind.REFUND in kinds:
        yield "The wallet took the money late; its refund is under way. Tell the buyer to wait for it."
    if any(note.status is NotificationStatus.GAVE_UP for note in story.notifications):
        yield "The merchant's server was never told: mend it, then `paymux admin notify SN`."


# ---------------------------------------------------------------- the text


def _header(order: Order) -> list[str]:
    payway = f"{PAYWAY_NAMES.get(order.payway, '')} (payway {order.payway}, sub_payway {order.sub_payway})"
    trade_no = f", trade_no {order.trade_no}" if order.trade_no else ""
    parts = ("total", "paid", "refunded", "refunding", "net")
    money = ", ".join(f"{part} {yuan_from_fen(getattr(order, part))}" for part in parts)
    return [
        f"Order    {order.sn}, client_sn {order.client_sn}, {order.subject}",
        f"Shop     merchant {order.merchant_id}, store {order.store_sn}, terminal {order.terminal_sn}",
        f"Wallet   {payway}, account {order.account}{trade_no}",
        f"Money    {money} {order.currency}",
    ]


def _step_lines(step: Step, zone: tzinfo, *, full: bool) -> Iterator[str]:
    amount = "" if step.amount is None else yuan_from_fen(step.amount)
    said = step.words.splitlines()
    conclusion = next((line[2:] for line in said if line.startswith("= ")), said[0] if said else "")
    words = f": {conclusion}" if conclusion else ""
    yield f"  {_time(step.at_ms, zone)}  {step.who:<27} {amount:>12}  {step.what}{words}"
    if full and len(said) > 1:
        yield from (f"      {line}" for line in said)


def _movement_line(movement: Transaction) -> str:
    number = f" refund_request_no {movement.refund_request_no}" if movement.refund_request_no else ""
    failed = f" {movement.error_code} {movement.error_message}".rstrip()
    ended = failed if movement.status is not TransactionStatus.SUCCESS else ""
    kind = _KINDS[movement.kind]
    return (
        f"  {movement.tsn}  {yuan_from_fen(movement.amount):>12}  {movement.status:<16} {kind}{number}{ended}"
    )


def _note_line(note: Notification) -> str:
    times = "once" if note.attempts == 1 else f"{note.attempts} times"
    return f"  {note.status:<10} {note.url} (tried {times})"


def _duty_line(order: Order, duty: Due, zone: tzinfo) -> str:
    tried = f", attempt {duty.attempts + 1}" if duty.attempts else ""
    what = _DUTIES[duty.kind]
    if duty.kind is DueKind.RECOVER and duty.ref != work_ref(order):
        what = "tell the merchant, unless that is being done"
    return f"  {_time(duty.run_at_ms, zone)}  {what}{tried}"


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _advice_lines(advice: Sequence[str]) -> Iterator[str]:
    for place, text in enumerate(advice):
        yield ("Next     " if place == 0 else "         ") + text


def _time(moment_ms: int, zone: tzinfo) -> str:
    local = (_EPOCH + timedelta(milliseconds=moment_ms)).astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{moment_ms % 1000:03d}"
