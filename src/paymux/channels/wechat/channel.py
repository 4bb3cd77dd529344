"""WeChat Pay 微信支付, protocol v2: flat XML over HTTPS, MD5 or HMAC-SHA256 over every field.

Sources: channels/03-wechat.md; 00-principles.md. In this order: facts, verbs, builders, parsers.

Extended fields of a pay (upay-v2.md §4.1) that WeChat understands: `sub_appid` (whose openid the payer_uid
is), `goods_tag`, `limit_pay`; for H5 `scene_info` and `return_url`. goods_details become `detail`.
"""

import re
from typing import ClassVar
from urllib.parse import quote

import msgspec

from paymux.channels.beijing import ms_of_packed, ms_of_spaced, packed_time
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
from paymux.channels.verdicts import Table, doubt, judge
from paymux.channels.wechat import codes
from paymux.channels.wechat.scrubbing import scrub
from paymux.channels.wechat.signing import SIGN_TYPES, decrypt, is_signed, sign
from paymux.channels.wechat.xml import XmlRefused, read_xml, writable, write_xml
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.order import UndoBy
from paymux.domain.outcome import GaveBack, InProgress, Outcome, Payment, Prepared, Refused, Took
from paymux.domain.payways import SubPayway
from paymux.domain.people import Account

# ---------------------------------------------------------------- facts

_XML = {"content-type": "text/xml; charset=utf-8"}
_PAY_TIMEOUT_S = 12
_TIMEOUT_S = 8
_OWN_IP = "127.0.0.1"
"""spbill_create_ip of a barcode pay names the calling machine; WeChat wants one and reads nothing from it."""
_BODY_BYTES_MAX = 127
_REFUNDS_MAX = 50

_TRADE_TYPES = {
    SubPayway.QR: "NATIVE",
    SubPayway.WAP: "JSAPI",
    SubPayway.MINI: "JSAPI",
    SubPayway.APP: "APP",
    SubPayway.H5: "MWEB",
}
_CREDENTIALS = ("app_id", "mch_id", "api_key")
_ACK = "<xml><return_code><![CDATA[{}]]></return_code><return_msg><![CDATA[{}]]></return_msg></xml>"

Fields = dict[str, str]
"""What a verified reply or callback says."""


class WeChat:
    """One merchant's contract with WeChat Pay.

    Credentials: `app_id`, `mch_id`, `api_key`; `client_cert` and `client_key` (PEM) for reversals and
    refunds; optionally `sign_type` (MD5, or HMAC-SHA256), `ca_cert`, `sub_app_id` and `sub_mch_id` (service
    provider), `secure_base_url` (the host for calls with the client certificate, when it is another one).
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        name="wechat",
        payways=("3",),
        sub_payways=tuple(SubPayway),
        operations=("pay", "precreate", "query", "reverse", "close", "refund", "refund_query"),
        undo={
            one: UndoBy.REVERSE if one == SubPayway.BARCODE else UndoBy.CLOSE for one in SubPayway
        },  # /secapi/pay/reverse knows only orders of micropay
        payer_uid_needed=frozenset({SubPayway.WAP, SubPayway.MINI}),
        schedule=Schedule(
            unknown_gaps_s=(5, 5, 10),
            paying_gaps_s=(5, 10),
            pay_deadline_s=45,
            reverse_wait_s=15,
            close_wait_s=300,
            undo_gaps_s=(1, 2, 5, 10, 15),
            refund_gaps_s=(1, 5, 15, 60),
        ),
    )
    ack: ClassVar[Ack] = Ack(content_type="text/xml", body=_ACK.format("SUCCESS", "OK").encode())
    nack: ClassVar[Ack] = Ack(content_type="text/xml", body=_ACK.format("FAIL", "FAIL").encode())

    def __init__(self, account: Account) -> None:
        credentials = account.credentials
        _check(credentials)
        self._api_key = credentials["api_key"]
        self._sign_type = credentials.get("sign_type") or "MD5"
        self._base_url = account.base_url
        self._secure_base_url = credentials.get("secure_base_url") or account.base_url
        # What every request says, and what every reply must say too.
        self._we = {"appid": credentials["app_id"], "mch_id": credentials["mch_id"]}
        if credentials.get("sub_mch_id"):
            self._we["sub_mch_id"] = credentials["sub_mch_id"]
        self._sub_app_id = credentials.get("sub_app_id", "")
        self._is_provider = "sub_mch_id" in self._we
        self._tls = ClientTls(
            certificate=credentials.get("client_cert", ""),
            key=credentials.get("client_key", ""),
            ca=credentials.get("ca_cert", ""),
        )

    # ------------------------------------------------------------ verbs

    @property
    def tls(self) -> ClientTls | None:
        """The merchant's certificate; None when the account has neither one nor a CA of its own."""
        return self._tls if self._tls.certificate or self._tls.ca else None

    def build(self, operation: Operation, *, now_ms: int, nonce: str) -> HttpRequest | Prepared:  # noqa: ARG002 - v2 signs a nonce and no time
        """Write the signed request; reversals and refunds go out with the client certificate."""
        match operation:
            case Pay():
                return self._request("/pay/micropay", self._pay(operation), nonce, timeout_s=_PAY_TIMEOUT_S)
            case Precreate():
                return self._request("/pay/unifiedorder", self._precreate(operation), nonce)
            case Query():
                return self._request("/pay/orderquery", {"out_trade_no": operation.out_trade_no}, nonce)
            case Reverse():
                return self._request("/secapi/pay/reverse", {"out_trade_no": operation.out_trade_no}, nonce)
            case Close():
                return self._request("/pay/closeorder", {"out_trade_no": operation.out_trade_no}, nonce)
            case Refund():
                return self._request("/secapi/pay/refund", _refund(operation), nonce)
            case RefundQuery():
                return self._request("/pay/refundquery", {"out_refund_no": operation.refund_no}, nonce)

    def read(self, operation: Operation, response: HttpResponse) -> Outcome:
        """Judge a reply by its signature, our numbers, the amount, and then the tables of codes.py."""
        fields = self._opened(operation, response)
        if not isinstance(fields, dict):
            return fields
        if fields.get("result_code") == "SUCCESS":
            return self._done(operation, fields)
        if fields.get("result_code") == "FAIL":
            return _failed(operation, fields)
        return doubt("no result_code")

    def verify(self, callback: Callback) -> CallbackFact:
        """Check a callback about a payment by its signature, one about a refund by its cipher."""
        try:
            fields = read_xml(callback.body)
        except XmlRefused as error:
            raise CallbackForged(f"no readable XML: {error}") from error
        if "req_info" in fields:
            return self._refund_hint(fields)
        if not self._is_signed(fields):
            raise CallbackForged("the signature does not verify")
        if not self._is_about_us(fields):
            raise CallbackForged("it is for another appid or mch_id")
        return self._fact(fields)

    def scrub(self, text: str) -> str:
        """Mask signatures, barcodes, buyers and encrypted parts; everything else can be read, in short."""
        return scrub(text)

    # ------------------------------------------------------------ builders

    def _request(self, path: str, content: Fields, nonce: str, *, timeout_s: int = _TIMEOUT_S) -> HttpRequest:
        secure = path.startswith("/secapi/")
        fields = {**self._we, "nonce_str": nonce, "sign_type": self._sign_type}
        if self._is_provider and self._sub_app_id:
            fields["sub_appid"] = self._sub_app_id
        fields |= {name: writable(value) for name, value in content.items()}
        fields["sign"] = self._sign(fields)
        return HttpRequest(
            method="POST",
            url=f"{self._secure_base_url if secure else self._base_url}{path}",
            headers=_XML,
            body=write_xml(fields),
            timeout_s=timeout_s,
            mutual_tls=secure,
        )

    def _pay(self, operation: Pay) -> Fields:
        fields = {
            "body": _cut(operation.subject),
            "out_trade_no": operation.out_trade_no,
            "total_fee": str(operation.amount),
            "spbill_create_ip": _OWN_IP,
            "auth_code": operation.auth_code,
        }
        if operation.terminal_sn:
            fields["device_info"] = operation.terminal_sn[:32]
        return fields | _extras(read_detail(operation.detail)) if operation.detail else fields

    def _precreate(self, operation: Precreate) -> Fields:
        detail = read_detail(operation.detail)
        trade_type = _TRADE_TYPES.get(operation.sub_payway, "NATIVE")
        fields = {
            "body": _cut(operation.subject),
            "out_trade_no": operation.out_trade_no,
            "total_fee": str(operation.amount),
            "spbill_create_ip": operation.client_ip,
            "time_start": packed_time(operation.ctime_ms),
            "time_expire": packed_time(operation.expires_ms),
            "notify_url": operation.notify_url,
            "trade_type": trade_type,
            "device_info": operation.terminal_sn[:32],
            "product_id": operation.out_trade_no if trade_type == "NATIVE" else "",
            "scene_info": _scene(operation, detail) if trade_type == "MWEB" else "",
            **(self._buyer(operation, detail) if trade_type == "JSAPI" else {}),
            **_extras(detail),
        }
        return {name: value for name, value in fields.items() if value}

    def _buyer(self, operation: Precreate, detail: Detail) -> Fields:
        """Say who may pay: an openid under our appid, or under the sub_appid that opens the order."""
        of_sub = self._opener_app_id(detail) != self._we["appid"]
        return {"sub_openid" if of_sub else "openid": operation.payer_uid}

    def _front(self, operation: Precreate, fields: Fields) -> str:
        """Return the signed parameters with which the page, mini program or app opens the order.

        Time and nonce are the order's own (its creation, the signed reply's nonce_str), so that reading
        the same reply twice gives the same text.
        """
        app_id = self._opener_app_id(read_detail(operation.detail))
        time_s, nonce = str(operation.ctime_ms // 1000), fields.get("nonce_str", "")
        if operation.sub_payway == SubPayway.APP:
            params = {
                "appid": app_id,
                "partnerid": self._we.get("sub_mch_id", self._we["mch_id"]),
                "prepayid": fields["prepay_id"],
                "package": "Sign=WXPay",
                "noncestr": nonce,
                "timestamp": time_s,
            }
            return _json(params | {"sign": self._sign(params)})
        params = {
            "appId": app_id,
            "timeStamp": time_s,
            "nonceStr": nonce,
            "package": f"prepay_id={fields['prepay_id']}",
            "signType": self._sign_type,
        }
        return _json(params | {"paySign": self._sign(params)})

    def _opener_app_id(self, detail: Detail) -> str:
        """Return the appid of what opens the order: a service provider's merchants bring their own."""
        sub_app_id = detail.text("sub_appid") or self._sub_app_id
        return sub_app_id if self._is_provider and sub_app_id else self._we["appid"]

    def _sign(self, fields: Fields) -> str:
        return sign(fields, api_key=self._api_key, sign_type=self._sign_type)

    # ------------------------------------------------------------ parsers

    def _opened(self, operation: Operation, response: HttpResponse) -> Fields | Outcome:
        """Return what a reply says, once its signature, our account and our order number are verified."""
        if response.status != 200:
            return doubt(f"HTTP status {response.status}")
        try:
            fields = read_xml(response.body)
        except XmlRefused as error:
            return doubt(f"no readable WeChat reply: {error}")
        if fields.get("return_code") != "SUCCESS":
            text = fields.get("return_msg", "")
            return doubt(f"return_code {fields.get('return_code')}: {text}", code=codes.code_of_text(text))
        if not self._is_signed(fields):
            return doubt("the reply's signature does not verify")
        if not self._is_about_us(fields):
            return doubt("the reply is for another appid or mch_id")
        if fields.get("out_trade_no", operation.out_trade_no) != operation.out_trade_no:
            return doubt("the reply is about another order")
        return fields

    def _is_signed(self, fields: Fields) -> bool:
        if fields.get("sign_type", self._sign_type) != self._sign_type:
            return False
        return is_signed(fields, api_key=self._api_key, sign_type=self._sign_type)

    def _is_about_us(self, fields: Fields) -> bool:
        return self._we.items() <= fields.items()

    def _done(self, operation: Operation, fields: Fields) -> Outcome:
        match operation:
            case Pay():
                return _took(operation, fields)
            case Precreate():
                return self._prepared(operation, fields)
            case Query():
                return _read_query(operation, fields)
            case Reverse():
                return _read_reverse(fields)
            case Close():
                return GaveBack(had_taken=False)
            case Refund():
                return _read_refund(operation, fields)
            case RefundQuery():
                return _read_refund_query(operation, fields)

    def _prepared(self, operation: Precreate, fields: Fields) -> Outcome:
        trade_type = _TRADE_TYPES.get(operation.sub_payway, "NATIVE")
        needed = {"NATIVE": "code_url", "MWEB": "mweb_url"}.get(trade_type, "prepay_id")
        if fields.get("trade_type") != trade_type or not fields.get(needed):
            return doubt(f"a success without {needed} for {trade_type}")
        if needed == "code_url":
            return Prepared(qr_code=fields["code_url"])
        if needed == "mweb_url":
            return Prepared(wap_pay_request=_returning(fields["mweb_url"], read_detail(operation.detail)))
        return Prepared(wap_pay_request=self._front(operation, fields))

    def _fact(self, fields: Fields) -> CallbackFact:
        out_trade_no, amount = fields.get("out_trade_no", ""), _fen(fields, "total_fee")
        if not out_trade_no or amount < 0:
            raise CallbackForged("it names no order or no amount")
        paid = fields.get("return_code") == fields.get("result_code") == "SUCCESS"
        # A signed reply to another call of ours, sent back to us, is no callback.
        paid = (
            paid
            and {"transaction_id", "time_end"} <= fields.keys()
            and not {"trade_state", "refund_id"} & fields.keys()
        )
        outcome: Outcome = doubt("it tells of no payment in CNY", code=fields.get("err_code", ""))
        if paid and fields.get("fee_type", "CNY") == "CNY":
            outcome = _payment(fields, amount=amount)
        return CallbackFact(out_trade_no=out_trade_no, amount=amount, outcome=outcome)

    def _refund_hint(self, fields: Fields) -> CallbackFact:
        """Say that a refund came to its end, not which one: req_info is encrypted but not signed."""
        if not self._is_about_us(fields):
            raise CallbackForged("it is for another appid or mch_id")
        try:
            inner = read_xml(_as_document(decrypt(fields["req_info"], api_key=self._api_key)))
        except ValueError as error:
            raise CallbackForged("req_info does not open") from error
        out_trade_no, refund_no = inner.get("out_trade_no", ""), inner.get("out_refund_no", "")
        amount = _fen(inner, "refund_fee")
        if not out_trade_no or not refund_no or amount < 0:
            raise CallbackForged("it names no refund or no amount")
        return CallbackFact(
            out_trade_no=out_trade_no,
            refund_no=refund_no,
            amount=amount,
            outcome=doubt(f"refund_status {inner.get('refund_status', '')}: ask what became of the refund"),
        )


def _check(credentials: dict[str, str]) -> None:
    for name in _CREDENTIALS:
        if not credentials.get(name):
            raise ConfigurationBroken(f"{name}: a WeChat account needs it")
    if (credentials.get("sign_type") or "MD5") not in SIGN_TYPES:
        raise ConfigurationBroken(f"sign_type: must be one of {', '.join(SIGN_TYPES)}")
    if bool(credentials.get("client_cert")) != bool(credentials.get("client_key")):
        raise ConfigurationBroken("client_cert and client_key: WeChat needs both or none")
    for name in ("client_cert", "client_key", "ca_cert"):
        if credentials.get(name) and "-----BEGIN " not in credentials[name]:
            raise ConfigurationBroken(f"{name}: not in PEM form")


def _cut(subject: str) -> str:
    """Return as much of the subject as WeChat's 127 bytes hold, never half a character."""
    if len(subject) * 4 <= _BODY_BYTES_MAX:
        return subject
    return writable(subject).encode()[:_BODY_BYTES_MAX].decode(errors="ignore")


def _extras(detail: Detail) -> Fields:
    fields = {name: detail.text(name) for name in ("sub_appid", "goods_tag", "limit_pay")}
    if detail.goods:  # their names and unit, fen, are WeChat's too
        fields |= {"version": "1.0", "detail": _json({"goods_detail": detail.goods})}
    return {name: value for name, value in fields.items() if value}


def _scene(operation: Precreate, detail: Detail) -> str:
    """Return scene_info, which WeChat demands of H5 orders: the merchant's own, or a plain one."""
    own = detail.extended.get("scene_info")
    plain = {"h5_info": {"type": "Wap", "wap_url": detail.text("return_url"), "wap_name": operation.subject}}
    return own if isinstance(own, str) else _json(own or plain)


def _returning(mweb_url: str, detail: Detail) -> str:
    """Add where the browser goes after paying, when the merchant said so."""
    return_url = detail.text("return_url")
    return f"{mweb_url}&redirect_url={quote(return_url, safe='')}" if return_url else mweb_url


def _refund(operation: Refund) -> Fields:
    fields = {
        "out_trade_no": operation.out_trade_no,
        "out_refund_no": operation.refund_no,
        "total_fee": str(operation.total),
        "refund_fee": str(operation.amount),
        "refund_desc": operation.reason[:80],
        "notify_url": operation.notify_url,
    }
    return {name: value for name, value in fields.items() if value}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _failed(operation: Operation, fields: Fields) -> Outcome:
    code, text = fields.get("err_code", ""), fields.get("err_code_des", "")
    if fields.get("recall") == "Y":
        return doubt(f"the reversal must be repeated: {text}", code=code)
    return judge(_table(operation), code=code, text=text)


def _table(operation: Operation) -> Table:
    match operation:
        case Pay() | Precreate():
            return codes.OPENING
        case Query():
            return codes.QUERY
        case Reverse():
            return codes.REVERSE
        case Close():
            return codes.CLOSE
        case Refund():
            return codes.REFUND
        case RefundQuery():
            return codes.REFUND_QUERY


def _read_query(operation: Query, fields: Fields) -> Outcome:
    if "out_trade_no" not in fields:
        return doubt("the reply does not name our order")
    state = fields.get("trade_state", "")
    text = fields.get("trade_state_desc", "") or state
    if state in {
        "SUCCESS",
        "REFUND",
    }:  # REFUND: paid, and some refund was begun; only its own query tells its end
        return _took(operation, fields)
    if state in {"NOTPAY", "USERPAYING", "ACCEPT"}:
        return InProgress(text=text)
    if state in {"CLOSED", "REVOKED"}:
        return Refused(error_code="TRADE_FAILED", provider_code=state, text=text)
    # PAYERROR lands here too: the documents want it reversed before it counts as failed.
    return doubt(f"trade_state {state}: {text}", code=state)


def _read_reverse(fields: Fields) -> Outcome:
    if fields.get("recall") != "N":
        return doubt("the reversal must be repeated", code=fields.get("err_code", ""))
    return GaveBack(trade_no=fields.get("transaction_id", ""))


def _read_refund(operation: Refund, fields: Fields) -> Outcome:
    ours = operation.out_trade_no, operation.refund_no, str(operation.amount), str(operation.total)
    if tuple(map(fields.get, ("out_trade_no", "out_refund_no", "refund_fee", "total_fee"))) != ours:
        return doubt("the refund's numbers or amounts are not ours")
    return InProgress(text="accepted")


def _read_refund_query(operation: RefundQuery, fields: Fields) -> Outcome:
    numbers = (str(n) for n in range(_REFUNDS_MAX))
    n = next((n for n in numbers if fields.get(f"out_refund_no_{n}") == operation.refund_no), None)
    if n is None or fields.get("out_trade_no") != operation.out_trade_no:
        return doubt("the reply does not name our refund")
    if fields.get(f"refund_fee_{n}") != str(operation.amount):
        return doubt("the refund's amount is not ours")
    status = fields.get(f"refund_status_{n}", "")
    match status:
        case "SUCCESS":
            at_ms = ms_of_spaced(fields.get(f"refund_success_time_{n}", ""))
            return GaveBack(trade_no=fields.get("transaction_id", ""), at_ms=at_ms, had_taken=True)
        case "PROCESSING":
            return InProgress(text=status)
        case "REFUNDCLOSE":
            return Refused(error_code="TRADE_FAILED", provider_code=status, text="退款关闭")
        case _:
            # CHANGE too: the money has left the merchant, and somebody must pay it out on WeChat's own pages.
            return doubt(f"refund_status {status}")


def _took(operation: Pay | Query, fields: Fields) -> Outcome:
    if fields.get("out_trade_no") != operation.out_trade_no:
        return doubt("a success that does not name our order")
    if fields.get("total_fee") != str(operation.amount) or fields.get("fee_type", "CNY") != "CNY":
        return doubt(f"a success over {fields.get('total_fee')!r}, which is not our amount")
    return _payment(fields, amount=operation.amount)


def _payment(fields: Fields, *, amount: int) -> Took:
    return Took(
        trade_no=fields.get("transaction_id", ""),
        amount=amount,
        paid_at_ms=ms_of_packed(fields.get("time_end", "")),
        payer_uid=fields.get("sub_openid") or fields.get("openid", ""),
        payments=_payments(fields, amount=amount),
    )


def _payments(fields: Fields, *, amount: int) -> tuple[Payment, ...]:
    """Split the amount into what the buyer paid and what coupons paid."""
    coupons = min(max(0, _fen(fields, "coupon_fee")), amount)
    paid = Payment(type=codes.payment_type(fields.get("bank_type", "")), amount_total=amount - coupons)
    discount = Payment(type="DISCOUNT_CHANNEL", amount_total=coupons)
    return tuple(one for one in (paid, discount) if one.amount_total)


def _fen(fields: Fields, name: str) -> int:
    """Return a field of ASCII digits as fen; -1 for anything else."""
    text = fields.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else -1


def _as_document(inner: bytes) -> bytes:
    """Return req_info's `<root>…</root>` with the root element this protocol has everywhere else."""
    return re.sub(rb"\A\s*<root>(.*)</root>\s*\Z", rb"<xml>\1</xml>", inner, flags=re.DOTALL)
