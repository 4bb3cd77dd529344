"""What we send to Alipay, byte for byte: parameters, content, signature; and what never needs to be sent."""

import datetime as dt
import json
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from paymux.channels.alipay.channel import Alipay
from paymux.channels.alipay.signing import is_signed, string_to_sign
from paymux.channels.contract import Operation
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.outcome import Prepared, Unknown
from paymux.domain.payways import SubPayway
from tests.unit.channels import makers

COMMON = {
    "app_id": "2021000000000001",
    "format": "JSON",
    "charset": "utf-8",
    "sign_type": "RSA2",
    "version": "1.0",
    "timestamp": "2023-11-15 06:13:20",
}


def _params(operation: Operation, channel: Alipay | None = None) -> dict[str, str]:
    """Return the request's form after checking its address, headers and signature."""
    request = makers.sent((channel or makers.alipay()).build(operation, now_ms=makers.NOW_MS, nonce="n"))
    assert (request.method, request.url) == ("POST", "http://127.0.0.1:8999/gateway.do")
    assert request.headers == {"content-type": "application/x-www-form-urlencoded;charset=utf-8"}
    assert not request.mutual_tls
    params = dict(parse_qsl(request.body.decode("ascii"), strict_parsing=True))
    _assert_ours(params)
    return params


def _assert_ours(params: dict[str, str]) -> None:
    covered = {name: value for name, value in params.items() if name != "sign"}
    key = makers.rsa_key("us").public_key()
    assert is_signed(key, string_to_sign(covered).encode(), signature=params["sign"])


def _content(operation: Operation, channel: Alipay | None = None) -> dict[str, object]:
    return dict(json.loads(_params(operation, channel)["biz_content"]))


def test_a_barcode_pay() -> None:
    """Every common parameter, no notify URL when there is none, and the sale as the till told it."""
    params = _params(makers.PAY)
    content = json.loads(params.pop("biz_content"))
    params.pop("sign")
    assert params == {**COMMON, "method": "alipay.trade.pay"}
    assert content == {
        "out_trade_no": makers.SN,
        "scene": "bar_code",
        "auth_code": "287654321098765432",
        "product_code": "FACE_TO_FACE_PAYMENT",
        "total_amount": "12.34",
        "subject": "两杯咖啡 & <more>",
        "store_id": "S1",
        "terminal_id": "T1",
        "operator_id": "kim",
    }


METHODS = {
    "precreate": "alipay.trade.precreate",
    "create": "alipay.trade.create",
    "query": "alipay.trade.query",
    "reverse": "alipay.trade.cancel",
    "close": "alipay.trade.close",
    "refund": "alipay.trade.refund",
    "refund_query": "alipay.trade.fastpay.refund.query",
}


@pytest.mark.parametrize("verb", METHODS)
def test_every_verb_has_its_method(verb: str) -> None:
    """One gateway, one method per verb, always with our number."""
    params = _params(makers.OPERATIONS[verb])
    assert params["method"] == METHODS[verb]
    assert json.loads(params["biz_content"])["out_trade_no"] == makers.SN


def test_a_qr_order_expires() -> None:
    """The wallet learns the moment and the minutes after which nobody may pay."""
    content = _content(makers.precreate())
    assert content["time_expire"] == "2023-11-15 06:17:20"
    assert content["timeout_express"] == "4m"
    assert content["product_code"] == "FACE_TO_FACE_PAYMENT"
    assert _params(makers.precreate())["notify_url"] == "https://pay.example.com/callbacks/a"


@pytest.mark.parametrize(
    ("uid", "field"),
    [("2088000011112222", "buyer_id"), ("074a1CcTG1LelxKe4xQC0zgNdId0nxi9", "buyer_open_id")],
)
def test_a_wap_order_names_its_buyer(uid: str, field: str) -> None:
    """Old numeric ids and open ids each go into their own field."""
    assert _content(makers.precreate(SubPayway.WAP, payer_uid=uid))[field] == uid


def test_a_mini_program_order() -> None:
    """A named mini program makes it a JSAPI order."""
    order = makers.precreate(SubPayway.MINI, payer_uid="x", detail={"extended": {"sub_appid": "2021001"}})
    content = _content(order)
    assert (content["op_app_id"], content["product_code"]) == ("2021001", "JSAPI_PAY")


def test_a_refund() -> None:
    """Our refund number is the idempotency key, the amount is yuan."""
    assert _content(makers.REFUND) == {
        "out_trade_no": makers.SN,
        "out_request_no": makers.TSN,
        "refund_amount": "2.34",
        "refund_reason": "too cold",
    }


def test_what_a_merchant_adds() -> None:
    """Instalments and goods reach Alipay under its names, prices in yuan; the provider id is ours."""
    detail = {
        "extended": {"extend_params": {"hb_fq_num": "3", "hb_fq_seller_percent": "0"}, "unheard": "of"},
        "goods_details": [
            {"goods_id": "1", "goods_name": "咖啡", "quantity": 2, "price": 617, "promotion_type": 0}
        ],
    }
    channel = Alipay(makers.alipay_account(sys_service_provider_id="2088511833207846"))
    content = _content(makers.precreate(detail=detail), channel)
    assert content["extend_params"] == {
        "hb_fq_num": "3",
        "hb_fq_seller_percent": "0",
        "sys_service_provider_id": "2088511833207846",
    }
    assert content["goods_detail"] == [
        {"goods_id": "1", "goods_name": "咖啡", "quantity": 2, "price": "6.17"}
    ]
    assert "unheard" not in json.dumps(content)


@pytest.mark.parametrize("detail", ["", "{", "[]", '{"extended":""}', '{"extended":[],"goods_details":[1]}'])
def test_odd_extras_do_not_stop_a_pay(detail: str) -> None:
    """What cannot be read is left out; the pay goes on."""
    order = makers.precreate()
    odd = type(order)(**{name: getattr(order, name) for name in order.__struct_fields__} | {"detail": detail})
    assert _content(odd) == _content(order)


def test_a_face_pay_has_its_own_scene() -> None:
    """Codes of face terminals start with fp."""
    pay = makers.PAY
    face = type(pay)(**{n: getattr(pay, n) for n in pay.__struct_fields__} | {"auth_code": "fp" + "a" * 33})
    assert _content(face)["scene"] == "security_code"


def test_an_app_order_is_a_signed_string() -> None:
    """Nothing is sent: the buyer's app sends the string we signed."""
    prepared = makers.alipay().build(makers.precreate(SubPayway.APP), now_ms=makers.NOW_MS, nonce="n")
    assert isinstance(prepared, Prepared)
    params = dict(parse_qsl(prepared.wap_pay_request, strict_parsing=True))
    _assert_ours(params)
    assert params["method"] == "alipay.trade.app.pay"
    assert json.loads(params["biz_content"])["product_code"] == "QUICK_MSECURITY_PAY"


@pytest.mark.parametrize(
    ("extended", "method", "product"),
    [
        ({"return_url": "https://shop.example.com/?a=1"}, "alipay.trade.wap.pay", "QUICK_WAP_WAY"),
        (
            {"return_url": "https://shop.example.com/?a=1", "page": "1"},
            "alipay.trade.page.pay",
            "FAST_INSTANT_TRADE_PAY",
        ),
    ],
)
def test_an_h5_order_is_a_signed_url(extended: dict[str, str], method: str, product: str) -> None:
    """Nothing is sent: the buyer's browser opens the URL we signed, and comes back where the shop wants."""
    order = makers.precreate(SubPayway.H5, detail={"extended": extended})
    prepared = makers.alipay().build(order, now_ms=makers.NOW_MS, nonce="n")
    assert isinstance(prepared, Prepared)
    url = urlsplit(prepared.wap_pay_request)
    assert f"{url.scheme}://{url.netloc}{url.path}" == "http://127.0.0.1:8999/gateway.do"
    params = dict(parse_qsl(url.query, strict_parsing=True))
    _assert_ours(params)
    assert params["method"] == method
    assert params["return_url"] == "https://shop.example.com/?a=1"
    assert json.loads(params["biz_content"])["product_code"] == product


def test_a_third_party_token_goes_along() -> None:
    """app_auth_token is a common parameter, and signed."""
    assert (
        _params(makers.QUERY, Alipay(makers.alipay_account(app_auth_token="2021BB")))["app_auth_token"]
        == "2021BB"
    )


# ---------------------------------------------------------------- certificate mode


def _certificate(owner: str) -> str:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority"),
        ]
    )
    key = makers.rsa_key(owner)
    since = dt.datetime(2023, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(len(owner))
        .not_valid_before(since)
        .not_valid_after(since + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _certified(**more: str) -> Alipay:
    certificates = {
        "alipay_public_key": "",
        "app_cert": _certificate("us"),
        "alipay_cert": _certificate("alipay"),
        "alipay_root_cert": _certificate("root"),
    }
    return Alipay(makers.alipay_account(**certificates | more))


def test_certificates_are_named_in_every_request() -> None:
    """Certificate mode adds the numbers of our certificate and of the roots."""
    params = _params(makers.QUERY, _certified())
    assert len(params["app_cert_sn"]) == len(params["alipay_root_cert_sn"]) == 32
    assert params["app_cert_sn"] != params["alipay_root_cert_sn"]


def test_a_new_alipay_certificate_is_a_doubt_that_says_so() -> None:
    """When Alipay changes its certificate we cannot tell any more, and the operator reads why."""
    body = makers.alipay_reply("pay", makers.ALIPAY_PAID, extra=f',"alipay_cert_sn":"{"a" * 32}"')
    outcome = _certified().read(makers.PAY, makers.ok(body))
    assert isinstance(outcome, Unknown)
    assert "a" * 32 in outcome.text
    assert "alipay_cert" in outcome.text


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        ({"app_cert": _certificate("alipay")}, "app_cert"),
        ({"app_cert": "x"}, "app_cert"),
        ({"alipay_cert": "x"}, "alipay_cert"),
        ({"alipay_root_cert": "x"}, "alipay_root_cert"),
        ({"alipay_root_cert": ""}, "alipay_root_cert"),
    ],
)
def test_a_wrong_certificate_is_named(broken: dict[str, str], named: str) -> None:
    """Opening the account fails and names the credential that is wrong, a foreign app_cert included."""
    with pytest.raises(ConfigurationBroken, match=rf"^{named}: "):
        _certified(**broken)


@pytest.mark.parametrize("name", ["app_id", "private_key", "alipay_public_key"])
def test_a_missing_credential_is_named(name: str) -> None:
    """An account that cannot work is not opened."""
    with pytest.raises(ConfigurationBroken, match=rf"^{name}: "):
        Alipay(makers.alipay_account(**{name: ""}))
