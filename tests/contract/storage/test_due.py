"""Due work: claimed by one worker at a time, given back, settled; and the outbox to merchants."""

import asyncio

import pytest
from msgspec.structs import replace

from paymux.storage.contract import Change, Due, DueKind, NotificationStatus, Store
from tests.contract.storage.conftest import Engine
from tests.contract.storage.makers import NOW_MS, a_due, a_notification, an_order, intent, next_version, paid

ALL = tuple(DueKind)
LEASE_MS = 60_000


async def claim(
    store: Store, now_ms: int = NOW_MS, *, limit: int = 10, kinds: tuple[DueKind, ...] = ALL
) -> list[Due]:
    """Claim for a minute."""
    return await store.claim_due(now_ms=now_ms, lease_ms=LEASE_MS, limit=limit, kinds=kinds)


def test_work_is_claimed_once_oldest_first(engine: Engine) -> None:
    """What is due is handed out in order of time and not again before its lease ends; the future waits."""
    orders = [an_order(n) for n in range(1, 6)]

    async def story(store: Store) -> None:
        for n, order in enumerate(orders):
            await store.save(replace(intent(order), due=(a_due(order, run_at_ms=NOW_MS - n),)))
        await store.save(replace(intent(an_order(9)), due=(a_due(an_order(9), run_at_ms=NOW_MS + 1),)))
        first, second = await claim(store, limit=3), await claim(store, limit=3)
        assert [due.sn for due in first + second] == [order.sn for order in reversed(orders)]
        assert {due.attempts for due in first + second} == {1}
        assert [due.sn for due in await claim(store, NOW_MS + 1)] == [an_order(9).sn]
        assert await claim(store, NOW_MS + LEASE_MS - 1) == []
        again = await claim(store, NOW_MS + LEASE_MS)
        assert [due.attempts for due in again] == [2] * len(orders)

    engine.run(story)


def test_only_the_wanted_kinds_are_claimed(engine: Engine) -> None:
    """Workers of one kind do not take the others' work; no kind, no work."""
    order = an_order()

    async def story(store: Store) -> None:
        due = tuple(a_due(order, kind=kind) for kind in DueKind)
        await store.save(replace(intent(order), due=due))
        assert await claim(store, kinds=()) == []
        found = await claim(store, kinds=(DueKind.NOTIFY, DueKind.WATCH))
        assert {one.kind for one in found} == {DueKind.NOTIFY, DueKind.WATCH}
        assert {one.kind for one in await claim(store)} == {DueKind.RECOVER, DueKind.REFUND}

    engine.run(story)


def test_two_stores_never_claim_the_same(engine: Engine) -> None:
    """Many claimants, two stores on one database: every row goes to exactly one of them."""
    orders = [an_order(n, merchant=f"m{n % 7}") for n in range(60)]

    async def claimant(store: Store) -> list[str]:
        mine: list[str] = []
        while found := await claim(store, limit=4):
            mine += [due.sn for due in found]
        return mine

    async def story(store: Store) -> None:
        await asyncio.gather(*(store.save(intent(order)) for order in orders))
        other = await engine.open()
        claimed = await asyncio.gather(*(claimant(one) for one in (store, other) for _ in range(4)))
        assert sorted(sn for mine in claimed for sn in mine) == sorted(order.sn for order in orders)
        await other.close()

    engine.run(story)


def test_put_off_gives_back_for_later(engine: Engine) -> None:
    """The row runs again at its new time, whatever lease it had, and counts its claims."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        (due,) = await claim(store)
        await store.put_off(due, run_at_ms=NOW_MS + 500)
        assert await claim(store, NOW_MS + 499) == []
        (again,) = await claim(store, NOW_MS + 500)
        assert (again.run_at_ms, again.attempts) == (NOW_MS + 500, 2)

    engine.run(story)


def test_a_row_nobody_claimed_can_be_put_off(engine: Engine) -> None:
    """The call that made it knows better when to look: attempts 0 is all it must know."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        await store.put_off(replace(a_due(order), run_at_ms=0), run_at_ms=NOW_MS + 500)
        assert [due.run_at_ms for due in await store.due_of(order.key)] == [NOW_MS + 500]
        assert await claim(store) == []

    engine.run(story)


def test_settled_work_stays_settled(engine: Engine) -> None:
    """Putting off or dropping a row that was settled meanwhile does nothing."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        (due,) = await claim(store)
        await store.save(paid(order))
        await store.put_off(due, run_at_ms=NOW_MS)
        await store.drop_due(due)
        assert await store.due_of(order.key) == []

    engine.run(story)


def test_dropped_work_is_gone(engine: Engine) -> None:
    """The claimant may end its row; putting it off afterwards does not bring it back."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        (due,) = await claim(store)
        await store.drop_due(due)
        await store.put_off(due, run_at_ms=NOW_MS)
        assert await store.due_of(order.key) == []

    engine.run(story)


def test_work_put_anew_is_not_taken_away(engine: Engine) -> None:
    """A worker that finishes late neither drops nor delays what was put while it worked."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        (old,) = await claim(store)
        anew = a_due(order, run_at_ms=NOW_MS + 7)
        assert await store.save(replace(next_version(order), due=(anew,)))
        await store.drop_due(old)
        await store.put_off(old, run_at_ms=NOW_MS + 99_999)
        assert await store.due_of(order.key) == [anew]
        (new,) = await claim(store, NOW_MS + 7)
        await store.drop_due(old)
        assert await store.due_of(order.key) == [new]

    engine.run(story)


def test_a_late_worker_does_not_touch_the_next_claim(engine: Engine) -> None:
    """After its lease ended and somebody else claimed the row, the first claimant's word counts nothing."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(intent(order))
        (slow,) = await claim(store)
        (quick,) = await claim(store, NOW_MS + LEASE_MS)
        await store.put_off(slow, run_at_ms=NOW_MS)
        await store.drop_due(slow)
        assert await claim(store, NOW_MS + LEASE_MS) == []
        assert await store.due_of(order.key) == [quick]

    engine.run(story)


def test_what_is_done_and_put_in_one_change_is_put(engine: Engine) -> None:
    """Work is rather done twice than lost."""
    order = an_order()

    async def story(store: Store) -> None:
        both = replace(intent(order), done=((order.sn, DueKind.RECOVER),))
        await store.save(both)
        assert len(await store.due_of(order.key)) == 1

    engine.run(story)


def test_a_delivery_is_saved_with_its_next_time(engine: Engine) -> None:
    """A failed attempt runs again when it says; a delivered one has no work left; a re-sent one has again."""
    order = an_order()
    note = a_notification(order, "n1")
    work = a_due(order, kind=DueKind.NOTIFY, ref="n1")

    async def story(store: Store) -> None:
        await store.save(Change(order=order, due=(work,), notifications=(note,)))
        await claim(store)
        failed = replace(note, attempts=1, last_ms=NOW_MS, last_answer="HTTP 500")
        await store.save_delivery(failed, next_ms=NOW_MS + 5_000)
        assert await store.notifications(order.key) == [failed]
        assert await claim(store, NOW_MS + 4_999) == []
        assert [due.ref for due in await claim(store, NOW_MS + 5_000)] == ["n1"]
        delivered = replace(failed, attempts=2, status=NotificationStatus.DELIVERED, last_answer="success")
        await store.save_delivery(delivered, next_ms=None)
        assert await store.notifications(order.key) == [delivered]
        assert await store.due_of(order.key) == []
        await store.save_delivery(replace(delivered, status=NotificationStatus.WAITING), next_ms=NOW_MS)
        assert [due.sn for due in await claim(store)] == [order.sn]

    engine.run(story)


@pytest.mark.parametrize("delivered", [True, False])
def test_a_message_may_stand_under_its_sales_row(engine: Engine, *, delivered: bool) -> None:
    """The first attempt ends that row, whatever came of it; other work about the order stays."""
    order = an_order()
    note = a_notification(order, "n1")
    undo = a_due(order, ref="7000000000000002")

    async def story(store: Store) -> None:
        await store.save(intent(order))
        await store.save(replace(paid(order), done=(), due=(undo,), notifications=(note,)))
        tried = replace(note, attempts=1, last_ms=NOW_MS)
        if delivered:
            tried = replace(tried, status=NotificationStatus.DELIVERED)
        await store.save_delivery(tried, next_ms=None if delivered else NOW_MS + 5_000, under_sale=True)
        left = {(due.kind, due.ref) for due in await claim(store, NOW_MS + 5_000)}
        assert left == {(DueKind.RECOVER, undo.ref)} | (set() if delivered else {(DueKind.NOTIFY, "n1")})

    engine.run(story)


def test_messages_come_in_the_order_of_what_they_tell(engine: Engine) -> None:
    """A gateway whose clock is behind wrote the newer message: it is told second all the same."""
    order = an_order()

    async def story(store: Store) -> None:
        first = replace(a_notification(order, "n2"), ctime_ms=NOW_MS + 900, order_version=2)
        second = replace(a_notification(order, "n1"), ctime_ms=NOW_MS, order_version=3)
        await store.save(Change(order=order, notifications=(second, first)))
        assert await store.notifications(order.key) == [first, second]

    engine.run(story)


def test_a_delivery_of_nothing_makes_no_work(engine: Engine) -> None:
    """A notification nobody stored cannot be delivered."""
    order = an_order()

    async def story(store: Store) -> None:
        await store.save(Change(order=order))
        await store.save_delivery(a_notification(order, "n1"), next_ms=NOW_MS)
        assert await store.notifications(order.key) == []
        assert await store.due_of(order.key) == []

    engine.run(story)


def test_notifications_are_oldest_first(engine: Engine) -> None:
    """By time of birth, and only the order's own."""
    order, other = an_order(1), an_order(2)
    late, early = a_notification(order, "a"), replace(a_notification(order, "b"), ctime_ms=NOW_MS - 1)

    async def story(store: Store) -> None:
        await store.save(Change(order=order, notifications=(late, early)))
        await store.save(Change(order=other, notifications=(a_notification(other, "c"),)))
        assert await store.notifications(order.key) == [early, late]

    engine.run(story)
