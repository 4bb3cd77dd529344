"""What Alipay's methods do: pay, precreate, query, cancel, close, refund (channels/01-alipay.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from paymux.sandbox.amounts import fen_of_yuan, yuan
from paymux.sandbox.bank import Taken, Verdict, today
from paymux.sandbox.faults import Trouble
from paymux.sandbox.records import Kind, Order, Refund, State
from paymux.sandbox.times import DASHED, DAY_MS, beijing, dashed, read_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from paymux.sandbox.accounts import AlipayAccount
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.records import Trade

ORDER_LIFE_MS = 2 * 3_600_000
AMOUNT_MAX_FEN = 10_000_000_000
_NUMBER = re.compile(r"[\w|*@-]{1,64}", re.ASCII)
_BARCODE = re.compile(r"(?:25|26|27|28|29|30)\d{14,22}|fp\w{33}", re.ASCII)
_EXPRESS = re.compile(r"(\d{1,5})([mhd])|1c", re.ASCII)
_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": DAY_MS}
_REFUSALS = {
    Verdict.POOR: ("ACQ.BUYER_BALANCE_NOT_ENOUGH", "买家余额不足"),
    Verdict.EXPIRED: (
        "ACQ.PAYMENT_AUTH_CODE_INVALID",
        "获取顾客账户信息失败，请顾客刷新付款码后重新收款",
    ),
}


class Rejected(Exception):
    """The gateway refused: `code` is the gateway's, `sub_code` and `sub_msg` the method's."""

    def __init__(self, code: str, sub_code: str, sub_msg: str, **more: str) -> None:
        """Remember the wire's words."""
        super().__init__(sub_code)
        self.code, self.sub_code, self.sub_msg, self.more = code, sub_code, sub_msg, more

    def fields(self) -> dict[str, Any]:
        """Return the reply's inner object (`msg` follows from the code)."""
        return {"code": self.code, "sub_code": self.sub_code, "sub_msg": self.sub_msg, **self.more}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A verified request."""

    account: AlipayAccount
    method: str
    biz: dict[str, Any]
    notify_url: str
    return_url: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The inner object of a reply and what goes wrong with it on the way."""

    fields: dict[str, Any]
    trouble: Trouble | None = None


class AlipayTrades:
    """The methods, each `Request → Answer`; they raise Rejected."""

    def __init__(self, bank: Bank, base_url: Callable[[], str]) -> None:
        """Work on `bank`'s books."""
        self._bank = bank
        self._base_url = base_url

    def pay(self, request: Request) -> Answer:
        """alipay.trade.pay: the shop scanned the buyer's barcode."""
        order = self._order(request, Kind.BARCODE)
        barcode = _text(request.biz, "auth_code")
        if str(request.biz.get("scene", "bar_code")) not in ("bar_code", "security_code"):
            raise _invalid("scene")
        existing = self._bank.find(request.account.name, order.out_trade_no)
        if existing:
            _refuse_repeat(existing, order)
            return Answer(fields=self._pay_fields(existing))
        if not _BARCODE.fullmatch(barcode):
            raise Rejected("40004", *_REFUSALS[Verdict.EXPIRED])
        taken = self._bank.charge(order, barcode=barcode, trade_no=self._trade_no())
        if taken.verdict in _REFUSALS:
            raise Rejected("40004", *_REFUSALS[taken.verdict])
        return self._taken(taken, self._pay_fields)

    def precreate(self, request: Request) -> Answer:
        """alipay.trade.precreate: a QR code for the buyer to scan."""
        code = f"https://qr.alipay.com/bax{self._bank.nonce(20).lower()}"
        taken = self._prepare(request, self._order(request, Kind.QR, {"qr_code": code}))
        return self._taken(
            taken,
            lambda trade: {
                "code": "10000",
                "out_trade_no": trade.out_trade_no,
                "qr_code": trade.extra["qr_code"],
            },
        )

    def create(self, request: Request) -> Answer:
        """alipay.trade.create: an order for a known buyer, who pays in a mini program."""
        if not (
            request.biz.get("buyer_id")
            or request.biz.get("buyer_open_id")
            or request.biz.get("buyer_logon_id")
        ):
            raise _invalid("buyer_id")
        taken = self._prepare(request, self._order(request, Kind.DIRECT))
        return self._taken(
            taken,
            lambda trade: {"code": "10000", "out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no},
        )

    def open_page(self, request: Request) -> Trade:
        """wap.pay, page.pay and app.pay: the order behind a cashier page; opening it again finds it again."""
        extra = {"return_url": request.return_url, "method": request.method}
        taken = self._prepare(request, self._order(request, Kind.PAGE, extra))
        if taken.trade is None:
            raise _system_error()
        return taken.trade

    def query(self, request: Request) -> Answer:
        """alipay.trade.query; an unscanned QR order is not yet a trade."""
        trade = self._named(request)
        if trade is None or self._bank.hidden(trade) or not _is_trade(trade):
            raise _not_exist()
        if self._bank.blind(trade):
            raise _system_error()
        return Answer(fields=self._query_fields(trade))

    def cancel(self, request: Request) -> Answer:
        """alipay.trade.cancel; answers success for an unknown number too."""
        trade = self._named(request)
        if trade is None:
            done = {"code": "10000", "out_trade_no": str(request.biz.get("out_trade_no", ""))}
            return Answer(fields=done | {"retry_flag": "N", "action": "close"})
        named = {"trade_no": trade.trade_no, "out_trade_no": trade.out_trade_no}
        if self._bank.undo_fails(trade):
            if trade.undo_calls == 1:
                raise Rejected("40004", "ACQ.SYSTEM_ERROR", "系统错误", **named, retry_flag="Y")
            return Answer(fields={"code": "10000"} | named | {"retry_flag": "Y"})
        if trade.state in (State.WAITING, State.PAID):
            self._void(trade)
        action = "refund" if trade.was_paid else "close"
        return Answer(fields={"code": "10000"} | named | {"retry_flag": "N", "action": action})

    def close(self, request: Request) -> Answer:
        """alipay.trade.close: only for a trade that waits for its buyer."""
        trade = self._named(request)
        if trade is None or not _is_trade(trade):
            raise _not_exist()
        if self._bank.undo_fails(trade):
            raise _system_error()
        if trade.state is not State.WAITING:
            raise Rejected("40004", "ACQ.REASON_TRADE_STATUS_INVALID", "交易状态不合法")
        self._bank.close(trade)
        return Answer(
            fields={"code": "10000", "out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no}
        )

    def refund(self, request: Request) -> Answer:
        """alipay.trade.refund: done at once; the same request number again moves nothing (fund_change N)."""
        amount_fen = _amount(request.biz, "refund_amount")
        trade = self._named(request)
        if trade is None:
            raise _not_exist()
        number = str(request.biz.get("out_request_no") or trade.out_trade_no)
        earlier = trade.refund_named(number)
        if earlier:
            if earlier.amount_fen != amount_fen:
                raise Rejected("40004", "ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求")
            return Answer(fields=self._refund_fields(trade, earlier, fund_change="N"))
        self._refuse_refund(trade, amount_fen, named=bool(request.biz.get("out_request_no")))
        now_ms = self._bank.now_ms()
        refund = Refund(
            out_refund_no=number,
            refund_no=trade.trade_no,
            amount_fen=amount_fen,
            created_ms=now_ms,
            done_ms=now_ms,
        )
        if self._bank.refund(trade, refund):
            raise _system_error()
        return Answer(fields=self._refund_fields(trade, refund, fund_change="Y"))

    def refund_query(self, request: Request) -> Answer:
        """alipay.trade.fastpay.refund.query: without refund_status when there is no such refund."""
        number = _text(request.biz, "out_request_no")
        trade = self._named(request)
        if trade is None or not _is_trade(trade):
            raise _not_exist()
        refund = trade.refund_named(number)
        if refund is None:
            return Answer(fields={"code": "10000"})
        fields = {
            "code": "10000",
            "out_request_no": number,
            "out_trade_no": trade.out_trade_no,
            "refund_amount": yuan(refund.amount_fen),
            "refund_status": "REFUND_SUCCESS",
            "total_amount": yuan(trade.amount_fen),
            "trade_no": trade.trade_no,
            "gmt_refund_pay": dashed(refund.done_ms),
        }
        return Answer(fields=fields)

    # --- helpers ---

    def _trade_no(self) -> str:
        return f"{today(self._bank)}22001{self._bank.digits(15)}"

    def _order(self, request: Request, kind: Kind, extra: dict[str, str] | None = None) -> Order:
        """Read what every way to pay has in common."""
        biz = request.biz
        number, subject = _text(biz, "out_trade_no"), _text(biz, "subject")
        if not _NUMBER.fullmatch(number):
            raise _invalid("out_trade_no")
        kept = {field: str(biz[field]) for field in ("body", "passback_params", "store_id") if biz.get(field)}
        return Order(
            wallet="alipay",
            account=request.account.name,
            out_trade_no=number,
            amount_fen=_amount(biz, "total_amount"),
            subject=subject,
            kind=kind,
            notify_url=request.notify_url,
            expires_ms=self._expiry(biz, kind),
            extra=kept | (extra or {}),
        )

    def _expiry(self, biz: dict[str, Any], kind: Kind) -> int:
        """Return when the order dies: if the merchant does not say, barcodes never, others after 2 h."""
        now_ms = self._bank.now_ms()
        if biz.get("time_expire"):
            at_ms = read_time(str(biz["time_expire"]), DASHED)
            if at_ms is None:
                raise _invalid("time_expire")
            if at_ms <= now_ms:
                raise Rejected(
                    "40004", "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR", "当前时间已超过允许支付的时间"
                )
            return at_ms
        express = str(biz.get("qr_code_timeout_express") or biz.get("timeout_express") or "")
        if not express:
            return 0 if kind is Kind.BARCODE else now_ms + ORDER_LIFE_MS
        match = _EXPRESS.fullmatch(express)
        if not match:
            raise _invalid("timeout_express")
        if express == "1c":
            midnight = beijing(now_ms).replace(hour=0, minute=0, second=0)
            return read_time(midnight.strftime(DASHED), DASHED) + DAY_MS  # type: ignore[operator]  # just written
        return now_ms + int(match[1]) * _UNIT_MS[match[2]]

    def _prepare(self, request: Request, order: Order) -> Taken:
        existing = self._bank.find(request.account.name, order.out_trade_no)
        if existing:
            _refuse_repeat(existing, order)
            return Taken(verdict=Verdict.WAITING, trade=existing)
        return self._bank.prepare(order, trade_no=self._trade_no())

    def _taken(self, taken: Taken, fields: Callable[[Trade], dict[str, Any]]) -> Answer:
        return Answer(fields=fields(taken.trade) if taken.trade else {"code": "10000"}, trouble=taken.trouble)

    def _named(self, request: Request) -> Trade | None:
        """Find the order by out_trade_no or trade_no; one of them must be there."""
        out_trade_no, trade_no = (str(request.biz.get(name) or "") for name in ("out_trade_no", "trade_no"))
        if not out_trade_no and not trade_no:
            raise _invalid("out_trade_no和trade_no不能同时为空")
        if trade_no:
            return self._bank.find_named(request.account.name, trade_no)
        return self._bank.find(request.account.name, out_trade_no)

    def _void(self, trade: Trade) -> None:
        if trade.refunds:
            raise Rejected("40004", "ACQ.REASON_TRADE_REFUND_FEE_ERR", "退款金额错误", retry_flag="N")
        if trade.paid_ms and self._bank.now_ms() - trade.paid_ms > DAY_MS:
            raise Rejected("40004", "ACQ.TRADE_CANCEL_TIME_OUT", "超过撤销时间范围", retry_flag="N")
        self._bank.void(trade)

    def _refuse_refund(self, trade: Trade, amount_fen: int, *, named: bool) -> None:
        if trade.state is not State.PAID:
            codes = {State.WAITING: ("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")}
            raise Rejected("40004", *codes.get(trade.state, ("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")))
        if self._bank.script(trade).refund_refused:
            raise Rejected("40004", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "卖家余额不足")
        if trade.refunded_fen + amount_fen > trade.amount_fen:
            raise Rejected("40004", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限")
        if not named and amount_fen != trade.amount_fen:
            raise _invalid("部分退款必须传入out_request_no")

    def _buyer_fields(self, trade: Trade) -> dict[str, Any]:
        person = self._bank.people[trade.buyer]
        return {"buyer_logon_id": person.logon, "buyer_user_id": person.user_id}

    def _pay_fields(self, trade: Trade) -> dict[str, Any]:
        total = yuan(trade.amount_fen)
        named = {"out_trade_no": trade.out_trade_no, "trade_no": trade.trade_no, "total_amount": total}
        if trade.state is State.WAITING:
            return {"code": "10003"} | self._buyer_fields(trade) | named
        paid = {
            "buyer_pay_amount": total,
            "fund_bill_list": [{"amount": total, "fund_channel": "ALIPAYACCOUNT"}],
            "gmt_payment": dashed(trade.paid_ms),
            "invoice_amount": total,
            "point_amount": "0.00",
            "receipt_amount": total,
        }
        return {"code": "10000"} | self._buyer_fields(trade) | paid | named

    def _query_fields(self, trade: Trade) -> dict[str, Any]:
        total = yuan(trade.amount_fen)
        received = total if trade.was_paid else "0.00"
        fields: dict[str, Any] = {
            "code": "10000",
            **(self._buyer_fields(trade) if trade.buyer else {}),
            "buyer_pay_amount": received,
            "buyer_user_type": "PRIVATE",
            "invoice_amount": received,
            "out_trade_no": trade.out_trade_no,
            "point_amount": "0.00",
            "receipt_amount": received,
            "total_amount": total,
            "trade_no": trade.trade_no,
            "trade_status": _trade_status(trade),
        }
        return fields | ({"send_pay_date": dashed(trade.paid_ms)} if trade.was_paid else {})

    def _refund_fields(self, trade: Trade, refund: Refund, *, fund_change: str) -> dict[str, Any]:
        return {
            "code": "10000",
            **self._buyer_fields(trade),
            "fund_change": fund_change,
            "gmt_refund_pay": dashed(refund.done_ms),
            "out_trade_no": trade.out_trade_no,
            "refund_fee": yuan(trade.refunded_fen),
            "send_back_fee": yuan(refund.amount_fen if fund_change == "Y" else 0),
            "trade_no": trade.trade_no,
        }


def _is_trade(trade: Trade) -> bool:
    """Say whether Alipay has a trade: a QR order becomes one only when a buyer scans it."""
    return trade.kind in (Kind.BARCODE, Kind.DIRECT) or trade.scanned or trade.was_paid


def _trade_status(trade: Trade) -> str:
    if trade.state is State.PAID:
        return "TRADE_CLOSED" if trade.refunded_fen == trade.amount_fen else "TRADE_SUCCESS"
    return "WAIT_BUYER_PAY" if trade.state is State.WAITING else "TRADE_CLOSED"


def _refuse_repeat(trade: Trade, order: Order) -> None:
    """Let a repeated request through only when it asks the same of an order still waiting."""
    if not trade.same_content(order):
        raise Rejected("40004", "ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改")
    if trade.state is State.PAID:
        raise Rejected("40004", "ACQ.TRADE_HAS_SUCCESS", "交易已被支付")
    if trade.state is not State.WAITING:
        raise Rejected("40004", "ACQ.TRADE_HAS_CLOSE", "交易已经关闭")


def _text(biz: dict[str, Any], name: str) -> str:
    value = biz.get(name)
    if value is None or not str(value).strip():
        raise _invalid(name)
    return str(value)


def _amount(biz: dict[str, Any], name: str) -> int:
    amount_fen = fen_of_yuan(_text(biz, name))
    if amount_fen is None or not 0 < amount_fen <= AMOUNT_MAX_FEN:
        raise _invalid(name)
    return amount_fen


def _invalid(what: str) -> Rejected:
    return Rejected("40004", "ACQ.INVALID_PARAMETER", f"参数无效：{what}")


def _not_exist() -> Rejected:
    return Rejected("40004", "ACQ.TRADE_NOT_EXIST", "交易不存在")


def _system_error() -> Rejected:
    return Rejected("40004", "ACQ.SYSTEM_ERROR", "系统错误")
