"""What the channel tests are made of: accounts with fresh keys, operations, and signed replies."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from paymux.channels.alipay.channel import Alipay
from paymux.channels.contract import (
    Callback,
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
)
from paymux.channels.wechat.channel import WeChat
from paymux.channels.wechat.signing import sign as wechat_sign
from paymux.channels.wechat.xml import write_xml
from paymux.domain.outcome import Outcome
from paymux.domain.payways import SubPayway
from paymux.domain.people import Account

NOW_MS = 1_700_000_000_000  # 2023-11-15 06:13:20 in Beijing
SN = "7894259244067218"
TSN = "7894259244067999"
AMOUNT = 1234
YUAN = "12.34"

PAY = Pay(
    out_trade_no=SN,
    amount=AMOUNT,
    auth_code="287654321098765432",
    subject="两杯咖啡 & <more>",
    operator="kim",
    store_sn="S1",
    terminal_sn="T1",
    ctime_ms=NOW_MS,
)
QUERY = Query(out_trade_no=SN, amount=AMOUNT)
REVERSE = Reverse(out_trade_no=SN)
CLOSE = Close(out_trade_no=SN)
REFUND = Refund(out_trade_no=SN, refund_no=TSN, amount=234, total=AMOUNT, reason="too cold")
REFUND_QUERY = RefundQuery(out_trade_no=SN, refund_no=TSN, amount=234)


def precreate(
    sub_payway: SubPayway = SubPayway.QR, *, detail: Mapping[str, object] | None = None, payer_uid: str = ""
) -> Precreate:
    """Return an order that expires four minutes after it was made."""
    return Precreate(
        out_trade_no=SN,
        amount=AMOUNT,
        sub_payway=sub_payway,
        subject="两杯咖啡",
        payer_uid=payer_uid,
        client_ip="203.0.113.9",
        detail=json.dumps(detail) if detail else "",
        notify_url="https://pay.example.com/callbacks/a",
        ctime_ms=NOW_MS,
        expires_ms=NOW_MS + 240_000,
    )


OPERATIONS: dict[str, Operation] = {
    "pay": PAY,
    "precreate": precreate(),
    "create": precreate(SubPayway.MINI, payer_uid="2088000011112222"),
    "query": QUERY,
    "reverse": REVERSE,
    "close": CLOSE,
    "refund": REFUND,
    "refund_query": REFUND_QUERY,
}


def name_of(outcome: Outcome) -> str:
    """Return what the outcome tables call it: its type, and what else decides about money."""
    if getattr(outcome, "refund_instead", False):
        return "Refused,refund"
    if getattr(outcome, "not_found", False):
        return "Unknown,not_found"
    return type(outcome).__name__


def sent(built: object) -> HttpRequest:
    """Return the request, which must be one that goes out."""
    assert isinstance(built, HttpRequest)
    return built


def post(body: bytes) -> Callback:
    """Return a callback with this body."""
    return Callback(method="POST", query="", headers={}, body=body)


def ok(body: bytes) -> HttpResponse:
    """Return an HTTP 200 with this body."""
    return HttpResponse(status=200, headers={}, body=body)


# ---------------------------------------------------------------- Alipay


@cache
def rsa_key(owner: str) -> rsa.RSAPrivateKey:  # noqa: ARG001 - one key per owner, made once
    """Return the owner's key, the same one for the whole run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: rsa.RSAPrivateKey) -> str:
    """Return the key as PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    """Return its public half as PEM."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def alipay_account(**credentials: str) -> Account:
    """Return an account with test keys; credentials given here are added, "" takes one away."""
    known = {
        "app_id": "2021000000000001",
        "private_key": private_pem(rsa_key("us")),
        "alipay_public_key": public_pem(rsa_key("alipay")),
    }
    return Account(
        name="a",
        merchant_sn="m",
        channel="alipay",
        payways=("1", "2"),
        base_url="http://127.0.0.1:8999/gateway.do",
        credentials={name: value for name, value in (known | credentials).items() if value},
    )


@cache
def alipay() -> Alipay:
    """Return the channel of the plain account."""
    return Alipay(alipay_account())


ALIPAY_METHODS = {
    "pay": "alipay_trade_pay",
    "precreate": "alipay_trade_precreate",
    "create": "alipay_trade_create",
    "query": "alipay_trade_query",
    "reverse": "alipay_trade_cancel",
    "close": "alipay_trade_close",
    "refund": "alipay_trade_refund",
    "refund_query": "alipay_trade_fastpay_refund_query",
}


def rsa_sign(content: bytes, *, owner: str = "alipay") -> str:
    """Return the owner's RSA2 signature."""
    return base64.b64encode(rsa_key(owner).sign(content, padding.PKCS1v15(), hashes.SHA256())).decode()


def alipay_reply(
    verb: str, fields: Mapping[str, object], *, signed_by: str = "alipay", extra: str = ""
) -> bytes:
    r"""Return a gateway reply over these fields; as Alipay does, slashes are written `\/`."""
    content = msgspec.json.encode(dict(fields)).replace(b"/", b"\\/")
    signature = f',"sign":"{rsa_sign(content, owner=signed_by)}"' if signed_by else ""
    return f'{{"{ALIPAY_METHODS[verb]}_response":{content.decode()}{extra}{signature}}}'.encode()


def alipay_notification(fields: Mapping[str, str], *, sign_type_signed: bool = False) -> bytes:
    """Return a notification's body, signed by Alipay."""
    covered = dict(fields) | ({"sign_type": "RSA2"} if sign_type_signed else {})
    text = "&".join(f"{name}={value}" for name, value in sorted(covered.items()) if value)
    return urlencode({**fields, "sign_type": "RSA2", "sign": rsa_sign(text.encode())}).encode()


ALIPAY_PAID = {
    "code": "10000",
    "msg": "Success",
    "trade_no": "2023111522001400000000000001",
    "out_trade_no": SN,
    "buyer_logon_id": "kim***@example.com",
    "buyer_user_id": "2088000011112222",
    "total_amount": YUAN,
    "receipt_amount": YUAN,
    "gmt_payment": "2023-11-15 06:13:25",
    "fund_bill_list": [
        {"fund_channel": "PCREDIT", "amount": "10.00"},
        {"fund_channel": "COUPON", "amount": "2.34"},
    ],
}
ALIPAY_NOTIFIED = {
    "notify_type": "trade_status_sync",
    "app_id": "2021000000000001",
    "seller_id": "2088000000000009",
    "out_trade_no": SN,
    "trade_no": "2023111522001400000000000001",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": YUAN,
    "buyer_id": "2088000011112222",
    "gmt_payment": "2023-11-15 06:13:25",
    "fund_bill_list": '[{"amount":"12.34","fundChannel":"ALIPAYACCOUNT"}]',
    "charset": "utf-8",
    "version": "1.0",
}

# ---------------------------------------------------------------- WeChat

API_KEY = "0123456789abcdef0123456789abcdef"


def wechat_account(**credentials: str) -> Account:
    """Return an account that signs with MD5; credentials given here are added, "" takes one away."""
    known = {"app_id": "wx0000000000000001", "mch_id": "1900000109", "api_key": API_KEY}
    return Account(
        name="w",
        merchant_sn="m",
        channel="wechat",
        payways=("3",),
        base_url="http://127.0.0.1:8998",
        credentials={name: value for name, value in (known | credentials).items() if value},
    )


@cache
def wechat() -> WeChat:
    """Return the channel of the plain account."""
    return WeChat(wechat_account())


def wechat_reply(fields: Mapping[str, str], *, api_key: str = API_KEY, sign_type: str = "MD5") -> bytes:
    """Return a signed reply in which WeChat calls the plain account by its names."""
    named = {
        "return_code": "SUCCESS",
        "return_msg": "OK",
        "appid": "wx0000000000000001",
        "mch_id": "1900000109",
        "nonce_str": "Abc123",
        "result_code": "SUCCESS",
        **fields,
    }
    return write_xml(named | {"sign": wechat_sign(named, api_key=api_key, sign_type=sign_type)})


WECHAT_PAID = {
    "openid": "oBuyer000000000000000000001",
    "trade_type": "MICROPAY",
    "bank_type": "CMB_CREDIT",
    "total_fee": str(AMOUNT),
    "fee_type": "CNY",
    "coupon_fee": "34",
    "transaction_id": "4200000000202311150000000001",
    "out_trade_no": SN,
    "time_end": "20231115061325",
}
