"""The doctor: each trouble it claims to see is planted once, and seen."""

import os
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from paymux.cli.main import main

SHOP = """
[[merchant]]
merchant_sn = "M1"
name = "小店"
[[channel_account]]
name = "wx"
merchant_sn = "M1"
channel = "wechat"
app_id = "wx0000000000000001"
mch_id = "1900000109"
api_key = "0123456789abcdef0123456789abcdef"
"""


def run(folder: Path, *words: str, **environ: str) -> Result:
    """Run a command on the installation in `folder`."""
    given = {name: None for name in os.environ if name.startswith("PAYMUX_")}
    here = {"PAYMUX_DATA_DIR": str(folder), **environ}
    return CliRunner().invoke(main, list(words), env=given | here)


def levels(result: Result) -> dict[str, str]:
    """Return what was looked at → OK, WARN or FAIL."""
    lines = [line for line in result.output.splitlines() if not line.startswith(" ")]
    return {line[6:22].strip(): line[:4].strip() for line in lines}


@pytest.fixture
def healthy(tmp_path: Path) -> Path:
    """An installation with a shop and keys."""
    (tmp_path / "shop.toml").write_text(SHOP)
    folder = tmp_path / "data"
    assert run(folder, "provision", str(tmp_path / "shop.toml")).exit_code == 0
    return folder


def test_a_healthy_installation(healthy: Path) -> None:
    """No FAIL, exit code 0; the notification key is made by the first start only."""
    result = run(healthy, "doctor")
    assert result.exit_code == 0
    assert levels(result) == {
        "settings": "OK",
        "address": "OK",
        "data folder": "OK",
        "disk": "OK",
        "clock": "OK",
        "sealing key": "OK",
        "notify key": "WARN",
        "database": "OK",
        "account": "OK",
    }


def test_before_the_first_start_nothing_is_made(tmp_path: Path) -> None:
    """Looking changes nothing: no folder, no database, no key appears."""
    result = run(tmp_path / "none", "doctor")
    assert result.exit_code == 0
    assert levels(result)["database"] == "WARN"
    assert not (tmp_path / "none").exists()


def test_broken_settings(tmp_path: Path) -> None:
    """Nothing else can be looked at, and the message names the variable."""
    result = run(tmp_path, "doctor", PAYMUX_LISTEN_PORT="x")
    assert result.exit_code == 1
    assert levels(result) == {"settings": "FAIL"}
    assert "PAYMUX_LISTEN_PORT" in result.output


def test_a_damaged_database(healthy: Path) -> None:
    """Bytes overwritten in the middle of the file: quick_check sees it, or the file does not open at all."""
    path = healthy / "paymux.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page_size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    content[page_size * 2 : page_size * 6] = b"\xff" * page_size * 4
    path.write_bytes(content)
    result = run(healthy, "doctor")
    assert result.exit_code == 1
    assert levels(result)["database"] == "FAIL"


def test_a_wrong_sealing_key(healthy: Path) -> None:
    """A key that does not fit the database is seen before a till is turned away."""
    (healthy / "master.key").write_text("ab" * 32)
    result = run(healthy, "doctor")
    assert result.exit_code == 1
    assert "FAIL" in levels(result).values()
    assert "Traceback" not in result.output


def test_keys_others_can_read(healthy: Path) -> None:
    """The key file's mode counts, and the advice is the command to type."""
    (healthy / "master.key").chmod(0o644)
    result = run(healthy, "doctor")
    assert levels(result)["sealing key"] == "FAIL"
    assert f"chmod 600 {healthy / 'master.key'}" in result.output


def test_an_open_folder_and_a_missing_address(healthy: Path) -> None:
    """Warnings: what works, but should not stay so."""
    healthy.chmod(0o755)
    result = run(healthy, "doctor", PAYMUX_LISTEN_HOST="0.0.0.0", PAYMUX_ALLOW_PRIVATE_TARGETS="true")  # noqa: S104 - nothing listens
    found = levels(result)
    assert (found["data folder"], found["address"], found["notify targets"]) == ("WARN", "WARN", "WARN")
    assert result.exit_code == 0


def test_an_account_whose_keys_went_bad(healthy: Path) -> None:
    """Credentials the channel cannot read: seen here, not at the first payment."""
    with sqlite3.connect(healthy / "paymux.db") as connection:
        connection.execute("UPDATE accounts SET channel = 'gone'")
    connection.close()
    result = run(healthy, "doctor")
    assert result.exit_code == 1
    assert levels(result)["account"] == "FAIL"
    assert "no channel 'gone'" in result.output
