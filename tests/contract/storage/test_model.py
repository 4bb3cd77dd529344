"""Any story, told to the store and to a few dictionaries at once, ends the same; restarts included."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from paymux.domain.errors import StorageFailed
from paymux.domain.order import Order, OrderKey, OrderStatus, Transaction
from paymux.storage.contract import Change, Due, DueKind, Event, Store
from tests.contract.storage.conftest import Engine
from tests.contract.storage.makers import NOW_MS, a_due, a_movement, an_event, an_order
from tests.harness.postgres import drop_schema, new_schema, server

Result = TypeVar("Result")
Held = tuple[int, str, str, DueKind]
"""What finds a row of due work."""

NUMBERS = st.integers(1, 6)
AMOUNTS = st.integers(-1, 120)
TIMES_MS = st.integers(NOW_MS - 5, NOW_MS + 5)
KINDS = st.sampled_from(DueKind)
LEASE_MS = 3


def _by_number(key: OrderKey) -> tuple[str, str, int]:
    return key.sn, key.merchant_id, key.bucket


class StoreStory(RuleBasedStateMachine):
    """Rules are what flows and workers do; the dictionaries say what must come of it."""

    threaded = True

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.engine = self.database()
        self.orders: dict[OrderKey, Order] = {}
        self.movements: dict[tuple[OrderKey, str], Transaction] = {}
        self.history: dict[OrderKey, list[Event]] = {}
        self.due: dict[Held, tuple[Due, int]] = {}
        self.claimed: list[Due] = []
        self.now_ms = NOW_MS
        self.events_made = 0

    def database(self) -> Engine:
        """An empty database."""
        self.folder = tempfile.TemporaryDirectory()
        return Engine(str(Path(self.folder.name) / "paymux.db"), threaded=self.threaded)

    def forget(self) -> None:
        """Remove the database."""
        self.folder.cleanup()

    @initialize()
    def open(self) -> None:
        """Begin with an empty database."""
        self.store: Store = self.told(self.engine.open())

    def told(self, story: Coroutine[Any, Any, Result]) -> Result:
        """Run one step."""
        return self.runner.run(story)

    # -- the money path

    @rule(number=NUMBERS, client=NUMBERS, merchant=st.sampled_from(["m1", "m2"]), run_at_ms=TIMES_MS)
    def sell(self, number: int, client: int, merchant: str, run_at_ms: int) -> None:
        """A new order: once per client_sn; a number used twice is a mistake."""
        order = an_order(number, merchant=merchant, client_sn=f"c{client}")
        change = Change(
            order=order, transactions=(a_movement(order),), due=(a_due(order, run_at_ms=run_at_ms),)
        )
        taken = any(
            (one.merchant_id, one.client_sn) == (merchant, order.client_sn) for one in self.orders.values()
        )
        if order.key in self.orders and not taken:
            with pytest.raises(StorageFailed):
                self.told(self.store.save(change))
            return
        assert self.told(self.store.save(change)) is not taken
        if not taken:
            self._learn(change)

    @precondition(lambda self: self.orders)
    @rule(
        data=st.data(),
        paid=AMOUNTS,
        refunded=AMOUNTS,
        refunding=AMOUNTS,
        stale=st.booleans(),
        status=st.sampled_from(OrderStatus),
        kind=KINDS,
        end_work=st.booleans(),
    )
    def change(
        self,
        data: st.DataObject,
        paid: int,
        refunded: int,
        refunding: int,
        stale: bool,  # noqa: FBT001 - Hypothesis passes it by name
        status: OrderStatus,
        kind: DueKind,
        end_work: bool,  # noqa: FBT001 - Hypothesis passes it by name
    ) -> None:
        """The next version of an order: refused when stale, an error when the amounts cannot be."""
        order = data.draw(st.sampled_from(list(self.orders.values())))
        before = replace(order, version=order.version + 1) if stale else order
        after = replace(
            before,
            version=before.version + 1,
            status=status,
            paid=paid,
            refunded=refunded,
            refunding=refunding,
        )
        work = a_due(order, kind=kind, run_at_ms=self.now_ms)
        change = Change(
            order=after,
            before=before,
            transactions=(a_movement(order, tsn=f"t{after.version}", amount=max(paid, 0)),),
            due=() if end_work else (work,),
            done=((work.ref, kind),) if end_work else (),
            events=(self._event(order),),
        )
        possible = refunded >= 0 and refunding >= 0 and refunded + refunding <= paid <= order.total
        if stale or possible:
            assert self.told(self.store.save(change)) is not stale
        else:
            with pytest.raises(StorageFailed):
                self.told(self.store.save(change))
        if possible and not stale:
            self._learn(change)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def add_history(self, data: st.DataObject) -> None:
        """A line without a change."""
        order = data.draw(st.sampled_from(list(self.orders.values())))
        event = self._event(order)
        self.told(self.store.add_events((event,)))
        self.history[order.key].append(event)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), gap_ms=st.integers(0, 4))
    def ask(self, data: st.DataObject, gap_ms: int) -> None:
        """The right to ask: given when the last time is long enough ago."""
        order = data.draw(st.sampled_from(list(self.orders.values())))
        may = order.asked_ms == 0 or order.asked_ms <= self.now_ms - gap_ms
        assert self.told(self.store.mark_asked(order.key, now_ms=self.now_ms, gap_ms=gap_ms)) is may
        if may:
            self.orders[order.key] = replace(order, asked_ms=self.now_ms)

    # -- due work

    @rule(limit=st.integers(1, 4), kinds=st.sets(KINDS))
    def claim(self, limit: int, kinds: set[DueKind]) -> None:
        """The oldest free rows, each with one more attempt, leased."""
        found = self.told(
            self.store.claim_due(now_ms=self.now_ms, lease_ms=LEASE_MS, limit=limit, kinds=tuple(kinds))
        )
        free = [
            due
            for due, lease_ms in self.due.values()
            if due.kind in kinds and due.run_at_ms <= self.now_ms and lease_ms <= self.now_ms
        ]
        times = sorted(due.run_at_ms for due in free)[:limit]
        assert [due.run_at_ms for due in found] == times
        for due in found:
            known, _ = self.due[_held(due)]
            assert known in free
            assert due == replace(known, attempts=known.attempts + 1)
            self.due[_held(due)] = (due, self.now_ms + LEASE_MS)
            self.claimed.append(due)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), run_at_ms=TIMES_MS)
    def put_off(self, data: st.DataObject, run_at_ms: int) -> None:
        """Give any claim of old back: counts only while it is the latest word."""
        due = data.draw(st.sampled_from(self.claimed))
        self.told(self.store.put_off(due, run_at_ms=run_at_ms))
        if self.due.get(_held(due), (None, 0))[0] == due:
            self.due[_held(due)] = (replace(due, run_at_ms=run_at_ms), 0)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """End any claim of old, under the same condition."""
        due = data.draw(st.sampled_from(self.claimed))
        self.told(self.store.drop_due(due))
        if self.due.get(_held(due), (None, 0))[0] == due:
            del self.due[_held(due)]

    # -- the world

    @rule(step_ms=st.integers(1, 4))
    def wait(self, step_ms: int) -> None:
        """Time passes."""
        self.now_ms += step_ms

    @rule()
    def restart(self) -> None:
        """Close and open again."""
        self.told(self.store.close())
        self.store = self.told(self.engine.open())

    @invariant()
    def tells_the_same(self) -> None:
        """Orders, movements, history and work are what the dictionaries say."""
        if not hasattr(self, "store"):
            return
        stored = self.told(self.store.orders(status=None, after=None, limit=100))
        assert stored == [self.orders[key] for key in sorted(self.orders, key=_by_number)]
        for key in self.orders:
            movements = self.told(self.store.transactions(key))
            assert {one.tsn: one for one in movements} == {
                tsn: one for (owner, tsn), one in self.movements.items() if owner == key
            }
            assert self.told(self.store.events(key)) == self.history[key]
            work = self.told(self.store.due_of(key))
            assert {_held(due): due for due in work} == {
                held: due
                for held, (due, _) in self.due.items()
                if (held[1], due.sn) == (key.merchant_id, key.sn)
            }

    def teardown(self) -> None:
        """Let go of the files."""
        if hasattr(self, "store"):
            self.told(self.store.close())
        self.runner.close()
        self.forget()

    def _event(self, order: Order) -> Event:
        self.events_made += 1
        return an_event(order, f"{self.events_made:09d}", at_ms=self.now_ms)

    def _learn(self, change: Change) -> None:
        key = change.order.key
        self.orders[key] = change.order
        self.history.setdefault(key, []).extend(change.events)
        for movement in change.transactions:
            self.movements[key, movement.tsn] = movement
        for ref, kind in change.done:
            self.due.pop((key.bucket, key.merchant_id, ref, kind), None)
        for due in change.due:
            self.due[_held(due)] = (due, 0)


class InlineStory(StoreStory):
    """The same without a thread."""

    threaded = False


class PostgresStory(StoreStory):
    """The same on PostgreSQL."""

    def database(self) -> Engine:
        """An empty schema."""
        return Engine(new_schema(server()))

    def forget(self) -> None:
        """Remove the schema."""
        drop_schema(self.engine.dsn)


def _held(due: Due) -> Held:
    return (due.bucket, due.merchant_id, due.ref, due.kind)


StoreStory.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
InlineStory.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
PostgresStory.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestPostgresStory = PostgresStory.TestCase
TestStory = StoreStory.TestCase
TestInlineStory = InlineStory.TestCase
