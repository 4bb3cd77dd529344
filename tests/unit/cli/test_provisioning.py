"""Provisioning: imports given numbers and keys, changes nothing the second time, names what is wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from paymux.cli.provisioning import Count, provision
from paymux.cli.provisioning_file import read_file
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.people import Merchant, Store, Vendor
from paymux.kit.clock import SystemClock
from paymux.kit.seal import Sealer
from paymux.storage.contract import Store as Memory
from paymux.storage.opener import open_store

FILE = """
[[vendor]]
vendor_sn = "V1"
vendor_key = "vendor-secret"
app_id = "APP1"

[[merchant]]
merchant_sn = "M1"
name = "小店"

[[store]]
store_sn = "S1"
merchant_sn = "M1"
name = "南京路店"

[[activation_code]]
code = "12345678"
store_sn = "S1"
uses = 3
expires = 2026-12-31

[[terminal]]
terminal_sn = "T1"
terminal_key = "k1"
store_sn = "S1"
device_id = "D1"

[[channel_account]]
name = "wx"
merchant_sn = "M1"
channel = "wechat"
base_url = "http://127.0.0.1:1"
app_id = "wx0000000000000001"
mch_id = "1900000109"
api_key = "0123456789abcdef0123456789abcdef"

[[channel_account]]
name = "ali"
merchant_sn = "M1"
channel = "alipay"
payways = ["2"]
app_id = "2021000000000001"
private_key = "file:keys/app.pem"
alipay_public_key = "file:keys/app.pub"
"""
EXPIRES_MS = 1_798_732_799_999
"""The last millisecond of 2026 in Shanghai."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a provisioning file and the keys it names."""
    home = tmp_path_factory.mktemp("shop")
    (home / "keys").mkdir()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (home / "keys/app.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    (home / "keys/app.pub").write_bytes(key.public_key().public_bytes(pem, spki))
    (home / "shop.toml").write_text(FILE)
    return home


def in_memory(work: Callable[[Memory], Awaitable[Any]]) -> Any:  # noqa: ANN401 - whatever the work returns
    """Do some work with a fresh store."""

    async def run() -> Any:  # noqa: ANN401 - as above
        sealer = Sealer(bytes(32))
        memory = await open_store(":memory:", sealer=sealer, clock=SystemClock(), threaded=False)
        try:
            return await work(memory)
        finally:
            await memory.close()

    return asyncio.run(run())


async def put(memory: Memory, folder: Path, text: str = FILE, *, reset_keys: bool = False) -> list[Count]:
    """Provision a text as the file of a folder."""
    path = folder / "other.toml"
    path.write_text(text)
    return await provision(memory, read_file(path), where="other.toml", folder=folder, reset_keys=reset_keys)


def test_everything_is_imported_as_given(folder: Path) -> None:
    """Numbers, keys, uses, dates and credentials stand in the store as they stand in the file."""

    async def work(memory: Memory) -> None:
        counts = await put(memory, folder)
        assert [(count.table, count.new, count.changed, count.same) for count in counts] == [
            ("vendor", 1, 0, 0),
            ("merchant", 1, 0, 0),
            ("store", 1, 0, 0),
            ("activation_code", 1, 0, 0),
            ("terminal", 1, 0, 0),
            ("channel_account", 2, 0, 0),
        ]
        assert await memory.vendor("V1") == Vendor(vendor_sn="V1", vendor_key="vendor-secret", app_id="APP1")
        assert await memory.merchant("M1") == Merchant(merchant_sn="M1", name="小店")
        assert await memory.shop("S1") == Store(store_sn="S1", merchant_sn="M1", name="南京路店")
        code = await memory.activation_code("12345678")
        assert code is not None
        assert (code.uses_left, code.expires_ms) == (3, EXPIRES_MS)
        terminal = await memory.terminal("T1")
        assert terminal is not None
        assert (terminal.current_key, terminal.merchant_sn, terminal.device_id) == ("k1", "M1", "D1")
        wechat, alipay = await memory.accounts("M1")
        assert wechat.payways == ("3",)
        assert wechat.credentials["mch_id"] == "1900000109"
        assert alipay.base_url == "https://openapi.alipay.com/gateway.do"
        assert alipay.credentials["private_key"] == (folder / "keys/app.pem").read_text().strip()

    in_memory(work)


def test_the_second_time_nothing_changes(folder: Path) -> None:
    """Idempotent: every entry is counted as it was."""

    async def work(memory: Memory) -> None:
        await put(memory, folder)
        counts = await put(memory, folder)
        assert all(count.new == count.changed == 0 and count.same for count in counts)

    in_memory(work)


def test_what_changed_is_counted_and_written(folder: Path) -> None:
    """A new name is a change, an added terminal is new, and the rest stays."""

    async def work(memory: Memory) -> None:
        await put(memory, folder)
        more = '\n[[terminal]]\nterminal_sn = "T2"\nterminal_key = "k2"\nstore_sn = "S1"\ndevice_id = "D2"\n'
        counts = await put(memory, folder, FILE.replace("南京路店", "淮海路店") + more)
        told = {count.table: (count.new, count.changed, count.same) for count in counts}
        assert told["store"] == (0, 1, 0)
        assert told["terminal"] == (1, 0, 1)
        assert told["merchant"] == (0, 0, 1)

    in_memory(work)


def test_a_terminal_that_checked_in_keeps_its_keys(folder: Path) -> None:
    """Keys rotate: an old file must not lock a till out, unless that is asked for."""

    async def work(memory: Memory) -> None:
        await put(memory, folder)
        terminal = await memory.terminal("T1")
        assert terminal is not None
        for used, new in (("k1", "k2"), ("k2", "k3")):
            assert await memory.rotate_key(terminal, signed_with=used, new_key=new)
        counts = await put(memory, folder)
        kept = await memory.terminal("T1")
        assert kept == replace(terminal, current_key="k3", last_key="k2")
        assert counts[4].notes[0].startswith("T1 keeps its present key")
        await put(memory, folder, reset_keys=True)
        reset = await memory.terminal("T1")
        assert reset is not None
        assert (reset.current_key, reset.last_key) == ("k1", "")

    in_memory(work)


def test_spent_uses_of_a_code_stay_spent(folder: Path) -> None:
    """Giving the same code again does not fill it up."""

    async def work(memory: Memory) -> None:
        await put(memory, folder)
        terminal = await memory.terminal("T1")
        assert terminal is not None
        assert await memory.activate("12345678", replace(terminal, terminal_sn="T9"), now_ms=1)
        await put(memory, folder)
        code = await memory.activation_code("12345678")
        assert code is not None
        assert code.uses_left == 2

    in_memory(work)


def test_later_files_may_name_what_earlier_ones_brought(folder: Path) -> None:
    """A terminal for a store that is in the database needs no [[store]] in its own file."""

    async def work(memory: Memory) -> None:
        await put(memory, folder)
        one = '[[terminal]]\nterminal_sn = "T7"\nterminal_key = "k"\nstore_sn = "S1"\ndevice_id = "D"\n'
        await put(memory, folder, one)
        terminal = await memory.terminal("T7")
        assert terminal is not None
        assert terminal.merchant_sn == "M1"

    in_memory(work)


@pytest.mark.parametrize(
    ("expires", "becomes"),
    [
        ('"2026-12-31"', EXPIRES_MS),
        ("2026-12-31T23:59:59.999", EXPIRES_MS),
        ("2026-12-31T15:59:59.999Z", EXPIRES_MS),
        ('"2026-12-31T15:59:59.999+00:00"', EXPIRES_MS),
        ('""', 0),
    ],
)
def test_ways_to_write_a_time(folder: Path, expires: str, becomes: int) -> None:
    """Dates end with their day, times without offset are the merchant's, "" is never."""

    async def work(memory: Memory) -> None:
        await put(memory, folder, FILE.replace("2026-12-31", expires))
        code = await memory.activation_code("12345678")
        assert code is not None
        assert code.expires_ms == becomes

    in_memory(work)


WRONG = {
    "misspelt key": (
        'store_sn = "S1"\nuses',
        'stor_sn = "S1"\nuses',
        "[[activation_code]] no. 1 (12345678): store_sn is missing",
    ),
    "unknown key": ("uses = 3", "use = 3", "[[activation_code]] no. 1 (12345678): use is not known here"),
    "unknown table": ("[[vendor]]", "[[vendors]]", "unknown table vendors"),
    "one bracket": ("[[vendor]]", "[vendor]", "[[vendor]], with two brackets"),
    "number": (
        'vendor_sn = "V1"',
        "vendor_sn = 1",
        '[[vendor]] no. 1 (1): vendor_sn must be text: write it in quotes, "1"',
    ),
    "blank": ('"V1"', '"V 1"', "vendor_sn may hold letters, digits"),
    "no merchant": (
        '[[store]]\nstore_sn = "S1"\nmerchant_sn = "M1"',
        '[[store]]\nstore_sn = "S1"\nmerchant_sn = "M2"',
        "[[store]] no. 1 (S1): merchant_sn 'M2' is no merchant: add a [[merchant]]",
    ),
    "no store": (
        '"k1"\nstore_sn = "S1"',
        '"k1"\nstore_sn = "S2"',
        "[[terminal]] no. 1 (T1): store_sn 'S2' is no store",
    ),
    "uses": ("uses = 3", "uses = 0", "uses must be a whole number"),
    "uses as bool": ("uses = 3", "uses = true", "uses must be a whole number"),
    "expires": ("2026-12-31", '"soon"', "expires must be a date"),
    "channel": ('"wechat"', '"wechatpay"', "channel is unknown; there are alipay, wechat"),
    "payways": ('["2"]', '["3"]', "payways has 3; this channel serves"),
    "payways text": ('["2"]', '"2"', "payways must be a list"),
    "missing file": (
        "keys/app.pub",
        "keys/gone.pub",
        "(ali): alipay_public_key names a file that cannot be read",
    ),
    "broken key": ("file:keys/app.pem", "no key at all", "(ali): credentials are not usable"),
    "base_url": ('"http://127.0.0.1:1"', '"127.0.0.1:1"', "base_url must be the wallet's http(s) address"),
    "timezone": (
        'name = "小店"',
        'name = "小店"\ntimezone = "Asia/Atlantis"',
        "'Asia/Atlantis' is no time zone",
    ),
    "twice": (
        "[[merchant]]\n",
        '[[merchant]]\nmerchant_sn = "M1"\nname = "x"\n[[merchant]]\n',
        "[[merchant]] no. 2 (M1): merchant_sn is there twice",
    ),
    "empty": (FILE, "", "other.toml is empty"),
}


@pytest.mark.parametrize(("before", "after", "named"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_and_nothing_is_written(
    folder: Path, before: str, after: str, named: str
) -> None:
    """Every complaint names table, entry and key, says what to do, and leaves the store as it was."""
    assert before in FILE

    async def work(memory: Memory) -> None:
        with pytest.raises(ConfigurationBroken) as caught:
            await put(memory, folder, FILE.replace(before, after, 1))
        assert named in str(caught.value)
        assert "other.toml" in str(caught.value)
        assert await memory.vendor("V1") is None
        assert await memory.merchant("M1") is None

    in_memory(work)


def test_a_terminal_does_not_move_to_another_merchant(folder: Path) -> None:
    """Its orders are the first merchant's: the complaint says to use a new number."""

    async def work(memory: Memory) -> None:
        await put(memory, folder)
        moved = FILE.replace('"M1"', '"M2"').replace('"S1"', '"S2"')
        with pytest.raises(ConfigurationBroken, match="from merchant M1: give it a new terminal_sn"):
            await put(memory, folder, moved)

    in_memory(work)


def test_an_account_keeps_its_contract(folder: Path) -> None:
    """Open orders are asked about under it: keys may be renewed, who we are to the wallet may not."""

    async def work(memory: Memory) -> None:
        await put(memory, folder)
        renewed = FILE.replace("0123456789abcdef0123456789abcdef", "f" * 32)
        await put(memory, folder, renewed)
        (account,) = [one for one in await memory.accounts("M1") if one.name == "wx"]
        assert account.credentials["api_key"] == "f" * 32
        with pytest.raises(ConfigurationBroken, match=r"mch_id is 1900000109 .* a new account name"):
            await put(memory, folder, renewed.replace("1900000109", "1900000110"))

    in_memory(work)


def test_apps_are_left_for_the_charge_api(folder: Path) -> None:
    """A file that serves later versions, too, works today; what was left out is said."""

    async def work(memory: Memory) -> None:
        app = '[[app]]\napp_id = "app_1"\nmerchant_sn = "M1"\ntest_secret_key = "sk_test_1"\n'
        counts = await put(memory, folder, FILE + app)
        assert counts[-1].notes[0].startswith("1 [[app]] left alone")
        assert await memory.merchant("M1") is not None

    in_memory(work)
