"""The wallet behind the wire: orders, buyers and money, whatever protocol asks.

Both counterfeit wallets speak to this one file, so the scripts mean the same in each. It is deterministic:
time comes from the given clock, every number and nonce from one seeded generator.
"""

from __future__ import annotations

import base64
import contextlib
import enum
import random
import string
from typing import TYPE_CHECKING

import msgspec

from paymux.sandbox.agenda import Agenda
from paymux.sandbox.faults import FaultBox, Trouble
from paymux.sandbox.ledger import Ledger
from paymux.sandbox.records import Kind, Order, Person, Refund, State, Trade, trade_key
from paymux.sandbox.scripts import SCRIPTS, WITHOUT_EFFECT, Buyer, Script, ScriptBook
from paymux.sandbox.times import MovableClock, beijing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paymux.sandbox.records import Event

PASSWORD_MS = 3_000
ROBOT_MS = 1_000
LATE_MS = 2_000
CALLBACK_MS = 300
REPEAT_MS = 1_000
BUYERS_PER_WALLET = 3
BUYER_BALANCE_FEN = 10_000_000_000


class Verdict(enum.StrEnum):
    """What became of a request to take money or to prepare an order."""

    PAID = "paid"
    WAITING = "waiting"
    POOR = "poor"
    EXPIRED = "expired"
    NOTHING = "nothing"  # the request had no effect: its trouble says what the caller sees


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a charge or a preparation; `trade` is None when the books know nothing."""

    verdict: Verdict
    trade: Trade | None = None
    trouble: Trouble | None = None


class Bank:
    """All orders, all money, all happenings to come."""

    def __init__(self, seed: int, clock: Callable[[], int]) -> None:
        """Open for business at `clock()` ms with seeded buyers."""
        self.random = random.Random(seed)
        self.clock = MovableClock(clock)
        self._moment_ms: int | None = None
        self.amount_scripts: dict[str, bool] = {}
        self.people: dict[str, Person] = {}
        self.sequence = 0
        self.clear()

    def clear(self) -> None:
        """Forget every order and movement; buyers start afresh."""
        self.ledger = Ledger()
        self.agenda = Agenda()
        self.scripts = ScriptBook()
        self.faults = FaultBox()
        self.trades: dict[str, Trade] = {}
        self._keys_by_name: dict[str, str] = {}
        people = list(self.people.values()) or _first_people(self)
        self.people = {}
        for person in people:
            self.welcome(person, BUYER_BALANCE_FEN)

    # --- time and numbers ---

    def now_ms(self) -> int:
        """Return the time: while something due happens, the time at which it was due."""
        return self.clock.now_ms() if self._moment_ms is None else self._moment_ms

    @contextlib.contextmanager
    def moment(self, at_ms: int) -> Iterator[None]:
        """Let time stand at `at_ms`: what was due then happens then, however late the clock is looked at."""
        self._moment_ms = at_ms
        try:
            yield
        finally:
            self._moment_ms = None

    def digits(self, count: int) -> str:
        """Return a fresh number of `count` digits whose last six never repeat soon."""
        self.sequence += 1
        return "".join(self.random.choices(string.digits, k=count - 6)) + f"{self.sequence % 1_000_000:06d}"

    def nonce(self, length: int = 32) -> str:
        """Return fresh letters and digits: base64, with letters for its two signs."""
        return base64.b64encode(self.random.randbytes(length), b"Aa")[:length].decode()

    # --- people ---

    def welcome(self, person: Person, balance_fen: int) -> None:
        """Add a buyer."""
        self.people[person.name] = person
        self.ledger.top_up(person.name, balance_fen, time_ms=self.now_ms())

    def buyers_of(self, wallet: str) -> list[Person]:
        """List the wallet's buyers in the order of their arrival."""
        return [person for person in self.people.values() if person.wallet == wallet]

    def holder(self, wallet: str, barcode: str) -> Person:
        """Return whose barcode it is: the digits between prefix and script count the buyers round."""
        buyers = self.buyers_of(wallet)
        middle = "".join(char for char in barcode[2:-2] if char in string.digits)
        return buyers[int(middle or "0") % len(buyers)]

    # --- orders ---

    def find(self, account: str, out_trade_no: str) -> Trade | None:
        """Return the merchant's order with that number."""
        return self.trades.get(trade_key(account, out_trade_no))

    def find_named(self, account: str, name: str) -> Trade | None:
        """Return the merchant's order by a wallet's name for it: trade_no, QR code, prepay_id."""
        trade = self.trades.get(self._keys_by_name.get(name, ""))
        return trade if trade and account in ("", trade.account) else None

    def find_refund(self, account: str, **number: str) -> tuple[Trade | None, list[Refund]]:
        """Return the one refund with `out_refund_no` or `refund_no`, and its order."""
        ((field, wanted),) = number.items()
        trade = self.trades.get(self._keys_by_name.get(_refund_name(account, field, wanted), ""))
        return trade, [
            refund for refund in trade.refunds if getattr(refund, field) == wanted
        ] if trade else []

    def name(self, trade: Trade, name: str) -> None:
        """Make an order findable under a name the wallet gave out."""
        self._keys_by_name[name] = trade.key

    def script(self, trade: Trade) -> Script:
        """Return the script the order follows."""
        return SCRIPTS[trade.script]

    def charge(self, order: Order, *, barcode: str, trade_no: str) -> Taken:
        """Take money for a barcode shown to the shop."""
        script = self.scripts.of(barcode)
        trouble = Trouble(fault=script.fault) if script.fault else None
        if script.fault in WITHOUT_EFFECT:
            return Taken(verdict=Verdict.NOTHING, trouble=trouble)
        buyer = self.holder(order.wallet, barcode)
        if script.buyer is Buyer.ABSENT:
            return Taken(verdict=Verdict.EXPIRED)
        if script.buyer is Buyer.POOR or not self.ledger.can_pay(buyer.name, order.amount_fen):
            return Taken(verdict=Verdict.POOR)
        trade = self._open(order, script, trade_no)
        self._meet(trade, buyer.name)
        verdict = Verdict.PAID if trade.state is State.PAID else Verdict.WAITING
        return Taken(verdict=verdict, trade=trade, trouble=trouble)

    def prepare(self, order: Order, *, trade_no: str) -> Taken:
        """Open an order for a buyer to come; by script a robot buyer comes after a second."""
        scripted = self.amount_scripts.get(order.account, False)
        script = self.scripts.of(f"{order.amount_fen:02d}") if scripted else SCRIPTS["00"]
        trouble = Trouble(fault=script.prepare_fault) if script.prepare_fault else None
        if script.prepare_fault in WITHOUT_EFFECT and order.kind is not Kind.PAGE:
            return Taken(verdict=Verdict.NOTHING, trouble=trouble)
        trade = self._open(order, script, trade_no)
        if scripted and order.kind is not Kind.PAGE:
            self.agenda.plan(self.now_ms() + ROBOT_MS, "robot", trade.key)
        return Taken(verdict=Verdict.WAITING, trade=trade, trouble=trouble)

    def block(self, order: Order, *, trade_no: str) -> None:
        """Remember a number that was reversed before it was ever paid: it cannot be paid any more."""
        trade = self._open(order, SCRIPTS["00"], trade_no)
        trade.state = State.REVERSED

    def hidden(self, trade: Trade) -> bool:
        """Say whether a query must not find the order (yet)."""
        never_started = trade.kind is Kind.BARCODE and self.script(trade).buyer is Buyer.LATE
        return self.now_ms() < trade.hidden_until_ms or (never_started and not trade.was_paid)

    def blind(self, trade: Trade) -> bool:
        """Say whether a query answers "system error": until an undo got through."""
        return self.script(trade).undo_failures > 0 and not trade.undo_settled

    # --- the buyer ---

    def scan(self, trade: Trade, buyer: str) -> bool:
        """Let a buyer look at the order; False when it no longer waits."""
        if trade.state is State.WAITING:
            trade.scanned, trade.buyer = True, buyer
        return trade.state is State.WAITING

    def pay(self, trade: Trade, buyer: str = "") -> bool:
        """Let the buyer pay now; False when the order does not wait or the money is not there."""
        payer = buyer or trade.buyer
        if trade.state is not State.WAITING or not self.ledger.can_pay(payer, trade.amount_fen):
            return False
        trade.scanned, trade.buyer = True, payer
        self._take(trade)
        return True

    def walk_away(self, trade: Trade) -> bool:
        """Let the buyer refuse: a barcode payment fails, a QR order goes on waiting for somebody else."""
        if trade.state is not State.WAITING:
            return False
        trade.scanned = trade.kind is Kind.BARCODE
        if trade.kind is Kind.BARCODE:
            trade.state, trade.declined = State.CLOSED, True
        return True

    # --- undoing ---

    def undo_fails(self, trade: Trade) -> bool:
        """Count a cancel, reverse or close call; True while the script makes them fail."""
        if trade.undo_calls < self.script(trade).undo_failures:
            trade.undo_calls += 1
            return True
        if self.blind(trade):
            self.agenda.plan(self.now_ms() + CALLBACK_MS, "notice", trade.key, "paid")
        trade.undo_settled = True
        return False

    def void(self, trade: Trade) -> None:
        """Cancel or reverse: money taken goes back, the order ends."""
        if trade.state is State.PAID:
            self._give_back(trade, trade.amount_fen, what="reverse", refund_no=trade.trade_no)
        trade.state = State.REVERSED
        self._tempt_late_buyer(trade)

    def close(self, trade: Trade) -> None:
        """Close an unpaid order."""
        trade.state = State.CLOSED
        self._tempt_late_buyer(trade)

    def refund(self, trade: Trade, refund: Refund) -> bool:
        """Give money back; True when the script lets the first answer stumble though it is done."""
        trade.refunds.append(refund)
        self._name_refund(trade, refund)
        self._give_back(trade, refund.amount_fen, what="refund", refund_no=refund.out_refund_no)
        if refund.notify_url:
            self.agenda.plan(
                refund.done_ms + CALLBACK_MS, "notice", trade.key, f"refund:{refund.out_refund_no}"
            )
        trade.refund_calls += 1
        return self.script(trade).refund_stumbles and trade.refund_calls == 1

    # --- what happens by itself ---

    def happen(self, event: Event) -> None:
        """Let a planned happening change an order (callbacks are the post office's)."""
        trade = self.trades.get(event.key)
        if trade is None:
            return
        match event.kind:
            case "robot":
                self._robot_comes(trade)
            case "pay":
                self.pay(trade)
            case "late":
                self._pay_late(trade)
            case "expire" if trade.state is State.WAITING:
                trade.state = State.CLOSED

    # --- restoring ---

    def adopt(self, trade: Trade) -> None:
        """Put an order (back) into the books under all its names."""
        self.trades[trade.key] = trade
        for name in (
            trade.trade_no,
            *(trade.extra.get(field, "") for field in ("qr_code", "code_url", "prepay_id")),
        ):
            if name:
                self.name(trade, name)
        for refund in trade.refunds:
            self._name_refund(trade, refund)

    # --- helpers ---

    def _name_refund(self, trade: Trade, refund: Refund) -> None:
        for field in ("out_refund_no", "refund_no"):
            self.name(trade, _refund_name(trade.account, field, getattr(refund, field)))

    def _open(self, order: Order, script: Script, trade_no: str) -> Trade:
        now_ms = self.now_ms()
        trade = Trade(
            **msgspec.structs.asdict(order),
            trade_no=trade_no,
            script=script.digits,
            created_ms=now_ms,
            hidden_until_ms=now_ms + script.hidden_ms if script.hidden_ms else 0,
        )
        self.adopt(trade)
        late = script.buyer is Buyer.LATE  # whoever pays late meets a wallet that does not close in time
        if trade.expires_ms and not late:
            self.agenda.plan(trade.expires_ms, "expire", trade.key)
        return trade

    def _robot_comes(self, trade: Trade) -> None:
        if trade.state is not State.WAITING or self.script(trade).buyer is Buyer.ABSENT:
            return
        self._meet(trade, self.random.choice(self.buyers_of(trade.wallet)).name)

    def _meet(self, trade: Trade, buyer: str) -> None:
        self.scan(trade, buyer)
        match self.script(trade).buyer:
            case Buyer.PAYS:
                self.pay(trade)
            case Buyer.TYPES:
                self.agenda.plan(self.now_ms() + PASSWORD_MS, "pay", trade.key)
            case Buyer.POOR | Buyer.ABSENT | Buyer.SILENT | Buyer.LATE:
                pass  # the order waits

    def _take(self, trade: Trade) -> None:
        self.ledger.pay(trade, time_ms=self.now_ms())
        trade.state, trade.paid_ms, trade.was_paid = State.PAID, self.now_ms(), True
        if self.blind(trade):
            return
        at_ms = max(self.now_ms() + CALLBACK_MS, trade.hidden_until_ms)
        notes = ("paid", "waiting", "paid") if self.script(trade).repeats_callbacks else ("paid",)
        for number, note in enumerate(notes):
            self.agenda.plan(at_ms + number * REPEAT_MS, "notice", trade.key, note)

    def _give_back(self, trade: Trade, amount_fen: int, *, what: str, refund_no: str) -> None:
        self.ledger.give_back(trade, amount_fen, what=what, refund_no=refund_no, time_ms=self.now_ms())

    def _tempt_late_buyer(self, trade: Trade) -> None:
        if self.script(trade).buyer is Buyer.LATE and not trade.late_paid and not trade.was_paid:
            self.agenda.plan(self.now_ms() + LATE_MS, "late", trade.key)

    def _pay_late(self, trade: Trade) -> None:
        if trade.late_paid or trade.state is State.PAID:
            return
        trade.late_paid = True
        trade.buyer = trade.buyer or self.buyers_of(trade.wallet)[0].name
        self._take(trade)


def _first_people(bank: Bank) -> list[Person]:
    """Make the buyers every sandbox starts with."""
    people = []
    for number in range(BUYERS_PER_WALLET):
        letter = "ABC"[number]
        people += [
            Person(
                name=f"alipay-{letter}",
                wallet="alipay",
                user_id="2088" + bank.digits(12),
                logon=f"buy***{letter.lower()}@sandbox.example",
            ),
            Person(name=f"wechat-{letter}", wallet="wechat", user_id="o" + bank.nonce(27), logon=""),
        ]
    return people


def _refund_name(account: str, field: str, number: str) -> str:
    return f"{account}/{field}/{number}"


def today(bank: Bank) -> str:
    """Return the Beijing day as the wallets put it into their numbers."""
    return beijing(bank.now_ms()).strftime("%Y%m%d")
