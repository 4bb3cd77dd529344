"""Orders and their movements: all or nothing, one winner, never more back than was paid."""

import asyncio

import pytest
from msgspec.structs import replace

from paymux.domain.errors import StorageFailed
from paymux.domain.order import Order, OrderKey, OrderStatus, TransactionKind, TransactionStatus
from paymux.storage.contract import Change, DueKind, Store
from tests.contract.storage.conftest import Engine
from tests.contract.storage.makers import (
    NOW_MS,
    a_due,
    a_movement,
    a_notification,
    an_event,
    an_order,
    intent,
    next_version,
    paid,
    reserved,
)

FULL = an_order(
    2,
    paid=100,
    refunded=20,
    refunding=30,
    currency="HKD",
    status=OrderStatus.REFUND_INPROGRESS,
    version=7,
    undo_tsn="u",
    description="de",
    operator="op",
    reflect='{"a":1}',
    notify_url="https://x.example/n",
    detail="{}",
    trade_no="w1",
    payer_uid="u1",
    payer_login="l1",
    payment_list="[]",
    qr_code="q",
    wap_pay_request="{}",
    error_code="E",
    error_message="m",
    asked_ms=5,
    finish_ms=6,
    channel_finish_ms=7,
    latest_kind=TransactionKind.REFUND,
    latest_status=TransactionStatus.IN_PROG,
    latest_operator="lo",
    latest_client_tsn="lc",
)


def test_everything_comes_back_as_it_was_stored(engine: Engine) -> None:
    """Every field of every record survives the way there and back."""
    order = FULL
    movement = a_movement(
        order,
        kind="cancel",
        operator="o",
        refund_request_no="r",
        undo_by="close",
        trade_no="w",
        error_code="E",
        error_message="m",
        finish_ms=1,
        channel_finish_ms=2,
    )
    change = Change(
        order=order,
        transactions=(movement,),
        due=(a_due(order, kind=DueKind.WATCH),),
        events=(an_event(order, "e1", text="t"),),
        notifications=(a_notification(order, "n1"),),
    )

    async def story(store: Store) -> None:
        assert await store.save(change)
        assert await store.order(order.key) == order
        assert await store.transactions(order.key) == [movement]
        assert await store.due_of(order.key) == list(change.due)
        assert await store.events(order.key) == list(change.events)
        assert await store.notifications(order.key) == list(change.notifications)

    engine.run(story)


def test_what_was_saved_survives_a_restart(engine: Engine) -> None:
    """A True from `save` means durable: the next process finds it."""
    order = an_order()

    async def first(store: Store) -> None:
        assert await store.save(intent(order))
        assert await store.save(paid(order))

    async def second(store: Store) -> None:
        assert await store.order(order.key) == paid(order).order
        assert [one.status for one in await store.transactions(order.key)] == [TransactionStatus.SUCCESS]
        assert await store.due_of(order.key) == []

    engine.run(first)
    engine.run(second)


def test_texts_survive(engine: Engine) -> None:
    """Chinese, emoji, quotes, line breaks, emptiness and length come back unchanged."""
    texts = ["", "咖啡 ☕ 🧋", "'; DROP TABLE orders; --", "a\nb\t\\", "长" * 100_000, " x "]

    async def story(store: Store) -> None:
        for number, text in enumerate(texts):
            order = an_order(number, subject=text, client_sn=f"{number}{text[:60]}")
            assert await store.save(replace(intent(order), events=(an_event(order, "e", text=text),)))
            found = await store.order_by_client_sn(order.bucket, order.merchant_id, order.client_sn)
            assert found == order
            assert (await store.events(order.key))[0].text == text

    engine.run(story)


def test_text_no_database_takes_is_refused_in_our_words(engine: Engine) -> None:
    """Half a surrogate pair cannot be stored: `StorageFailed`, nothing written, the store lives on."""

    async def story(store: Store) -> None:
        with pytest.raises(StorageFailed):
            await store.save(intent(an_order(subject="\ud800")))
        with pytest.raises(StorageFailed):
            await store.order_by_client_sn(0, "m1", "\ud800")
        assert await store.save(intent(an_order()))

    engine.run(story)


def test_a_client_sn_is_used_once_per_merchant(engine: Engine) -> None:
    """The second order under a client_sn is refused, all of its change; other merchants are free."""
    first, second = an_order(1, client_sn="same"), an_order(2, client_sn="same", total=5)

    async def story(store: Store) -> None:
        assert await store.save(intent(first))
        assert not await store.save(
            replace(
                intent(second), events=(an_event(first, "x"),), notifications=(a_notification(first, "n"),)
            )
        )
        assert await store.order(second.key) is None
        assert await store.transactions(second.key) == []
        assert await store.due_of(second.key) == []
        assert await store.events(first.key) == []
        assert await store.notifications(first.key) == []
        assert await store.save(intent(an_order(3, client_sn="same", merchant="m2")))

    engine.run(story)


def test_a_stale_change_writes_nothing(engine: Engine) -> None:
    """The guard is version and status: judged by an older order, nothing of the change happens."""
    order = an_order()

    async def story(store: Store) -> None:
        assert await store.save(intent(order))
        assert await store.save(paid(order))
        assert not await store.save(
            replace(next_version(order, status=OrderStatus.PAY_CANCELED), events=(an_event(order, "x"),))
        )
        right_version = replace(order, version=2)
        assert not await store.save(next_version(right_version, status=OrderStatus.PAY_CANCELED))
        assert await store.order(order.key) == paid(order).order
        assert [one.event_id for one in await store.events(order.key)] == [f"e{order.sn}"]

    engine.run(story)


def test_a_change_of_an_unknown_order_writes_nothing(engine: Engine) -> None:
    """No order, no effect."""

    async def story(store: Store) -> None:
        assert not await store.save(paid(an_order()))
        assert await store.order(an_order().key) is None

    engine.run(story)


def test_one_of_many_wins(engine: Engine) -> None:
    """32 tasks judge the same order: one change takes effect, and only its rows are there."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        changes = [
            replace(
                next_version(order, operator="x", latest_operator=f"o{n}"), events=(an_event(order, f"e{n}"),)
            )
            for n in range(32)
        ]
        won = await asyncio.gather(*(store.save(change) for change in changes))
        assert won.count(True) == 1
        now = await store.order(order.key)
        assert now is not None
        assert now.latest_operator == f"o{won.index(True)}"
        assert [one.event_id for one in await store.events(order.key)] == [f"e{won.index(True)}"]

    engine.run(story)


def test_two_stores_have_one_winner(engine: Engine) -> None:
    """The guard holds between processes, not only within one."""
    order = an_order()

    async def story(store: Store) -> None:
        other = await engine.open()
        await store.save(intent(order))
        won = await asyncio.gather(*(one.save(paid(order)) for one in (store, other) for _ in range(8)))
        assert won.count(True) == 1
        await other.close()

    engine.run(story)


def test_what_was_asked_for_never_changes(engine: Engine) -> None:
    """A later version cannot rewrite the total, the number or the subject of a sale."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        assert await store.save(next_version(order, total=1, subject="tea", client_sn="other", paid=100))
        now = await store.order(order.key)
        assert now == replace(order, version=2, paid=100)

    engine.run(story)


def _refundable(order: Order, taken: int) -> Order:
    return replace(order, version=2, status=OrderStatus.PAID, paid=taken, trade_no=f"w{order.sn}")


def test_concurrent_refunds_never_exceed_what_was_paid(engine: Engine) -> None:
    """Twelve refunds of 60 out of 100 at once, each trying until the rules refuse it: one wins."""
    order = an_order()

    async def refund(store: Store, number: int) -> bool:
        while True:
            now = await store.order(order.key)
            assert now is not None
            if now.refundable < 60:
                return False
            if await store.save(reserved(now, 60, f"n{number}")):
                return True

    async def story(store: Store) -> None:
        await store.save(intent(order))
        await store.save(paid(order))
        won = await asyncio.gather(*(refund(store, number) for number in range(12)))
        assert won.count(True) == 1
        now = await store.order(order.key)
        assert now is not None
        assert now.refunding == 60
        assert len(await store.transactions(order.key)) == 2

    engine.run(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"paid": 100, "refunding": 101},
        {"paid": 100, "refunded": 60, "refunding": 41},
        {"paid": 101},
        {"paid": -1},
        {"paid": 100, "refunded": -1},
        {"paid": 100, "refunding": -1},
        {"paid": 100, "refunded": 101, "refunding": -1},
    ],
)
def test_the_database_itself_refuses_impossible_amounts(engine: Engine, wrong: dict[str, int]) -> None:
    """Refunded + refunding <= paid <= total, whatever change is handed in (promise M3)."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        with pytest.raises(StorageFailed):
            await store.save(next_version(order, **wrong))
        with pytest.raises(StorageFailed):
            await store.save(Change(order=replace(an_order(2), **wrong)))
        assert await store.order(order.key) == order
        assert await store.order(an_order(2).key) is None

    engine.run(story)


def test_a_change_that_fails_half_way_leaves_nothing(engine: Engine) -> None:
    """The last row of the change is bad: the rows before it are gone too, and the reason is kept."""
    order = an_order()
    same = an_event(order, "e1")

    async def story(store: Store) -> None:
        with pytest.raises(StorageFailed) as failed:
            await store.save(replace(intent(order), events=(same, same)))
        assert failed.value.__cause__ is not None
        assert await store.order(order.key) is None
        assert await store.due_of(order.key) == []
        assert await store.transactions(order.key) == []

    engine.run(story)


def test_a_refund_number_is_one_refund(engine: Engine) -> None:
    """A second movement under the same refund_request_no is refused; another order may use the number."""
    order, other = an_order(1), an_order(2)

    async def story(store: Store) -> None:
        for one in (order, other):
            await store.save(intent(one))
            await store.save(paid(one))
            assert await store.save(reserved(_refundable(one, 100), 10, "no1"))
        twice = a_movement(order, tsn="another", kind="refund", refund_request_no="no1")
        now = await store.order(order.key)
        assert now is not None
        with pytest.raises(StorageFailed):
            await store.save(replace(next_version(now), transactions=(twice,)))
        found = await store.refund(order.key, "no1")
        assert found is not None
        assert found.amount == 10
        assert await store.refund(order.key, "no2") is None
        assert await store.refund(order.key, "") is None

    engine.run(story)


def test_an_order_is_found_by_every_number(engine: Engine) -> None:
    """By key, client_sn and trade_no, each within its merchant; "" is nobody's trade_no."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        assert await store.order_by_trade_no(order.bucket, "m1", "") is None
        await store.save(paid(order))
        now = paid(order).order
        assert await store.order_by_client_sn(order.bucket, "m1", "c1") == now
        assert await store.order_by_trade_no(order.bucket, "m1", now.trade_no) == now
        assert await store.order_by_client_sn(order.bucket, "m2", "c1") is None
        assert await store.order_by_trade_no(order.bucket, "m2", now.trade_no) is None
        assert await store.order(OrderKey(order.bucket, "m2", order.sn)) is None

    engine.run(story)


def test_pages_of_orders_are_complete_and_in_order(engine: Engine) -> None:
    """Walking the pages meets every order once, oldest first; a status narrows the walk."""
    orders = [an_order(n, merchant=f"m{n % 3}") for n in range(1, 12)]
    settled = {order.sn for order in orders[::2]}

    async def walk(store: Store, status: OrderStatus | None) -> list[OrderKey]:
        seen: list[OrderKey] = []
        while page := await store.orders(status=status, after=seen[-1] if seen else None, limit=2):
            assert len(page) <= 2
            seen += [order.key for order in page]
        return seen

    async def story(store: Store) -> None:
        for order in orders:
            await store.save(intent(order))
            if order.sn in settled:
                await store.save(paid(order))
        assert await walk(store, None) == [order.key for order in orders]
        for status, wanted in ((OrderStatus.PAID, True), (OrderStatus.CREATED, False)):
            assert await walk(store, status) == [o.key for o in orders if (o.sn in settled) is wanted]
        assert await walk(store, OrderStatus.REFUNDED) == []

    engine.run(story)


def test_movements_and_history_are_oldest_first(engine: Engine) -> None:
    """Time decides; within a millisecond the ids, which are made in order."""
    order = an_order()
    late, early = a_movement(order, tsn="9", ctime_ms=NOW_MS), a_movement(order, tsn="8", ctime_ms=NOW_MS - 1)

    async def story(store: Store) -> None:
        events = (an_event(order, "b"), an_event(order, "a"), an_event(order, "z", at_ms=NOW_MS - 1))
        await store.save(Change(order=order, transactions=(late, early), events=events))
        assert await store.transactions(order.key) == [early, late]
        assert [one.event_id for one in await store.events(order.key)] == ["z", "a", "b"]
        assert await store.transaction(order.key, "9") == late
        assert await store.transaction(order.key, "7") is None

    engine.run(story)


def test_the_right_to_ask_is_given_once_per_gap(engine: Engine) -> None:
    """32 tills poll at once: one may ask; after the gap, one again; asking spoils no judgement."""
    order = an_order()

    async def ask(store: Store, now_ms: int) -> int:
        asked = (store.mark_asked(order.key, now_ms=now_ms, gap_ms=3_000) for _ in range(32))
        return (await asyncio.gather(*asked)).count(True)

    async def story(store: Store) -> None:
        assert not await store.mark_asked(order.key, now_ms=NOW_MS, gap_ms=0)
        await store.save(intent(order))
        assert await ask(store, NOW_MS) == 1
        assert await ask(store, NOW_MS + 2_999) == 0
        assert await ask(store, NOW_MS + 3_000) == 1
        assert await store.mark_asked(order.key, now_ms=NOW_MS + 3_000, gap_ms=0)
        assert await store.save(paid(order))
        now = await store.order(order.key)
        assert now is not None
        assert now.asked_ms == NOW_MS + 3_000

    engine.run(story)


def test_the_first_question_is_always_allowed(engine: Engine) -> None:
    """A clock that starts near zero, as a simulation's does, does not forbid the first question."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        assert await store.mark_asked(order.key, now_ms=10, gap_ms=3_000)
        assert not await store.mark_asked(order.key, now_ms=20, gap_ms=3_000)

    engine.run(story)
