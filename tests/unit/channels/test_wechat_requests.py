"""What we send to WeChat, byte for byte; and what the buyer's page gets."""

import json

import msgspec
import pytest

from paymux.channels.contract import ClientTls, Operation, Precreate
from paymux.channels.wechat.channel import WeChat
from paymux.channels.wechat.signing import is_signed, sign
from paymux.channels.wechat.xml import read_xml
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.outcome import Outcome, Prepared
from paymux.domain.payways import SubPayway
from tests.unit.channels import makers

COMMON = {"appid": "wx0000000000000001", "mch_id": "1900000109", "nonce_str": "n0nce", "sign_type": "MD5"}
PATHS = {
    "pay": "/pay/micropay",
    "precreate": "/pay/unifiedorder",
    "query": "/pay/orderquery",
    "reverse": "/secapi/pay/reverse",
    "close": "/pay/closeorder",
    "refund": "/secapi/pay/refund",
    "refund_query": "/pay/refundquery",
}


def _fields(operation: Operation, channel: WeChat | None = None) -> dict[str, str]:
    """Return what the request says, after its signature was checked and taken off."""
    request = makers.sent((channel or makers.wechat()).build(operation, now_ms=1, nonce="n0nce"))
    fields = read_xml(request.body)
    assert is_signed(fields, api_key=makers.API_KEY, sign_type=fields["sign_type"])
    return {name: value for name, value in fields.items() if name != "sign"}


def test_a_barcode_pay() -> None:
    """Every field of micropay; the amount in fen."""
    assert _fields(makers.PAY) == {
        **COMMON,
        "body": "两杯咖啡 & <more>",
        "out_trade_no": makers.SN,
        "total_fee": "1234",
        "spbill_create_ip": "127.0.0.1",
        "auth_code": "287654321098765432",
        "device_info": "T1",
    }


def test_a_request_byte_for_byte() -> None:
    """Names, order and escapes as they go over the wire."""
    request = makers.sent(makers.wechat().build(makers.QUERY, now_ms=1, nonce="n0nce"))
    signature = sign(COMMON | {"out_trade_no": makers.SN}, api_key=makers.API_KEY, sign_type="MD5")
    assert (
        request.body
        == (
            "<xml><appid>wx0000000000000001</appid><mch_id>1900000109</mch_id><nonce_str>n0nce</nonce_str>"
            f"<sign_type>MD5</sign_type><out_trade_no>{makers.SN}</out_trade_no><sign>{signature}</sign></xml>"
        ).encode()
    )
    assert request.headers == {"content-type": "text/xml; charset=utf-8"}


@pytest.mark.parametrize("verb", PATHS)
def test_every_verb_has_its_path(verb: str) -> None:
    """Reversals and refunds go out with the client certificate, on the host for it."""
    channel = WeChat(makers.wechat_account(secure_base_url="https://127.0.0.1:8997"))
    request = makers.sent(channel.build(makers.OPERATIONS[verb], now_ms=1, nonce="n"))
    secure = verb in {"reverse", "refund"}
    host = "https://127.0.0.1:8997" if secure else "http://127.0.0.1:8998"
    assert (request.method, request.url) == ("POST", f"{host}{PATHS[verb]}")
    assert request.mutual_tls is secure


def test_a_qr_order_expires() -> None:
    """Start, end and product id of a NATIVE order, in Beijing time."""
    assert _fields(makers.precreate()) == {
        **COMMON,
        "body": "两杯咖啡",
        "out_trade_no": makers.SN,
        "total_fee": "1234",
        "spbill_create_ip": "203.0.113.9",
        "time_start": "20231115061320",
        "time_expire": "20231115061720",
        "notify_url": "https://pay.example.com/callbacks/a",
        "trade_type": "NATIVE",
        "product_id": makers.SN,
    }


@pytest.mark.parametrize(
    ("sub_payway", "trade_type"),
    [("2", "NATIVE"), ("3", "JSAPI"), ("4", "JSAPI"), ("5", "APP"), ("6", "MWEB")],
)
def test_each_way_has_its_trade_type(sub_payway: str, trade_type: str) -> None:
    """JSAPI alone names the buyer, MWEB alone the scene, NATIVE alone the product."""
    fields = _fields(makers.precreate(SubPayway(sub_payway), payer_uid="oBuyer"))
    assert fields["trade_type"] == trade_type
    assert (fields.get("openid") == "oBuyer") is (trade_type == "JSAPI")
    assert ("scene_info" in fields) is (trade_type == "MWEB")
    assert ("product_id" in fields) is (trade_type == "NATIVE")


def test_a_refund() -> None:
    """Our refund number, both amounts in fen, the reason."""
    assert _fields(makers.REFUND) == {
        **COMMON,
        "out_trade_no": makers.SN,
        "out_refund_no": makers.TSN,
        "total_fee": "1234",
        "refund_fee": "234",
        "refund_desc": "too cold",
    }


def test_a_service_provider() -> None:
    """Requests name the sub merchant; a buyer known to its own appid is a sub_openid."""
    channel = WeChat(makers.wechat_account(sub_mch_id="1900000999", sub_app_id="wxsub"))
    fields = _fields(makers.precreate(SubPayway.MINI, payer_uid="oBuyer"), channel)
    assert (fields["sub_mch_id"], fields["sub_appid"]) == ("1900000999", "wxsub")
    assert fields["sub_openid"] == "oBuyer"
    assert "openid" not in fields


def test_a_merchants_own_mini_program() -> None:
    """extended.sub_appid wins over the account's, in the order and in what the front end gets."""
    channel = WeChat(makers.wechat_account(sub_mch_id="1900000999", sub_app_id="wxsub"))
    order = makers.precreate(SubPayway.MINI, payer_uid="o", detail={"extended": {"sub_appid": "wxmine"}})
    assert _fields(order, channel)["sub_appid"] == "wxmine"
    reply = {"trade_type": "JSAPI", "prepay_id": "wx1", "sub_mch_id": "1900000999"}
    assert json.loads(_front(order, reply, channel))["appId"] == "wxmine"


def test_what_a_merchant_adds() -> None:
    """Goods, prices in fen, and the words WeChat knows."""
    goods = [{"goods_id": "1", "goods_name": "咖啡", "quantity": 2, "price": 617, "promotion_type": 0}]
    detail = {"extended": {"goods_tag": "TAG", "limit_pay": "no_credit", "odd": "x"}, "goods_details": goods}
    fields = _fields(makers.precreate(detail=detail))
    assert (fields["goods_tag"], fields["limit_pay"], fields["version"]) == ("TAG", "no_credit", "1.0")
    assert json.loads(fields["detail"]) == {
        "goods_detail": [{"goods_id": "1", "goods_name": "咖啡", "quantity": 2, "price": 617}]
    }
    assert "odd" not in fields


@pytest.mark.parametrize("subject", ["咖" * 64, "🐈" * 64, "a\nb\x00" * 40])
def test_a_long_or_odd_subject_fits(subject: str) -> None:
    """127 bytes, no half characters, nothing XML cannot carry: a pay must not fail over its title."""
    body = _fields(msgspec.structs.replace(makers.PAY, subject=subject))["body"]
    assert len(body.encode()) <= 127
    assert body[0] == subject[0]


def test_hmac_is_said_and_done() -> None:
    """sign_type HMAC-SHA256 is named in the request and used for it."""
    channel = WeChat(makers.wechat_account(sign_type="HMAC-SHA256"))
    assert _fields(makers.QUERY, channel)["sign_type"] == "HMAC-SHA256"


# ---------------------------------------------------------------- what the buyer's side needs


def _prepared(order: Precreate, fields: dict[str, str], channel: WeChat | None = None) -> Outcome:
    return (channel or makers.wechat()).read(order, makers.ok(makers.wechat_reply(fields)))


def _front(order: Precreate, fields: dict[str, str], channel: WeChat | None = None) -> str:
    prepared = _prepared(order, fields, channel)
    assert isinstance(prepared, Prepared)
    return prepared.wap_pay_request


def test_a_qr_code() -> None:
    """The code to show."""
    reply = {"trade_type": "NATIVE", "prepay_id": "wx1", "code_url": "weixin://wxpay/bizpayurl?pr=1"}
    assert _prepared(makers.precreate(), reply) == Prepared(qr_code="weixin://wxpay/bizpayurl?pr=1")


@pytest.mark.parametrize("sign_type", ["MD5", "HMAC-SHA256"])
def test_jsapi_parameters(sign_type: str) -> None:
    """The page gets what wx.requestPayment wants, signed over exactly that."""
    channel = WeChat(makers.wechat_account(sign_type=sign_type))
    body = makers.wechat_reply({"trade_type": "JSAPI", "prepay_id": "wx1"}, sign_type=sign_type)
    prepared = channel.read(makers.precreate(SubPayway.WAP), makers.ok(body))
    assert isinstance(prepared, Prepared)
    front = json.loads(prepared.wap_pay_request)
    signature = front.pop("paySign")
    assert front == {
        "appId": "wx0000000000000001",
        "timeStamp": "1700000000",
        "nonceStr": "Abc123",
        "package": "prepay_id=wx1",
        "signType": sign_type,
    }
    assert signature == sign(front, api_key=makers.API_KEY, sign_type=sign_type)


def test_app_parameters() -> None:
    """The app gets the other spelling of the same."""
    front = json.loads(_front(makers.precreate(SubPayway.APP), {"trade_type": "APP", "prepay_id": "wx1"}))
    signature = front.pop("sign")
    assert front == {
        "appid": "wx0000000000000001",
        "partnerid": "1900000109",
        "prepayid": "wx1",
        "package": "Sign=WXPay",
        "noncestr": "Abc123",
        "timestamp": "1700000000",
    }
    assert signature == sign(front, api_key=makers.API_KEY, sign_type="MD5")


@pytest.mark.parametrize(
    ("extended", "suffix"),
    [
        ({}, ""),
        (
            {"return_url": "https://s.example.com/?a=1"},
            "&redirect_url=https%3A%2F%2Fs.example.com%2F%3Fa%3D1",
        ),
    ],
)
def test_an_h5_url(extended: dict[str, str], suffix: str) -> None:
    """The browser goes to WeChat's page, and back where the shop wants."""
    url = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx1"
    order = makers.precreate(SubPayway.H5, detail={"extended": extended})
    assert _front(order, {"trade_type": "MWEB", "prepay_id": "wx1", "mweb_url": url}) == url + suffix


# ---------------------------------------------------------------- accounts


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"app_id": ""}, "app_id"),
        ({"mch_id": ""}, "mch_id"),
        ({"api_key": ""}, "api_key"),
        ({"sign_type": "SHA1"}, "sign_type"),
        ({"client_cert": "-----BEGIN CERTIFICATE-----"}, "client_cert and client_key"),
        ({"client_cert": "x", "client_key": "-----BEGIN KEY-----"}, "client_cert"),
        ({"ca_cert": "x"}, "ca_cert"),
    ],
)
def test_a_wrong_credential_is_named(broken: dict[str, str], named: str) -> None:
    """An account that cannot work is not opened, and the text says why."""
    with pytest.raises(ConfigurationBroken, match=rf"^{named}: "):
        WeChat(makers.wechat_account(**broken))


def test_the_client_certificate() -> None:
    """What mutual TLS needs is handed to whoever opens connections; without it there is none."""
    pem = {"client_cert": "-----BEGIN CERTIFICATE-----", "client_key": "-----BEGIN PRIVATE KEY-----"}
    tls = WeChat(makers.wechat_account(**pem)).tls
    assert tls == ClientTls(certificate=pem["client_cert"], key=pem["client_key"])
    assert makers.wechat().tls is None
