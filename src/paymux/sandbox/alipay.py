"""The counterfeit Alipay gateway: `/gateway.do`, true to the wire (channels/01-alipay.md).

This file reads and verifies requests, signs replies and callbacks; what the methods do is in
`alipay_trades.py`. Reading is as tolerant as the true gateway's (GET and POST merged, common parameters in
the query or the body), verification is not.
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote_plus, urlencode

import msgspec

from paymux.sandbox import alipay_signing as signing
from paymux.sandbox.alipay_bill import BillDesk
from paymux.sandbox.alipay_trades import AlipayTrades, Answer, Rejected, Request
from paymux.sandbox.amounts import yuan
from paymux.sandbox.faults import Trouble, spoil
from paymux.sandbox.messages import Callback, Reply, html
from paymux.sandbox.records import Kind, State
from paymux.sandbox.scripts import Fault
from paymux.sandbox.times import DASHED, dashed, read_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from paymux.sandbox.accounts import AlipayAccount
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.messages import Call
    from paymux.sandbox.pages import Pages
    from paymux.sandbox.records import Notice, Trade

PATH = "/gateway.do"
CHARSETS = ("utf-8", "gbk")
MESSAGES = {
    "10000": "Success",
    "10003": " order success pay inprocess",
    "20000": "Service Currently Unavailable",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40004": "Business Failed",
}
_CHARSET = re.compile(r"(?:^|&)charset=([\w-]+)", re.ASCII)
_COMMON = ("method", "app_id", "sign", "sign_type", "timestamp", "version")
_OPERATIONS = {
    "alipay.trade.pay": "pay",
    "alipay.trade.precreate": "prepare",
    "alipay.trade.create": "prepare",
    "alipay.trade.wap.pay": "prepare",
    "alipay.trade.page.pay": "prepare",
    "alipay.trade.app.pay": "prepare",
    "alipay.trade.query": "query",
    "alipay.trade.cancel": "cancel",
    "alipay.trade.close": "close",
    "alipay.trade.refund": "refund",
    "alipay.trade.fastpay.refund.query": "refund_query",
    "alipay.data.dataservice.bill.downloadurl.query": "bill",
}
_PAGES = ("alipay.trade.wap.pay", "alipay.trade.page.pay", "alipay.trade.app.pay")
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=str)


class Alipay:
    """The gateway for every Alipay merchant of the sandbox."""

    def __init__(
        self, bank: Bank, accounts: list[AlipayAccount], pages: Pages, base_url: Callable[[], str]
    ) -> None:
        """Serve `accounts`; `base_url()` says where the sandbox itself can be reached."""
        self._bank = bank
        self._pages = pages
        self.accounts = {account.name: account for account in accounts}
        self._by_app_id = {account.app_id: account for account in accounts}
        self.bills = BillDesk(bank, base_url)
        trades = AlipayTrades(bank, base_url)
        self._methods: dict[str, Callable[[Request], Answer]] = {
            "alipay.trade.pay": trades.pay,
            "alipay.trade.precreate": trades.precreate,
            "alipay.trade.create": trades.create,
            "alipay.trade.query": trades.query,
            "alipay.trade.cancel": trades.cancel,
            "alipay.trade.close": trades.close,
            "alipay.trade.refund": trades.refund,
            "alipay.trade.fastpay.refund.query": trades.refund_query,
            "alipay.data.dataservice.bill.downloadurl.query": self.bills.locate,
        }
        self._trades = trades

    def handle(self, call: Call) -> Reply:
        """Answer one call of the gateway."""
        fields, charset = read_fields(call)
        try:
            account = self._known(fields)
        except Rejected as error:
            return _plain(b'{"error_response":%s}' % _inner(error.fields()).encode(charset), charset)
        try:
            request = self._verified(fields, account)
        except Rejected as error:
            return self._seal(account, fields["method"], error.fields(), charset, forged=False)
        return self._perform(request, charset)

    def notice_fields(self, trade: Trade, note: str) -> dict[str, str] | None:
        """Return a callback's business fields; `waiting` is the older state some scripts send too late."""
        script = self._bank.script(trade)
        if not trade.notify_url or (
            note == "paid" and script.undo_failures and trade.state is not State.PAID
        ):
            return None
        person = self._bank.people[trade.buyer]
        total = yuan(trade.amount_fen + (script.callback_amount_wrong and trade.kind is not Kind.BARCODE))
        account = self.accounts[trade.account]
        status = "WAIT_BUYER_PAY" if note == "waiting" else "TRADE_SUCCESS"
        day = dashed(trade.paid_ms)[:10].replace("-", "")
        fields = {
            "notify_type": "trade_status_sync",
            "notify_id": f"{day}00222{trade.trade_no[-20:]}{status[-1]}",
            "charset": "utf-8",
            "version": "1.0",
            "app_id": account.app_id,
            "auth_app_id": account.app_id,
            "trade_no": trade.trade_no,
            "out_trade_no": trade.out_trade_no,
            "buyer_id": person.user_id,
            "buyer_logon_id": person.logon,
            "seller_id": account.seller_id,
            "seller_email": "seller@sandbox.example",
            "trade_status": status,
            "total_amount": total,
            "subject": trade.subject,
            "body": trade.extra.get("body", ""),
            "passback_params": trade.extra.get("passback_params", ""),
            "gmt_create": dashed(trade.created_ms),
        }
        if note == "waiting":
            return fields
        bill = [{"amount": total, "fundChannel": "ALIPAYACCOUNT"}]
        money = dict.fromkeys(("receipt_amount", "invoice_amount", "buyer_pay_amount"), total)
        paid = {
            "gmt_payment": dashed(trade.paid_ms),
            "point_amount": "0.00",
            "fund_bill_list": _json(bill).decode(),
        }
        return fields | money | paid

    def render(self, notice: Notice) -> Callback:
        """Sign a callback for sending now."""
        fields = {name: value for name, value in notice.fields.items() if value}
        fields |= {"notify_time": dashed(self._bank.now_ms()), "sign_type": "RSA2"}
        fields["sign"] = self._sign_fields(self.accounts[notice.account], fields)
        return Callback(
            id=notice.id,
            url=notice.url,
            headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
            body=urlencode(fields).encode(),
            ack="success",
        )

    def return_url(self, trade: Trade) -> str:
        """Return where the buyer's browser goes after paying on a cashier page, or an empty text."""
        url = trade.extra.get("return_url", "")
        if not url:
            return ""
        account = self.accounts[trade.account]
        fields = {
            "charset": "utf-8",
            "out_trade_no": trade.out_trade_no,
            "method": f"{trade.extra['method']}.return",
            "total_amount": yuan(trade.amount_fen),
            "trade_no": trade.trade_no,
            "auth_app_id": account.app_id,
            "version": "1.0",
            "app_id": account.app_id,
            "sign_type": "RSA2",
            "seller_id": account.seller_id,
            "timestamp": dashed(self._bank.now_ms()),
        }
        fields["sign"] = self._sign_fields(account, fields)
        return f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}"

    # --- reading ---

    def _known(self, fields: dict[str, str]) -> AlipayAccount:
        """Find the merchant; until then the gateway cannot even sign its refusal."""
        for name in ("method", "app_id"):
            if not fields.get(name):
                raise Rejected("40001", f"isv.missing-{name.replace('_', '-')}", f"缺少{name}参数")
        if fields["method"] not in _OPERATIONS:
            raise Rejected("40002", "isv.invalid-method", "不存在的方法名")
        account = self._by_app_id.get(fields["app_id"])
        if account is None:
            raise Rejected("40002", "isv.invalid-app-id", "无效的AppID参数")
        return account

    def _verified(self, fields: dict[str, str], account: AlipayAccount) -> Request:
        """Check the common parameters and the signature over the true string."""
        for name in _COMMON:
            if not fields.get(name):
                suffix = {"sign": "signature", "sign_type": "signature-type"}.get(name, name)
                raise Rejected("40001", f"isv.missing-{suffix}", f"缺少{name}参数")
        if fields["sign_type"] != "RSA2":
            raise Rejected("40002", "isv.invalid-signature-type", "无效签名类型")
        text = signing.string_to_sign(fields, without=("sign",))
        encoding = fields.get("charset", "utf-8").lower()
        data = text.encode(encoding if encoding in CHARSETS else "utf-8", "replace")
        if not signing.verifies(data, fields["sign"], account.merchant.public):
            raise Rejected("40002", "isv.invalid-signature", "验签出错，请检查公钥、私钥和待签名串是否匹配")
        self._check_common(fields)
        self._check_certificates(fields, account)
        return Request(
            account=account,
            method=fields["method"],
            biz=_biz_content(fields),
            notify_url=fields.get("notify_url", ""),
            return_url=fields.get("return_url", ""),
        )

    def _check_common(self, fields: dict[str, str]) -> None:
        if read_time(fields["timestamp"], DASHED) is None:
            raise Rejected("40002", "isv.invalid-timestamp", "非法的时间戳参数")
        if fields["version"] != "1.0":
            raise Rejected("40002", "isv.invalid-version", "无效的版本参数")
        if fields.get("charset", "utf-8").lower() not in CHARSETS:
            raise Rejected("40002", "isv.invalid-charset", "字符集错误")
        if fields.get("format", "JSON").upper() != "JSON":
            raise Rejected("40002", "isv.invalid-format", "无效数据格式")
        if fields.get("encrypt_type"):
            raise Rejected("40002", "isv.invalid-encrypt-type", "未开通内容加密")

    def _check_certificates(self, fields: dict[str, str], account: AlipayAccount) -> None:
        if not account.app_cert:
            return
        wanted = {
            "app_cert_sn": signing.certificate_sn(account.app_cert),
            "alipay_root_cert_sn": signing.root_certificate_sn(account.alipay_root_cert),
        }
        for name, value in wanted.items():
            suffix = name.replace("_", "-")
            if not fields.get(name):
                raise Rejected("40001", f"isv.missing-{suffix}", f"缺少{name}参数")
            if not hmac.compare_digest(fields[name].encode(), value.encode()):
                raise Rejected("40002", f"isv.invalid-{suffix}", f"{name}不匹配")

    # --- doing and answering ---

    def _perform(self, request: Request, charset: str) -> Reply:
        operation = _OPERATIONS[request.method]
        armed = self._bank.faults.take(operation, str(request.biz.get("out_trade_no", "")))
        if armed and armed.fault in (Fault.LOST_REQUEST, Fault.HTTP_500):
            return spoil(Reply(), armed)
        if request.method in _PAGES:
            return spoil(self._cashier(request), armed)
        try:
            answer = self._methods[request.method](request)
        except Rejected as error:
            answer = Answer(fields=error.fields())
        trouble = armed or answer.trouble
        fields = _with_trouble(answer.fields, trouble)
        forged = trouble is not None and trouble.fault is Fault.BAD_SIGN
        return spoil(self._seal(request.account, request.method, fields, charset, forged=forged), trouble)

    def _cashier(self, request: Request) -> Reply:
        try:
            trade = self._trades.open_page(request)
        except Rejected as error:
            return html(self._pages.trouble(f"{error.sub_code} {error.sub_msg}"))
        return html(self._pages.cashier(trade, self._bank.buyers_of("alipay")))

    def _seal(
        self, account: AlipayAccount, method: str, fields: dict[str, Any], charset: str, *, forged: bool
    ) -> Reply:
        """Sign the exact bytes of the reply's inner object; a forged one carries another text's signature."""
        inner = _inner(fields).encode(charset, "replace")
        signature = signing.sign(inner + b" " if forged else inner, account.alipay.private)
        key = f"{method.replace('.', '_')}_response".encode()
        cert = b""
        if account.alipay_cert:
            cert = b'"alipay_cert_sn":"%s",' % signing.certificate_sn(account.alipay_cert).encode()
        body = b'{"%s":%s,%s"sign":"%s"}' % (key, inner, cert, signature.encode())
        return _plain(body, charset)

    def _sign_fields(self, account: AlipayAccount, fields: dict[str, str]) -> str:
        text = signing.string_to_sign(fields, without=("sign", "sign_type"))
        return signing.sign(text.encode(), account.alipay.private)


def read_fields(call: Call) -> tuple[dict[str, str], str]:
    """Merge query and form, decoded in the charset they name themselves; the charset too."""
    raw = b"&".join(part for part in (call.query, call.body) if part)
    text = raw.decode("latin-1")
    named = [name.lower() for name in _CHARSET.findall(text)]
    charset = named[-1] if named and named[-1] in CHARSETS else "utf-8"
    text = quote_plus(text, safe="%&=+", encoding="latin-1") if not text.isascii() else text
    return dict(parse_qsl(text, keep_blank_values=True, encoding=charset, errors="replace")), charset


def _biz_content(fields: dict[str, str]) -> dict[str, Any]:
    """Read the business parameters; numbers with a point stay text, so no float comes near money."""
    try:
        return _DECODER.decode(fields.get("biz_content") or "{}")
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Rejected("40002", "isv.invalid-parameter", "biz_content不是合法的JSON") from None


def _with_trouble(fields: dict[str, Any], trouble: Trouble | None) -> dict[str, Any]:
    """Return the answer as the wallet's own confusion changes it."""
    match trouble.fault if trouble else None:
        case Fault.SYSTEM_ERROR:
            return Rejected("20000", "isp.unknow-error", "系统繁忙").fields()
        case Fault.UNKNOWN_CODE:
            return Rejected("40004", "ACQ.SANDBOX_UNHEARD_OF", "未知的错误码").fields()
        case Fault.WRONG_AMOUNT:
            money = ("total_amount", "receipt_amount", "buyer_pay_amount", "invoice_amount")
            return {name: _one_fen_more(value) if name in money else value for name, value in fields.items()}
        case _:
            return fields


def _one_fen_more(amount: str) -> str:
    return yuan(int(amount.replace(".", "")) + 1)


def _inner(fields: dict[str, Any]) -> str:
    """Write a reply's inner object: code and msg first."""
    return _json({"code": fields["code"], "msg": MESSAGES[fields["code"]]} | fields).decode()


def _json(value: object) -> bytes:
    """Write JSON as Alipay does, with `/` escaped."""
    return msgspec.json.encode(value).replace(b"/", b"\\/")


def _plain(body: bytes, charset: str) -> Reply:
    return Reply(headers={"content-type": f"text/html;charset={charset}"}, body=body)
