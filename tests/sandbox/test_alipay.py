"""Alipay's methods, one by one, over the true wire."""

import csv
import io
import json
import zipfile
from urllib.parse import urlencode, urlsplit

import pytest

from paymux.sandbox.alipay_signing import certificate_sn, root_certificate_sn
from paymux.sandbox.messages import Call
from tests.sandbox.merchants import NOTIFY_URL, Town, pay_biz


def test_a_barcode_payment_takes_the_money_and_calls_back(town: Town) -> None:
    """10000 with the amount, a row in the books, one signed callback."""
    paid = town.alipay.pay("a1", notify_url=NOTIFY_URL)
    assert (paid["code"], paid["total_amount"], paid["out_trade_no"]) == ("10000", "1.00", "a1")
    assert town.book("a1") == {
        "wallet": "alipay",
        "out_trade_no": "a1",
        "paid": 100,
        "refunded": 0,
        "currency": "CNY",
        "state": "PAID",
    }
    town.wait(1_000)
    (callback,) = town.callbacks
    fields = town.alipay.read_callback(callback)
    assert (fields["trade_status"], fields["total_amount"]) == ("TRADE_SUCCESS", "1.00")
    assert (fields["notify_type"], fields["app_id"]) == ("trade_status_sync", town.alipay.row["app_id"])
    assert fields["seller_id"] == town.alipay.row["seller_id"]


def test_a_repeated_payment_is_never_a_second_one(town: Town) -> None:
    """Same content: TRADE_HAS_SUCCESS; other amount: CONTEXT_INCONSISTENT; the buyer pays once."""
    town.alipay.pay("a1")
    assert town.alipay.pay("a1")["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"
    assert town.alipay.pay("a1", amount="2.00")["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    town.alipay.cancel("a1")
    assert town.alipay.pay("a1")["sub_code"] == "ACQ.TRADE_HAS_CLOSE"
    assert [move["what"] for move in town.control("GET", "journal") if move["what"] != "topup"] == [
        "pay",
        "reverse",
    ]


def test_cancel_gives_the_money_back_or_closes(town: Town) -> None:
    """Paid: action refund; waiting: close; unknown: success too; again: the same answer."""
    town.alipay.pay("paid")
    town.alipay.pay("waiting", "10")
    for number, action in (
        ("paid", "refund"),
        ("paid", "refund"),
        ("waiting", "close"),
        ("unknown", "close"),
    ):
        answer = town.alipay.cancel(number)
        assert (answer["code"], answer["retry_flag"], answer["action"]) == ("10000", "N", action)
    assert [town.book(number)["state"] for number in ("paid", "waiting")] == ["REVERSED", "REVERSED"]
    assert town.book("paid")["paid"] == 0
    assert town.book("unknown") == {}
    assert town.alipay.status("paid") == "TRADE_CLOSED"


def test_cancel_after_a_day_or_a_refund_is_refused(town: Town) -> None:
    """The true limits: TRADE_CANCEL_TIME_OUT and REASON_TRADE_REFUND_FEE_ERR."""
    town.alipay.pay("old")
    town.alipay.pay("refunded")
    town.alipay.refund("refunded", "0.10")
    assert town.alipay.cancel("refunded")["sub_code"] == "ACQ.REASON_TRADE_REFUND_FEE_ERR"
    town.wait(25 * 3_600_000)
    assert town.alipay.cancel("old")["sub_code"] == "ACQ.TRADE_CANCEL_TIME_OUT"


def test_refunds_add_up_and_never_exceed(town: Town) -> None:
    """Parts keep TRADE_SUCCESS, the last one closes the trade, more is refused."""
    town.alipay.pay("a1")
    first = town.alipay.refund("a1", "0.40", "r1")
    assert (first["fund_change"], first["refund_fee"], first["send_back_fee"]) == ("Y", "0.40", "0.40")
    assert town.alipay.status("a1") == "TRADE_SUCCESS"
    assert town.alipay.refund("a1", "0.61", "r2")["sub_code"] == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
    second = town.alipay.refund("a1", "0.60", "r2")
    assert (second["fund_change"], second["refund_fee"]) == ("Y", "1.00")
    assert town.alipay.status("a1") == "TRADE_CLOSED"
    assert town.book("a1")["state"] == "REFUNDED"


def test_a_repeated_refund_moves_nothing(town: Town) -> None:
    """Same request number and amount: fund_change N; other amount: DISCORDANT_REPEAT_REQUEST."""
    town.alipay.pay("a1")
    town.alipay.refund("a1", "0.40")
    assert town.alipay.refund("a1", "0.40")["fund_change"] == "N"
    assert town.alipay.refund("a1", "0.30")["sub_code"] == "ACQ.DISCORDANT_REPEAT_REQUEST"
    assert town.book("a1")["refunded"] == 40


def test_refund_needs_a_paid_trade_and_a_number_for_a_part(town: Town) -> None:
    """Unknown, unpaid, cancelled and unnamed partial refunds are refused by their own codes."""
    town.alipay.pay("waiting", "10")
    town.alipay.pay("cancelled")
    town.alipay.cancel("cancelled")
    town.alipay.pay("paid")
    expected = {"unknown": "TRADE_NOT_EXIST", "waiting": "TRADE_STATUS_ERROR", "cancelled": "TRADE_HAS_CLOSE"}
    for number, code in expected.items():
        assert town.alipay.refund(number, "1.00")["sub_code"] == f"ACQ.{code}"
    part = {"out_trade_no": "paid", "refund_amount": "0.10"}
    assert town.alipay("trade.refund", part)["sub_code"] == "ACQ.INVALID_PARAMETER"
    assert town.alipay("trade.refund", part | {"refund_amount": "1.00"})["fund_change"] == "Y"


def test_refund_query_tells_only_of_refunds_that_are(town: Town) -> None:
    """Without such a refund there is no refund_status; the trade must exist."""
    town.alipay.pay("a1")
    town.alipay.refund("a1", "0.40", "r1")

    def ask(number: str, request: str) -> dict[str, str]:
        biz = {"out_trade_no": number, "out_request_no": request}
        return town.alipay("trade.fastpay.refund.query", biz)

    assert ask("a1", "r1")["refund_status"] == "REFUND_SUCCESS"
    assert ask("a1", "r1")["refund_amount"] == "0.40"
    assert "refund_status" not in ask("a1", "r2")
    assert ask("a2", "r1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_a_qr_order_becomes_a_trade_when_scanned(town: Town) -> None:
    """Unscanned: TRADE_NOT_EXIST; after the robot's scan: paid and called back; same request: same code."""
    made = town.alipay.precreate("q1", "1.00")
    assert made["qr_code"].startswith("https://qr.alipay.com/bax")
    assert town.alipay.precreate("q1", "1.00")["qr_code"] == made["qr_code"]
    assert town.alipay.precreate("q1", "2.00")["sub_code"] == "ACQ.CONTEXT_INCONSISTENT"
    assert town.alipay.status("q1") == "ACQ.TRADE_NOT_EXIST"
    town.wait(2_000)
    assert town.alipay.status("q1") == "TRADE_SUCCESS"
    assert len(town.callbacks) == 1
    assert town.alipay.precreate("q1", "1.00")["sub_code"] == "ACQ.TRADE_HAS_SUCCESS"


def test_close_needs_a_waiting_trade(town: Town) -> None:
    """A scanned order can be closed and is then never paid; unscanned there is nothing to close."""

    def close(number: str) -> dict[str, str]:
        return town.alipay("trade.close", {"out_trade_no": number})

    town.alipay.precreate("q1", "1.10")
    assert close("q1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    town.wait(2_000)
    assert town.alipay.status("q1") == "WAIT_BUYER_PAY"
    assert close("q1")["code"] == "10000"
    assert close("q1")["sub_code"] == "ACQ.REASON_TRADE_STATUS_INVALID"
    assert town.control("POST", "scan", {"out_trade_no": "q1"})["error"]
    town.wait(3_600_000)
    assert town.alipay.status("q1") == "TRADE_CLOSED"


def test_create_makes_a_trade_at_once(town: Town) -> None:
    """trade.create: trade_no, WAIT_BUYER_PAY, then the robot buyer pays."""
    biz = {"out_trade_no": "c1", "total_amount": "1.00", "subject": "coffee"}
    assert town.alipay("trade.create", biz)["sub_code"] == "ACQ.INVALID_PARAMETER"
    made = town.alipay("trade.create", biz | {"buyer_id": "2088000000000000"})
    assert town.alipay.query("c1")["trade_status"] == "WAIT_BUYER_PAY"
    town.wait(1_000)
    by_trade_no = town.alipay("trade.query", {"trade_no": made["trade_no"]})
    assert by_trade_no["trade_status"] == "TRADE_SUCCESS"


@pytest.mark.parametrize("terms", [{"timeout_express": "2m"}, {"time_expire": "2026-01-01 12:02:00"}])
def test_an_order_dies_when_its_time_is_over(town: Town, terms: dict[str, str]) -> None:
    """After its life an order cannot be paid."""
    town.control("PATCH", "accounts/alipay", {"amount_scripts": False})
    biz = {"out_trade_no": "q1", "total_amount": "1.00", "subject": "coffee"} | terms
    code = town.alipay("trade.precreate", biz)["qr_code"]
    town.wait(121_000)
    assert "error" in town.control("POST", "scan", {"code": code})
    assert town.book("q1")["state"] == "CLOSED"


@pytest.mark.parametrize("page", ["wap", "page", "app"])
def test_a_cashier_page_lets_a_buyer_pay_in_the_browser(town: Town, page: str) -> None:
    """GET of a signed request shows the page; its button pays and leads back with a signed return."""
    biz = {"out_trade_no": "w1", "total_amount": "12.34", "subject": "<b>tea</b>"}
    fields = town.alipay.fields(
        f"trade.{page}.pay", biz, return_url="http://127.0.0.1:9/back", notify_url=NOTIFY_URL
    )
    shown = town.world.handle(Call(method="GET", path="/gateway.do", query=urlencode(fields).encode()))
    assert "¥12.34" in shown.body.decode()
    assert "<b>tea" not in shown.body.decode()
    assert town.alipay.status("w1") == "ACQ.TRADE_NOT_EXIST"
    press = urlencode({"key": "alipay/w1", "buyer": "alipay-B", "action": "pay"}).encode()
    sent_on = town.world.handle(Call(method="POST", path="/cashier", body=press))
    assert sent_on.status == 303
    assert sent_on.headers["location"].startswith("http://127.0.0.1:9/back?")
    query = urlsplit(sent_on.headers["location"]).query
    assert f"method=alipay.trade.{page}.pay.return" in query
    assert town.alipay.status("w1") == "TRADE_SUCCESS"
    town.wait(1_000)
    assert len(town.callbacks) == 1


def test_a_cashier_page_of_a_forged_request_is_refused(town: Town) -> None:
    """Whoever changes the amount gets no page."""
    fields = town.alipay.fields("trade.wap.pay", pay_biz("w1", "00", "1.00"))
    fields["biz_content"] = fields["biz_content"].replace("1.00", "0.01")
    reply = town.world.handle(Call(method="POST", path="/gateway.do", body=urlencode(fields).encode()))
    assert b"isv.invalid-signature" in reply.body
    assert town.book("w1") == {}


@pytest.mark.parametrize(
    ("change", "code", "sub_code"),
    [
        ({"method": ""}, "40001", "isv.missing-method"),
        ({"method": "alipay.trade.nothing"}, "40002", "isv.invalid-method"),
        ({"app_id": ""}, "40001", "isv.missing-app-id"),
        ({"app_id": "2021000000000000"}, "40002", "isv.invalid-app-id"),
        ({"sign": ""}, "40001", "isv.missing-signature"),
        ({"sign_type": ""}, "40001", "isv.missing-signature-type"),
        ({"sign_type": "RSA"}, "40002", "isv.invalid-signature-type"),
        ({"sign": "bm90aGluZw=="}, "40002", "isv.invalid-signature"),
        ({"sign": "*"}, "40002", "isv.invalid-signature"),
        ({"timestamp": ""}, "40001", "isv.missing-timestamp"),
        ({"version": ""}, "40001", "isv.missing-version"),
    ],
)
def test_a_bad_request_gets_the_gateways_own_error(
    town: Town, change: dict[str, str], code: str, sub_code: str
) -> None:
    """Every common parameter is checked, and nothing happens in the books."""
    fields = town.alipay.fields("trade.pay", pay_biz("a1", "00", "1.00")) | change
    reply = town.world.handle(Call(method="POST", path="/gateway.do", body=urlencode(fields).encode()))
    (inner,) = [value for key, value in json.loads(reply.body).items() if key.endswith("_response")]
    assert (inner["code"], inner["sub_code"]) == (code, sub_code)
    assert town.book("a1") == {}


@pytest.mark.parametrize(
    ("common", "sub_code"),
    [
        ({"timestamp": "2026-01-01T12:00:00"}, "isv.invalid-timestamp"),
        ({"version": "2.0"}, "isv.invalid-version"),
        ({"format": "XML"}, "isv.invalid-format"),
        ({"charset": "big5"}, "isv.invalid-charset"),
        ({"biz_content": "{"}, "isv.invalid-parameter"),
    ],
)
def test_well_signed_nonsense_is_refused_too(town: Town, common: dict[str, str], sub_code: str) -> None:
    """A right signature over wrong common parameters helps nobody."""
    reply = town.alipay.send("trade.pay", pay_biz("a1", "00", "1.00"), **common)
    assert json.loads(reply.body)["alipay_trade_pay_response"]["sub_code"] == sub_code


@pytest.mark.parametrize(
    "change",
    [
        {"out_trade_no": ""},
        {"out_trade_no": "中文"},
        {"total_amount": "1.001"},
        {"total_amount": "0"},
        {"total_amount": "-1"},
        {"subject": ""},
        {"auth_code": ""},
        {"scene": "wave_code"},
        {"timeout_express": "soon"},
    ],
)
def test_wrong_business_parameters_are_named(town: Town, change: dict[str, str]) -> None:
    """ACQ.INVALID_PARAMETER, with nothing in the books."""
    answer = town.alipay("trade.pay", pay_biz("a1", "00", "1.00") | change)
    assert (answer["code"], answer["sub_code"]) == ("40004", "ACQ.INVALID_PARAMETER")
    assert town.control("GET", "books") == []


def test_numbers_in_json_are_read_as_written(town: Town) -> None:
    """SDKs send total_amount as a JSON number as well; 0.07 is seven fen."""
    answer = town.alipay("trade.pay", pay_biz("a1", "00", "") | {"total_amount": 0.07})
    assert answer["total_amount"] == "0.07"


def test_foreign_barcodes_are_invalid(town: Town) -> None:
    """A WeChat barcode means nothing here."""
    biz = pay_biz("a1", "00", "1.00") | {"auth_code": "134567890123456789"}
    assert town.alipay("trade.pay", biz)["sub_code"] == "ACQ.PAYMENT_AUTH_CODE_INVALID"


def test_query_and_body_are_merged_and_absolute_targets_understood(town: Town) -> None:
    """The Node SDK puts common parameters into the query, Python SDKs send the whole URL as target."""
    fields = town.alipay.fields("trade.pay", pay_biz("a1", "00", "1.00"))
    body = urlencode({"biz_content": fields.pop("biz_content")}).encode()
    call = Call(
        method="POST", path="http://127.0.0.1:8080/gateway.do", query=urlencode(fields).encode(), body=body
    )
    assert town.alipay.read(town.world.handle(call), "trade.pay")["code"] == "10000"


def test_replies_escape_slashes(town: Town) -> None:
    """The true gateway writes a backslash before each; verifiers must work on the raw text."""
    reply = town.alipay.send(
        "trade.precreate",
        {"out_trade_no": "q1", "total_amount": "1.00", "subject": "茶"},
        notify_url=NOTIFY_URL,
    )
    assert rb"https:\/\/qr.alipay.com\/bax" in reply.body


def test_certificate_mode_wants_serial_numbers_and_sends_its_own(town: Town) -> None:
    """Without or with wrong serial numbers: refused; replies name the certificate that signed them."""
    merchant, row = town.alipay_cert, town.alipay_cert.row
    assert merchant.pay("a1")["sub_code"] == "isv.missing-app-cert-sn"
    merchant.use_certificates("0" * 32, "0" * 32)
    assert merchant.pay("a1")["sub_code"] == "isv.invalid-app-cert-sn"
    merchant.use_certificates(certificate_sn(row["app_cert"]), root_certificate_sn(row["alipay_root_cert"]))
    reply = merchant.send("trade.pay", pay_biz("a1", "00", "1.00"))
    assert merchant.read(reply, "trade.pay")["code"] == "10000"
    assert json.loads(reply.body)["alipay_cert_sn"] == certificate_sn(row["alipay_cert"])


def test_a_merchant_sees_only_its_own_orders(town: Town) -> None:
    """The same number at two merchants is two orders."""
    town.alipay.pay("a1")
    row = town.alipay_cert.row
    town.alipay_cert.use_certificates(
        certificate_sn(row["app_cert"]), root_certificate_sn(row["alipay_root_cert"])
    )
    assert town.alipay_cert.status("a1") == "ACQ.TRADE_NOT_EXIST"
    assert town.alipay_cert.pay("a1", amount="3.00")["code"] == "10000"


def test_gbk_merchants_are_understood(town: Town) -> None:
    """A request in GBK is verified and answered in GBK."""
    biz = pay_biz("a1", "00", "1.00") | {"subject": "龙井茶"}
    fields = town.alipay.fields("trade.pay", biz, charset="gbk")
    body = urlencode(fields, encoding="gbk").encode()
    reply = town.world.handle(Call(method="POST", path="/gateway.do", body=body))
    assert town.world.bank.trades["alipay/a1"].subject == "龙井茶"
    assert town.alipay.read(reply, "trade.pay")["code"] == "10000"
    assert reply.headers["content-type"] == "text/html;charset=gbk"


def test_the_bill_lists_every_movement_of_its_day(town: Town) -> None:
    """A zip of two GBK files behind a link that lives 30 s; sums match the books."""
    town.alipay.pay("a1")
    town.alipay.refund("a1", "0.40", "r1")
    town.alipay.pay("a2", amount="2.50")
    town.wait(86_400_000)
    biz = {"bill_type": "trade", "bill_date": "2026-01-01"}
    url = urlsplit(town.alipay("data.dataservice.bill.downloadurl.query", biz)["bill_download_url"])
    reply = town.world.handle(Call(method="GET", path=url.path, query=url.query.encode()))
    files = zipfile.ZipFile(io.BytesIO(reply.body))
    assert [name.endswith(("业务明细.csv", "业务明细(汇总).csv")) for name in files.namelist()] == [
        True,
        True,
    ]
    text = files.read(files.namelist()[0]).decode("gbk")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    cells = [
        (row["商户订单号"].strip(), row["业务类型"].strip(), row["订单金额（元）"].strip()) for row in rows
    ]
    assert cells == [("a1", "交易", "1.00"), ("a1", "退款", "-0.40"), ("a2", "交易", "2.50")]
    assert "#交易合计：2笔，商家实收共3.50元" in text
    town.wait(31_000)
    assert town.world.handle(Call(method="GET", path=url.path, query=url.query.encode())).status == 403


@pytest.mark.parametrize(
    ("biz", "sub_code"),
    [
        ({"bill_type": "odd", "bill_date": "2026-01-01"}, "TYPE_NOT_SUPPORTED"),
        ({"bill_type": "trade", "bill_date": "2026-13-01"}, "INVAILID_ARGUMENTS"),
        ({"bill_type": "trade", "bill_date": "2026-01-02"}, "BILL_NOT_EXIST"),
    ],
)
def test_there_is_no_bill_of_a_day_to_come(town: Town, biz: dict[str, str], sub_code: str) -> None:
    """Wrong days and kinds are refused by the true codes."""
    assert town.alipay("data.dataservice.bill.downloadurl.query", biz)["sub_code"] == sub_code


def test_callbacks_are_repeated_until_acknowledged_and_then_given_up(town: Town) -> None:
    """15 s, 30 s, 180 s … with equal content; bounded; a good answer ends it."""
    town.acknowledges = False
    town.alipay.pay("a1", notify_url=NOTIFY_URL)
    town.wait(1_000)
    town.wait(15_000)
    town.wait(30_000)
    assert len(town.callbacks) == 3
    contents = [town.alipay.read_callback(callback) for callback in town.callbacks]
    assert len({fields["notify_id"] for fields in contents}) == 1
    town.wait(86_400_000)
    assert len(town.callbacks) == 8
    assert town.world.next_event_ms() is None
