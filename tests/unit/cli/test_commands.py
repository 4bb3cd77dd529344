"""The commands: help for all, one readable message instead of a traceback, books and channels as promised."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from paymux.app import alone
from paymux.cli.admin import row_of
from paymux.cli.main import main
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.order import Order, OrderStatus
from paymux.domain.payways import PAYWAY_NAMES
from tests.house.project import ROOT

ORDER = Order(
    bucket=1,
    merchant_id="M1",
    sn="7894259244096169",
    client_sn="c",
    store_sn="S1",
    terminal_sn="T1",
    account="wx",
    channel="wechat",
    payway="3",
    sub_payway="1",
    total=120,
    digest="",
    subject="s",
    ctime_ms=1,
    deadline_ms=2,
    latest_tsn="7894259244096169",
)


def run(*words: str, data: Path | None = None) -> Result:
    """Run a command, by default on an installation that does not exist."""
    environ = {name: None for name in os.environ if name.startswith("PAYMUX_")}
    return CliRunner().invoke(main, list(words), env=environ | {"PAYMUX_DATA_DIR": str(data or "/nowhere")})


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in main.commands), ("admin", "books"), ("admin", "channels")]
)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    """`-h` works everywhere and says more than the usage line."""
    result = run(*command, "-h")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4


def test_the_settings_page_is_up_to_date() -> None:
    """docs/settings.md is what `paymux settings --markdown` writes."""
    assert run("settings", "--markdown").output == (ROOT / "docs/settings.md").read_text()


def test_settings_are_shown_without_the_key() -> None:
    """What is in force, but never the master key."""
    environ = {"PAYMUX_MASTER_KEY": "ab" * 32, "PAYMUX_LIMITS_LATE_WATCH_S": "5,6"}
    output = CliRunner().invoke(main, ["settings"], env=environ).output
    assert "abab" not in output
    assert "master_key                     (set)" in output
    assert "limits.late_watch_s            5, 6" in output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explain", "1"), "there is no database"),
        (("admin", "books"), "there is no database"),
        (("provision", "/nowhere.toml"), "/nowhere.toml cannot be read"),
        (("--config", "/nowhere.toml", "serve"), "settings file /nowhere.toml cannot be read"),
    ],
)
def test_trouble_is_one_readable_message(words: tuple[str, ...], said: str) -> None:
    """Exit code 2, a message that names the thing, no traceback."""
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A disk that came back read-only ends a start with a message, not with a traceback."""
    (tmp_path / "paymux.db.serving").mkdir()
    with pytest.raises(ConfigurationBroken, match=r"paymux\.db\.serving cannot be written"):
        alone(tmp_path / "paymux.db").__enter__()


def test_looking_at_nothing_makes_nothing(tmp_path: Path) -> None:
    """`explain` and `admin books` read only: they do not even make a database."""
    for words in (("explain", "1"), ("admin", "books")):
        assert run(*words, data=tmp_path / "none").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_channels_tell_what_they_can() -> None:
    """Every payway of the specification is ready or missing with a reason, none twice."""
    rows = json.loads(run("admin", "channels", "--json").output)
    assert {"channel", "payways", "sub_payways", "operations", "status", "reason"} == set(rows[0])
    payways = [payway for row in rows for payway in row["payways"]]
    assert sorted(payways, key=int) == list(PAYWAY_NAMES)
    assert {row["channel"] for row in rows if row["status"] == "ready"} == {"alipay", "wechat"}
    assert all(row["reason"] for row in rows if row["status"] == "missing")


@pytest.mark.parametrize(
    ("status", "paid", "refunded", "state"),
    [
        ("CREATED", 0, 0, "WAITING"),
        ("PAID", 120, 0, "PAID"),
        ("CANCEL_INPROGRESS", 120, 0, "PAID"),
        ("REFUND_INPROGRESS", 120, 20, "PARTIAL_REFUNDED"),
        ("PARTIAL_REFUNDED", 120, 20, "PARTIAL_REFUNDED"),
        ("REFUNDED", 120, 120, "REFUNDED"),
        ("CANCELED", 0, 0, "REVERSED"),
        ("CANCELED", 120, 120, "REFUNDED"),
        ("PAY_CANCELED", 0, 0, "CLOSED"),
        ("PAY_ERROR", 0, 0, "UNKNOWN"),
        ("CANCEL_ERROR", 120, 0, "UNKNOWN"),
    ],
)
def test_our_books_speak_as_the_wallets_do(status: str, paid: int, refunded: int, state: str) -> None:
    """One row per order, in fen, with the state the wallet's books would show."""
    row = row_of(replace(ORDER, status=OrderStatus(status), paid=paid, refunded=refunded))
    assert msgspec.to_builtins(row) == {
        "wallet": "wechat",
        "out_trade_no": ORDER.sn,
        "paid": paid,
        "refunded": refunded,
        "currency": "CNY",
        "state": state,
    }


def test_what_timed_out_was_reversed() -> None:
    """A payment that ended by our reversal is REVERSED at the wallet, not merely closed."""
    order = replace(ORDER, status=OrderStatus.PAY_CANCELED, error_code="TRADE_TIMEOUT")
    assert row_of(order).state == "REVERSED"


def test_serve_until_sigterm(tmp_path: Path) -> None:
    """Serves on loopback, says so in the log, publishes the notification key, and ends with exit code 0."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PAYMUX_")}
    with subprocess.Popen(
        [sys.executable, "-m", "paymux", "serve", "--port", "0"],
        env=environ | {"PAYMUX_DATA_DIR": str(tmp_path / "data")},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = json.loads(process.stderr.readline())
            assert said["event"] == "gateway.ready"
            for page in ("/readyz", "/.well-known/paymux-notify-key.pem"):
                with urllib.request.urlopen(said["url"] + page, timeout=5) as reply:  # noqa: S310 - http on loopback
                    assert reply.status == 200
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=15)
            assert process.returncode == 0
            assert [json.loads(line)["event"] for line in rest.splitlines()] == ["gateway.stopped"]
        finally:
            if process.poll() is None:
                process.kill()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    assert modes["master.key"] == modes["notify_key.pem"] == 0o600
