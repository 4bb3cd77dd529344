"""The world as a whole: repeatable, conserving money, controllable, and able to remember."""

import json
import random
import stat
from pathlib import Path
from urllib.parse import urlencode

import pytest

from paymux.sandbox import snapshot
from paymux.sandbox.keys import KeyRing
from paymux.sandbox.messages import Call
from paymux.sandbox.world import World
from tests.sandbox.merchants import NOTIFY_URL, Clock, Lost, Town, pay_biz


def busy_day(town: Town, seed: int) -> list[bytes]:
    """Do a few hundred things a seed chooses; return every byte the world said."""
    dice = random.Random(seed)
    said: list[bytes] = []
    for number in range(60):
        script = f"{dice.randrange(20):02d}"
        name = f"n{number}"
        wallet = dice.choice(["alipay", "wechat"])
        if dice.random() < 0.5:
            send_barcode(town, wallet, name, script, said)
        else:
            send_order(town, wallet, name, int(script), said)
        town.wait(dice.randrange(5_000))
        undo(town, wallet, name, dice, said)
        said += [callback.body for callback in town.callbacks]
    return said


def send_barcode(town: Town, wallet: str, name: str, script: str, said: list[bytes]) -> None:
    """Take 3.00 by barcode."""
    if wallet == "alipay":
        said.append(town.alipay.send("trade.pay", pay_biz(name, script, "3.00"), notify_url=NOTIFY_URL).body)
        return
    fields = {"body": "tea", "out_trade_no": name, "total_fee": "300", "spbill_create_ip": "::1"}
    said.append(town.wechat.send("/pay/micropay", fields | {"auth_code": f"1312345678901234{script}"}).body)


def send_order(town: Town, wallet: str, name: str, script: int, said: list[bytes]) -> None:
    """Make a QR order of 3.xx."""
    if wallet == "alipay":
        biz = {"out_trade_no": name, "total_amount": f"3.{script:02d}", "subject": "tea"}
        said.append(town.alipay.send("trade.precreate", biz, notify_url=NOTIFY_URL).body)
        return
    fields = {"body": "tea", "out_trade_no": name, "total_fee": str(300 + script), "spbill_create_ip": "::1"}
    said.append(
        town.wechat.send(
            "/pay/unifiedorder", fields | {"trade_type": "NATIVE", "notify_url": NOTIFY_URL}
        ).body
    )


def undo(town: Town, wallet: str, name: str, dice: random.Random, said: list[bytes]) -> None:
    """Refund a part, cancel, or let it be."""
    what = dice.choice(["refund", "cancel", "nothing"])
    fen = dice.randrange(1, 350)
    if what == "refund" and wallet == "alipay":
        biz = {"out_trade_no": name, "refund_amount": f"{fen // 100}.{fen % 100:02d}", "out_request_no": "r"}
        said.append(town.alipay.send("trade.refund", biz).body)
    elif what == "refund":
        terms = {"out_refund_no": f"r{name}", "total_fee": "300", "refund_fee": str(fen)}
        said.append(town.wechat.send("/secapi/pay/refund", {"out_trade_no": name} | terms).body)
    elif what == "cancel":
        path = dice.choice(["/secapi/pay/reverse", "/pay/closeorder"])
        said.append(
            town.alipay.send("trade.cancel", {"out_trade_no": name}).body
            if wallet == "alipay"
            else town.wechat.send(path, {"out_trade_no": name}).body
        )


def new_town(keys: KeyRing, seed: int) -> Town:
    """Open one more sandbox."""
    clock = Clock()
    return Town(World(seed, clock, keys=keys), clock)


def test_the_same_seed_tells_the_same_story(keys: KeyRing) -> None:
    """Replies and callbacks are equal byte for byte; another seed gives other numbers."""
    stories = [busy_day(new_town(keys, seed), 1) for seed in (3, 3, 4)]
    assert len(stories[0]) > 100
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


@pytest.mark.parametrize("seed", range(3))
def test_money_is_neither_made_nor_lost(keys: KeyRing, seed: int) -> None:
    """Buyers and sellers together own the same at every end; sellers own what the books say."""
    town = new_town(keys, seed)
    before = town.balance()
    busy_day(town, seed)
    town.wait(3 * 3_600_000)
    assert town.balance() == before
    books = town.control("GET", "books")
    assert sum(row["paid"] - row["refunded"] for row in books) == sum(town.world.bank.ledger.sellers.values())
    assert all(0 <= row["refunded"] <= row["paid"] for row in books)
    assert {row["state"] for row in books} >= {"PAID", "REVERSED"}


def test_the_journal_explains_every_balance(keys: KeyRing) -> None:
    """Played from the first movement on, it ends at today's balances."""
    town = new_town(keys, 1)
    busy_day(town, 2)
    balances: dict[str, int] = {}
    for move in town.control("GET", "journal"):
        sign = -1 if move["what"] == "pay" else 1
        balances[move["buyer"]] = balances.get(move["buyer"], 0) + sign * move["amount_fen"]
        assert balances[move["buyer"]] == move["buyer_balance_fen"]
    assert balances == town.world.bank.ledger.buyers


def test_a_long_leap_is_the_same_as_many_steps(keys: KeyRing) -> None:
    """What was due happens at its own time, however late somebody looks."""
    towns = [new_town(keys, 1) for _ in range(2)]
    for town, steps in zip(towns, (1, 100), strict=True):
        town.wechat.order("q1", 101)
        for _ in range(steps):
            town.clock.now_ms += 10_000 // steps
            town.world.run_due()
    paid = [town.control("GET", "journal")[-1]["time_ms"] for town in towns]
    assert paid[0] == paid[1] == towns[0].clock.now_ms - 6_000


@pytest.mark.parametrize(
    ("fault", "takes_money"),
    [
        ("lost_request", False),
        ("http_500", False),
        ("lost_reply", True),
        ("garbage", True),
        ("bad_sign", True),
    ],
)
@pytest.mark.parametrize("wallet", ["alipay", "wechat"])
def test_a_fault_can_be_armed_for_one_call(town: Town, wallet: str, fault: str, takes_money: bool) -> None:  # noqa: FBT001 - a table's cell
    """It hits the named order and operation once, and nothing else."""
    town.control("POST", "faults", {"fault": fault, "operation": "pay", "out_trade_no": "n2"})
    merchant = town.alipay if wallet == "alipay" else town.wechat
    good = ("10000", "SUCCESS")
    assert merchant.pay("n1").get("code", "SUCCESS") in good
    with pytest.raises(Exception):  # noqa: B017, PT011 - lost, garbled or forged: each has its own
        merchant.pay("n2")
    assert bool(town.book("n2")) == takes_money
    assert town.control("GET", "faults") == []
    assert merchant.status("n1") in ("TRADE_SUCCESS", "SUCCESS")


def test_slowness_can_be_armed_for_any_call(town: Town) -> None:
    """slow_ms delays the reply, twice when asked to."""
    town.control("POST", "faults", {"fault": "slow_ms", "slow_ms": 1234, "times": 2})
    delays = [town.alipay.send("trade.query", {"out_trade_no": "n1"}).delay_ms for _ in range(3)]
    assert delays == [1234, 1234, 0]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "faults", {"fault": "wrong_amount"}, 400),
        ("POST", "faults", {"fault": "earthquake"}, 400),
        ("PUT", "scripts/5x", {"script": "05"}, 400),
        ("PUT", "scripts/55", {"script": "77"}, 400),
        ("PATCH", "accounts/nobody", {"amount_scripts": True}, 404),
        ("POST", "time", {"advance_ms": -1}, 400),
        ("POST", "time", {"rate": 0}, 400),
        ("POST", "buyers", {"name": "x", "balance": -1}, 400),
        ("POST", "buyers", {"name": "x", "balance": 1}, 400),
        ("POST", "scan", {"out_trade_no": "n9"}, 404),
        ("POST", "scan", {"out_trade_no": "n9", "colour": "red"}, 400),
    ],
)
def test_the_control_api_names_what_is_wrong(
    town: Town, method: str, path: str, body: dict[str, object] | None, status: int
) -> None:
    """A status and an error text, never a guess."""
    data = json.dumps(body).encode() if body else b""
    reply = town.world.handle(Call(method=method, path=f"/_sandbox/{path}", body=data))
    assert reply.status == status
    assert b'"error"' in reply.body


def test_scripts_are_listed(town: Town) -> None:
    """All twenty, with names and meanings."""
    listed = town.control("GET", "scripts")["scripts"]
    assert [row["digits"] for row in listed] == [f"{number:02d}" for number in range(20)]
    assert all(row["name"] and row["meaning"] for row in listed)


def test_buyers_have_barcodes_that_lead_back_to_them(town: Town) -> None:
    """A barcode of the list pays from its owner's balance; balances can be set; new buyers can come."""
    row = next(row for row in town.control("GET", "buyers") if row["name"] == "alipay-C")
    biz = pay_biz("a1", "00", "1.00") | {"auth_code": row["barcodes"]["00"]}
    assert town.alipay("trade.pay", biz)["code"] == "10000"
    assert town.control("GET", "journal")[-1]["buyer"] == "alipay-C"
    town.control("POST", "buyers", {"name": "alipay-C", "balance": 50})
    poor = town.alipay("trade.pay", biz | {"out_trade_no": "a2"})
    assert poor["sub_code"] == "ACQ.BUYER_BALANCE_NOT_ENOUGH"
    town.control("POST", "buyers", {"name": "alipay-D", "balance": 700, "wallet": "alipay"})
    assert town.control("GET", "buyers")[-1]["balance"] == 700


def test_time_can_be_moved_and_sped_up(town: Town) -> None:
    """An hour forward at once, then sixty times as fast; the buyer's password comes with it."""
    town.alipay.pay("a1", "01")
    before = town.control("GET", "time")["now_ms"]
    assert town.control("POST", "time", {"advance_ms": 3_600_000, "rate": 60})["now_ms"] == before + 3_600_000
    assert town.alipay.status("a1") == "TRADE_SUCCESS"
    town.clock.now_ms += 1_000
    assert town.control("GET", "time")["now_ms"] == before + 3_660_000


def test_the_transcript_is_scrubbed(town: Town) -> None:
    """Barcodes and signatures are masked, on every wire; the last two digits stay readable."""
    town.alipay.pay("a1", "01", notify_url=NOTIFY_URL)
    town.wechat.pay("w1")
    town.wait(5_000)
    entries = town.control("GET", "transcript")
    assert [entry["kind"] for entry in entries] == ["call", "call", "callback"]
    text = str(entries)
    assert "1234567890" not in text
    assert "28****01" in text
    assert town.wechat.row["api_key"] not in text


def test_reset_forgets_orders_and_keeps_merchants(town: Town) -> None:
    """A clean table for the next test run."""
    accounts = town.control("GET", "accounts")
    total = town.balance()
    town.alipay.pay("a1", "01")
    town.control("PUT", "scripts/55", {"script": "05"})
    town.control("POST", "reset")
    assert town.control("GET", "books") == []
    assert town.control("GET", "accounts") == accounts
    assert town.balance() == total
    assert town.control("GET", "scripts")["remaps"] == {}
    town.wait(10_000)
    assert town.callbacks == []


def test_accounts_are_ready_for_provisioning(town: Town) -> None:
    """Flat rows with everything a gateway needs, one per flavour."""
    rows = {row["name"]: row for row in town.control("GET", "accounts")}
    assert list(rows) == ["alipay", "alipay-cert", "wechat", "wechat-hmac"]
    assert rows["alipay"]["alipay_public_key"].startswith("-----BEGIN PUBLIC KEY-----")
    assert {"app_cert", "alipay_cert", "alipay_root_cert"} <= set(rows["alipay-cert"])
    assert rows["wechat-hmac"]["sign_type"] == "HMAC-SHA256"
    assert {"client_cert", "client_key", "ca_cert", "secure_base_url"} <= set(rows["wechat"])
    assert all(row["amount_scripts"] for row in rows.values())


def test_the_phone_page_shows_orders_and_lets_a_person_pay(town: Town) -> None:
    """Escaped, complete, and its buttons work; a second press is told it is too late."""
    town.control("PATCH", "accounts/wechat", {"amount_scripts": False})
    town.wechat.order("q1", 100, attach="x")
    town.alipay("trade.pay", pay_biz("a1", "10", "1.00") | {"subject": "<script>alert(1)</script>"})
    page = town.world.handle(Call(method="GET", path="/phone")).body.decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for key, number in (("wechat/q1", "q1"), ("alipay/a1", "a1")):
        assert f'value="{key}"' in page
        press = Call(
            method="POST", path="/phone", body=urlencode({"key": key, "buyer": "", "action": "pay"}).encode()
        )
        if key == "wechat/q1":
            press = Call(method="POST", path="/phone", body=b"key=wechat%2Fq1&buyer=wechat-B&action=pay")
        assert town.world.handle(press).headers["location"] == "/phone?said=done"
        assert town.book(number)["state"] == "PAID"
        assert town.world.handle(press).headers["location"] == "/phone?said=late"
    assert "完成" in town.world.handle(Call(method="GET", path="/phone", query=b"said=done")).body.decode()


def test_walking_away_fails_a_barcode_and_leaves_a_qr_order_open(town: Town) -> None:
    """The wallet says PAYERROR or TRADE_CLOSED; a QR order waits for the next buyer."""
    town.wechat.pay("w1", "10")
    town.control("POST", "scan", {"out_trade_no": "w1", "action": "refuse"})
    assert town.wechat.status("w1") == "PAYERROR"
    town.alipay.precreate("q1", "1.10")
    town.wait(2_000)
    town.control("POST", "scan", {"out_trade_no": "q1", "action": "refuse"})
    assert town.control("POST", "scan", {"out_trade_no": "q1", "buyer": "alipay-B"})["state"] == "PAID"


def test_a_restarted_sandbox_goes_on(keys: KeyRing, tmp_path: Path) -> None:
    """Books, balances, planned payments and unanswered callbacks outlive the process; files are private."""
    town = new_town(keys, 1)
    town.alipay.pay("a1")
    town.alipay.pay("a2", "01", notify_url=NOTIFY_URL)
    town.wechat.order("q1", 114)
    snapshot.save(town.world, tmp_path, ahead_ms=0)
    assert stat.S_IMODE((tmp_path / snapshot.BOOKS_FILE).stat().st_mode) == 0o600
    clock = Clock()
    again = Town(World(1, clock, keys=keys), clock)
    snapshot.load(again.world, tmp_path)
    assert again.control("GET", "books") == town.control("GET", "books")
    for one in (town, again):
        one.wait(5_000)
    assert again.alipay.status("a2") == "TRADE_SUCCESS"
    assert [callback.body for callback in again.callbacks] == [callback.body for callback in town.callbacks]
    assert again.alipay.refund("a1", "1.00")["fund_change"] == "Y"


def test_keys_are_stored_once_and_privately(tmp_path: Path) -> None:
    """The second start finds the seed and the keys of the first."""
    first = snapshot.load_origin(tmp_path / "data", 5)
    assert snapshot.load_origin(tmp_path / "data", 6) == first
    assert stat.S_IMODE((tmp_path / "data" / snapshot.KEYS_FILE).stat().st_mode) == 0o600


def test_lost_calls_are_visible_in_the_transcript(town: Town) -> None:
    """Who asks why there was no answer can see it."""
    with pytest.raises(Lost):
        town.wechat.pay("w1", "05")
    assert town.control("GET", "transcript")[-1]["lost"] is True
