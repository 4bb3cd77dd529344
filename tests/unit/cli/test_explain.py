"""An order's story: readable by a human, complete, and ending with what to do."""

from zoneinfo import ZoneInfo

import msgspec
import pytest
from msgspec.structs import replace

from paymux.domain.order import Order, OrderStatus, Transaction, TransactionKind, TransactionStatus
from paymux.flows.explain import STATES, Story, tell, write
from paymux.flows.history import apart, joined
from paymux.storage.contract import Due, DueKind, Event, Notification, NotificationStatus

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON_MS = 1_767_240_000_000
"""2026-01-01 12:00:00 in Shanghai."""
PLACE = {"bucket": 7, "merchant_id": "M1", "sn": "7894259244096169"}

ORDER = Order(
    **PLACE,
    client_sn="till-1-0001",
    store_sn="S1",
    terminal_sn="100111220000000001",
    account="wechat",
    channel="wechat",
    payway="3",
    sub_payway="1",
    total=1234,
    digest="d",
    subject="Coffee",
    ctime_ms=NOON_MS,
    deadline_ms=NOON_MS + 45_000,
    latest_tsn=PLACE["sn"],
)
PAID = replace(ORDER, status=OrderStatus.PAID, paid=1234, trade_no="4200001", finish_ms=NOON_MS + 800)


def event(after_ms: int, who: str, what: str, text: str = "") -> Event:
    """A line of history."""
    return Event(
        **PLACE, event_id=f"{after_ms:024d}", at_ms=NOON_MS + after_ms, who=who, what=what, text=text
    )


def movement(
    kind: TransactionKind, status: TransactionStatus, amount: int, *, after_ms: int = 0, **more: object
) -> Transaction:
    """A movement of the order's money that ended when it began."""
    at_ms = NOON_MS + after_ms
    return Transaction(
        **PLACE,
        tsn=f"789425924409{after_ms:04d}",
        kind=kind,
        status=status,
        amount=amount,
        ctime_ms=at_ms,
        finish_ms=at_ms,
        **more,
    )


def duty(kind: DueKind, *, ref: str = ORDER.sn, attempts: int = 0) -> Due:
    """Something still to do."""
    return Due(**PLACE, ref=ref, kind=kind, run_at_ms=NOON_MS + 60_000, attempts=attempts)


def note(status: NotificationStatus, answer: str) -> Notification:
    """A notification tried twice."""
    return Notification(
        **PLACE,
        notification_id="n1",
        url="http://shop.example/paid",
        body="{}",
        status=status,
        ctime_ms=NOON_MS + 800,
        attempts=2,
        last_ms=NOON_MS + 2_000,
        last_answer=answer,
    )


def told(
    order: Order,
    *,
    transactions: tuple[Transaction, ...] = (),
    events: tuple[Event, ...] = (),
    due: tuple[Due, ...] = (),
    notifications: tuple[Notification, ...] = (),
    full: bool = False,
) -> str:
    """Return the text of a story."""
    story = tell(order, transactions=transactions, events=events, due=due, notifications=notifications)
    return write(story, zone=SHANGHAI, full=full)


def row(seconds: str, who: str, money: str, what: str) -> str:
    """Return a line of the timeline: time, who, money and what in their columns."""
    return f"  2026-01-01 12:00:{seconds}  {who:<27} {money:>12}  {what}"


HEARD = "> https://wallet/pay <xml>asked</xml>\n< 200 <xml>answered</xml>\n= Took (4200001) after 800 ms"


def test_a_plain_sale() -> None:
    """Who asked for how much, what the wallet said, that it is paid, that the merchant knows."""
    text = told(
        PAID,
        transactions=(movement(TransactionKind.PAY, TransactionStatus.SUCCESS, 1234),),
        events=(event(800, "wechat", "wechat.pay", HEARD), event(801, "gateway", "order.paid", "4200001")),
        notifications=(note(NotificationStatus.DELIVERED, "200 success"),),
    )
    assert text.splitlines() == [
        "Order    7894259244096169, client_sn till-1-0001, Coffee",
        "Shop     merchant M1, store S1, terminal 100111220000000001",
        "Wallet   微信 (payway 3, sub_payway 1), account wechat, trade_no 4200001",
        "Money    total 12.34, paid 12.34, refunded 0.00, refunding 0.00, net 12.34 CNY",
        "",
        "Timeline (Asia/Shanghai)",
        row("00.000", "terminal 100111220000000001", "12.34", "asks for a barcode pay: Coffee"),
        row("00.800", "wechat", "", "wechat.pay: Took (4200001) after 800 ms"),
        row("00.801", "gateway", "12.34", "the order is paid 已支付: 4200001"),
        row("02.000", "merchant", "", "has been told 通知成功: 200 success"),
        "",
        "Movements 流水",
        "  7894259244090000         12.34  SUCCESS          pay 支付",
        "",
        "Notifications 通知",
        "  DELIVERED  http://shop.example/paid (tried 2 times)",
        "",
        "State    PAID, paid 已支付: the wallet holds the buyer's money for this order",
        "Next     Nothing.",
    ]


def test_the_whole_transcript_on_demand() -> None:
    """Without `full` only the conclusion of a call is shown, with it every line."""
    events = (event(800, "wechat", "wechat.pay", HEARD),)
    assert "answered" not in told(PAID, events=events)
    assert "      < 200 <xml>answered</xml>\n" in told(PAID, events=events, full=True)


def test_a_refund_shows_its_amount() -> None:
    """Two refunds of different size: each line has its own money, and the movements their numbers."""
    order = replace(PAID, status=OrderStatus.PARTIAL_REFUNDED, refunded=300)
    refunds = tuple(
        movement(
            TransactionKind.REFUND, TransactionStatus.SUCCESS, amount, after_ms=after, refund_request_no=no
        )
        for amount, after, no in ((100, 5000, "R1"), (200, 9000, "R2"))
    )
    events = (
        event(5000, "terminal 1", "refund.asked", "100 fen"),
        event(5000, "gateway", "refund.done", "100 fen"),
        event(9000, "gateway", "refund.done", "200 fen"),
    )
    text = told(order, transactions=refunds, events=events)
    asked = row("05.000", "terminal 1", "1.00", "a refund is asked for, its amount is reserved 退款: 100 fen")
    assert asked in text
    assert row("09.000", "gateway", "2.00", "the refund is done 退款成功: 200 fen") in text
    assert "7894259244099000          2.00  SUCCESS          refund 退款 refund_request_no R2" in text
    assert "net 9.34 CNY" in text


def test_money_is_left_out_where_it_is_not_certain() -> None:
    """Two refunds in one millisecond: no amount is better than a wrong one."""
    twins = (
        movement(TransactionKind.REFUND, TransactionStatus.SUCCESS, 100, after_ms=5000),
        movement(TransactionKind.REFUND, TransactionStatus.SUCCESS, 200, after_ms=5000),
    )
    story = tell(
        PAID, transactions=twins, events=(event(5000, "gateway", "refund.done"),), due=(), notifications=()
    )
    assert [step.amount for step in story.steps] == [1234, None]


def test_words_come_before_conclusions() -> None:
    """Both are kept in one commit, at one time: first what the wallet said, then what followed from it."""
    events = (event(800, "gateway", "order.paid"), event(800, "wechat", "wechat.pay", HEARD))
    story = tell(PAID, transactions=(), events=events, due=(), notifications=())
    assert [step.who for step in story.steps[1:]] == ["wechat", "gateway"]


def test_a_pay_of_which_nothing_is_known_is_shown() -> None:
    """It is not written down before the wallet or we end it; the order is its witness."""
    reverse = movement(TransactionKind.REVERSE, TransactionStatus.CREATED, 1234, after_ms=60_000)
    for stored in ((), (reverse,)):
        text = told(ORDER, transactions=stored)
        assert "Movements 流水\n  7894259244096169         12.34  CREATED          pay 支付\n" in text


def test_a_joint_line_is_told_as_two() -> None:
    """What one commit kept in one line: the wallet's words and ours, each by who said it."""
    heard = event(800, "wechat", "wechat.pay", HEARD)
    said = event(801, "gateway", "order.paid", "4200001")
    text = told(PAID, events=(joined(heard, said),), full=True)
    assert [line for line in text.splitlines() if "12:00:00.8" in line] == [
        row("00.801", "wechat", "", "wechat.pay: Took (4200001) after 800 ms"),
        row("00.801", "gateway", "12.34", "the order is paid 已支付: 4200001"),
    ]
    assert "      < 200 <xml>answered</xml>\n" in text


def test_a_joint_line_loses_nothing() -> None:
    """Taken apart again it is what was joined; only a conclusion of several lines becomes one."""
    heard = event(800, "wechat", "wechat.pay", HEARD)
    for text in ("", "4200001", "a < b", "two\nlines"):
        said = event(801, "gateway", "order.paid", text)
        first, second = apart(joined(heard, said), channel="wechat")
        assert (first.who, first.what, first.text) == (heard.who, heard.what, heard.text)
        assert second == replace(said, text=text.replace("\n", " "))
        assert apart(said, channel="wechat") == (said,)


def test_an_operators_word_stays_his_own() -> None:
    """Who says what the wallet's books show is the person, not the channel."""
    heard = event(800, "operator ann", "operator.resolved", "the portal < shows it")
    first, second = apart(joined(heard, event(801, "operator ann", "sale.stands")), channel="wechat")
    assert (first.who, first.text) == ("operator ann", "the portal < shows it")
    assert (second.who, second.what, second.text) == ("operator ann", "sale.stands", "")


def test_an_open_order_says_when_it_is_looked_at_again() -> None:
    """CREATED with work waiting: the time and number of the next attempt, and the advice to wait."""
    text = told(ORDER, due=(duty(DueKind.RECOVER, attempts=2),))
    assert "Still to do\n  2026-01-01 12:01:00.000  ask the wallet, or undo, attempt 3\n" in text
    assert "Next     Wait: " in text
    assert "fault of paymux" not in text


def test_a_settled_sales_own_row_stands_for_its_message() -> None:
    """Nothing is asked of the wallet any more; of a cancel after the sale only its own row is about money."""
    message = "tell the merchant, unless that is being done"
    text = told(PAID, due=(duty(DueKind.RECOVER),))
    assert f"Still to do\n  2026-01-01 12:01:00.000  {message}\n" in text
    asked = replace(PAID, status=OrderStatus.CANCEL_INPROGRESS, undo_tsn="7002")
    text = told(asked, due=(duty(DueKind.RECOVER), duty(DueKind.RECOVER, ref="7002")))
    assert (text.count(message), text.count("ask the wallet, or undo")) == (1, 1)


def test_an_open_order_nobody_works_on_is_a_fault() -> None:
    """Not settled and nothing due must never happen; if it does, the reader is told so."""
    for status in (OrderStatus.CREATED, OrderStatus.REFUND_INPROGRESS, OrderStatus.CANCEL_ERROR):
        assert "report this as a fault of paymux" in told(replace(ORDER, status=status))
    assert "fault of paymux" not in told(PAID)


def test_a_late_success_on_its_way_back() -> None:
    """The shop was told PAY_CANCELED, the wallet took the money after all: the buyer will get it."""
    order = replace(ORDER, status=OrderStatus.PAY_CANCELED, paid=1234, refunding=1234)
    events = (event(70_000, "gateway", "order.late_success", "took 1234 fen"),)
    text = told(order, events=events, due=(duty(DueKind.REFUND),))
    assert "迟到的成功: took 1234 fen" in text
    assert "Tell the buyer to wait for it." in text


def test_a_merchant_who_could_not_be_told() -> None:
    """Paid, but the notification was given up: the reader learns whose server has to be mended."""
    text = told(PAID, notifications=(note(NotificationStatus.GAVE_UP, "NoReply: timeout"),))
    assert "could not be told; given up 通知失败: NoReply: timeout" in text
    assert "The merchant's server was never told: mend it" in text


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_has_a_meaning_and_an_advice(status: OrderStatus) -> None:
    """No status leaves the reader alone."""
    state, advice = STATES[status]
    text = told(replace(ORDER, status=status))
    assert f"State    {status}, {state}\n" in text
    assert f"Next     {advice}\n" in text


def test_the_story_as_json() -> None:
    """The same facts for programs: a story survives the way through JSON."""
    story = tell(PAID, transactions=(), events=(event(1, "x", "order.paid"),), due=(), notifications=())
    assert msgspec.json.decode(msgspec.json.encode(story), type=Story) == story
