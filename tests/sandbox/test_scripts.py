"""The table of scripts (DESIGN §9), each row for both wallets, barcodes and QR orders alike."""

from collections.abc import Callable

import pytest

from paymux.sandbox.messages import Reply
from tests.sandbox.merchants import NOTIFY_URL, Lost, Town, micropay, pay_biz


class Side:
    """One wallet behind words both share: PAID, WAITING, GONE, CLOSED, BROKEN."""

    def __init__(self, town: Town, wallet: str) -> None:
        self.town, self.wallet = town, wallet
        self.is_alipay = wallet == "alipay"

    def send_pay(self, script: str) -> Reply:
        """Pay one yuan by barcode; the raw reply."""
        if self.is_alipay:
            biz = pay_biz("n1", script, "1.00")
            return self.town.alipay.send("trade.pay", biz, notify_url=NOTIFY_URL)
        return self.town.wechat.send("/pay/micropay", micropay("n1", script, 100))

    def pay(self, script: str) -> str:
        """Pay one yuan by barcode; the code that tells how it went."""
        reply = self.send_pay(script)
        if self.is_alipay:
            answer = self.town.alipay.read(reply, "trade.pay")
            return str(answer.get("sub_code", answer["code"]))
        fields = self.town.wechat.read(reply)
        return fields.get("err_code", fields["result_code"])

    def send_order(self, script: str) -> Reply:
        """Make a QR order of 1.xx yuan; the raw reply."""
        if self.is_alipay:
            biz = {"out_trade_no": "n1", "total_amount": f"1.{script}", "subject": "coffee"}
            return self.town.alipay.send("trade.precreate", biz, notify_url=NOTIFY_URL)
        fields = micropay("n1", "00", 100 + int(script)) | {"trade_type": "NATIVE", "notify_url": NOTIFY_URL}
        del fields["auth_code"]
        return self.town.wechat.send("/pay/unifiedorder", fields)

    def order(self, script: str) -> str:
        """Make a QR order; the code that tells how it went."""
        reply = self.send_order(script)
        if self.is_alipay:
            answer = self.town.alipay.read(reply, "trade.precreate")
            return str(answer.get("sub_code", answer["code"]))
        fields = self.town.wechat.read(reply)
        return fields.get("err_code", fields["result_code"])

    def state(self) -> str:
        """Ask the wallet."""
        words = {
            "TRADE_SUCCESS": "PAID",
            "SUCCESS": "PAID",
            "REFUND": "PAID",
            "WAIT_BUYER_PAY": "WAITING",
            "USERPAYING": "WAITING",
            "NOTPAY": "WAITING",
            "ACQ.TRADE_NOT_EXIST": "GONE",
            "ORDERNOTEXIST": "GONE",
            "ACQ.SYSTEM_ERROR": "BROKEN",
            "SYSTEMERROR": "BROKEN",
            "TRADE_CLOSED": "CLOSED",
            "CLOSED": "CLOSED",
            "REVOKED": "CLOSED",
        }
        return words[self.town.alipay.status("n1") if self.is_alipay else self.town.wechat.status("n1")]

    def undo(self) -> bool:
        """Cancel or reverse; True when the wallet said it is done, False when it wants another call."""
        if self.is_alipay:
            answer = self.town.alipay.cancel("n1")
            return bool(answer["code"] == "10000" and answer["retry_flag"] == "N")
        fields = self.town.wechat.reverse("n1")
        return fields["result_code"] == "SUCCESS" and fields["recall"] == "N"

    def refund(self, amount_fen: int = 100, request: str = "r1") -> str:
        """Give everything back; the code."""
        if self.is_alipay:
            answer = self.town.alipay.refund("n1", f"{amount_fen // 100}.{amount_fen % 100:02d}", request)
            return str(answer.get("sub_code", answer["code"]))
        fields = self.town.wechat.refund("n1", amount_fen, amount_fen, request)
        return fields.get("err_code", fields["result_code"])

    def code(self, alipay: str, wechat: str) -> str:
        """Return this wallet's word."""
        return alipay if self.is_alipay else wechat

    def book(self) -> tuple[int, int, str] | None:
        """Return (paid, refunded, state)."""
        row = self.town.book("n1")
        return (row["paid"], row["refunded"], row["state"]) if row else None

    def called_back(self) -> list[str]:
        """Return what the callbacks said, amounts included."""
        if self.is_alipay:
            read = [self.town.alipay.read_callback(callback) for callback in self.town.callbacks]
            return [f"{fields['trade_status']} {fields['total_amount']}" for fields in read]
        told = [self.town.wechat.read_callback(callback) for callback in self.town.callbacks]
        return [f"{fields['result_code']} {fields['total_fee']}" for fields in told]


@pytest.fixture(params=["alipay", "wechat"])
def side(town: Town, request: pytest.FixtureRequest) -> Side:
    """Play every script with both wallets."""
    return Side(town, request.param)


PAID = (100, 0, "PAID")


# --- barcodes ---


@pytest.mark.parametrize("script", ["00", "20", "57", "99"])
def test_00_and_others_are_paid_at_once(side: Side, script: str) -> None:
    """No fuss."""
    assert side.pay(script) == side.code("10000", "SUCCESS")
    assert (side.state(), side.book()) == ("PAID", PAID)


def test_01_waits_for_the_password_then_pays(side: Side) -> None:
    """Three seconds of waiting; asking for the payment again still waits."""
    assert side.pay("01") == side.code("10003", "USERPAYING")
    assert side.pay("01") == side.code("10003", "USERPAYING")
    side.town.wait(2_900)
    assert side.state() == "WAITING"
    side.town.wait(100)
    assert (side.state(), side.book()) == ("PAID", PAID)


def test_01_undone_while_waiting_is_never_paid(side: Side) -> None:
    """The password comes too late."""
    side.pay("01")
    assert side.undo()
    side.town.wait(10_000)
    assert side.book() == (0, 0, "REVERSED")


@pytest.mark.parametrize(
    ("script", "alipay", "wechat"),
    [
        ("02", "ACQ.BUYER_BALANCE_NOT_ENOUGH", "NOTENOUGH"),
        ("03", "ACQ.PAYMENT_AUTH_CODE_INVALID", "AUTHCODEEXPIRE"),
        ("12", "ACQ.SANDBOX_UNHEARD_OF", "SANDBOX_UNHEARD_OF"),
    ],
)
def test_02_03_12_are_refused_without_effect(side: Side, script: str, alipay: str, wechat: str) -> None:
    """A signed refusal; the books know nothing."""
    assert side.pay(script) == side.code(alipay, wechat)
    assert side.book() is None
    assert side.state() == "GONE"


def test_04_is_lost_every_time_without_effect(side: Side) -> None:
    """No reply, no order."""
    for _ in range(3):
        assert side.send_pay("04").lost
    assert (side.book(), side.state()) == (None, "GONE")


def test_05_loses_the_reply_but_takes_the_money(side: Side) -> None:
    """Only the first reply; a query knows."""
    assert side.send_pay("05").lost
    assert (side.state(), side.book()) == ("PAID", PAID)
    assert side.pay("05") == side.code("ACQ.TRADE_HAS_SUCCESS", "ORDERPAID")


def test_06_answers_garbage_but_takes_the_money(side: Side) -> None:
    """HTTP 200 and bytes nobody can read."""
    reply = side.send_pay("06")
    assert reply.status == 200
    assert b"code" not in reply.body.partition(b"busy")[0]
    with pytest.raises((AssertionError, UnicodeDecodeError, KeyError)):
        side.town.wechat.read(reply) if side.wallet == "wechat" else side.town.alipay.read(reply, "trade.pay")
    assert side.book() == PAID


def test_07_signs_wrongly_but_takes_the_money(side: Side) -> None:
    """The reply looks fine to whoever does not verify."""
    reply = side.send_pay("07")
    assert side.code('"code":"10000"', "<![CDATA[SUCCESS]]>").encode() in reply.body
    with pytest.raises(Exception):  # noqa: B017, PT011 - InvalidSignature or a failed comparison, by wallet
        side.town.wechat.read(reply) if side.wallet == "wechat" else side.town.alipay.read(reply, "trade.pay")
    assert side.book() == PAID


def test_08_is_an_http_500_without_effect(side: Side) -> None:
    """The web server stumbled before the wallet heard anything."""
    assert side.send_pay("08").status == 500
    assert side.book() is None


def test_09_says_system_error_but_takes_the_money(side: Side) -> None:
    """The classic."""
    assert side.pay("09") == side.code("isp.unknow-error", "SYSTEMERROR")
    assert (side.state(), side.book()) == ("PAID", PAID)


def test_10_waits_for_ever(side: Side) -> None:
    """Until somebody undoes it."""
    assert side.pay("10") == side.code("10003", "USERPAYING")
    side.town.wait(86_400_000)
    assert side.state() == "WAITING"
    assert side.undo()
    assert side.book() == (0, 0, "REVERSED")


def test_11_answers_after_8_s(side: Side) -> None:
    """The money is taken at once."""
    assert side.send_pay("11").delay_ms == 8_000
    assert side.book() == PAID


def test_13_is_not_found_for_10_s(side: Side) -> None:
    """Reply lost, query blind, callback late: and yet paid."""
    assert side.send_pay("13").lost
    side.town.wait(9_900)
    assert (side.state(), side.book(), side.town.callbacks) == ("GONE", PAID, [])
    side.town.wait(1_000)
    assert side.state() == "PAID"
    assert side.called_back() == (["TRADE_SUCCESS 1.00"] if side.is_alipay else [])


def test_13_undone_while_hidden_gives_the_money_back(side: Side) -> None:
    """A cancel sees the truth where a query does not."""
    side.send_pay("13")
    assert side.undo()
    assert side.book() == (0, 0, "REVERSED")


def test_14_is_paid_after_the_undo_was_answered(side: Side) -> None:
    """Nothing to see, undo says ok, two seconds later the money is taken; a refund works."""
    assert side.send_pay("14").lost
    side.town.wait(30_000)
    assert side.state() == "GONE"
    assert side.undo()
    assert side.book() == (0, 0, "REVERSED")
    side.town.wait(1_900)
    assert side.book() == (0, 0, "REVERSED")
    side.town.wait(1_000)
    assert (side.state(), side.book()) == ("PAID", PAID)
    assert side.called_back() == (["TRADE_SUCCESS 1.00"] if side.is_alipay else [])
    assert side.refund() == side.code("10000", "SUCCESS")
    assert side.book() == (100, 100, "REFUNDED")


def test_14_can_be_undone_for_good_afterwards(side: Side) -> None:
    """The late buyer is late only once."""
    side.send_pay("14")
    side.undo()
    side.town.wait(3_000)
    assert side.undo()
    side.town.wait(60_000)
    assert side.book() == (0, 0, "REVERSED")


def test_15_is_undone_by_the_third_call(side: Side) -> None:
    """Until then queries are blind and callbacks held back."""
    assert side.send_pay("15").lost
    side.town.wait(60_000)
    assert (side.state(), side.book(), side.town.callbacks) == ("BROKEN", PAID, [])
    assert [side.undo(), side.undo(), side.undo()] == [False, False, True]
    side.town.wait(60_000)
    assert (side.state(), side.book()) == ("CLOSED", (0, 0, "REVERSED"))
    assert side.town.callbacks == []


def test_17_stumbles_at_the_first_refund_though_done(side: Side) -> None:
    """The same request again tells the truth; the money moved once."""
    side.pay("17")
    assert side.refund() == side.code("ACQ.SYSTEM_ERROR", "SYSTEMERROR")
    assert side.refund() == side.code("10000", "SUCCESS")
    assert side.book() == (100, 100, "REFUNDED")


def test_18_refuses_refunds_but_not_cancels(side: Side) -> None:
    """The seller's balance is to blame, whatever it is."""
    side.pay("18")
    for _ in range(2):
        assert side.refund() == side.code("ACQ.SELLER_BALANCE_NOT_ENOUGH", "NOTENOUGH")
    assert side.book() == PAID
    assert side.undo()


def test_19_answers_one_fen_too_much(side: Side) -> None:
    """The query tells the true amount."""
    if side.is_alipay:
        assert side.town.alipay.pay("n1", "19")["total_amount"] == "1.01"
        assert side.town.alipay.query("n1")["total_amount"] == "1.00"
    else:
        assert side.town.wechat.pay("n1", "19")["total_fee"] == "101"
        assert side.town.wechat.query("n1")["total_fee"] == "100"
    assert side.book() == PAID


def test_16_calls_back_three_times_out_of_order(town: Town) -> None:
    """Alipay's second callback is an older state; all three are signed."""
    side = Side(town, "alipay")
    assert side.pay("16") == "10000"
    town.wait(10_000)
    assert side.called_back() == ["TRADE_SUCCESS 1.00", "WAIT_BUYER_PAY 1.00", "TRADE_SUCCESS 1.00"]


# --- QR orders ---


@pytest.mark.parametrize("script", ["00", "16", "17", "18", "20", "99"])
def test_qr_orders_are_paid_by_the_robot_after_a_second(side: Side, script: str) -> None:
    """Prepared normally, then paid, then called back."""
    assert side.order(script) == side.code("10000", "SUCCESS")
    side.town.wait(999)
    assert side.book() == (0, 0, "WAITING")
    side.town.wait(1)
    assert side.book() == (100 + int(script), 0, "PAID")
    side.town.wait(5_000)
    assert len(side.town.callbacks) == (3 if script == "16" else 1)


@pytest.mark.parametrize("script", ["04", "08", "12"])
def test_qr_requests_without_effect_leave_no_order(side: Side, script: str) -> None:
    """Lost, HTTP 500 or an unknown code: every time."""
    for _ in range(2):
        reply = side.send_order(script)
        assert reply.lost or reply.status == 500 or b"UNHEARD_OF" in reply.body
    side.town.wait(10_000)
    assert side.book() is None


@pytest.mark.parametrize("script", ["05", "06", "07", "09", "11"])
def test_qr_faults_hit_the_first_reply_and_the_robot_pays_all_the_same(side: Side, script: str) -> None:
    """The order exists; repeating the request gets a good reply; a second after the first one it is paid."""
    reply = side.send_order(script)
    assert reply.lost or reply.delay_ms == 8_000 or reply.body
    assert side.order(script) == side.code("10000", "SUCCESS")
    side.town.wait(1_000)
    assert side.book() == (100 + int(script), 0, "PAID")


@pytest.mark.parametrize(("script", "scanned"), [("02", True), ("03", False), ("10", True)])
def test_qr_orders_nobody_can_or_will_pay_wait_until_closed(side: Side, script: str, scanned: bool) -> None:  # noqa: FBT001 - a table's cell
    """Insufficient funds, nobody there, never answers; two hours later the order dies."""
    side.order(script)
    side.town.wait(60_000)
    waiting = scanned or not side.is_alipay
    assert side.state() == ("WAITING" if waiting else "GONE")
    side.town.wait(2 * 3_600_000)
    assert side.book() == (0, 0, "CLOSED")


def test_qr_01_types_the_password_after_scanning(side: Side) -> None:
    """One second to scan, three to type."""
    side.order("01")
    side.town.wait(3_900)
    assert side.state() == "WAITING"
    side.town.wait(100)
    assert side.book() == (101, 0, "PAID")


def test_qr_13_is_hidden_for_10_s(side: Side) -> None:
    """Paid after a second, seen after ten."""
    side.order("13")
    side.town.wait(9_900)
    assert (side.state(), side.book(), side.town.callbacks) == ("GONE", (113, 0, "PAID"), [])
    side.town.wait(500)
    assert (side.state(), len(side.town.callbacks)) == ("PAID", 1)


def close_or_cancel(side: Side) -> Callable[[], str]:
    """Return the undo a QR order has: Alipay cancels, WeChat closes."""

    def alipay() -> str:
        answer = side.town.alipay.cancel("n1")
        return "again" if answer.get("retry_flag") == "Y" else str(answer["code"])

    def wechat() -> str:
        fields = side.town.wechat.close("n1")
        return fields.get("err_code", fields["result_code"])

    return alipay if side.is_alipay else wechat


def test_qr_14_is_paid_after_the_close_was_answered(side: Side) -> None:
    """Waiting, closed, paid, called back, refunded."""
    side.order("14")
    side.town.wait(10_000)
    assert side.state() == "WAITING"
    assert close_or_cancel(side)() == side.code("10000", "SUCCESS")
    side.town.wait(3_000)
    assert (side.state(), side.book()) == ("PAID", (114, 0, "PAID"))
    assert side.called_back() == [side.code("TRADE_SUCCESS 1.14", "SUCCESS 114")]
    assert side.refund(114) == side.code("10000", "SUCCESS")


def test_qr_15_fails_twice_then_tells_the_truth(side: Side) -> None:
    """Alipay's third cancel refunds; WeChat's third close says ORDERPAID, then query and callback tell."""
    side.order("15")
    side.town.wait(10_000)
    assert (side.state(), side.town.callbacks) == ("BROKEN", [])
    undo = close_or_cancel(side)
    assert [undo(), undo(), undo()] == [side.code("again", "SYSTEMERROR")] * 2 + [
        side.code("10000", "ORDERPAID")
    ]
    side.town.wait(1_000)
    if side.is_alipay:
        assert side.book() == (0, 0, "REVERSED")
        return
    assert (side.state(), len(side.town.callbacks)) == ("PAID", 1)
    assert side.refund(115) == "SUCCESS"


def test_qr_19_calls_back_one_fen_too_much(side: Side) -> None:
    """For a QR order the callback is the first word of success; the query tells the true amount."""
    side.order("19")
    side.town.wait(2_000)
    assert side.called_back() == [side.code("TRADE_SUCCESS 1.20", "SUCCESS 120")]
    assert side.book() == (119, 0, "PAID")


def test_without_amount_scripts_orders_wait_for_people(side: Side) -> None:
    """No robot comes; POST /_sandbox/scan is the buyer."""
    side.town.control("PATCH", f"accounts/{side.wallet}", {"amount_scripts": False})
    assert side.order("04") == side.code("10000", "SUCCESS")
    side.town.wait(60_000)
    assert side.book() == (0, 0, "WAITING")
    side.town.control("POST", "scan", {"out_trade_no": "n1", "action": "scan"})
    assert side.state() == "WAITING"
    assert side.town.control("POST", "scan", {"out_trade_no": "n1"})["state"] == "PAID"
    side.town.wait(1_000)
    assert len(side.town.callbacks) == 1


def test_digits_can_be_remapped(side: Side) -> None:
    """55 plays 05 once asked to."""
    side.town.control("PUT", "scripts/55", {"script": "05"})
    assert side.send_pay("55").lost
    assert side.book() == PAID


def test_lost_replies_raise_for_whoever_reads_them(town: Town) -> None:
    """The tests' own merchants see a lost reply as one."""
    with pytest.raises(Lost):
        town.alipay.pay("n1", "04")
