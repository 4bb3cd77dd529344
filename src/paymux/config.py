"""Settings: what the people who run paymux may decide, read from one TOML file and the environment.

Every field below is a key of the file, `PAYMUX_<FIELD>` (upper case) in the environment and a line of
docs/settings.md, which `paymux settings --markdown` writes from this source. The bounds of `Limits` are the
table `[limits]` and `PAYMUX_LIMITS_<FIELD>`. The environment wins over the file, the file over the defaults.
"""

import ast
import functools
import inspect
import itertools
import os
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from paymux.domain.errors import ConfigurationBroken
from paymux.domain.limits import Limits
from paymux.kit.dsn import POSTGRES, SQLITE, is_server
from paymux.kit.toml import read_toml

DEFAULT_FILE = Path("paymux.toml")
PREFIX = "PAYMUX_"
NOT_SETTINGS = frozenset({"PAYMUX_CONFIG", "PAYMUX_CRASH_AT", "PAYMUX_VECTORS", "PAYMUX_TEST_DSN"})
"""Variables with our prefix that are no settings: where the file is, and two that only tests use."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=600)]
HexKey = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-fA-F]{64})?$")]
BaseUrl = Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/\s]+[^\s]*[^/\s])?$")]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set, with its default. Relative paths are relative to the working directory."""

    listen_host: str = "127.0.0.1"
    """Address to listen on. Loopback until somebody decides otherwise: put a TLS proxy in front."""
    listen_port: Port = 8600
    """TCP port to listen on; 0 takes a free one."""
    public_url: BaseUrl = ""
    """URL under which wallets and buyers reach this gateway, without a trailing slash; it goes into callback
    addresses and QR images. Empty: http://listen_host:listen_port, which is enough on one machine."""
    data_dir: Path = Path("data")
    """Folder for the database, the keys and nothing else; made at the first start, readable only by us."""
    database: str = ""
    """Where orders are kept: `sqlite:////absolute/path`, with four slashes, or a server's
    `postgresql://user:password@host/database` (docs/postgresql.md). Empty: paymux.db in data_dir."""
    master_key: HexKey = ""
    """Key that seals secrets at rest, 64 hex digits. For those who keep keys outside the machine; best given
    as PAYMUX_MASTER_KEY. Empty: the key in master_key_file."""
    master_key_file: Path | None = None
    """File with the sealing key, made at the first start. Unset: master.key in data_dir. Losing it loses
    every terminal key and channel credential: back it up, but not next to the database."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important event that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object per line for machines, or coloured text for people."""
    notify_header: Literal["bare", "prefixed"] = "bare"
    """Form of the Authorization header of notifications: the Base64 signature alone, which every receiver in
    production reads, or `terminal_sn signature`, as newer texts say (upay-v2.md §13 no. 12)."""
    notify_success: Literal["body", "status"] = "body"
    """When a notification counts as delivered: the merchant's server answers the body `success`, or any
    HTTP 2xx (upay-v2.md §11)."""
    allow_private_targets: bool = False
    """Whether notifications may go to loopback and private addresses. Off: a till that names such a
    notify_url cannot make the gateway talk to your inner network."""
    number_block: Annotated[int, msgspec.Meta(ge=0, le=15)] = 0
    """Which of 16 blocks our order numbers come from, 0 to 15. Gateways with databases of their own that
    share a wallet account (app_id, mch_id) need different ones: the wallet tells orders apart by number."""
    refuse_same_device: bool = False
    """Whether a device_id may be activated only once under a merchant. Off: each activation makes a new
    terminal, which does no harm (upay-v2.md §13 no. 23)."""
    strict_client_sn: bool = False
    """Whether a client_sn longer than 32 bytes is refused. Off: up to 64, with a warning in the log
    (upay-v2.md §13 no. 4)."""
    cancel_same_day_only: bool = True
    """Whether a paid order can be cancelled only on the day it was made, in the merchant's time zone; a
    refund is possible later (upay-v2.md §13 no. 20)."""
    shutdown_s: Seconds = 8
    """Seconds that calls in flight get to finish at shutdown. Just below the 10 s after which container
    runtimes kill; what is cut off is resumed by recovery."""
    limits: Limits = Limits()
    """Bounds and times, in a table of their own."""

    def __post_init__(self) -> None:
        """Check what one field cannot show alone; raises `ValueError`."""
        if self.database and not self.database.startswith((SQLITE, *POSTGRES)):
            message = "database must start with sqlite:/// or postgresql://"
            raise ValueError(message)
        for name in LIMIT_NAMES:
            _check_limit(name, getattr(self.limits, name))

    @property
    def base_url(self) -> str:
        """The gateway's URL as others see it, without a trailing slash."""
        return self.public_url or f"http://{self.listen_host}:{self.listen_port}"

    @property
    def dsn(self) -> str:
        """Where the orders are."""
        return self.database or f"{SQLITE}{(self.data_dir / 'paymux.db').absolute()}"

    @property
    def database_path(self) -> Path | None:
        """The file the orders are in; None when a server keeps them."""
        return None if is_server(self.dsn) else Path(self.dsn.removeprefix(SQLITE))

    @property
    def sealing_key_path(self) -> Path:
        """The file with the sealing key."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def notify_key_path(self) -> Path:
        """The file with the key that signs notifications."""
        return self.data_dir / "notify_key.pem"


_LIMIT_MAX = 1_000_000_000
"""Thirty years, or a gigabyte: more is a typing mistake, and more than a clock or the database can hold."""
LIMIT_NAMES = Limits.__struct_fields__
SECRETS = frozenset({"master_key"})
"""Settings that are never shown."""


class SettingInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One setting as people need it explained. `key` is dotted: `limits.pay_wait_s`."""

    key: str
    form: str
    default: str
    reason: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.key.replace(".", "_").upper()


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the settings; `overrides` (typed values by field name) win over everything.

    Without `path` it reads the file named by PAYMUX_CONFIG, else ./paymux.toml if there is one. Raises
    `ConfigurationBroken` naming key, rule and file or variable.
    """
    chosen = path or _default_path(environ)
    given = _from_file(chosen) if chosen else {}
    for variable, key, value in _from_environment(environ):
        given[key] = (value, f"variable {variable}")
    for name, value in (overrides or {}).items():
        given[name] = (value, "the command line")
    return _build({key: _converted(key, value, source=source) for key, (value, source) in given.items()})


def describe() -> list[SettingInfo]:
    """Return every setting with its form, default and reason, in the order of the source."""
    return [*_described(Settings, prefix=""), *_described(Limits, prefix="limits.")]


# ---------------------------------------------------------------- reading


def _default_path(environ: Mapping[str, str]) -> Path | None:
    if named := environ.get("PAYMUX_CONFIG"):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    table = read_toml(path, name=f"settings file {path}")
    limits = table.pop("limits", {})
    if not isinstance(limits, dict):
        raise ConfigurationBroken(f"{path}: limits must be a table: write [limits]")
    found = table | {f"limits.{name}": value for name, value in limits.items()}
    return {key: (value, str(path)) for key, value in found.items()}


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        name = variable.removeprefix(PREFIX).lower()
        key = f"limits.{name.removeprefix('limits_')}" if name.startswith("limits_") else name
        yield variable, key, _split(key, environ[variable])


def _split(key: str, text: str) -> str | list[str]:
    """Read `1,5,30` where a list is wanted."""
    if get_origin(_forms().get(key)) is tuple:
        return [part.strip() for part in text.split(",")]
    return text


def _converted(key: str, value: Any, *, source: str) -> Any:  # noqa: ANN401 - a setting is of any type
    forms = _forms()
    if key not in forms:
        raise ConfigurationBroken(f"{source}: unknown setting {key}; `paymux settings` lists all of them")
    if isinstance(value, str) and "\0" in value:
        raise ConfigurationBroken(f"{source}: {key} must not hold a NUL character")
    if forms[key] == Path | None or forms[key] is Path:
        return _path(key, value, source=source)
    try:
        return msgspec.convert(value, forms[key], strict=not source.startswith("variable "))
    except msgspec.ValidationError as error:
        shown = "" if key in SECRETS or key == "database" else f", not {value!r}"
        text = f"{source}: {key} must be {form_text(forms[key])}{shown} ({error})"
        raise ConfigurationBroken(text) from error


def _path(key: str, value: Any, *, source: str) -> Path:  # noqa: ANN401 - as above
    if not isinstance(value, str | Path) or not str(value):
        raise ConfigurationBroken(f"{source}: {key} must be a path")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # ~somebody nobody knows here
        raise ConfigurationBroken(f"{source}: {key} must be a path, not {str(value)!r} ({error})") from error


def _build(values: dict[str, Any]) -> Settings:
    limits = {
        key.removeprefix("limits."): values.pop(key) for key in list(values) if key.startswith("limits.")
    }
    try:
        return Settings(**values, limits=Limits(**limits))
    except ValueError as error:
        raise ConfigurationBroken(f"settings: {error}") from error


def _check_limit(name: str, value: int | tuple[int, ...]) -> None:
    """Waiting for nobody is allowed, but an empty bound or a loop without a pause is not."""
    least = 0 if name.endswith("_wait_s") or name == "query_min_gap_s" else 1
    numbers = value if isinstance(value, tuple) else (value,)
    if not numbers or min(numbers) < least:
        message = f"limits.{name} must be at least {least}"
        raise ValueError(message)
    if max(numbers) > _LIMIT_MAX:
        message = f"limits.{name} must be at most {_LIMIT_MAX}"
        raise ValueError(message)


@functools.cache
def _forms() -> dict[str, Any]:
    """Return key → type of every setting."""
    plain = {field.name: field.type for field in msgspec.structs.fields(Settings) if field.name != "limits"}
    return plain | {f"limits.{field.name}": field.type for field in msgspec.structs.fields(Limits)}


# ---------------------------------------------------------------- explaining


def _described(record: type[msgspec.Struct], *, prefix: str) -> Iterator[SettingInfo]:
    defaults = {field.name: field.default for field in msgspec.structs.fields(record)}
    forms = _forms()
    for name, reason in _reasons(record):
        key = prefix + name
        if key in forms:
            default = _default_text(defaults[name])
            yield SettingInfo(key=key, form=form_text(forms[key]), default=default, reason=reason)


def _reasons(record: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """Yield each field with the text below it: what is written there is the documentation."""
    source = ast.parse(inspect.getsource(record)).body[0]
    assert isinstance(source, ast.ClassDef)
    for field, below in itertools.pairwise(source.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())
            case _:
                pass


def form_text(form: Any) -> str:  # noqa: ANN401 - a type expression has no common type
    """Return a type as people say it: "a number from 0 to 65535"."""
    if get_origin(form) is Annotated:
        base, meta = get_args(form)[:2]
        if base is int:
            return f"a number from {meta.ge} to {meta.le}"
        return "64 hex digits" if form is HexKey else "an http(s) URL without a trailing slash"
    if get_origin(form) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(form))
    if get_origin(form) is tuple:
        return "a list of numbers"
    if get_origin(form) in (Union, types.UnionType):
        return form_text(get_args(form)[0])
    return {bool: "true or false", int: "a number", str: "text", Path: "a path"}[form]


def _default_text(default: Any) -> str:  # noqa: ANN401 - a default is of any type
    if default is None or default in ("", b""):
        return "–"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default)
