"""The outbox to merchants: signed, retried, given up loudly after a day (upay-v2.md §11, DESIGN §8).

The body was written in the commit that changed the order (promise M8); here it is only signed and carried.
A merchant may be told twice, never not at all while its server answers within the notification's life.
"""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from paymux.channels.contract import HttpResponse
from paymux.channels.transport import AddressForbidden, NoReply, NotSent
from paymux.flows.desk import Desk
from paymux.storage.contract import Due, Notification, NotificationStatus

WRITTEN = -1
"""What `deliver` returns when the due row was settled together with the notification."""
_HTTP_OK = range(200, 300)
_ANSWER_CHARS = 200
_BUSY_GAP_MS = 1_000


class NotifyRules(msgspec.Struct, frozen=True, kw_only=True):
    """How notifications go out.

    `sign`: notification → Authorization header. `any_2xx`: a 2xx status ends it whatever its body says.
    `per_merchant`: deliveries at once to one merchant, so that a slow server holds up only itself.
    """

    sign: Callable[[Notification], str]
    any_2xx: bool = False
    per_merchant: int = 8


class Notifier:
    """Delivers due notifications."""

    def __init__(self, desk: Desk, rules: NotifyRules) -> None:
        self._desk = desk
        self._rules = rules
        self._under_way: dict[str, int] = {}

    async def deliver(self, desk: Desk, due: Due) -> int:
        """Try once; return when to try again (epoch ms), 0: drop the row, or `WRITTEN`."""
        busy = self._under_way.get(due.merchant_id, 0)
        if busy >= self._rules.per_merchant:
            return desk.clock.now_ms() + _BUSY_GAP_MS
        self._under_way[due.merchant_id] = busy + 1
        try:
            return await self._try(desk, due)
        finally:
            self._under_way[due.merchant_id] -= 1
            if not self._under_way[due.merchant_id]:
                del self._under_way[due.merchant_id]

    async def _try(self, desk: Desk, due: Due) -> int:
        note = await desk.store.notification(due.bucket, due.merchant_id, due.ref)
        if note is None or note.status is not NotificationStatus.WAITING:
            return 0
        answer, told = await self._send(note)
        desk.crash("notify.after_send")
        now_ms = desk.clock.now_ms()
        note = replace(note, attempts=note.attempts + 1, last_ms=now_ms, last_answer=answer)
        if told:
            note = replace(note, status=NotificationStatus.DELIVERED)
            await desk.store.save_delivery(note, next_ms=None)
            desk.crash("notify.after_record")
            return WRITTEN
        await self._again(note, now_ms)
        return WRITTEN

    async def _send(self, note: Notification) -> tuple[str, bool]:
        body = note.body.encode()
        headers = {"Content-Type": "application/json", "Authorization": self._rules.sign(note)}
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

    async def _again(self, note: Notification, now_ms: int) -> None:
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
            await self._desk.store.save_delivery(note, next_ms=None)
            return
        tried = note.attempts - 1
        gaps_s = limits.notify_gaps_s
        gap_s = gaps_s[tried] if tried < len(gaps_s) else limits.notify_slow_gap_s
        await self._desk.store.save_delivery(note, next_ms=now_ms + gap_s * 1000)


def _words(reply: HttpResponse) -> str:
    return f"{reply.status} {reply.body[:_ANSWER_CHARS].decode(errors='replace')}"[:_ANSWER_CHARS]
