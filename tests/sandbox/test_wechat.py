"""WeChat Pay v2's operations, one by one, over the true wire."""

import base64
import gzip
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from paymux.sandbox.messages import Call
from tests.sandbox.merchants import NOTIFY_URL, Town, WechatMerchant, micropay, read_flat_xml


@pytest.fixture(params=["MD5", "HMAC-SHA256"])
def merchant(town: Town, request: pytest.FixtureRequest) -> WechatMerchant:
    """Try with both kinds of signature."""
    return town.wechat if request.param == "MD5" else town.wechat_hmac


def test_a_barcode_payment_takes_the_money_and_calls_nobody(town: Town, merchant: WechatMerchant) -> None:
    """SUCCESS with amount and transaction_id, a row in the books; micropay knows no callback."""
    paid = merchant.pay("w1", attach="kept & sound")
    assert (paid["result_code"], paid["total_fee"], paid["trade_type"]) == ("SUCCESS", "100", "MICROPAY")
    assert paid["attach"] == "kept & sound"
    assert town.book("w1") == {
        "wallet": "wechat",
        "out_trade_no": "w1",
        "paid": 100,
        "refunded": 0,
        "currency": "CNY",
        "state": "PAID",
    }
    town.wait(60_000)
    assert town.callbacks == []


def test_a_repeated_payment_is_never_a_second_one(town: Town) -> None:
    """Same content: ORDERPAID; other amount: OUT_TRADE_NO_USED; the buyer pays once."""
    town.wechat.pay("w1")
    assert town.wechat.pay("w1")["err_code"] == "ORDERPAID"
    assert town.wechat.pay("w1", amount=200)["err_code"] == "OUT_TRADE_NO_USED"
    town.wechat.reverse("w1")
    assert town.wechat.pay("w1")["err_code"] == "ORDERREVERSED"


def test_reverse_gives_the_money_back_and_blocks_unknown_numbers(town: Town) -> None:
    """Paid, waiting or unknown: SUCCESS, recall N, again and again; none of them can be paid afterwards."""
    town.wechat.pay("paid")
    town.wechat.pay("waiting", "10")
    for number in ("paid", "waiting", "unknown", "unknown"):
        answer = town.wechat.reverse(number)
        assert (answer["result_code"], answer["recall"]) == ("SUCCESS", "N")
        assert town.wechat.status(number) == "REVOKED"
        assert town.book(number)["state"] == "REVERSED"
        assert town.book(number)["paid"] == 0
    assert town.wechat.pay("unknown")["err_code"] == "ORDERREVERSED"


def test_reverse_is_for_barcodes_within_a_week_and_without_refunds(town: Town) -> None:
    """Anything else has to be refunded."""
    town.wechat.order("q1", 100)
    assert town.wechat.reverse("q1")["err_code"] == "INVALID_REQUEST"
    town.wechat.pay("refunded")
    town.wechat.refund("refunded", 100, 10)
    assert town.wechat.reverse("refunded")["err_code"] == "TRADE_STATE_ERROR"
    town.wechat.pay("old")
    town.wait(8 * 86_400_000)
    assert town.wechat.reverse("old")["err_code"] == "REVERSE_EXPIRE"


@pytest.mark.parametrize("path", ["/secapi/pay/reverse", "/secapi/pay/refund"])
def test_money_goes_back_only_behind_a_client_certificate(town: Town, path: str) -> None:
    """Without one the web server itself refuses, as the true nginx does."""
    town.wechat.pay("w1")
    reply = town.wechat.send(path, {"out_trade_no": "w1"}, client_cert=False)
    assert reply.status == 400
    assert b"No required SSL certificate was sent" in reply.body
    assert town.wechat.status("w1") == "SUCCESS"


def test_a_native_order_is_paid_by_the_robot_with_a_callback(town: Town, merchant: WechatMerchant) -> None:
    """code_url at once, NOTPAY, a second later SUCCESS and a callback signed like the request."""
    made = merchant.order("q1", 100)
    assert made["code_url"].startswith("weixin://wxpay/bizpayurl?pr=")
    assert merchant.order("q1", 100)["code_url"] == made["code_url"]
    assert merchant.order("q1", 200)["err_code"] == "OUT_TRADE_NO_USED"
    assert merchant.status("q1") == "NOTPAY"
    town.wait(2_000)
    assert merchant.status("q1") == "SUCCESS"
    (callback,) = town.callbacks
    fields = merchant.read_callback(callback)
    assert (fields["result_code"], fields["total_fee"], fields["out_trade_no"]) == ("SUCCESS", "100", "q1")
    assert fields["mch_id"] == merchant.row["mch_id"]
    assert merchant.order("q1", 100)["err_code"] == "ORDERPAID"


@pytest.mark.parametrize(
    ("trade_type", "field"),
    [("NATIVE", "code_url"), ("JSAPI", "prepay_id"), ("APP", "prepay_id"), ("MWEB", "mweb_url")],
)
def test_every_trade_type_gets_what_its_front_end_needs(town: Town, trade_type: str, field: str) -> None:
    """And is paid by the robot all the same."""
    made = town.wechat.order("q1", 100, trade_type, openid="o123")
    assert made[field]
    town.wait(1_000)
    assert town.wechat.query("q1")["trade_type"] == trade_type


def test_jsapi_needs_an_openid(town: Town) -> None:
    """Somebody's phone it has to be."""
    assert town.wechat.order("q1", 100, "JSAPI")["err_code"] == "PARAM_ERROR"


def test_a_closed_order_is_never_paid(town: Town) -> None:
    """closeorder: SUCCESS once; ORDERCLOSED, ORDERPAID and ORDERNOTEXIST are told apart."""
    town.wechat.order("q1", 100)
    assert town.wechat.close("q1")["result_code"] == "SUCCESS"
    assert town.wechat.close("q1")["err_code"] == "ORDERCLOSED"
    assert town.wechat.order("q1", 100)["err_code"] == "ORDERCLOSED"
    town.wait(60_000)
    assert town.wechat.status("q1") == "CLOSED"
    town.wechat.order("q2", 100)
    town.wait(1_000)
    assert town.wechat.close("q2")["err_code"] == "ORDERPAID"
    assert town.wechat.close("q3")["err_code"] == "ORDERNOTEXIST"


def test_time_expire_is_honoured(town: Town) -> None:
    """After it nobody can pay; a past one is refused."""
    town.control("PATCH", "accounts/wechat", {"amount_scripts": False})
    code = town.wechat.order("q1", 100, time_expire="20260101120200")["code_url"]
    town.wait(121_000)
    assert town.wechat.status("q1") == "CLOSED"
    assert "error" in town.control("POST", "scan", {"code": code})
    assert town.wechat.order("q2", 100, time_expire="20260101120000")["err_code"] == "INVALID_REQUEST"


def test_a_refund_is_accepted_then_done(town: Town, merchant: WechatMerchant) -> None:
    """PROCESSING for a second, then SUCCESS and a sealed callback; parts add up and never exceed."""
    merchant.pay("w1")
    first = merchant.refund("w1", 100, 40, "r1", notify_url=NOTIFY_URL)
    assert (first["result_code"], first["refund_fee"]) == ("SUCCESS", "40")
    ask = {"out_refund_no": "r1"}
    assert merchant("/pay/refundquery", ask)["refund_status_0"] == "PROCESSING"
    town.wait(2_000)
    assert merchant("/pay/refundquery", ask)["refund_status_0"] == "SUCCESS"
    assert merchant("/pay/refundquery", {"refund_id": first["refund_id"]})["refund_fee_0"] == "40"
    assert merchant.refund("w1", 100, 61, "r2")["err_code"] == "ERROR"
    assert merchant.refund("w1", 100, 60, "r2")["result_code"] == "SUCCESS"
    assert merchant("/pay/refundquery", {"out_trade_no": "w1"})["refund_count"] == "2"
    assert merchant.status("w1") == "REFUND"
    assert town.book("w1")["state"] == "REFUNDED"
    (callback,) = town.callbacks
    assert unsealed(callback.body, merchant.row["api_key"])["refund_status"] == "SUCCESS"


def unsealed(body: bytes, api_key: str) -> dict[str, str]:
    """Open the req_info of a refund callback."""
    key = hashlib.md5(api_key.encode()).hexdigest().encode()  # noqa: S324 - the wallet's choice
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305 - the wallet's choice
    padded = decryptor.update(base64.b64decode(read_flat_xml(body)["req_info"])) + decryptor.finalize()
    return read_flat_xml(padded[: -padded[-1]])


def test_a_repeated_refund_moves_nothing(town: Town) -> None:
    """Same number and amount: the same refund_id; other amount: REFUND_FEE_MISMATCH."""
    town.wechat.pay("w1")
    first = town.wechat.refund("w1", 100, 40)
    assert town.wechat.refund("w1", 100, 40)["refund_id"] == first["refund_id"]
    assert town.wechat.refund("w1", 100, 30)["err_code"] == "REFUND_FEE_MISMATCH"
    assert town.wechat.refund("w1", 200, 30, "r2")["err_code"] == "REFUND_FEE_MISMATCH"
    assert town.book("w1")["refunded"] == 40


def test_refunds_need_a_paid_order(town: Town) -> None:
    """Unknown, unpaid and reversed orders have nothing to give back."""
    town.wechat.pay("waiting", "10")
    town.wechat.pay("reversed")
    town.wechat.reverse("reversed")
    expected = {"unknown": "ORDERNOTEXIST", "waiting": "ORDERNOTEXIST", "reversed": "TRADE_STATE_ERROR"}
    for number, code in expected.items():
        assert town.wechat.refund(number, 100, 100)["err_code"] == code
    assert town.wechat("/pay/refundquery", {"out_refund_no": "r9"})["err_code"] == "REFUNDNOTEXIST"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sign": "0" * 32}, "签名错误"),
        ({"sign": ""}, "缺少参数sign"),
        ({"mch_id": "1900000000"}, "商户号mch_id或sub_mch_id不存在"),
        ({"appid": "wx0000000000000000"}, "appid和mch_id不匹配"),
        ({"nonce_str": ""}, "缺少参数nonce_str"),
        ({"sign_type": "SHA1"}, "签名错误"),
    ],
)
def test_a_bad_request_gets_return_code_fail(town: Town, change: dict[str, str], words: str) -> None:
    """Unsigned, in the gateway's words; nothing happens in the books."""
    fields = {"appid": town.wechat.row["app_id"], "mch_id": town.wechat.row["mch_id"], "nonce_str": "n"}
    fields |= micropay("w1", "00", 100)
    fields |= {"sign": town.wechat.sign(fields)} | change
    body = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    reply = town.world.handle(Call(method="POST", path="/pay/micropay", body=f"<xml>{body}</xml>".encode()))
    assert read_flat_xml(reply.body) == {"return_code": "FAIL", "return_msg": words}
    assert town.book("w1") == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<xml>",
        b"{}",
        b"<xml><a><b>1</b></a></xml>",
        b"<xml><a>1</a><a>2</a></xml>",
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xml><a>&e;</a></xml>',
        b"\xff\xfe",
    ],
)
def test_what_is_not_flat_xml_is_refused(town: Town, body: bytes) -> None:
    """No DTD, no entities, no nesting, no doubles."""
    reply = town.world.handle(Call(method="POST", path="/pay/micropay", body=body))
    assert read_flat_xml(reply.body)["return_msg"] == "XML格式错误"


def test_xml_is_read_in_every_style(town: Town) -> None:
    """CDATA, bare text, pretty-printed: all the same to the signature."""
    fields = {"appid": town.wechat.row["app_id"], "mch_id": town.wechat.row["mch_id"], "nonce_str": "n"}
    fields |= micropay("w1", "00", 100)
    fields["sign"] = town.wechat.sign(fields)
    rows = [f"  <{name}>\n <![CDATA[{value}]]>\n</{name}>" for name, value in fields.items()]
    body = "<xml>\n" + "\n".join(rows) + "\n<empty></empty></xml>"
    reply = town.world.handle(Call(method="POST", path="/pay/micropay", body=body.encode()))
    assert town.wechat.read(reply)["result_code"] == "SUCCESS"


def test_only_post_is_served(town: Town) -> None:
    """A GET is told so."""
    reply = town.world.handle(Call(method="GET", path="/pay/micropay"))
    assert read_flat_xml(reply.body)["return_msg"] == "请使用post方法"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"out_trade_no": ""}, "LACK_PARAMS"),
        ({"out_trade_no": "x" * 33}, "PARAM_ERROR"),
        ({"total_fee": "1.00"}, "PARAM_ERROR"),
        ({"total_fee": "0"}, "PARAM_ERROR"),
        ({"body": ""}, "LACK_PARAMS"),
        ({"spbill_create_ip": ""}, "LACK_PARAMS"),
        ({"auth_code": "2812345678901234"}, "AUTH_CODE_INVALID"),
    ],
)
def test_wrong_parameters_are_named(town: Town, change: dict[str, str], code: str) -> None:
    """A signed result_code FAIL, with nothing in the books."""
    answer = town.wechat("/pay/micropay", micropay("w1", "00", 100) | change)
    assert (answer["result_code"], answer["err_code"]) == ("FAIL", code)
    assert town.control("GET", "books") == []


def test_service_providers_get_their_sub_merchant_back(town: Town) -> None:
    """sub_mch_id and sub_appid are tolerated and echoed."""
    paid = town.wechat.pay("w1", sub_mch_id="1900000109", sub_appid="wx8888888888888888")
    assert (paid["sub_mch_id"], paid["sub_appid"]) == ("1900000109", "wx8888888888888888")


@pytest.mark.parametrize("tar_type", ["", "GZIP"])
def test_the_bill_lists_every_movement_of_its_day(town: Town, tar_type: str) -> None:
    """UTF-8 with BOM, back-ticks, two summary rows; sums match the books."""
    town.wechat.pay("w1")
    town.wechat.refund("w1", 100, 40, "r1")
    town.wechat.pay("w2", amount=250)
    town.wechat.reverse("w2")
    town.wait(86_400_000)
    ask = {"bill_date": "20260101", "bill_type": "ALL"} | ({"tar_type": tar_type} if tar_type else {})
    raw = town.wechat.send("/pay/downloadbill", ask).body
    text = (gzip.decompress(raw) if tar_type else raw).decode("utf-8-sig")
    head, *rows, summary_head, summary = text.splitlines()
    columns = head.split(",")
    cells = [dict(zip(columns, row.removeprefix("`").split(",`"), strict=True)) for row in rows]
    shown = [(row["商户订单号"], row["交易状态"], row["订单金额"], row["退款金额"]) for row in cells]
    assert shown == [
        ("w1", "SUCCESS", "1.00", "0.00"),
        ("w1", "REFUND", "0.00", "0.40"),
        ("w2", "SUCCESS", "2.50", "0.00"),
        ("w2", "REVOKED", "0.00", "2.50"),
    ]
    assert summary_head.startswith("总交易单数")
    assert summary == "`4,`3.50,`2.90,`0.00,`0.00000,`3.50,`2.90"


@pytest.mark.parametrize("kind", ["SUCCESS", "REFUND"])
def test_smaller_bills_have_their_own_columns(town: Town, kind: str) -> None:
    """Each row has as many cells as the head."""
    town.wechat.pay("w1")
    town.wechat.refund("w1", 100, 40, "r1")
    text = town.wechat.send("/pay/downloadbill", {"bill_date": "20260101", "bill_type": kind}).body.decode(
        "utf-8-sig"
    )
    head, row, *_ = text.splitlines()
    assert head.count(",") == row.count(",`")
    assert ("退款申请时间" in head) == (kind == "REFUND")


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"bill_date": "20260102"}, "No Bill Exist"),
        ({"bill_date": "yesterday"}, "invalid bill_date"),
        ({"bill_date": "20260101", "bill_type": "ODD"}, "invalid bill_type"),
    ],
)
def test_there_is_no_bill_of_an_empty_day(town: Town, ask: dict[str, str], words: str) -> None:
    """The refusal is XML where a bill would be text."""
    fields = read_flat_xml(town.wechat.send("/pay/downloadbill", ask).body)
    assert (fields["return_code"], fields["return_msg"]) == ("FAIL", words)


def test_h5_orders_have_a_cashier_page(town: Town) -> None:
    """mweb_url leads to a page on which a buyer pays."""
    town.control("PATCH", "accounts/wechat", {"amount_scripts": False})
    url = town.wechat.order("h1", 100, "MWEB")["mweb_url"]
    path, _, query = url.removeprefix(town.world.base_url).partition("?")
    page = town.world.handle(Call(method="GET", path=path, query=query.encode()))
    assert "¥1.00" in page.body.decode()
    press = b"key=wechat%2Fh1&buyer=wechat-A&action=pay"
    assert town.world.handle(Call(method="POST", path="/cashier", body=press)).status == 200
    assert town.wechat.status("h1") == "SUCCESS"
