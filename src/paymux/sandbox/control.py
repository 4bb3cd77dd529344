"""The sandbox's own API, `/_sandbox/*`: books, scripts, faults, buyers and time, as JSON.

Errors are `{"error": "…"}` with status 400, 404 or 409 and name the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import msgspec

from paymux.sandbox.barcodes import barcode
from paymux.sandbox.faults import ARMABLE, SLOW_MS, Armed
from paymux.sandbox.messages import Call, Reply
from paymux.sandbox.records import Kind, Person, Trade
from paymux.sandbox.scripts import SCRIPTS, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from paymux.sandbox.world import World

BODY = TypeVar("BODY")
ADVANCE_MAX_MS = 400 * 86_400_000
RATE_MAX = 1_000


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """PATCH /_sandbox/accounts/{name}."""

    amount_scripts: bool


class Remap(msgspec.Struct, forbid_unknown_fields=True):
    """PUT /_sandbox/scripts/{digits}: let these digits mean another script."""

    script: str


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """POST /_sandbox/faults."""

    fault: Fault
    operation: str = ""
    out_trade_no: str = ""
    slow_ms: int = SLOW_MS
    times: int = 1


class BuyerOrder(msgspec.Struct, forbid_unknown_fields=True):
    """POST /_sandbox/buyers: set a balance, or welcome a new buyer of `wallet`."""

    name: str
    balance: int
    wallet: str = ""


class TimeOrder(msgspec.Struct, forbid_unknown_fields=True):
    """POST /_sandbox/time; the rate is a number like 1 or 60."""

    advance_ms: int = 0
    rate: float | None = None


class ScanOrder(msgspec.Struct, forbid_unknown_fields=True):
    """POST /_sandbox/scan: a buyer meets an order, named by its code or by the merchant's number."""

    code: str = ""
    out_trade_no: str = ""
    account: str = ""
    buyer: str = ""
    action: str = "pay"


class Problem(Exception):
    """The caller asked for something impossible."""

    def __init__(self, text: str, *, status: int = 400) -> None:
        """Say what, and with which HTTP status."""
        super().__init__(text)
        self.status = status


class Control:
    """Routes `/_sandbox/*`."""

    def __init__(self, world: World) -> None:
        """Control `world`."""
        self._world = world
        self._routes: dict[tuple[str, str], Callable[[Call, str], object]] = {
            ("GET", "accounts"): lambda *_: world.accounts(),
            ("PATCH", "accounts/"): self._set_options,
            ("GET", "books"): lambda *_: world.books(),
            ("GET", "journal"): lambda *_: world.bank.ledger.journal,
            ("GET", "scripts"): lambda *_: self._list_scripts(),
            ("PUT", "scripts/"): self._remap,
            ("GET", "faults"): lambda *_: world.bank.faults.armed,
            ("POST", "faults"): self._arm,
            ("GET", "buyers"): lambda *_: self._list_buyers(),
            ("POST", "buyers"): self._set_buyer,
            ("GET", "time"): lambda *_: self._time(),
            ("POST", "time"): self._move_time,
            ("GET", "transcript"): lambda *_: world.transcript.entries(),
            ("POST", "scan"): self._scan,
            ("POST", "reset"): self._reset,
        }

    def handle(self, call: Call) -> Reply:
        """Answer one call."""
        name = call.bare_path().removeprefix("/_sandbox/")
        folder, slash, rest = name.partition("/")
        route = self._routes.get((call.method, folder + slash))
        if route is None:
            return _json({"error": f"nothing at {call.method} /_sandbox/{name}"}, status=404)
        try:
            return _json(route(call, unquote(rest)))
        except Problem as problem:
            return _json({"error": str(problem)}, status=problem.status)

    def _set_options(self, call: Call, name: str) -> object:
        options = _read(call, Options)
        if name not in self._world.bank.amount_scripts:
            raise Problem(f"no account {name}", status=404)
        self._world.bank.amount_scripts[name] = options.amount_scripts
        return {"name": name, "amount_scripts": options.amount_scripts}

    def _list_scripts(self) -> object:
        remaps = self._world.bank.scripts.remaps
        rows = [{"digits": one.digits, "name": one.name, "meaning": one.meaning} for one in SCRIPTS.values()]
        return {"scripts": rows, "remaps": remaps}

    def _remap(self, call: Call, digits: str) -> object:
        order = _read(call, Remap)
        if not (len(digits) == 2 and digits.isascii() and digits.isdigit()):
            raise Problem("digits: two digits, please")
        if order.script not in SCRIPTS:
            raise Problem(f"script: no script {order.script}")
        self._world.bank.scripts.remaps[digits] = order.script
        return self._list_scripts()

    def _arm(self, call: Call, _: str) -> object:
        order = _read(call, FaultOrder)
        if order.fault not in ARMABLE:
            raise Problem(f"fault: one of {', '.join(ARMABLE)}")
        if order.times < 1 or order.slow_ms < 0:
            raise Problem("times: at least 1; slow_ms: at least 0")
        self._world.bank.faults.arm(Armed(**msgspec.structs.asdict(order)))
        return self._world.bank.faults.armed

    def _list_buyers(self) -> object:
        bank = self._world.bank
        return [
            {
                "name": person.name,
                "wallet": person.wallet,
                "user_id": person.user_id,
                "balance": bank.ledger.buyers[person.name],
                "barcodes": {digits: barcode(bank, person, digits) for digits in SCRIPTS},
            }
            for person in bank.people.values()
        ]

    def _set_buyer(self, call: Call, _: str) -> object:
        order, bank = _read(call, BuyerOrder), self._world.bank
        if order.balance < 0:
            raise Problem("balance: fen, not negative")
        if order.name in bank.people:
            change_fen = order.balance - bank.ledger.buyers[order.name]
            bank.ledger.top_up(order.name, change_fen, time_ms=bank.now_ms())
        elif order.wallet in ("alipay", "wechat"):
            user_id = "2088" + bank.digits(12) if order.wallet == "alipay" else "o" + bank.nonce(27)
            person = Person(
                name=order.name, wallet=order.wallet, user_id=user_id, logon="new***@sandbox.example"
            )
            bank.welcome(person, order.balance)
        else:
            raise Problem("wallet: alipay or wechat, for a new buyer")
        return self._list_buyers()

    def _time(self) -> object:
        return {"now_ms": self._world.now_ms(), "rate": self._world.bank.clock.rate}

    def _move_time(self, call: Call, _: str) -> object:
        order = _read(call, TimeOrder)
        if not 0 <= order.advance_ms <= ADVANCE_MAX_MS:
            raise Problem("advance_ms: time goes forward only, by at most 400 days")
        if order.rate is not None and not 0 < order.rate <= RATE_MAX:
            raise Problem(f"rate: more than 0, at most {RATE_MAX}")
        self._world.bank.clock.move(advance_ms=order.advance_ms, rate=order.rate)
        return self._time()

    def _scan(self, call: Call, _: str) -> object:
        order, bank = _read(call, ScanOrder), self._world.bank
        trade = self._meant(order)
        buyer = order.buyer or trade.buyer or bank.buyers_of(trade.wallet)[0].name
        if buyer not in bank.people or bank.people[buyer].wallet != trade.wallet:
            raise Problem(f"buyer: no buyer {buyer} of {trade.wallet}")
        actions = {
            "pay": lambda: bank.pay(trade, buyer),
            "scan": lambda: bank.scan(trade, buyer),
            "refuse": lambda: bank.walk_away(trade),
        }
        if order.action not in actions:
            raise Problem("action: pay, scan or refuse")
        if not actions[order.action]():
            raise Problem(f"the order is {trade.book_state()}, or the buyer has not the money", status=409)
        return {"out_trade_no": trade.out_trade_no, "state": trade.book_state()}

    def _meant(self, order: ScanOrder) -> Trade:
        bank = self._world.bank
        if order.code:
            trade = bank.find_named(order.account, order.code)
        else:
            named = [
                trade
                for trade in bank.trades.values()
                if trade.out_trade_no == order.out_trade_no and order.account in ("", trade.account)
            ]
            if len(named) > 1:
                raise Problem("account: several merchants have an order of that number")
            trade = named[0] if named else None
        if trade is None or (order.code and trade.kind is Kind.BARCODE):
            raise Problem("code, out_trade_no: no such order", status=404)
        return trade

    def _reset(self, *_: object) -> object:
        self._world.reset()
        return {"reset": True}


def _read(call: Call, form: type[BODY]) -> BODY:
    try:
        return msgspec.json.decode(call.body or b"{}", type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(str(error)) from None


def _json(value: Any, *, status: int = 200) -> Reply:  # noqa: ANN401 - whatever JSON can say
    body = msgspec.json.encode(value)
    return Reply(status=status, headers={"content-type": "application/json; charset=utf-8"}, body=body)
