"""`paymux doctor`: is this installation fit for money? One line per check, and what to do about it."""

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import msgspec

from paymux.app import open_memory, open_sealer
from paymux.channels.registry import open_channel
from paymux.config import Settings, load
from paymux.domain.errors import PaymuxError
from paymux.kit.dsn import without_password
from paymux.kit.notify_key import NotifyKey
from paymux.storage.link import facts_of
from paymux.storage.migrate import migrations

_DISK_WARN_BYTES = 1 << 30
_DISK_FAIL_BYTES = 1 << 26
_CLOCK_PROBE_S = 0.2
_CLOCK_SLIP_S = 0.05
_LOOPBACK = ("127.", "localhost", "::1")


class Level(StrEnum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what was looked at, what was found, what to do."""

    level: Level
    about: str
    text: str
    advice: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Check settings, disk, clock, database, keys and channel accounts. Exit code 1 when something FAILs."""
    findings = list(examine(ctx.obj))
    if as_json:
        click.echo(msgspec.json.encode(findings))
    else:
        for one in findings:
            click.echo(f"{one.level:<4}  {one.about:<16} {one.text}")
            if one.advice:
                click.echo(f"{'':<22} → {one.advice}")
    ctx.exit(1 if any(one.level is Level.FAIL for one in findings) else 0)


def examine(config: Path | None) -> Iterator[Finding]:
    """Make every check that can be made; a broken one never hides the others."""
    try:
        settings = load(config)
    except PaymuxError as error:
        yield _fail("settings", str(error), "correct it; nothing else can be checked before")
        return
    yield _ok("settings", f"listening on {settings.listen_host}:{settings.listen_port}")
    for about, check in CHECKS.items():
        try:
            yield from check(settings)
        except (PaymuxError, OSError, sqlite3.Error) as error:
            yield _fail(about, str(error), "")


def _addresses(settings: Settings) -> Iterator[Finding]:
    if settings.public_url or settings.listen_host.startswith(_LOOPBACK):
        yield _ok("address", f"wallets call {settings.base_url}")
    else:
        yield _warn("address", "wallets cannot call back: public_url is not set", "set public_url")
    if settings.allow_private_targets:
        text = "notifications may go to private addresses"
        yield _warn("notify targets", text, "unset allow_private_targets outside of tests")


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.is_dir():
        yield _warn("data folder", f"{folder} does not exist yet", "`paymux serve` or `provision` makes it")
        return
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor") as probe:
        probe.write(b"\0" * 4096)
        probe.flush()
        os.fsync(probe.fileno())
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        yield _warn("data folder", f"{folder} is open to others ({mode:o})", f"chmod 700 {folder}")
    else:
        yield _ok("data folder", f"{folder} is ours alone and can be written")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir if settings.data_dir.is_dir() else Path()
    free = shutil.disk_usage(folder).free
    text = f"{free / (1 << 30):.1f} GiB free"
    if free < _DISK_FAIL_BYTES:
        yield _fail("disk", text, "make room: without it no payment can be taken")
    elif free < _DISK_WARN_BYTES:
        yield _warn("disk", text, "make room soon")
    else:
        yield _ok("disk", text)


def _clock(_settings: Settings) -> Iterator[Finding]:
    wall, steady = time.time(), time.monotonic()  # noqa: TID251 - the clock itself is what is examined
    time.sleep(_CLOCK_PROBE_S)  # noqa: TID251 - as above
    slip = (time.time() - wall) - (time.monotonic() - steady)  # noqa: TID251 - as above
    year = datetime.fromtimestamp(wall, UTC).year
    if not 2025 <= year < 2090:
        yield _fail(
            "clock", f"the machine thinks it is {year}", "set the clock (NTP): wallets refuse wrong times"
        )
    elif abs(slip) > _CLOCK_SLIP_S:
        yield _warn("clock", "the wall clock jumps", "let NTP slew it, not step it")
    else:
        yield _ok("clock", f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d %H:%M:%S} UTC, steady")
    try:
        ZoneInfo("Asia/Shanghai")
    except ZoneInfoNotFoundError:
        yield _fail("time zones", "there is no time zone database", "install the system's tzdata package")


def _database(settings: Settings) -> Iterator[Finding]:
    path = settings.database_path
    if path is None:
        yield from _server(settings)
        return
    if not path.exists():
        yield _warn("database", f"{path} does not exist yet", "`paymux serve` or `provision` makes it")
        return
    asyncio.run(_open_and_close(settings))
    with sqlite3.connect(path, timeout=5, isolation_level=None) as connection:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            yield _fail("database", f"damaged: {found}", "stop the gateway and restore your backup")
            return
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE doctor_was_here (line TEXT)")
        connection.execute("ROLLBACK")
    newest = migrations()[-1]
    text = f"{path} is whole and can be written, schema {newest.number:04d}_{newest.name}"
    yield _ok("database", text)


def _server(settings: Settings) -> Iterator[Finding]:
    """Whether a database server can be used, and keeps what it says it has kept."""
    facts = asyncio.run(facts_of(settings.dsn))
    asyncio.run(_open_and_close(settings))
    shown, newest = without_password(settings.dsn), migrations()[-1]
    text = f"{shown} is PostgreSQL {facts.version}, schema {newest.number:04d}_{newest.name}"
    if facts.is_distributed:
        text += ", its orders distributed by Citus"
    yield _ok("database", text)
    if facts.is_standby:
        yield _fail("database", "the server is a standby", "add target_session_attrs=read-write")
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if facts.settings[name] == "off":
            yield _fail("database", f"{name} is off: acknowledged payments can be lost", f"set {name} = on")
    if not facts.settings["synchronous_standby_names"]:
        yield _warn(
            "database",
            "the server waits for no standby: payments are lost with its disk",
            "read docs/high-availability.md",
        )


async def _open_and_close(settings: Settings) -> None:
    async with open_memory(settings, existing=True):
        pass


def _keys(settings: Settings) -> Iterator[Finding]:
    if not settings.master_key:
        yield from _key_file("sealing key", settings.sealing_key_path, lambda: open_sealer(settings))
    else:
        open_sealer(settings)
        yield _ok("sealing key", "given by the settings")
    path = settings.notify_key_path
    yield from _key_file("notify key", path, lambda: NotifyKey.load_or_create(path))


def _key_file(about: str, path: Path, read: Callable[[], object]) -> Iterator[Finding]:
    if not path.exists():
        yield _warn(about, f"{path} does not exist yet", "`paymux serve` makes it")
        return
    read()
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield _fail(about, f"{path} can be read by others ({mode:o})", f"chmod 600 {path}")
    else:
        yield _ok(about, f"{path}; have you got a backup of it?")


def _accounts(settings: Settings) -> Iterator[Finding]:
    if settings.database_path is not None and not settings.database_path.exists():
        return
    yield from asyncio.run(_examine_accounts(settings))


async def _examine_accounts(settings: Settings) -> list[Finding]:
    found = []
    async with open_memory(settings, existing=True) as memory:
        for merchant in await memory.merchants():
            for account in await memory.accounts(merchant.merchant_sn):
                about = f"{merchant.merchant_sn}/{account.name}"
                try:
                    open_channel(account)
                except PaymuxError as error:
                    found.append(_fail("account", f"{about}: {error}", "mend it with `paymux provision`"))
                else:
                    found.append(_ok("account", f"{about}: the keys of {account.channel} can be read"))
    return found or [_warn("account", "no merchant has a channel account", "`paymux provision FILE`")]


def _ok(about: str, text: str) -> Finding:
    return Finding(level=Level.OK, about=about, text=text)


def _warn(about: str, text: str, advice: str) -> Finding:
    return Finding(level=Level.WARN, about=about, text=text, advice=advice)


def _fail(about: str, text: str, advice: str) -> Finding:
    return Finding(level=Level.FAIL, about=about, text=text, advice=advice)


CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "address": _addresses,
    "data folder": _folder,
    "disk": _disk,
    "clock": _clock,
    "keys": _keys,
    "database": _database,
    "accounts": _accounts,
}
"""Every check by the name it fails under, in the order of the lines."""
