"""What operators write: settings, provisioning files, keys. A mistake ends in a complaint, no traceback."""

import base64
import io
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from paymux import config
from paymux.channels.alipay import signing
from paymux.channels.registry import open_channel
from paymux.cli.provisioning import provision
from paymux.cli.provisioning_file import read_file
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.people import Account
from paymux.kit.seal import Sealer
from paymux.storage.sqlite import SqliteStore
from tests.fuzz.gateway import close_loop, open_loop
from tests.fuzz.genuine import ACCOUNTS, lived
from tests.fuzz.trial import Dice, Pairs, Trial, edited, single_edits
from tests.harness.virtual_time import VirtualClock


class Sheet:
    """Stands where a file's path is wanted, and reads as that file would: nothing touches the disk."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __str__(self) -> str:
        return "given.toml"

    def read_text(self, encoding: str) -> str:
        """Return the text as `Path.read_text` would."""
        return io.TextIOWrapper(io.BytesIO(self._content), encoding=encoding).read()


_TOKENS = (
    "0",
    "1",
    "-1",
    "9999999999999999999999",
    "9" * 5000,
    "0x10",
    "1.5",
    "nan",
    "inf",
    "true",
    '""',
    '"x"',
    '"5"',
    '"\\u0000"',
    '"~nobody-of-that-name/x"',
    '"~"',
    '"file:~nobody-of-that-name"',
    '"file:\\u0000"',
    '"file:."',
    '"file:gone"',
    '"../.."',
    '"' + "x" * 300 + '"',
    '"Asia/Shanghai"',
    '"/etc/localtime"',
    '"Asia"',
    '"UTC\\n"',
    '"2026-12-31"',
    "2026-12-31",
    "2026-12-31T23:59:60Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "07:32:00",
    "[]",
    '["1"]',
    '["3"]',
    "[1, 5, 30]",
    "[[]]",
    "{}",
    "{a = 1}",
    "[" * 400,
    '"http://127.0.0.1:1"',
    '"http://["',
    '"sqlite:////x"',
    '"-----BEGIN PUBLIC KEY-----"',
    '"MIIB"',
)


def _raw_token(raw: bytes) -> str:
    return raw.decode("latin-1")


# ---------------------------------------------------------------- settings

_SETTINGS = [
    ("listen_host", '"127.0.0.1"'),
    ("listen_port", "8600"),
    ("public_url", '"https://pay.example"'),
    ("data_dir", '"data"'),
    ("database", '"sqlite:////data/x.db"'),
    ("master_key", '"' + "0" * 64 + '"'),
    ("master_key_file", '"~/key"'),
    ("log_level", '"info"'),
    ("allow_private_targets", "true"),
    ("number_block", "3"),
    ("shutdown_s", "8"),
    ("limits.pay_wait_s", "35"),
    ("limits.notify_gaps_s", "[1, 5, 30, 600]"),
    ("limits.late_watch_s", "[60]"),
]
_SETTING_NAMES = (*(name for name, _ in _SETTINGS), "limits", "limits.lease_s", "limits.", "x", '"a b"', "")


def settings() -> Trial:
    """Bytes → a settings file, as it is or edited, and variables beside it."""

    def one(data: bytes) -> None:
        dice = Dice(data)
        raw, variables = dice.below(3) == 0, dice.below(3)
        environ = {}
        for _ in range(variables):
            name = dice.pick(_SETTING_NAMES).replace(".", "_").upper()
            environ[f"PAYMUX_{name}"] = dice.pick(_TOKENS).strip('"')
        pairs = (
            _SETTINGS
            if raw
            else edited(dice, _SETTINGS, names=_SETTING_NAMES, values=_TOKENS, raw=_raw_token)
        )
        content = dice.rest() if raw else _toml_lines(pairs).encode(errors="surrogatepass")
        with suppress(ConfigurationBroken):
            found = config.load(Sheet(content), environ=environ)
            assert isinstance(found.sealing_key_path, Path)
            assert 0 <= found.limits.pay_wait_s <= 1_000_000_000
            assert "\0" not in f"{found.database_path}{found.sealing_key_path}{found.data_dir}", (
                "no such file can be"
            )

    seeds = [b"\x00\x00" + _toml_lines(_SETTINGS).encode()]
    seeds += [bytes([1, 2, name, token, 0, 0]) for name in range(3) for token in range(len(_TOKENS))]
    seeds += single_edits([b"\x01\x00"], fields=len(_SETTINGS), values=len(_TOKENS), replaced=len(_TOKENS))
    words = tuple(f"{name} = {token}\n".encode() for name, token in _SETTINGS)
    return Trial(
        one, tuple(seeds), words=(*words, b"[limits]\n", b'"""', b"\\u0000", b"[[", b"{a="), bytes_max=900
    )


def _toml_lines(pairs: Pairs) -> str:
    return "".join(f"{name} = {token}\n" for name, token in pairs)


# ---------------------------------------------------------------- provisioning

_FILE: tuple[tuple[str, Pairs], ...] = (
    ("vendor", [("vendor_sn", '"V1"'), ("vendor_key", '"k"'), ("app_id", '"A1"')]),
    ("merchant", [("merchant_sn", '"M1"'), ("name", '"shop"'), ("timezone", '"Asia/Shanghai"')]),
    ("store", [("store_sn", '"S1"'), ("merchant_sn", '"M1"'), ("name", '"first"')]),
    (
        "activation_code",
        [("code", '"12345678"'), ("store_sn", '"S1"'), ("uses", "3"), ("expires", "2026-12-31")],
    ),
    (
        "terminal",
        [("terminal_sn", '"T1"'), ("terminal_key", '"k1"'), ("store_sn", '"S1"'), ("device_id", '"D1"')],
    ),
    (
        "channel_account",
        [
            ("name", '"wx"'),
            ("merchant_sn", '"M1"'),
            ("channel", '"wechat"'),
            ("payways", '["3"]'),
            ("base_url", '"http://127.0.0.1:1"'),
            ("app_id", '"wx1"'),
            ("mch_id", '"1900000109"'),
            ("api_key", '"0123456789abcdef"'),
        ],
    ),
    ("app", [("app_id", '"app_1"')]),
)
_FILE_NAMES = (
    *dict.fromkeys(name for _, pairs in _FILE for name, _ in pairs),
    "private_key",
    "client_cert",
    "sign_type",
    "x",
)
_HEADS = ("[[{}]]", "[[{}]]", "[[{}]]", "[{}]", "{} = 1 #", "[[x{}]]", "[[{}.a]]")


def provisioning() -> Trial:
    """Bytes → a provisioning file, as it is or edited, put into a real store in memory."""
    loop = open_loop()
    store = SqliteStore(":memory:", sealer=Sealer(bytes(32)), clock=VirtualClock(loop), threaded=False)
    folder = tempfile.TemporaryDirectory(prefix="paymux-fuzz-")

    def one(data: bytes) -> None:
        dice = Dice(data)
        content = (
            dice.rest() if dice.below(3) == 0 else _provisioning_text(dice).encode(errors="surrogatepass")
        )
        with suppress(ConfigurationBroken):
            tables = read_file(Sheet(content))
            if _stays_here(tables):
                loop.run_until_complete(
                    provision(store, tables, where="given.toml", folder=Path(folder.name))
                )

    def close() -> None:
        loop.run_until_complete(store.close())
        close_loop(loop)
        folder.cleanup()

    whole = "".join(f"[[{table}]]\n{_toml_lines(pairs)}" for table, pairs in _FILE)
    seeds = [b"\x00" + whole.encode()]
    # A head and no edit for each table before the one whose turn it is; its head, and one edit of its fields.
    prefixes = [bytes([1, *([0, 0] * place), 0, 1]) for place in range(len(_FILE))]
    seeds += single_edits(prefixes, fields=8, values=len(_TOKENS), replaced=12)
    words = tuple(f"[[{table}]]\n".encode() for table, _ in _FILE)
    return Trial(one, tuple(seeds), words=(*words, b"file:", b'"""', b"\\u0000"), bytes_max=1200, close=close)


def _provisioning_text(dice: Dice) -> str:
    parts = []
    for table, pairs in _FILE:
        head, edits = dice.pick(_HEADS).format(table), dice.below(3)
        kept = edited(dice, pairs, names=_FILE_NAMES, values=_TOKENS, raw=_raw_token, edits_max=edits)
        parts.append(f"{head}\n{_toml_lines(kept)}")
    return "".join(parts)


def _stays_here(tables: dict[str, Any]) -> bool:
    """Whether no `file:` leads out of the folder: what else lies on this machine is no test's business."""
    return not any(
        isinstance(value, str) and value.startswith("file:") and ("/" in value or ".." in value)
        for rows in tables.values()
        for row in (rows if isinstance(rows, list) else ())
        for value in (row.values() if isinstance(row, dict) else ())
    )


# ---------------------------------------------------------------- keys and sealed secrets


def credentials() -> Trial:
    """Bytes → which account, which of its credentials, and its text, or the DER bytes it is armour of."""
    accounts = [lived(name)[0].account for names in ACCOUNTS.values() for name in names]
    named = [(account, name) for account in accounts for name in account.credentials]

    def one(data: bytes) -> None:
        dice = Dice(data)
        account, name = dice.pick(named)
        text = _armoured(dice.below(8), dice.rest())
        with suppress(ConfigurationBroken):
            open_channel(_changed(account, name, text))
        with suppress(ConfigurationBroken):
            signing.root_certificate_sn(text, name="alipay_root_cert")

    seeds = []
    for place, (account, name) in enumerate(named):
        text = account.credentials[name]
        found = _ARMOUR.fullmatch(text.strip())
        seeds.append(bytes([place, 0]) + text.encode())
        if found and "c2ltdWxhdGlvbg" not in text:
            seeds.append(bytes([place, 1 + _KINDS.index(found["kind"])]) + base64.b64decode(found["inner"]))
    words = (
        b"-----BEGIN ",
        b"-----END ",
        b"MIIB",
        b"\n",
        b"==",
        b"\x30\x82",
        b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01",
    )
    return Trial(one, tuple(seeds), words=words, bytes_max=1600)


_KINDS = (
    "PRIVATE KEY",
    "CERTIFICATE",
    "PUBLIC KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
)
_ARMOUR = re.compile(r"-----BEGIN (?P<kind>[A-Z ]+)-----(?P<inner>[^-]+)-----END [A-Z ]+-----")


def _armoured(form: int, raw: bytes) -> str:
    """Return the bytes as they are, as bare base64, or as PEM of some kind."""
    if form == 0:
        return raw.decode("latin-1")
    inner = base64.encodebytes(raw).decode()
    if form > len(_KINDS):
        return inner
    kind = _KINDS[form - 1]
    return f"-----BEGIN {kind}-----\n{inner}-----END {kind}-----\n"


def _changed(account: Account, name: str, text: str) -> Account:
    return Account(
        name=account.name,
        merchant_sn=account.merchant_sn,
        channel=account.channel,
        payways=account.payways,
        base_url=account.base_url,
        credentials=account.credentials | {name: text},
    )


def sealed() -> Trial:
    """Bytes → what stands in a sealed column, or the master key itself."""
    sealer = Sealer(bytes(32))
    place = ("terminals", "current_key", "T1")
    kept = [sealer.seal(text, *place) for text in ("", "key", "茶" * 20)]
    elsewhere = sealer.seal("key", "terminals", "last_key", "T1")

    def one(data: bytes) -> None:
        text = data.decode("latin-1")
        with suppress(ConfigurationBroken):
            sealer.unseal(text, *place)
            assert text in kept, "opened what was never sealed for this place"
        with suppress(ConfigurationBroken):
            Sealer.from_hex(text)
            assert len(text.strip()) == 64

    seeds: Iterable[str] = (*kept, elsewhere, "v1.", "", "0" * 64, "v2." + kept[1][3:])
    return Trial(one, tuple(seed.encode() for seed in seeds), words=(b"v1.", b"==", b"\n"), bytes_max=256)
