"""What WeChat Pay v2's operations do (channels/03-wechat.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from paymux.sandbox.accounts import WechatAccount
from paymux.sandbox.bank import Taken, Verdict, today
from paymux.sandbox.faults import Trouble
from paymux.sandbox.records import Kind, Order, Refund, State
from paymux.sandbox.times import COMPACT, DAY_MS, compact, dashed, read_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from paymux.sandbox.bank import Bank
    from paymux.sandbox.records import Trade

ORDER_LIFE_MS = 2 * 3_600_000
REVERSE_LIFE_MS = 7 * DAY_MS
REFUND_MS = 1_000
REFUNDS_MAX = 50
CASHIER_PATH = "/cgi-bin/mmpayweb-bin/checkmweb"
_NUMBER = re.compile(r"[0-9A-Za-z_|*@-]{1,32}", re.ASCII)
_BARCODE = re.compile(r"1[0-5]\d{16}", re.ASCII)
_AMOUNT = re.compile(r"[1-9]\d{0,9}", re.ASCII)
_KINDS = {"NATIVE": Kind.QR, "JSAPI": Kind.DIRECT, "APP": Kind.DIRECT, "MWEB": Kind.DIRECT}
_KEPT = ("attach", "device_info", "sub_appid", "sub_mch_id", "sign_type")
_REFUSALS = {
    Verdict.POOR: ("NOTENOUGH", "余额不足"),
    Verdict.EXPIRED: ("AUTHCODEEXPIRE", "二维码已过期，请用户在微信上刷新后再试"),
}
_STATE_WORDS = {
    "SUCCESS": "支付成功",
    "REFUND": "订单发生过退款",
    "NOTPAY": "订单未支付",
    "USERPAYING": "需要用户输入支付密码",
    "CLOSED": "订单已关闭",
    "REVOKED": "订单已撤销",
    "PAYERROR": "支付失败",
}


class Refused(Exception):
    """The gateway did not even look: return_code FAIL, unsigned; the message is the return_msg."""


class Failed(Exception):
    """result_code FAIL with `err_code`, signed."""

    def __init__(self, err_code: str, words: str, **more: str) -> None:
        """Remember the wire's words."""
        super().__init__(err_code)
        self.err_code, self.words, self.more = err_code, words, more

    def fields(self) -> dict[str, str]:
        """Return the reply's own fields."""
        return {"result_code": "FAIL", "err_code": self.err_code, "err_code_des": self.words, **self.more}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A verified request."""

    account: WechatAccount
    fields: dict[str, str]
    sign_type: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The own fields of a reply and what goes wrong with it on the way."""

    fields: dict[str, str]
    trouble: Trouble | None = None


class WechatTrades:
    """The operations, each `Request → Answer`; they raise Failed."""

    def __init__(self, bank: Bank, base_url: Callable[[], str]) -> None:
        """Work on `bank`'s books."""
        self._bank = bank
        self._base_url = base_url

    def micropay(self, request: Request) -> Answer:
        """/pay/micropay: the shop scanned the buyer's barcode."""
        order = self._order(request, Kind.BARCODE, {"trade_type": "MICROPAY"})
        barcode = _need(request, "auth_code")
        existing = self._bank.find(request.account.name, order.out_trade_no)
        if existing:
            _refuse_repeat(existing, order)
            raise _user_paying()
        if not _BARCODE.fullmatch(barcode):
            raise Failed("AUTH_CODE_INVALID", "请扫描微信支付被扫条码/二维码")
        taken = self._bank.charge(order, barcode=barcode, trade_no=self._trade_no())
        if taken.verdict in _REFUSALS:
            raise Failed(*_REFUSALS[taken.verdict])
        if taken.trade is None:
            return Answer(fields={}, trouble=taken.trouble)
        if taken.verdict is Verdict.WAITING:
            return Answer(fields=_user_paying().fields(), trouble=taken.trouble)
        return Answer(fields=pay_fields(self._bank, taken.trade), trouble=taken.trouble)

    def unifiedorder(self, request: Request) -> Answer:
        """/pay/unifiedorder: NATIVE gets a code_url, the others what their front end needs."""
        trade_type = _need(request, "trade_type")
        kind = _KINDS.get(trade_type)
        if kind is None:
            raise _invalid("trade_type")
        _need(request, "notify_url")
        if trade_type == "JSAPI" and not (request.fields.get("openid") or request.fields.get("sub_openid")):
            raise Failed("PARAM_ERROR", "JSAPI支付必须传openid")
        taken = self._prepare(request, self._order(request, kind, self._handles(trade_type)))
        if taken.trade is None:
            return Answer(fields={}, trouble=taken.trouble)
        shown = ("trade_type", "prepay_id", "code_url", "mweb_url")
        return Answer(fields={name: taken.trade.extra.get(name, "") for name in shown}, trouble=taken.trouble)

    def orderquery(self, request: Request) -> Answer:
        """/pay/orderquery by out_trade_no or transaction_id."""
        trade = self._named(request)
        if trade is None or self._bank.hidden(trade):
            raise _not_exist()
        if self._bank.blind(trade):
            raise _system_error()
        state = _trade_state(trade)
        if state in ("SUCCESS", "REFUND"):
            words = {"trade_state": state, "trade_state_desc": _STATE_WORDS[state]}
            return Answer(fields=pay_fields(self._bank, trade) | words)
        named = {"out_trade_no": trade.out_trade_no, "attach": trade.extra.get("attach", "")}
        return Answer(fields=named | {"trade_state": state, "trade_state_desc": _STATE_WORDS[state]})

    def closeorder(self, request: Request) -> Answer:
        """/pay/closeorder: a paid order answers ORDERPAID."""
        trade = self._bank.find(request.account.name, _need(request, "out_trade_no"))
        if trade is None:
            raise _not_exist()
        if self._bank.undo_fails(trade):
            raise _system_error()
        if trade.state is State.PAID:
            raise Failed("ORDERPAID", "订单已支付")
        if trade.state is not State.WAITING:
            raise Failed("ORDERCLOSED", "订单已关闭")
        self._bank.close(trade)
        return Answer(fields={})

    def reverse(self, request: Request) -> Answer:
        """/secapi/pay/reverse, micropay only; an unknown number is blocked for ever and answers SUCCESS."""
        trade = self._named(request)
        if trade is None:
            self._block(request)
            return Answer(fields={"recall": "N"})
        if trade.kind is not Kind.BARCODE:
            raise Failed("INVALID_REQUEST", "该订单类型不支持撤销", recall="N")
        if self._bank.undo_fails(trade):
            raise Failed("SYSTEMERROR", "系统错误", recall="Y")
        if trade.refunds:
            raise Failed("TRADE_STATE_ERROR", "订单已退款，不能撤销", recall="N")
        if trade.paid_ms and self._bank.now_ms() - trade.paid_ms > REVERSE_LIFE_MS:
            raise Failed("REVERSE_EXPIRE", "订单无法撤销：超过7天", recall="N")
        if trade.state is not State.REVERSED:
            self._bank.void(trade)
        return Answer(fields={"recall": "N"})

    def refund(self, request: Request) -> Answer:
        """/secapi/pay/refund: SUCCESS means accepted; refundquery tells the end a second later."""
        out_refund_no, total_fen, refund_fen = self._refund_terms(request)
        trade = self._named(request)
        if trade is None:
            raise _not_exist()
        earlier = trade.refund_named(out_refund_no)
        if earlier:
            if (earlier.amount_fen, trade.amount_fen) != (refund_fen, total_fen):
                raise Failed("REFUND_FEE_MISMATCH", "订单金额或退款金额与之前请求不一致，请核实后再试")
            return Answer(fields=_refund_fields(trade, earlier))
        self._refuse_refund(trade, total_fen=total_fen, refund_fen=refund_fen)
        now_ms = self._bank.now_ms()
        refund = Refund(
            out_refund_no=out_refund_no,
            refund_no=f"5030{today(self._bank)}{self._bank.digits(16)}",
            amount_fen=refund_fen,
            created_ms=now_ms,
            done_ms=now_ms + REFUND_MS,
            notify_url=request.fields.get("notify_url", ""),
        )
        if self._bank.refund(trade, refund):
            raise _system_error()
        return Answer(fields=_refund_fields(trade, refund))

    def refundquery(self, request: Request) -> Answer:
        """/pay/refundquery by out_refund_no, refund_id, out_trade_no or transaction_id."""
        trade, refunds = self._refunds_named(request)
        if trade is None or not refunds:
            raise Failed("REFUNDNOTEXIST", "not exist")
        fields = {
            "transaction_id": trade.trade_no,
            "out_trade_no": trade.out_trade_no,
            "total_fee": str(trade.amount_fen),
            "cash_fee": str(trade.amount_fen),
            "refund_count": str(len(refunds)),
            "refund_fee": str(sum(refund.amount_fen for refund in refunds)),
        }
        for number, refund in enumerate(refunds):
            fields |= self._refund_row(refund, number)
        return Answer(fields=fields)

    # --- helpers ---

    def _trade_no(self) -> str:
        return f"4200{self._bank.digits(6)}{today(self._bank)}{self._bank.digits(10)}"

    def _order(self, request: Request, kind: Kind, extra: dict[str, str]) -> Order:
        """Read what every way to pay has in common."""
        number, body = _need(request, "out_trade_no"), _need(request, "body")
        _need(request, "spbill_create_ip")
        if not _NUMBER.fullmatch(number):
            raise _invalid("out_trade_no")
        kept = {name: request.fields[name] for name in _KEPT if request.fields.get(name)}
        return Order(
            wallet="wechat",
            account=request.account.name,
            out_trade_no=number,
            amount_fen=_amount(request, "total_fee"),
            subject=body,
            kind=kind,
            notify_url=request.fields.get("notify_url", ""),
            expires_ms=self._expiry(request, kind),
            extra=kept | extra,
        )

    def _expiry(self, request: Request, kind: Kind) -> int:
        """Return when the order dies: if the merchant does not say, barcodes never, others after 2 h."""
        text, now_ms = request.fields.get("time_expire", ""), self._bank.now_ms()
        if not text:
            return 0 if kind is Kind.BARCODE else now_ms + ORDER_LIFE_MS
        at_ms = read_time(text, COMPACT)
        if at_ms is None:
            raise _invalid("time_expire")
        if at_ms <= now_ms:
            raise Failed("INVALID_REQUEST", "time_expire时间过短")
        return at_ms

    def _handles(self, trade_type: str) -> dict[str, str]:
        """Make what a front end needs to show the order to its buyer."""
        prepay_id = f"wx{compact(self._bank.now_ms())}{self._bank.nonce(18).lower()}"
        handles = {"trade_type": trade_type, "prepay_id": prepay_id}
        if trade_type == "NATIVE":
            handles["code_url"] = f"weixin://wxpay/bizpayurl?pr={self._bank.nonce(9)}"
        if trade_type == "MWEB":
            handles["mweb_url"] = f"{self._base_url()}{CASHIER_PATH}?prepay_id={quote(prepay_id)}&package=1"
        return handles

    def _prepare(self, request: Request, order: Order) -> Taken:
        existing = self._bank.find(request.account.name, order.out_trade_no)
        if existing:
            _refuse_repeat(existing, order)
            return Taken(verdict=Verdict.WAITING, trade=existing)
        return self._bank.prepare(order, trade_no=self._trade_no())

    def _named(self, request: Request) -> Trade | None:
        transaction_id = request.fields.get("transaction_id", "")
        if transaction_id:
            return self._bank.find_named(request.account.name, transaction_id)
        return self._bank.find(request.account.name, _need(request, "out_trade_no"))

    def _block(self, request: Request) -> None:
        number = request.fields.get("out_trade_no", "")
        if not _NUMBER.fullmatch(number):
            raise _invalid("out_trade_no")
        if self._bank.find(request.account.name, number):  # it is the transaction_id that nobody knows
            raise _invalid("transaction_id")
        order = Order(
            wallet="wechat",
            account=request.account.name,
            out_trade_no=number,
            amount_fen=0,
            subject="",
            kind=Kind.BARCODE,
        )
        self._bank.block(order, trade_no=self._trade_no())

    def _refund_terms(self, request: Request) -> tuple[str, int, int]:
        out_refund_no = _need(request, "out_refund_no")
        if len(out_refund_no) > 64:
            raise _invalid("out_refund_no")
        return out_refund_no, _amount(request, "total_fee"), _amount(request, "refund_fee")

    def _refuse_refund(self, trade: Trade, *, total_fen: int, refund_fen: int) -> None:
        if trade.state is not State.PAID:
            raise Failed(
                "ORDERNOTEXIST" if trade.state is State.WAITING else "TRADE_STATE_ERROR", "订单未支付或已撤销"
            )
        if total_fen != trade.amount_fen:
            raise Failed("REFUND_FEE_MISMATCH", "订单金额或退款金额与之前请求不一致，请核实后再试")
        if self._bank.script(trade).refund_refused:
            raise Failed("NOTENOUGH", "基本账户余额不足，请充值后重新发起")
        if trade.refunded_fen + refund_fen > trade.amount_fen:
            raise Failed("ERROR", "累计退款金额大于支付金额")
        if len(trade.refunds) >= REFUNDS_MAX:
            raise Failed("ERROR", "退款次数超过50次")

    def _refunds_named(self, request: Request) -> tuple[Trade | None, list[Refund]]:
        """Find by the refund's own numbers first, else all refunds of the order."""
        account = request.account.name
        for name in ("refund_id", "out_refund_no"):
            wanted = request.fields.get(name)
            if wanted:
                number = "refund_no" if name == "refund_id" else "out_refund_no"
                return self._bank.find_refund(account, **{number: wanted})
        trade = self._named(request)
        return trade, trade.refunds if trade else []

    def _refund_row(self, refund: Refund, number: int) -> dict[str, str]:
        done = self._bank.now_ms() >= refund.done_ms
        row = {
            "out_refund_no": refund.out_refund_no,
            "refund_id": refund.refund_no,
            "refund_channel": "ORIGINAL",
            "refund_fee": str(refund.amount_fen),
            "settlement_refund_fee": str(refund.amount_fen),
            "refund_status": "SUCCESS" if done else "PROCESSING",
            "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS",
            "refund_recv_accout": "支付用户零钱",
            "refund_success_time": dashed(refund.done_ms) if done else "",
        }
        return {f"{name}_{number}": value for name, value in row.items()}


def pay_fields(bank: Bank, trade: Trade, *, more_fen: int = 0) -> dict[str, str]:
    """Return the fields that tell of a paid order, alike in replies, queries and callbacks."""
    total = str(trade.amount_fen + more_fen)
    return {
        "openid": bank.people[trade.buyer].user_id,
        "is_subscribe": "N",
        "trade_type": trade.extra["trade_type"],
        "bank_type": "OTHERS",
        "fee_type": "CNY",
        "total_fee": total,
        "cash_fee_type": "CNY",
        "cash_fee": total,
        "transaction_id": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "attach": trade.extra.get("attach", ""),
        "time_end": compact(trade.paid_ms),
    }


def _trade_state(trade: Trade) -> str:
    if trade.state is State.PAID:
        return "REFUND" if trade.refunds else "SUCCESS"
    if trade.state is State.WAITING:
        return "USERPAYING" if trade.scanned else "NOTPAY"
    if trade.declined:
        return "PAYERROR"
    return "REVOKED" if trade.state is State.REVERSED else "CLOSED"


def _refuse_repeat(trade: Trade, order: Order) -> None:
    """Let a repeated request through only when it asks the same of an order still waiting."""
    if trade.state is State.REVERSED:
        raise Failed("ORDERREVERSED", "订单已撤销")
    if not trade.same_content(order):
        raise Failed("OUT_TRADE_NO_USED", "商户订单号重复")
    if trade.state is State.PAID:
        raise Failed("ORDERPAID", "该订单已支付")
    if trade.state is State.CLOSED:
        raise Failed("ORDERCLOSED", "该订单已关闭")


def _refund_fields(trade: Trade, refund: Refund) -> dict[str, str]:
    return {
        "transaction_id": trade.trade_no,
        "out_trade_no": trade.out_trade_no,
        "out_refund_no": refund.out_refund_no,
        "refund_id": refund.refund_no,
        "refund_channel": "ORIGINAL",
        "refund_fee": str(refund.amount_fen),
        "total_fee": str(trade.amount_fen),
        "cash_fee": str(trade.amount_fen),
        "cash_refund_fee": str(refund.amount_fen),
    }


def _need(request: Request, name: str) -> str:
    value = request.fields.get(name, "")
    if not value:
        raise Failed("LACK_PARAMS", f"缺少必填参数{name}")
    return value


def _amount(request: Request, name: str) -> int:
    text = _need(request, name)
    if not _AMOUNT.fullmatch(text):
        raise _invalid(name)
    return int(text)


def _invalid(name: str) -> Failed:
    return Failed("PARAM_ERROR", f"参数格式有误：{name}")


def _not_exist() -> Failed:
    return Failed("ORDERNOTEXIST", "订单不存在")


def _system_error() -> Failed:
    return Failed("SYSTEMERROR", "系统错误")


def _user_paying() -> Failed:
    return Failed("USERPAYING", "需要用户输入支付密码")
