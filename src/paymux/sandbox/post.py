"""The post office: callbacks to merchants, repeated until acknowledged in the wallet's own word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from paymux.sandbox.records import Notice
from paymux.sandbox.xmltext import XmlError, read_xml

if TYPE_CHECKING:
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.messages import Callback
    from paymux.sandbox.records import Event, Trade
    from paymux.sandbox.transcript import Transcript

#: Gaps between the attempts; after the last one the wallet gives up, as the true ones do after a day.
RETRY_MS = (15_000, 30_000, 180_000, 600_000, 1_800_000, 3_600_000, 10_800_000)


class Writer(Protocol):
    """What a wallet knows about writing its callbacks."""

    def notice_fields(self, trade: Trade, note: str) -> dict[str, str] | None:
        """Return the business fields, or None when nothing is to be said."""

    def render(self, notice: Notice) -> Callback:
        """Return the signed request."""


class PostOffice:
    """Callbacks waiting for collection, and those under way."""

    def __init__(self, bank: Bank, wallets: dict[str, Writer], transcript: Transcript) -> None:
        """Write for `wallets`; plan retries on the bank's agenda."""
        self._bank = bank
        self._wallets = wallets
        self._transcript = transcript
        self.notices: dict[str, Notice] = {}
        self._outbox: list[Callback] = []

    def waiting(self) -> bool:
        """Say whether callbacks wait to be collected."""
        return bool(self._outbox)

    def collect(self) -> list[Callback]:
        """Hand out the callbacks to deliver."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def happen(self, event: Event) -> None:
        """Write a callback whose time has come, for the first time or again."""
        notice = self._first(event) if event.kind == "notice" else self.notices.get(event.key)
        if notice is None:
            return
        notice.attempts += 1
        self._outbox.append(self._wallets[notice.wallet].render(notice))

    def answered(self, notice_id: str, status: int, body: bytes) -> None:
        """Take the merchant's answer: done, again later, or given up."""
        notice = self.notices.get(notice_id)
        if notice is None:
            return
        self._transcript.callback(self._bank.now_ms(), notice, status, body)
        if (status == 200 and _acknowledged(notice.wallet, body)) or notice.attempts > len(RETRY_MS):
            del self.notices[notice_id]
        else:
            at_ms = self._bank.now_ms() + RETRY_MS[notice.attempts - 1]
            self._bank.agenda.plan(at_ms, "retry", notice_id)

    def resume(self) -> None:
        """After a restart: what was handed out and never answered is sent again at once."""
        planned = {event.key for event in self._bank.agenda.events() if event.kind == "retry"}
        for notice_id in self.notices:
            if notice_id not in planned:
                self._bank.agenda.plan(self._bank.now_ms(), "retry", notice_id)

    def clear(self) -> None:
        """Drop everything."""
        self.notices = {}
        self._outbox = []

    def _first(self, event: Event) -> Notice | None:
        trade = self._bank.trades.get(event.key)
        if trade is None:
            return None
        fields = self._wallets[trade.wallet].notice_fields(trade, event.note)
        if fields is None:
            return None
        what, _, number = event.note.partition(":")
        refund = trade.refund_named(number) if what == "refund" else None
        notice = Notice(
            id=f"callback-{event.seq}",
            wallet=trade.wallet,
            account=trade.account,
            url=refund.notify_url if refund else trade.notify_url,
            fields=fields,
        )
        self.notices[notice.id] = notice
        return notice


def _acknowledged(wallet: str, body: bytes) -> bool:
    if wallet == "alipay":
        return body.strip() == b"success"
    try:
        return read_xml(body).get("return_code") == "SUCCESS"
    except XmlError:
        return False
