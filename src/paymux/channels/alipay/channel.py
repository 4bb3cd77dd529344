"""Alipay 支付宝 through its open gateway: one URL, every verb a `method`, everything signed with RSA2.

Sources: channels/01-alipay.md; 00-principles.md. In this order: facts, verbs, builders, parsers.

Extended fields of a pay (upay-v2.md §4.1) that Alipay understands: `extend_params` (hb_fq_num and
hb_fq_seller_percent for instalments), `enable_pay_channels`, `disable_pay_channels`; `sub_appid` (the mini
program that will open the order); for H5 `page` = "1" (a computer's browser: alipay.trade.page.pay instead of
wap.pay), `return_url` and `quit_url`. goods_details become goods_detail.
"""

from typing import Any, ClassVar
from urllib.parse import parse_qsl

import msgspec

from paymux.channels.alipay import codes
from paymux.channels.alipay.form import write_form
from paymux.channels.alipay.scrubbing import scrub
from paymux.channels.alipay.signing import (
    is_signed,
    read_certificate,
    read_private_key,
    read_public_key,
    root_certificate_sn,
    sign,
    string_to_sign,
)
from paymux.channels.beijing import ms_of_spaced, spaced_time
from paymux.channels.contract import (
    Ack,
    Callback,
    CallbackFact,
    CallbackForged,
    Capabilities,
    ClientTls,
    Close,
    HttpRequest,
    HttpResponse,
    Operation,
    Pay,
    Precreate,
    Query,
    Refund,
    RefundQuery,
    Reverse,
    Schedule,
)
from paymux.channels.detail import Detail, read_detail
from paymux.channels.verdicts import doubt
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.money import AmountInvalid, fen_from_yuan, yuan_from_fen
from paymux.domain.order import UndoBy
from paymux.domain.outcome import (
    GaveBack,
    InProgress,
    Misconfigured,
    Outcome,
    Payment,
    Prepared,
    Refused,
    Took,
)
from paymux.domain.payways import SubPayway
from paymux.domain.people import Account

# ---------------------------------------------------------------- facts

_FORM = {"content-type": "application/x-www-form-urlencoded;charset=utf-8"}
_PAY_TIMEOUT_S = 12
_TIMEOUT_S = 8
_FORM_FIELDS_MAX = 200
"""A notification has about forty fields."""

_PRECREATE_METHODS = {
    SubPayway.QR: "alipay.trade.precreate",
    SubPayway.WAP: "alipay.trade.create",
    SubPayway.MINI: "alipay.trade.create",
    SubPayway.APP: "alipay.trade.app.pay",
    SubPayway.H5: "alipay.trade.wap.pay",
}
_PRODUCTS = {
    "alipay.trade.precreate": "FACE_TO_FACE_PAYMENT",
    "alipay.trade.create": "FACE_TO_FACE_PAYMENT",
    "alipay.trade.app.pay": "QUICK_MSECURITY_PAY",
    "alipay.trade.wap.pay": "QUICK_WAP_WAY",
    "alipay.trade.page.pay": "FAST_INSTANT_TRADE_PAY",
}
_PAID = frozenset({"TRADE_SUCCESS", "TRADE_FINISHED"})

Fields = dict[str, Any]
"""What a verified reply or notification says."""
_ENVELOPE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FIELDS = msgspec.json.Decoder(Fields)
_TEXT = msgspec.json.Decoder(str)
_BILLS = msgspec.json.Decoder(list[Fields])


class Alipay:
    """One merchant's contract with Alipay.

    Credentials: `app_id`, `private_key`; then `alipay_public_key`, or (certificate mode) `app_cert`,
    `alipay_cert` and `alipay_root_cert`; optionally `seller_id`, `app_auth_token`,
    `sys_service_provider_id`. The account's base_url is the whole gateway URL.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        name="alipay",
        payways=("1", "2"),
        sub_payways=tuple(SubPayway),
        operations=("pay", "precreate", "query", "reverse", "close", "refund", "refund_query"),
        # alipay.trade.cancel undoes every kind of order, paid or not, known or not.
        undo=dict.fromkeys(SubPayway, UndoBy.REVERSE),
        payer_uid_needed=frozenset({SubPayway.WAP, SubPayway.MINI}),
        schedule=Schedule(
            unknown_gaps_s=(2, 3, 5),
            paying_gaps_s=(3, 3, 5),
            pay_deadline_s=45,
            reverse_wait_s=0,  # the documents: cancel directly after the last query
            close_wait_s=0,
            undo_gaps_s=(1, 2, 4, 8, 15),
            refund_gaps_s=(1, 3, 10, 30),
        ),
        signs_slowly=True,
    )
    ack: ClassVar[Ack] = Ack(content_type="text/plain", body=b"success")
    nack: ClassVar[Ack] = Ack(content_type="text/plain", body=b"fail")

    def __init__(self, account: Account) -> None:
        self._credentials = account.credentials
        self._gateway = account.base_url
        self._app_id = self._needed("app_id")
        self._key = read_private_key(self._needed("private_key"), name="private_key")
        self._common = {
            "app_id": self._app_id,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "version": "1.0",
        }
        if "app_auth_token" in account.credentials:
            self._common["app_auth_token"] = account.credentials["app_auth_token"]
        self._alipay_cert_sn = ""
        if "alipay_cert" in account.credentials:
            self._use_certificates()
        else:
            self._alipay_key = read_public_key(self._needed("alipay_public_key"), name="alipay_public_key")
        self._common_form = write_form(self._common)

    # ------------------------------------------------------------ verbs

    @property
    def tls(self) -> ClientTls | None:
        """Alipay needs no client certificate."""
        return None

    def build(self, operation: Operation, *, now_ms: int, nonce: str) -> HttpRequest | Prepared:  # noqa: ARG002 - Alipay signs a timestamp and knows no nonce
        """Write the signed request; for APP and H5 the signed order string or URL, which the buyer sends."""
        form = f"{self._common_form}&{write_form(self._signed(operation, now_ms=now_ms))}"
        if isinstance(operation, Precreate) and operation.sub_payway == SubPayway.APP:
            return Prepared(wap_pay_request=form)
        if isinstance(operation, Precreate) and operation.sub_payway == SubPayway.H5:
            return Prepared(wap_pay_request=f"{self._gateway}?{form}")
        return HttpRequest(
            method="POST",
            url=self._gateway,
            headers=_FORM,
            body=form.encode(),
            timeout_s=_PAY_TIMEOUT_S if isinstance(operation, Pay) else _TIMEOUT_S,
        )

    def read(self, operation: Operation, response: HttpResponse) -> Outcome:
        """Judge a reply by its signature, our number, the amount, and then the tables of codes.py."""
        fields = self._opened(operation, response)
        if not isinstance(fields, dict):
            return fields
        match operation:
            case Pay():
                return _read_pay(operation, fields)
            case Precreate():
                return _read_precreate(operation, fields)
            case Query():
                return _read_query(operation, fields)
            case Reverse():
                return _read_reverse(operation, fields)
            case Close():
                return _read_close(operation, fields)
            case Refund():
                return _read_refund(operation, fields)
            case RefundQuery():
                return _read_refund_query(operation, fields)

    def verify(self, callback: Callback) -> CallbackFact:
        """Check a notification's signature, app and seller, and say what it is about."""
        form = _form(callback.body)
        if not self._is_signed_form(form):
            raise CallbackForged("the signature does not verify")
        if form.get("app_id") != self._app_id:
            raise CallbackForged("it is for another app_id")
        seller_id = self._credentials.get("seller_id", "")
        if seller_id and form.get("seller_id") != seller_id:
            raise CallbackForged("it is for another seller_id")
        return _fact(form)

    def scrub(self, text: str) -> str:
        """Mask signatures, barcodes, tokens and buyers, in JSON as in form encoding."""
        return scrub(text)

    # ------------------------------------------------------------ keys

    def _needed(self, name: str) -> str:
        value = self._credentials.get(name, "")
        if not value:
            raise ConfigurationBroken(f"{name}: an Alipay account needs it")
        return value

    def _use_certificates(self) -> None:
        app_cert_sn, app_key = read_certificate(self._needed("app_cert"), name="app_cert")
        if app_key.public_numbers() != self._key.public_key().public_numbers():
            raise ConfigurationBroken("app_cert: it belongs to another private_key")
        root_sn = root_certificate_sn(self._needed("alipay_root_cert"), name="alipay_root_cert")
        self._common |= {"app_cert_sn": app_cert_sn, "alipay_root_cert_sn": root_sn}
        self._alipay_cert_sn, self._alipay_key = read_certificate(
            self._needed("alipay_cert"), name="alipay_cert"
        )

    def _is_signed_form(self, form: dict[str, str]) -> bool:
        """Try without `sign_type` first, then with it: some kinds of notification sign it (principles §6)."""
        signature = form.get("sign", "")
        bare = {name: value for name, value in form.items() if name not in {"sign", "sign_type"}}
        whole = {**bare, "sign_type": form.get("sign_type", "")}
        return any(
            is_signed(self._alipay_key, string_to_sign(params).encode(), signature=signature)
            for params in (bare, whole)
        )

    # ------------------------------------------------------------ builders

    def _signed(self, operation: Operation, *, now_ms: int) -> dict[str, str]:
        """Return what this very request says besides `_common`, and the signature over both."""
        content = {name: value for name, value in self._content(operation).items() if value}
        params = {
            "method": _method(operation),
            "timestamp": spaced_time(now_ms),
            "biz_content": msgspec.json.encode(content).decode(),
        }
        if isinstance(operation, Pay | Precreate | Refund) and operation.notify_url:
            params["notify_url"] = operation.notify_url
        if isinstance(operation, Precreate) and (return_url := _return_url(operation)):
            params["return_url"] = return_url
        params["sign"] = sign(self._key, string_to_sign(self._common | params))
        return params

    def _content(self, operation: Operation) -> Fields:
        match operation:
            case Pay():
                return self._pay(operation)
            case Precreate():
                return self._precreate(operation)
            case Refund():
                return _refund(operation)
            case RefundQuery():
                return {"out_trade_no": operation.out_trade_no, "out_request_no": operation.refund_no}
            case Query() | Reverse() | Close():
                return {"out_trade_no": operation.out_trade_no}

    def _pay(self, operation: Pay) -> Fields:
        face = operation.auth_code.startswith("fp")
        return {
            **self._sale(operation, read_detail(operation.detail)),
            "scene": "security_code" if face else "bar_code",
            "auth_code": operation.auth_code,
            "product_code": "FACE_TO_FACE_PAYMENT",
        }

    def _precreate(self, operation: Precreate) -> Fields:
        detail = read_detail(operation.detail)
        method = _method(operation)
        return {
            **self._sale(operation, detail),
            "product_code": _PRODUCTS[method],
            **_expiry(operation),
            **(_buyer(operation, detail) if method == "alipay.trade.create" else {}),
            "quit_url": detail.text("quit_url") if method == "alipay.trade.wap.pay" else "",
        }

    def _sale(self, operation: Pay | Precreate, detail: Detail) -> Fields:
        """Return what every kind of order says about the sale."""
        return {
            "out_trade_no": operation.out_trade_no,
            "total_amount": yuan_from_fen(operation.amount),
            "subject": operation.subject,
            "body": operation.description[:128],
            "store_id": operation.store_sn[:32],
            "terminal_id": operation.terminal_sn[:32],
            "operator_id": operation.operator[:28],
            "goods_detail": _goods(detail),
            "extend_params": self._extend_params(detail),
            "enable_pay_channels": detail.text("enable_pay_channels"),
            "disable_pay_channels": detail.text("disable_pay_channels"),
        }

    def _extend_params(self, detail: Detail) -> dict[str, str]:
        provider = self._credentials.get("sys_service_provider_id", "")
        ours = {"sys_service_provider_id": provider} if provider else {}
        return {**detail.texts("extend_params"), **ours}

    # ------------------------------------------------------------ parsers

    def _opened(self, operation: Operation, response: HttpResponse) -> Fields | Outcome:
        """Return what a reply about our order says, once the signature over its raw bytes is verified."""
        if response.status != 200:
            return doubt(f"HTTP status {response.status}")
        try:
            parts = _ENVELOPE.decode(response.body)
            name = f"{_method(operation).replace('.', '_')}_response"
            content = bytes(parts.get(name) or parts["error_response"])
            fields = _FIELDS.decode(content)
            signature, cert_sn = (_TEXT.decode(parts.get(one) or b'""') for one in ("sign", "alipay_cert_sn"))
        except (msgspec.DecodeError, KeyError, UnicodeDecodeError, RecursionError):
            return doubt("no readable Alipay reply")
        if not signature:
            return _unsigned(fields)
        if self._alipay_cert_sn and cert_sn not in {"", self._alipay_cert_sn}:
            return doubt(f"Alipay signs with certificate {cert_sn[:64]}, the account has another alipay_cert")
        if not is_signed(self._alipay_key, content, signature=signature):
            return doubt("the reply's signature does not verify")
        if _text(fields, "out_trade_no") not in {"", operation.out_trade_no}:
            return doubt("the reply is about another order")
        return fields


def _method(operation: Operation) -> str:
    match operation:
        case Pay():
            return "alipay.trade.pay"
        case Precreate():
            return _precreate_method(operation)
        case Query():
            return "alipay.trade.query"
        case Reverse():
            return "alipay.trade.cancel"
        case Close():
            return "alipay.trade.close"
        case Refund():
            return "alipay.trade.refund"
        case RefundQuery():
            return "alipay.trade.fastpay.refund.query"


def _precreate_method(operation: Precreate) -> str:
    if operation.sub_payway == SubPayway.H5 and read_detail(operation.detail).text("page") == "1":
        return "alipay.trade.page.pay"
    return _PRECREATE_METHODS.get(operation.sub_payway, "alipay.trade.precreate")


def _expiry(operation: Precreate) -> dict[str, str]:
    """Both forms: the exact moment, and whole minutes for kinds of order that only know those."""
    minutes = max(1, (operation.expires_ms - operation.ctime_ms) // 60_000)
    return {"time_expire": spaced_time(operation.expires_ms), "timeout_express": f"{minutes}m"}


def _buyer(operation: Precreate, detail: Detail) -> dict[str, str]:
    """Say who may pay: an old numeric user id or an open id; and in which mini program, when one is named."""
    uid = operation.payer_uid
    name = "buyer_id" if uid.startswith("2088") and uid.isdecimal() else "buyer_open_id"
    app_id = detail.text("sub_appid")
    return {name: uid, **({"op_app_id": app_id, "product_code": "JSAPI_PAY"} if app_id else {})}


def _goods(detail: Detail) -> list[dict[str, str | int]]:
    return [
        {
            "goods_id": goods.goods_id,
            "goods_name": goods.goods_name,
            "quantity": goods.quantity,
            "price": yuan_from_fen(goods.price),
        }
        for goods in detail.goods
    ]


def _return_url(operation: Precreate) -> str:
    return read_detail(operation.detail).text("return_url") if operation.sub_payway == SubPayway.H5 else ""


def _refund(operation: Refund) -> Fields:
    return {
        "out_trade_no": operation.out_trade_no,
        "out_request_no": operation.refund_no,
        "refund_amount": yuan_from_fen(operation.amount),
        "refund_reason": operation.reason[:256],
    }


def _unsigned(fields: Fields) -> Outcome:
    """Believe only what the gateway itself says at the door; whoever sends it can take no money with it."""
    code, text = _text(fields, "code"), _words(fields)
    if code in codes.GATEWAY_ERRORS:
        return Misconfigured(provider_code=_text(fields, "sub_code") or code, text=text)
    return doubt(f"an unsigned reply: {text}", code=_text(fields, "sub_code") or code)


def _read_pay(operation: Pay, fields: Fields) -> Outcome:
    code = _text(fields, "code")
    if code == codes.SUCCESS and _text(fields, "trade_status") in {"", *_PAID}:
        return _took(operation, fields)
    if code == codes.PAYING:
        return InProgress(text=_words(fields))
    return _failed(codes.PAY, fields)


def _read_precreate(operation: Precreate, fields: Fields) -> Outcome:
    create = _method(operation) == "alipay.trade.create"
    if _text(fields, "code") != codes.SUCCESS:
        return _failed(codes.CREATE if create else codes.PRECREATE, fields)
    trade_no, qr_code = _text(fields, "trade_no"), _text(fields, "qr_code")
    if not _text(fields, "out_trade_no") or not (trade_no if create else qr_code):
        return doubt("a success without our number or without what the buyer needs")
    if create:
        request = msgspec.json.encode({"tradeNO": trade_no}).decode()
        return Prepared(wap_pay_request=request, trade_no=trade_no)
    return Prepared(qr_code=qr_code)


def _read_query(operation: Query, fields: Fields) -> Outcome:
    if _text(fields, "code") != codes.SUCCESS:
        return _failed(codes.QUERY, fields)
    status = _text(fields, "trade_status")
    if status in _PAID:
        return _took(operation, fields)
    if not _text(fields, "out_trade_no"):
        return doubt("the reply does not name our order")
    if status == "WAIT_BUYER_PAY":
        return InProgress(text=status)
    if status == "TRADE_CLOSED":
        return Refused(error_code="TRADE_FAILED", provider_code=status, text="交易已关闭")
    return doubt(f"trade_status {status}")


def _read_reverse(_operation: Reverse, fields: Fields) -> Outcome:
    if _text(fields, "code") != codes.SUCCESS:
        return _failed(codes.CANCEL, fields)
    if _text(fields, "retry_flag") != "N" or not _text(fields, "out_trade_no"):
        return doubt("the cancel must be repeated", code=_text(fields, "sub_code"))
    had_taken = {"refund": True, "close": False}.get(_text(fields, "action"))
    return GaveBack(trade_no=_text(fields, "trade_no"), had_taken=had_taken, at_ms=_refunded_ms(fields))


def _read_close(_operation: Close, fields: Fields) -> Outcome:
    if _text(fields, "code") != codes.SUCCESS:
        return _failed(codes.CLOSE, fields)
    if not _text(fields, "out_trade_no"):
        return doubt("the reply does not name our order")
    return GaveBack(trade_no=_text(fields, "trade_no"), had_taken=False)


def _read_refund(operation: Refund, fields: Fields) -> Outcome:
    if _text(fields, "code") != codes.SUCCESS:
        return _failed(codes.REFUND, fields)
    if not _text(fields, "out_trade_no"):
        return doubt("the reply does not name our order")
    if _text(fields, "fund_change") != "Y":
        return InProgress(text="accepted; no money moved by this call")
    # refund_fee counts every refund of the trade so far, this one included; nothing else in the reply tells
    # which refund it is about, so an older refund's reply is known by its smaller sum.
    if _fen(fields, "refund_fee") < operation.before + operation.amount:
        return doubt("less came back than we asked for, or the reply is about an earlier refund")
    return GaveBack(trade_no=_text(fields, "trade_no"), at_ms=_refunded_ms(fields), had_taken=True)


def _read_refund_query(operation: RefundQuery, fields: Fields) -> Outcome:
    if _text(fields, "code") != codes.SUCCESS:
        return _failed(codes.REFUND_QUERY, fields)
    status = _text(fields, "refund_status")
    if status != "REFUND_SUCCESS":
        # An absent status: not yet there or failed. Repeating the same refund is right in both cases.
        return doubt(f"refund_status {status or 'absent'}", not_found=not status)
    ours = _text(fields, "out_trade_no"), _text(fields, "out_request_no"), _fen(fields, "refund_amount")
    if ours != (operation.out_trade_no, operation.refund_no, operation.amount):
        return doubt("the refund's number or amount is not ours")
    return GaveBack(trade_no=_text(fields, "trade_no"), at_ms=_refunded_ms(fields), had_taken=True)


def _failed(table: dict[str, str], fields: Fields) -> Outcome:
    code, sub_code = _text(fields, "code"), _text(fields, "sub_code")
    return codes.outcome_of(table, code=code, sub_code=sub_code, text=_words(fields))


def _took(operation: Pay | Query, fields: Fields) -> Outcome:
    if _text(fields, "out_trade_no") != operation.out_trade_no:
        return doubt("a success that does not name our order")
    if _fen(fields, "total_amount") != operation.amount:
        return doubt(f"a success over {_text(fields, 'total_amount')!r} yuan, which is not our amount")
    return _payment(fields, amount=operation.amount)


def _payment(fields: Fields, *, amount: int) -> Took:
    payer = (_text(fields, name) for name in ("buyer_user_id", "buyer_id", "buyer_open_id"))
    return Took(
        trade_no=_text(fields, "trade_no"),
        amount=amount,
        paid_at_ms=ms_of_spaced(_text(fields, "gmt_payment") or _text(fields, "send_pay_date")),
        payer_uid=next(filter(None, payer), ""),
        payer_login=_text(fields, "buyer_logon_id"),
        payments=_payments(fields.get("fund_bill_list")),
    )


def _payments(bills: object) -> tuple[Payment, ...]:
    """Read fund_bill_list, a list in replies and JSON text in notifications; () when it is odd."""
    try:
        lines = _BILLS.decode(bills) if isinstance(bills, str) else bills
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return ()
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        return ()
    payments = (Payment(type=_payment_type(line), amount_total=_fen(line, "amount")) for line in lines)
    return tuple(payment for payment in payments if payment.amount_total > 0)


def _payment_type(line: Fields) -> str:
    """Look at fund_type first: it says which kind of card; notifications write fundChannel."""
    names = (_text(line, name) for name in ("fund_type", "fundType", "fund_channel", "fundChannel"))
    known = (codes.PAYMENT_TYPES.get(name) for name in names)
    return next(filter(None, known), "WALLET_ALIPAY")


def _fact(form: dict[str, str]) -> CallbackFact:
    out_trade_no, amount = form.get("out_trade_no", ""), _fen(form, "total_amount")
    if not out_trade_no or amount < 0:
        raise CallbackForged("it names no order or no amount")
    if form.get("gmt_refund") or form.get("refund_fee"):
        return _refund_hint(form, out_trade_no=out_trade_no)
    return CallbackFact(out_trade_no=out_trade_no, amount=amount, outcome=_news(form, amount=amount))


def _refund_hint(form: dict[str, str], *, out_trade_no: str) -> CallbackFact:
    """Say that a refund moved, not that ours is done: refund_fee counts every refund of the trade so far."""
    return CallbackFact(
        out_trade_no=out_trade_no,
        refund_no=form.get("out_biz_no", ""),
        amount=max(0, _fen(form, "refund_fee")),
        outcome=doubt("money went back: ask what became of the refund"),
    )


def _news(form: dict[str, str], *, amount: int) -> Outcome:
    status = form.get("trade_status", "")
    if status in _PAID:
        return _payment(form, amount=amount)
    if status == "WAIT_BUYER_PAY":
        return InProgress(text=status)
    if status == "TRADE_CLOSED":
        return Refused(error_code="TRADE_FAILED", provider_code=status, text="交易已关闭")
    return doubt(f"trade_status {status}")


def _form(body: bytes) -> dict[str, str]:
    """Read a form whose every name stands there once; raises `CallbackForged`."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_FORM_FIELDS_MAX
        )
    except ValueError as error:
        raise CallbackForged("no readable form") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise CallbackForged("a name stands in the form twice")
    return form


def _text(fields: Fields, name: str) -> str:
    """Return a field's text; "" when it is missing or no text."""
    value = fields.get(name, "")
    return value if isinstance(value, str) else ""


def _words(fields: Fields) -> str:
    """Return Alipay's own explanation of a failure."""
    return _text(fields, "sub_msg") or _text(fields, "msg")


def _fen(fields: Fields, name: str) -> int:
    """Return a yuan field in fen; -1 for anything that is no amount."""
    try:
        return fen_from_yuan(_text(fields, name))
    except AmountInvalid:
        return -1


def _refunded_ms(fields: Fields) -> int:
    return ms_of_spaced(_text(fields, "gmt_refund_pay"))
