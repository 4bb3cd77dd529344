"""The whole sandbox as one pure machine: calls in, replies and callbacks out, time from a given clock.

Same seed, same calls at the same times, same keys: same bytes. The shell in `server.py` puts it on sockets; a
virtual-time simulation drives it directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paymux.sandbox import alipay, alipay_bill
from paymux.sandbox.accounts import make_alipay_accounts, make_wechat_accounts
from paymux.sandbox.alipay import Alipay
from paymux.sandbox.bank import Bank
from paymux.sandbox.control import Control
from paymux.sandbox.keys import KeyRing, make_keys
from paymux.sandbox.messages import Call, Callback, Reply
from paymux.sandbox.pages import Pages
from paymux.sandbox.phone import Phone
from paymux.sandbox.post import PostOffice
from paymux.sandbox.transcript import Transcript
from paymux.sandbox.wechat import Wechat

if TYPE_CHECKING:
    from collections.abc import Callable


class World:
    """Wallets, merchants, buyers, books. Not thread-safe; nothing in it blocks or reads a real clock."""

    def __init__(
        self, seed: int, clock: Callable[[], int], *, keys: KeyRing | None = None, amount_scripts: bool = True
    ) -> None:
        """Make a world from `seed` whose time is `clock()` ms; without `keys` new ones are made (about 1 s).

        `base_url` and `secure_base_url` are where the shell can be reached; wallets print them into links.
        """
        self.base_url = "http://127.0.0.1"
        self.secure_base_url = "https://127.0.0.1"
        self.keys = keys or make_keys()
        self.bank = Bank(seed, clock)
        self.transcript = Transcript()
        pages = Pages()
        self.alipay = Alipay(
            self.bank, make_alipay_accounts(self.bank, self.keys), pages, lambda: self.base_url
        )
        self.wechat = Wechat(self.bank, make_wechat_accounts(self.bank, self.keys), lambda: self.base_url)
        self._default_amount_scripts = amount_scripts
        self.bank.amount_scripts = dict.fromkeys(self.account_names(), amount_scripts)
        self.post = PostOffice(self.bank, {"alipay": self.alipay, "wechat": self.wechat}, self.transcript)
        self._control = Control(self)
        self._phone = Phone(self.bank, self.alipay, pages)

    def handle(self, call: Call) -> Reply:
        """Answer one call to any of the paths the sandbox serves."""
        self._advance()
        path = call.bare_path()
        reply = self._route(path, call)
        if path == alipay.PATH or self.wechat.serves(path) or path == alipay_bill.PATH:
            self.transcript.call(self.now_ms(), call, reply)
        return reply

    def now_ms(self) -> int:
        """Return the sandbox's time."""
        return self.bank.now_ms()

    def next_event_ms(self) -> int | None:
        """Return when something will happen by itself (sandbox time), or None."""
        return self.now_ms() if self.post.waiting() else self.bank.agenda.next_ms()

    def run_due(self) -> list[Callback]:
        """Let everything due happen; return the callbacks to deliver now."""
        self._advance()
        return self.post.collect()

    def callback_answered(self, callback_id: str, status: int, body: bytes) -> None:
        """Report a merchant's answer to a callback, status 0 for none; unpleasant ones are retried."""
        self.post.answered(callback_id, status, body)

    def account_names(self) -> list[str]:
        """List the merchants."""
        return [*self.alipay.accounts, *self.wechat.accounts]

    def accounts(self) -> list[dict[str, object]]:
        """List the merchants as a gateway's provisioning file wants them, with their options."""
        rows = [account.listing(self.base_url) for account in self.alipay.accounts.values()]
        rows += [
            account.listing(self.base_url, self.secure_base_url) for account in self.wechat.accounts.values()
        ]
        return [row | {"amount_scripts": self.bank.amount_scripts[str(row["name"])]} for row in rows]

    def books(self) -> list[dict[str, object]]:
        """Tell what the wallets think happened, per order, in fen."""
        return [
            {
                "wallet": trade.wallet,
                "out_trade_no": trade.out_trade_no,
                "paid": trade.paid_fen,
                "refunded": trade.refunded_fen if trade.paid_fen else 0,
                "currency": "CNY",
                "state": trade.book_state(),
            }
            for trade in self.bank.trades.values()
        ]

    def reset(self) -> None:
        """Forget orders, movements, faults, remaps and options; merchants, keys and time stay."""
        self.bank.clear()
        self.bank.amount_scripts = dict.fromkeys(self.account_names(), self._default_amount_scripts)
        self.post.clear()
        self.transcript.clear()

    def _route(self, path: str, call: Call) -> Reply:
        if path == alipay.PATH:
            return self.alipay.handle(call)
        if self.wechat.serves(path):
            return self.wechat.handle(call)
        if path == alipay_bill.PATH:
            return self.alipay.bills.download(call)
        if path.startswith("/_sandbox/"):
            return self._control.handle(call)
        return self._phone.handle(call)

    def _advance(self) -> None:
        while event := self.bank.agenda.pop_due(self.bank.clock.now_ms()):
            with self.bank.moment(event.at_ms):
                if event.kind in ("notice", "retry"):
                    self.post.happen(event)
                else:
                    self.bank.happen(event)
