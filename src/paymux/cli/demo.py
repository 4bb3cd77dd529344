"""`paymux demo`: gateway and sandbox in one process, provisioned and ready to be paid through (DESIGN §10).

What `--json` prints and what a second run with the same `--data` keeps is what other people's scripts build
on: keys are added to the line, never renamed or taken away.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket
from typing import Any

import click
import msgspec
import uvloop

from paymux.app import Gateway, listen, open_gateway, stopping_on_signals, url_of
from paymux.app import serve as answer
from paymux.cli.demo_text import guide
from paymux.cli.provisioning import provision
from paymux.config import load
from paymux.domain.errors import ConfigurationBroken
from paymux.kit.ids import Ids
from paymux.kit.logs import setup_logs
from paymux.sandbox.server import Sandbox

PORT = 8600
SHUTDOWN_S = 2
"""Nobody's money is at stake: calls in flight need not finish."""
ACCOUNTS = ("alipay", "wechat")
"""The sandbox's merchants the demo shop is a client of."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers and keys of a demo: made once, kept in its folder. Charge keys are reserved for /v1."""

    vendor_sn: str
    vendor_key: str
    app_id: str
    merchant_sn: str
    store_sn: str
    activation_code: str
    terminal_sn: str
    terminal_key: str
    device_id: str
    charge_app_id: str
    charge_test_key: str
    charge_live_key: str


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), help=f"Gateway port, 0: a free one (default {PORT}).")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Keep keys and books here.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON once everything is ready.")
@click.pass_obj
def demo(config: Path | None, port: int | None, data: Path | None, *, as_json: bool) -> None:
    """Start gateway and sandbox on this machine, and print how to pay.

    Without --data everything is gone when it stops (Ctrl-C).
    """
    with _folder(data) as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_demo(config, port, folder, kept=data is not None, as_json=as_json))


async def _demo(config: Path | None, port: int | None, folder: Path, *, kept: bool, as_json: bool) -> None:
    listener = _listen(port)
    url = url_of(listener)
    with stopping_on_signals() as stop:
        _say("starting the sandbox: counterfeit Alipay and WeChat Pay")
        sandbox = Sandbox(data_dir=folder / "sandbox")
        await sandbox.start()
        try:
            settings = load(config, overrides=_settings(folder, url))
            log = setup_logs(level=settings.log_level, form="console")
            async with open_gateway(settings, log=log) as gateway:
                _say("provisioning vendor, shop, terminal and channel accounts")
                facts = await _provision(gateway, sandbox, folder, url)
                _say("opening the gateway")
                await answer(
                    gateway.asgi,
                    listener,
                    stop=stop,
                    shutdown_s=SHUTDOWN_S,
                    on_ready=lambda: _print(facts, folder, kept=kept, as_json=as_json),
                    on_closing=gateway.desk.bell.close,
                )
        finally:
            await sandbox.stop()


def _settings(folder: Path, url: str) -> Mapping[str, Any]:
    """Everything in one folder and on loopback; merchants' servers may be on loopback, too."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    fixed = {
        "listen_host": host,
        "listen_port": int(port),
        "public_url": url,
        "data_dir": folder / "gateway",
        "database": "",
        "master_key": "",
        "master_key_file": folder / "gateway" / "master.key",
        "allow_private_targets": True,
    }
    return fixed if "PAYMUX_LOG_LEVEL" in os.environ else fixed | {"log_level": "warning"}


async def _provision(gateway: Gateway, sandbox: Sandbox, folder: Path, url: str) -> dict[str, Any]:
    """Put the demo shop into the gateway, the way a provisioning file would; return what people need."""
    me = _identity(folder / "demo.json", gateway.desk.ids)
    tables = _tables(me, [row for row in sandbox.world.accounts() if row["name"] in ACCOUNTS])
    await provision(gateway.desk.store, tables, where="demo", folder=folder)
    terminal = await gateway.desk.store.terminal(me.terminal_sn)
    return {
        "gateway": url,
        "sandbox": sandbox.base_url,
        "console": f"{url}/console",
        "vendor_sn": me.vendor_sn,
        "vendor_key": me.vendor_key,
        "app_id": me.app_id,
        "activation_code": me.activation_code,
        "terminal_sn": me.terminal_sn,
        "terminal_key": terminal.current_key if terminal else me.terminal_key,
        "device_id": me.device_id,
        "charge": {
            "app_id": me.charge_app_id,
            "test_key": me.charge_test_key,
            "live_key": me.charge_live_key,
        },
        "notify_public_key": gateway.notify_key.public_pem,
    }


def _tables(me: Identity, accounts: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    terminal = {
        "terminal_sn": me.terminal_sn,
        "terminal_key": me.terminal_key,
        "store_sn": me.store_sn,
        "device_id": me.device_id,
        "app_id": me.app_id,
        "name": "收银台一号",
    }
    return {
        "vendor": [{"vendor_sn": me.vendor_sn, "vendor_key": me.vendor_key, "app_id": me.app_id}],
        "merchant": [{"merchant_sn": me.merchant_sn, "name": "演示商户"}],
        "store": [{"store_sn": me.store_sn, "merchant_sn": me.merchant_sn, "name": "演示门店"}],
        "activation_code": [{"code": me.activation_code, "store_sn": me.store_sn, "uses": 1_000_000}],
        "terminal": [terminal],
        "channel_account": [account | {"merchant_sn": me.merchant_sn} for account in accounts],
    }


def _identity(path: Path, ids: Ids) -> Identity:
    """Read the demo's numbers and keys, or make them."""
    with suppress(FileNotFoundError):
        try:
            return msgspec.json.decode(path.read_bytes(), type=Identity)
        except msgspec.DecodeError as error:
            raise ConfigurationBroken(f"{path} is damaged ({error}): start with another --data") from error
    me = Identity(
        vendor_sn="91800129",
        vendor_key=ids.key(),
        app_id="2026042100009001",
        merchant_sn="1680001000000001",
        store_sn="1580000000000001",
        activation_code=f"{int(ids.key()[:8], 16) % 100_000_000:08d}",
        terminal_sn="100111220000000001",
        terminal_key=ids.key(),
        device_id="demo-till-1",
        charge_app_id=f"app_{ids.key()[:16]}",
        charge_test_key=f"sk_test_{ids.key()}",
        charge_live_key=f"sk_live_{ids.key()}",
    )
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(me))
    return me


def _listen(port: int | None) -> socket:
    """Take the port asked for; nobody asked: the usual one, or a free one when that is taken."""
    if port is not None:
        return listen("127.0.0.1", port)
    try:
        return listen("127.0.0.1", PORT)
    except ConfigurationBroken:
        _say(f"port {PORT} is taken: using a free one")
        return listen("127.0.0.1", 0)


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    """The folder that was given, or a temporary one that is gone afterwards, whatever happens."""
    if data is None:
        folder = Path(tempfile.mkdtemp(prefix="paymux-demo-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationBroken(f"--data {data} cannot be made: {error}") from error
    yield data.resolve()


def _print(facts: dict[str, Any], folder: Path, *, kept: bool, as_json: bool) -> None:
    text = msgspec.json.encode(facts).decode() if as_json else guide(facts, folder, kept=kept)
    click.echo(text)


def _say(text: str) -> None:
    click.echo(f"paymux demo: {text}", err=True)
