"""The outbox to merchants: signed, retried, given up loudly after a day (upay-v2.md §11, DESIGN §8).

The body was written in the commit that changed the order (promise M8); here it is only signed and carried.
A merchant may be told twice, never not at all while its server answers within the notification's life.
"""

from collections.abc import Callable
from functools import partial

import msgspec
from msgspec.structs import replace

from paymux.channels.contract import HttpResponse
from paymux.channels.transport import AddressForbidden, NoReply, NotSent
from paymux.domain.order import OrderKey
from paymux.flows.desk import Desk, Turns
from paymux.flows.handover import is_under_sale
from paymux.storage.contract import Due, DueKind, Notification, NotificationStatus
from paymux.workers.bulkhead import Bulkhead

WRITTEN = -1
"""What `deliver` returns when the due row was settled together with the notification."""
_HTTP_OK = range(200, 300)
_ANSWER_CHARS = 200
_BEHIND_GAP_MS_MAX = 60_000


class NotifyRules(msgspec.Struct, frozen=True, kw_only=True):
    """How notifications go out.

    `sign`: notification → Authorization header. `any_2xx`: a 2xx status ends it whatever its body says.
    """

    sign: Callable[[Notification], str]
    any_2xx: bool = False


class Notifier:
    """Delivers due notifications: of one order one after the other, of one merchant so many at once."""

    def __init__(self, desk: Desk, rules: NotifyRules) -> None:
        self._desk = desk
        self._rules = rules
        self._bulkhead = Bulkhead(at_once=desk.limits.per_merchant_at_once)
        self._turns = Turns()

    async def deliver(self, desk: Desk, due: Due) -> int:
        """Try once; return when to try again (epoch ms), 0: drop the row, or `WRITTEN`.

        Work whose `ref` is the sn is about a message that stands under its sale's row.
        """
        key = OrderKey(due.bucket, due.merchant_id, due.sn)
        full_until_ms = self._bulkhead.full_until_ms(due.merchant_id, desk.clock.now_ms())
        if full_until_ms:
            return await _put_off(desk, key, due, full_until_ms)
        with self._bulkhead.room(due.merchant_id):
            async with self._turns.of(key):
                return await self._try(desk, key, due)

    async def _try(self, desk: Desk, key: OrderKey, due: Due) -> int:
        notes = await desk.store.notifications(key)
        place = _place(notes, due)
        if place is None:
            return 0
        note, now_ms = notes[place], desk.clock.now_ms()
        if any(one.status is NotificationStatus.WAITING for one in notes[:place]):
            # what happened first is told first; its end lets this one go at once
            return now_ms + min(max(now_ms - note.ctime_ms, 1_000), _BEHIND_GAP_MS_MAX)
        answer, told = await self._send(note)
        desk.crash("notify.after_send")
        now_ms = desk.clock.now_ms()
        note = replace(note, attempts=note.attempts + 1, last_ms=now_ms, last_answer=answer)
        under_sale = is_under_sale(due)
        if told:
            note = replace(note, status=NotificationStatus.DELIVERED)
            await desk.store.save_delivery(note, next_ms=None, under_sale=under_sale)
            desk.crash("notify.after_record")
        elif await self._again(note, now_ms, under_sale=under_sale):
            return WRITTEN
        await self._let_next_go(desk, notes[place + 1 :], now_ms)
        return WRITTEN

    async def _let_next_go(self, desk: Desk, later: list[Notification], now_ms: int) -> None:
        waiting = [one for one in later if one.status is NotificationStatus.WAITING]
        if waiting:
            await desk.store.save_delivery(waiting[0], next_ms=now_ms)
            desk.bell.ring_work(DueKind.NOTIFY)

    async def _send(self, note: Notification) -> tuple[str, bool]:
        body = note.body.encode()
        signature = await self._desk.aside(partial(self._rules.sign, note))
        headers = {"Content-Type": "application/json", "Authorization": signature}
        timeout_s = self._desk.limits.notify_timeout_s
        try:
            reply = await self._desk.transport.post_to_merchant(note.url, headers, body, timeout_s)
        except (NotSent, NoReply, AddressForbidden) as error:
            return f"{type(error).__name__}: {error}"[:_ANSWER_CHARS], False
        return _words(reply), self._accepted(reply)

    def _accepted(self, reply: HttpResponse) -> bool:
        if reply.status not in _HTTP_OK:
            return False
        return self._rules.any_2xx or reply.body.strip().lower() == b"success"

    async def _again(self, note: Notification, now_ms: int, *, under_sale: bool) -> bool:
        """Plan the next try; False when it is given up."""
        limits = self._desk.limits
        if now_ms - note.ctime_ms >= limits.notify_life_s * 1000:
            note = replace(note, status=NotificationStatus.GAVE_UP)
            self._desk.log.error(
                "notification.gave_up",
                alarm=True,
                sn=note.sn,
                merchant=note.merchant_id,
                answer=note.last_answer,
            )
            await self._desk.store.save_delivery(note, next_ms=None, under_sale=under_sale)
            return False
        tried = note.attempts - 1
        gaps_s = limits.notify_gaps_s
        gap_s = gaps_s[tried] if tried < len(gaps_s) else limits.notify_slow_gap_s
        next_ms = now_ms + gap_s * 1000
        await self._desk.store.save_delivery(note, next_ms=next_ms, under_sale=under_sale)
        return True


def _place(notes: list[Notification], due: Due) -> int | None:
    """Which message the work is about, if it waits yet; a sale's is its first."""
    for place, note in enumerate(notes):
        if note.status is NotificationStatus.WAITING and (
            is_under_sale(due) or note.notification_id == due.ref
        ):
            return place
    return None


async def _put_off(desk: Desk, key: OrderKey, due: Due, until_ms: int) -> int:
    """Let the work wait; what stands under its sale's row, which comes later, gets a row of its own."""
    if not is_under_sale(due):
        return until_ms
    notes = await desk.store.notifications(key)
    place = _place(notes, due)
    if place is not None:
        await desk.store.save_delivery(notes[place], next_ms=until_ms, under_sale=True)
    return WRITTEN


def _words(reply: HttpResponse) -> str:
    return f"{reply.status} {reply.body[:_ANSWER_CHARS].decode(errors='replace')}"[:_ANSWER_CHARS]
