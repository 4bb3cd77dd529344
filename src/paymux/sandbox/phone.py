"""The phone and the cashier: where a person is the buyer.

`GET /phone` shows buyers, barcodes and orders; its forms post back to it. The cashier is the page behind
alipay wap.pay/page.pay/app.pay and WeChat's mweb_url.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from paymux.sandbox.barcodes import barcode
from paymux.sandbox.messages import Call, Reply, html, redirect
from paymux.sandbox.records import Kind, State
from paymux.sandbox.scripts import SCRIPTS
from paymux.sandbox.wechat_trades import CASHIER_PATH

if TYPE_CHECKING:
    from paymux.sandbox.alipay import Alipay
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.pages import Pages
    from paymux.sandbox.records import Trade

ORDERS_SHOWN_MAX = 50


class Phone:
    """Serves `/phone`, `/cashier` and WeChat's H5 cashier."""

    def __init__(self, bank: Bank, alipay: Alipay, pages: Pages) -> None:
        """Show the orders of `bank`."""
        self._bank = bank
        self._alipay = alipay
        self._pages = pages

    def handle(self, call: Call) -> Reply:
        """Answer a browser."""
        path = call.bare_path()
        match call.method, path:
            case "GET", "/":
                return redirect("/phone")
            case "GET", "/phone":
                return html(self._page(_form(call.query).get("said", "")))
            case "POST", "/phone":
                return redirect(f"/phone?said={self._act(_form(call.body))}")
            case "POST", "/cashier":
                return self._cashier_pressed(_form(call.body))
            case "GET", "/cashier":
                return self._cashier(_form(call.query).get("key", ""))
            case "GET", p if p == CASHIER_PATH:
                return self._cashier(_form(call.query).get("prepay_id", ""))
        return html("<h1>404</h1>", status=404)

    def _page(self, said: str) -> str:
        bank = self._bank
        trades = list(bank.trades.values())
        waiting = [trade for trade in trades if trade.state is State.WAITING]
        buyers = [
            {
                "person": person,
                "balance": bank.ledger.buyers[person.name],
                "barcodes": [(script, barcode(bank, person, script.digits)) for script in SCRIPTS.values()],
            }
            for person in bank.people.values()
        ]
        return self._pages.phone(
            now_ms=bank.now_ms(),
            said={"done": "完成 · done", "late": "太迟了，或余额不足 · too late, or not enough money"}.get(
                said, ""
            ),
            buyers=buyers,
            to_scan=[trade for trade in reversed(waiting) if trade.kind is not Kind.BARCODE][
                :ORDERS_SHOWN_MAX
            ],
            to_type=[trade for trade in reversed(waiting) if trade.kind is Kind.BARCODE][:ORDERS_SHOWN_MAX],
            trades=trades[::-1][:ORDERS_SHOWN_MAX],
            scripts=SCRIPTS,
            remaps=bank.scripts.remaps,
        )

    def _act(self, form: dict[str, str]) -> str:
        """Let the buyer do what the button said; the word for the page."""
        trade = self._bank.trades.get(form.get("key", ""))
        buyer = form.get("buyer") or (trade.buyer if trade else "")
        if trade is None or (form.get("action") == "pay" and buyer not in self._bank.people):
            return "late"
        acts = {"pay": lambda: self._bank.pay(trade, buyer), "refuse": lambda: self._bank.walk_away(trade)}
        act = acts.get(form.get("action", ""))
        return "done" if act and act() else "late"

    def _cashier(self, name: str) -> Reply:
        trade = self._bank.trades.get(name) or self._bank.find_named("", name)
        if trade is None:
            return html(self._pages.trouble("没有此订单 · no such order"), status=404)
        return html(self._pages.cashier(trade, self._bank.buyers_of(trade.wallet)))

    def _cashier_pressed(self, form: dict[str, str]) -> Reply:
        """Pay or refuse in the browser, then go back to the shop when it said where."""
        self._act(form)
        trade = self._bank.trades.get(form.get("key", ""))
        if trade is None:
            return html(self._pages.trouble("没有此订单 · no such order"), status=404)
        goal = self._return_url(trade) if trade.was_paid else ""
        return redirect(goal) if goal else self._cashier(trade.key)

    def _return_url(self, trade: Trade) -> str:
        return self._alipay.return_url(trade) if trade.wallet == "alipay" else ""


def _form(data: bytes) -> dict[str, str]:
    return dict(parse_qsl(data.decode("utf-8", "replace")))
