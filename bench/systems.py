"""The systems that are compared: each set up as its user would, over SQLite or a PostgreSQL of its own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.database import Database, database
from bench.processes import Program, finish, module, running
from bench.shop import (
    ALIPAY_APP_ID,
    API_KEY,
    APP_ID,
    MCH_ID,
    MERCHANT_SN,
    OTHER_MERCHANT_SN,
    OTHER_STORE_SN,
    OTHER_TILL,
    STORE_SN,
    TERMINAL_KEY,
    TERMINAL_SN,
)

Engine = Literal["sqlite", "postgres"]

_SHOP = """
[[merchant]]
merchant_sn = "{merchant_sn}"
name = "bench"

[[store]]
store_sn = "{store_sn}"
merchant_sn = "{merchant_sn}"
name = "bench"

[[terminal]]
terminal_sn = "{terminal_sn}"
terminal_key = "{terminal_key}"
store_sn = "{store_sn}"
device_id = "bench"

[[channel_account]]
name = "wechat"
merchant_sn = "{merchant_sn}"
channel = "wechat"
payways = ["3"]
base_url = "{base_url}"
app_id = "{app_id}"
mch_id = "{mch_id}"
api_key = "{api_key}"
"""
_ALIPAY = """
[[channel_account]]
name = "alipay"
merchant_sn = "{merchant_sn}"
channel = "alipay"
payways = ["1"]
base_url = "{base_url}/gateway.do"
app_id = "{app_id}"
private_key = "file:{keys}/app.pem"
alipay_public_key = "file:{keys}/alipay.pub"
"""


_AS_PAYMUX = ["--http", "paymux.wire.http:BoundedHttp", "--no-proxy-headers", "--no-server-header"]
"""The floor is served as paymux is: what its server saves is no merit of the gateway."""


class Bank(NamedTuple):
    """The wallets: where they are, and the folder with the keys of Alipay's and the shop's."""

    url: str
    keys: Path


@contextmanager
def wallet(folder: Path) -> Iterator[Bank]:
    """Run the stub wallets, with new RSA-2048 keys."""
    keys = folder / "keys"
    keys.mkdir()
    for name in ("app", "alipay"):
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        (keys / f"{name}.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        (keys / f"{name}.pub").write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
    command = module("bench.wallet", "{port}", str(keys / "alipay.pem"))
    with running("wallet", folder, command) as program:
        yield Bank(program.url, keys)


@contextmanager
def paymux(
    folder: Path,
    bank: Bank,
    engine: Engine,
    *,
    kept: Database | None = None,
    name: str = "paymux",
    path: str = "",
    other_path: str = "",
    workers: int = 0,
) -> Iterator[Program]:
    """Run the real gateway with everything on, set up from a provisioning file.

    `kept` is a server to go on with, else it gets one of its own. `path` leads to its WeChat wallet,
    `other_path` to the other merchant's. `workers` is handed to the command when it is not 0.
    """
    home = folder / f"{name}-{engine}"
    home.mkdir(exist_ok=True)
    home.chmod(0o711)
    with ExitStack() as stack:
        if engine == "postgres" and kept is None:
            kept = stack.enter_context(database(home))
        settings, provisioning = home / "paymux.toml", home / "provisioning.toml"
        line = f'database = "{kept.dsn}"\n' if kept else ""
        settings.write_text(
            f'data_dir = "{home / "data"}"\nlog_level = "warning"\nallow_private_targets = true\n{line}'
        )
        provisioning.write_text(_provisioning(bank, path=path, other_path=other_path))
        command = module("paymux", "--config", str(settings))
        finish([*command, "provision", str(provisioning)])
        words = ["--workers", str(workers)] if workers else []
        serve = [*command, "serve", "--port", "{port}", *words]
        yield stack.enter_context(running(f"{name}-{engine}", folder, serve, database=kept))


@contextmanager
def plain(name: str, folder: Path, bank: Bank, engine: Engine, *, path: str = "") -> Iterator[Program]:
    """Run `conventional` or `floor`."""
    home = folder / f"{name}-{engine}"
    home.mkdir()
    home.chmod(0o711)
    with ExitStack() as stack:
        kept = stack.enter_context(database(home)) if engine == "postgres" else None
        where = {
            "BENCH_DATABASE": kept.dsn if kept else str(home / "bench.db"),
            "BENCH_WALLET": bank.url + path,
        }
        command = module("uvicorn", f"bench.{name}.app:app", "--port", "{port}", "--log-level", "warning")
        command += ["--loop", "uvloop", "--ws", "none", "--no-access-log"]
        command += _AS_PAYMUX if name == "floor" else ["--http", "httptools"]
        yield stack.enter_context(running(f"{name}-{engine}", folder, command, extra=where, database=kept))


def _provisioning(bank: Bank, *, path: str, other_path: str) -> str:
    wechat = {"app_id": APP_ID, "mch_id": MCH_ID, "api_key": API_KEY}
    first = _SHOP.format(
        merchant_sn=MERCHANT_SN,
        store_sn=STORE_SN,
        terminal_sn=TERMINAL_SN,
        terminal_key=TERMINAL_KEY,
        base_url=bank.url + path,
        **wechat,
    )
    other = _SHOP.format(
        merchant_sn=OTHER_MERCHANT_SN,
        store_sn=OTHER_STORE_SN,
        terminal_sn=OTHER_TILL.terminal_sn,
        terminal_key=OTHER_TILL.terminal_key,
        base_url=bank.url + other_path,
        **wechat,
    )
    alipay = _ALIPAY.format(merchant_sn=MERCHANT_SN, base_url=bank.url, app_id=ALIPAY_APP_ID, keys=bank.keys)
    return first + alipay + other
