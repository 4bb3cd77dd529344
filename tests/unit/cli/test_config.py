"""Settings: each can be set in the file and in the environment, and whatever is wrong is named."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from paymux import config
from paymux.config import Settings, describe, load
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.limits import Limits

EXAMPLES: dict[str, tuple[Any, str, Any]] = {
    "listen_host": ("0.0.0.0", "0.0.0.0", "0.0.0.0"),  # noqa: S104 - an example, nothing listens
    "public_url": ("https://pay.example", "https://pay.example", "https://pay.example"),
    "data_dir": ("/srv/paymux", "/srv/paymux", Path("/srv/paymux")),
    "database": ("sqlite:////srv/x.db", "sqlite:////srv/x.db", "sqlite:////srv/x.db"),
    "master_key": ("0a" * 32, "0a" * 32, "0a" * 32),
    "master_key_file": ("/srv/key", "/srv/key", Path("/srv/key")),
    "log_level": ("debug", "debug", "debug"),
    "log_format": ("console", "console", "console"),
    "notify_header": ("prefixed", "prefixed", "prefixed"),
    "notify_success": ("status", "status", "status"),
    "cancel_same_day_only": (False, "false", False),
}
"""Key → what stands in the file, what in the variable, and what it becomes."""


def example(info: config.SettingInfo) -> tuple[Any, str, Any]:
    """Return an example for any setting that differs from its default."""
    if info.key in EXAMPLES:
        return EXAMPLES[info.key]
    if info.form == "true or false":
        return True, "true", True
    if info.form == "a list of numbers":
        return [7, 8], "7, 8", (7, 8)
    number = int(info.default) + 1
    return number, str(number), number


def found(settings: Settings, key: str) -> Any:  # noqa: ANN401 - a setting is of any type
    """Return the value under a dotted key."""
    holder, _, name = key.rpartition(".")
    return getattr(getattr(settings, holder) if holder else settings, name)


@pytest.mark.parametrize("info", describe(), ids=lambda info: info.key)
def test_each_setting_can_be_set(info: config.SettingInfo, tmp_path: Path) -> None:
    """In the file and in the environment, with the same effect."""
    in_file, in_variable, becomes = example(info)
    holder, _, name = info.key.rpartition(".")
    written = msgspec.json.encode(in_file).decode()
    path = tmp_path / "paymux.toml"
    path.write_text((f"[{holder}]\n" if holder else "") + f"{name} = {written}\n")
    assert found(Settings(), info.key) != becomes
    assert found(load(path, environ={}), info.key) == becomes
    assert found(load(environ={info.variable: in_variable}), info.key) == becomes


def test_every_field_is_described() -> None:
    """Each field of the settings and of the limits has a form, a default and a reason."""
    wanted = {name for name in Settings.__struct_fields__ if name != "limits"}
    wanted |= {f"limits.{name}" for name in Limits.__struct_fields__}
    assert {info.key for info in describe()} == wanted
    assert all(len(info.reason) > 20 for info in describe())


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    """Defaults, file, environment, command line: each later one counts more."""
    path = tmp_path / "paymux.toml"
    path.write_text("listen_port = 1\nshutdown_s = 3\n")
    environ = {"PAYMUX_CONFIG": str(path), "PAYMUX_LISTEN_PORT": "2"}
    assert load(environ={"PAYMUX_CONFIG": str(path)}).listen_port == 1
    assert load(environ=environ).listen_port == 2
    assert load(environ=environ, overrides={"listen_port": 3}).listen_port == 3
    assert load(environ=environ).shutdown_s == 3


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PAYMUX_LISTEN_PROT": "1"}, "PAYMUX_LISTEN_PROT: unknown setting listen_prot"),
        ({"PAYMUX_LIMITS_PAY_WAIT": "1"}, "unknown setting limits.pay_wait"),
        ({"PAYMUX_LIMITS": "1"}, "unknown setting limits"),
        ({"PAYMUX_LISTEN_PORT": "65536"}, "listen_port must be a number from 0 to 65535, not '65536'"),
        ({"PAYMUX_LISTEN_PORT": "x"}, "PAYMUX_LISTEN_PORT"),
        ({"PAYMUX_LOG_LEVEL": "loud"}, "`debug` or `info`"),
        ({"PAYMUX_ALLOW_PRIVATE_TARGETS": "maybe"}, "allow_private_targets must be true or false"),
        ({"PAYMUX_PUBLIC_URL": "https://pay.example/"}, "without a trailing slash"),
        ({"PAYMUX_PUBLIC_URL": "pay.example"}, "public_url"),
        ({"PAYMUX_DATABASE": "mysql://x"}, "database must start with sqlite:///"),
        ({"PAYMUX_DATA_DIR": ""}, "data_dir must be a path"),
        ({"PAYMUX_LIMITS_LATE_WATCH_S": ""}, "limits.late_watch_s must be a list of numbers"),
        ({"PAYMUX_LIMITS_PAY_WAIT_S": "-1"}, "limits.pay_wait_s must be at least 0"),
        ({"PAYMUX_LIMITS_WORKER_GAP_S": "0"}, "limits.worker_gap_s must be at least 1"),
        ({"PAYMUX_LIMITS_LEASE_S": "5"}, "lease_s must be longer than notify_timeout_s"),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], named: str) -> None:
    """Unknown keys, bad values and broken relations are refused with key, rule and variable."""
    with pytest.raises(ConfigurationBroken) as caught:
        load(environ=environ)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("listen_prot = 1", "unknown setting listen_prot"),
        ("[limits]\npay_wait = 1", "unknown setting limits.pay_wait"),
        ("limits = 3", "write [limits]"),
        ('listen_port = "80"', "listen_port must be a number"),
        ("listen_port =", "no valid TOML"),
        ("[notify]\nheader = 1", "unknown setting notify"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_file(text: str, named: str, tmp_path: Path) -> None:
    """The message leads to the place."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationBroken) as caught:
        load(path, environ={})
    assert named in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """A missing file is an error when somebody asked for it, and no matter when nobody did."""
    with pytest.raises(ConfigurationBroken, match="cannot be read"):
        load(tmp_path / "gone.toml", environ={})


def test_a_bad_master_key_is_not_repeated_in_the_message() -> None:
    """Error messages end up in logs; the key does not (promise M9)."""
    with pytest.raises(ConfigurationBroken) as caught:
        load(environ={"PAYMUX_MASTER_KEY": "feedbeef" * 7})
    assert "feedbeef" not in str(caught.value)


def test_where_things_are() -> None:
    """Database and keys are in data_dir unless they are said to be elsewhere."""
    settings = Settings(data_dir=Path("/srv/paymux"))
    assert settings.dsn == "sqlite:////srv/paymux/paymux.db"
    assert settings.database_path == Path("/srv/paymux/paymux.db")
    assert settings.sealing_key_path == Path("/srv/paymux/master.key")
    assert settings.base_url == "http://127.0.0.1:8600"
    assert Settings(public_url="https://pay.example").base_url == "https://pay.example"
