"""A whole day with marked secrets: none of them is found anywhere but sealed (rows 28 and 29, M9).

A true gateway and true wallets, every call, many mistakes, one incident, every command. Then each secret is
looked for, in several spellings, in every byte the day has left: log, standard output and errors of commands,
database and its write-ahead log, answers. What a till itself is told (its key, its buyer) is looked at apart.
"""

import asyncio
import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from tests.harness.children import Child, command
from tests.harness.live import (
    APP_ID,
    VENDOR_KEY,
    VENDOR_SN,
    Gateway,
    Json,
    SandboxChild,
    Till,
    Wallets,
    biz,
    open_http,
    shop,
    sign,
    tables,
)
from tests.hostile.conftest import till_of

HERE, THERE, ILL = shop(31), shop(32), shop(33)
"""Two merchants, and one whose contracts with the wallets are wrong."""
MASTER_KEY = hashlib.sha256(b"master").hexdigest()
PAYER = "oCANARYopenid0123456789payer"
UPLOADED = b"the till's own log holds CANARYLOG and a card 6222020000000000000"
SCRIPTS = ("00", "01", "02", "05", "06", "07", "08", "09", "12", "17", "18", "19")
VISIBLE = "CANARY-VISIBLE-SUBJECT"


class Left(NamedTuple):
    """What the day has left behind."""

    secrets: dict[str, str]
    buyers: set[str]
    answers: list[tuple[str, Json]]
    texts: dict[str, bytes]
    commands: dict[str, bytes]


# ---------------------------------------------------------------- the day


class Day:
    """Everything a gateway goes through in a day, with every answer kept."""

    def __init__(self, http: aiohttp.ClientSession, gateway: Gateway) -> None:
        self.http, self.gateway = http, gateway
        self.till = till_of(http, gateway, HERE)
        self.answers: list[tuple[str, Json]] = []
        self.barcodes: list[str] = []
        self.keys: dict[str, str] = {}
        self.wrong_signs: list[str] = []

    async def say(self, till: Till, path: str, content: bytes, *, key: str = "", header: str = "") -> Json:
        """Send a body and keep the answer."""
        headers = {"Authorization": header or f"{till.sn} {sign(content, key or till.key)}"}
        async with self.http.post(self.gateway.url + path, data=content, headers=headers) as reply:
            answer: Json = await reply.json()
        self.answers.append((path, answer))
        return answer

    async def call(self, till: Till, name: str, **fields: object) -> Json:
        """An order call."""
        content = json.dumps({"terminal_sn": till.sn, **fields}).encode()
        return await self.say(till, f"/upay/v2/{name}", content)

    async def sell(self, till: Till, number: int, script: str, prefix: str) -> Json:
        """A sale by barcode, whatever comes of it."""
        barcode = f"{prefix}{number:08d}{(number * 7_919) % 10**6:06d}{script}"
        self.barcodes.append(barcode)
        sale = {
            "client_sn": f"K{prefix}{number}",
            "total_amount": "100",
            "subject": VISIBLE,
            "operator": "ann",
        }
        return await self.call(till, "pay", dynamic_id=barcode, **sale)

    async def terminals(self) -> None:
        """A device is activated, checks in twice and hands in its log; somebody with another device fails."""
        vendor = Till(self.http, self.gateway.url, sn=VENDOR_SN, key=VENDOR_KEY)
        wish = {"app_id": APP_ID, "code": HERE.code, "device_id": "canary", "name": "front"}
        made = biz(await self.say(vendor, "/terminal/activate", json.dumps(wish).encode()))
        till = Till(self.http, self.gateway.url, sn=made["terminal_sn"], key=made["terminal_key"])
        self.keys["activated"] = till.key
        for turn in ("first check-in", "second check-in"):
            body = json.dumps({"terminal_sn": till.sn, "device_id": "canary"}).encode()
            till.key = self.keys[turn] = biz(await self.say(till, "/terminal/checkin", body))["terminal_key"]
        await self.say(till, "/terminal/uploadLog", UPLOADED)
        other = json.dumps({"terminal_sn": till.sn, "device_id": "another"}).encode()
        await self.say(till, "/terminal/checkin", other)
        await self.say(vendor, "/terminal/activate", json.dumps(wish | {"code": "0"}).encode())

    async def sales(self) -> None:
        """Every script with both wallets; refunds, cancels, queries; QR codes and a payer who is named."""
        pairs = [(number, script, prefix) for prefix in ("13", "28") for number, script in enumerate(SCRIPTS)]
        await asyncio.gather(*(self.sell(self.till, *pair) for pair in pairs))
        for prefix in ("13", "28"):
            for number, amount in ((0, "30"), (0, "999"), (9, "10"), (10, "10")):
                fields = {
                    "client_sn": f"K{prefix}{number}",
                    "refund_request_no": f"R{amount}",
                    "operator": "ann",
                }
                await self.call(self.till, "refund", refund_amount=amount, **fields)
            await self.call(self.till, "cancel", client_sn=f"K{prefix}1")
            await self.call(self.till, "query", client_sn=f"K{prefix}0")
        for payway, way, payer in (("3", "2", ""), ("1", "2", ""), ("3", "3", PAYER), ("3", "4", PAYER)):
            sale = {
                "client_sn": f"Q{payway}{way}",
                "total_amount": "100",
                "subject": VISIBLE,
                "payer_uid": payer,
            }
            await self.call(self.till, "precreate", payway=payway, sub_payway=way, **sale)
        await asyncio.gather(
            *(
                self.sell(till_of(self.http, self.gateway, ILL), n, "00", p)
                for n, p in enumerate(("13", "28"))
            )
        )

    async def mistakes(self) -> None:
        """Wrong keys, secrets where none belong, bodies that are none, letters nobody wrote."""
        there = till_of(self.http, self.gateway, THERE)
        body = json.dumps({"terminal_sn": HERE.terminal_sn, "client_sn": "K130"}).encode()
        self.wrong_signs = [sign(body, one) for one in (HERE.terminal_key, THERE.terminal_key, VENDOR_KEY)]
        for key in (VENDOR_KEY, THERE.terminal_key, "0" * 32):
            await self.say(self.till, "/upay/v2/query", body, key=key)
        await self.say(there, "/upay/v2/query", body)
        told = json.dumps(json.loads(body), separators=(",", ":")).encode()
        await self.say(
            self.till, "/upay/v2/query", body, header=f"{self.till.sn} {sign(told, self.till.key)}"
        )
        for header in (self.till.key, f"{self.till.key} {self.till.key}", f"{self.till.sn} {self.till.key}"):
            await self.say(self.till, "/upay/v2/query", body, header=header)
        barcode = f"13{77:08d}42424200"
        self.barcodes.append(barcode)
        for bad in (
            {"dynamic_id": barcode, "total_amount": "1.5", "subject": "tea", "client_sn": "E1"},
            {"dynamic_id": [barcode], "total_amount": "1", "subject": "tea", "client_sn": "E2"},
            {"dynamic_id": barcode * 3, "total_amount": "1", "subject": "", "client_sn": "E3"},
        ):
            await self.call(self.till, "pay", **bad)
        await self.say(self.till, "/upay/v2/pay", f'{{"dynamic_id":"{barcode}"'.encode())
        orders = self.gateway.rows("SELECT bucket, merchant_id, sn, account FROM orders LIMIT 4")
        for bucket, merchant, sn, account in orders:
            place = f"{self.gateway.url}/callbacks/{account}/{bucket}/{merchant}/{sn}"
            forged = f"<xml><openid>{PAYER}</openid><sign>{'A' * 32}</sign></xml>"
            async with self.http.post(place, data=forged) as reply:
                assert reply.status == 200

    async def incident(self) -> None:
        """The database is taken away for a moment, in the middle of a sale."""
        with closing(sqlite3.connect(self.gateway.data / "paymux.db", timeout=5)) as thief:
            thief.execute("BEGIN IMMEDIATE")
            answer = await self.sell(self.till, 90, "00", "13")
            thief.rollback()
        assert answer["error_code"] == "UNKNOWN_SYSTEM_ERROR", answer
        assert answer["error_code_standard"]


async def live_through(
    http: aiohttp.ClientSession, gateway: Gateway, sandbox: SandboxChild
) -> tuple[Day, list[Json]]:
    """Provision, serve, and let the day pass; return it with the accounts' credentials."""
    accounts = await Wallets(http, sandbox.url).accounts("wechat", "alipay")
    wrong = [
        account | ({"api_key": "f" * 32} if "api_key" in account else {"app_id": "2021"})
        for account in accounts
    ]
    await gateway.provision(tables({HERE: accounts, THERE: accounts, ILL: wrong}))
    await gateway.start()
    day = Day(http, gateway)
    await day.terminals()
    await day.sales()
    await day.mistakes()
    await day.incident()
    return day, accounts


# ---------------------------------------------------------------- what is left


async def run(gateway: Gateway, name: str, *arguments: str) -> bytes:
    """Run a command, whatever its exit code; return standard output and errors.

    What a settings file says is told in its own words only when no variable says otherwise.
    """
    log = gateway.data.with_name(f"{name}.out")
    settings = {} if arguments[0] == "--config" else gateway._settings
    child = Child(command, *arguments, log=log, settings=settings)
    try:
        await child.ended()
    finally:
        child.end()
    return log.read_bytes()


TERMINAL = (
    f'[[terminal]]\nterminal_sn = "{HERE.terminal_sn}"\nstore_sn = "{HERE.store_sn}"\ndevice_id = "d"\n'
)
ACCOUNT = f'[[channel_account]]\nname = "x"\nmerchant_sn = "{HERE.merchant_sn}"\npayways = ["1"]\n'
BROKEN = {
    "a key without its end": ("provision", f'{TERMINAL}terminal_key = "{HERE.terminal_key}\n'),
    "a key in a list": ("provision", f'{TERMINAL}terminal_key = ["{HERE.terminal_key}"]\n'),
    "a key for a name": ("provision", f'{TERMINAL}{HERE.terminal_key} = "1"\n'),
    "a vendor's key alone": ("provision", f'[[vendor]]\nvendor_key = "{VENDOR_KEY}"\n'),
    "no PEM": ("provision", f'{ACCOUNT}channel = "alipay"\napp_id = "1"\nprivate_key = "{VENDOR_KEY}"\n'),
    "a field too much": ("provision", f'{ACCOUNT}channel = "wechat"\napi_keys = "{VENDOR_KEY}"\n'),
    "a short master key": ("settings", f'master_key = "{MASTER_KEY[:-1]}"\n'),
    "a master key without its end": ("settings", f'master_key = "{MASTER_KEY[:-1]}\n'),
    "a master key in a list": ("settings", f'master_key = ["{MASTER_KEY}"]\n'),
    "a master key elsewhere": ("settings", f'listen_host = 1\nmaster_key = "{MASTER_KEY}"\n'),
}
"""Kind → the command that is to refuse a file, and the file."""


async def all_commands(gateway: Gateway, folder: Path) -> dict[str, bytes]:
    """The output of every command that tells something, and of those that fail."""
    told: dict[str, bytes] = {}
    for name in (
        "doctor",
        "doctor --json",
        "settings",
        "admin books",
        "admin books --json",
        "admin channels",
    ):
        told[name] = await run(gateway, f"command{len(told)}", *name.split())
    for number, (sn,) in enumerate(gateway.rows("SELECT sn FROM orders")):
        for form in (("--full", "--json"), *([("--full",)] if number % 4 == 0 else [])):
            told[f"explain {sn} {' '.join(form)}"] = await run(
                gateway, f"command{len(told)}", "explain", sn, *form
            )
    for kind, (name, text) in BROKEN.items():
        file = folder / f"broken{len(told)}.toml"
        file.write_text(text)
        arguments = ("provision", str(file)) if name == "provision" else ("--config", str(file), "settings")
        told[kind] = await run(gateway, f"command{len(told)}", *arguments)
    return told


def secrets_of(day: Day, accounts: list[Json], gateway: Gateway) -> dict[str, str]:
    """Every secret by a name for people; of long ones a piece that cannot be there by chance."""
    secrets = {f"terminal key of {one.terminal_sn}": one.terminal_key for one in (HERE, THERE, ILL)}
    secrets |= {"vendor key": VENDOR_KEY, "master key": MASTER_KEY} | day.keys
    for account in accounts:
        for field in ("api_key", "private_key", "client_key"):
            if field in account:
                text = str(account[field])
                secrets[f"{account['name']} {field}"] = text.splitlines()[1] if "BEGIN" in text else text
    notify_key = (gateway.data / "notify_key.pem").read_text()
    secrets["notification key"] = notify_key.splitlines()[1]
    secrets |= {f"barcode {barcode}": barcode for barcode in day.barcodes}
    secrets |= {f"expected sign {number}": text for number, text in enumerate(day.wrong_signs)}
    secrets |= {"uploaded log": "CANARYLOG", "the ill account's key": "f" * 32}
    secrets |= {"most of the master key": MASTER_KEY[:-1], "the later half of it": MASTER_KEY[32:]}
    return secrets


def spellings(secret: str) -> Iterator[bytes]:
    """As it is, and as other tools would write it."""
    yield secret.encode()
    yield secret.upper().encode()
    yield base64.b64encode(secret.encode()).rstrip(b"=")[:-1]
    yield secret.encode().hex().encode()
    yield secret.encode("utf-16-le")
    if len(secret) in {32, 64} and set(secret) <= set("0123456789abcdef"):
        yield bytes.fromhex(secret)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """Live through the day once; every test looks at what it left."""
    folder = tmp_path_factory.mktemp("canary")

    async def live(gateway: Gateway, sandbox: SandboxChild) -> Left:
        await sandbox.ready()
        async with open_http() as http:
            day, accounts = await live_through(http, gateway, sandbox)
        commands = await all_commands(gateway, folder)
        buyers = {str(uid) for (uid,) in gateway.rows("SELECT payer_uid FROM orders") if uid} | {PAYER}
        texts = {
            file.name: file.read_bytes() for file in gateway.data.iterdir() if file.name != "notify_key.pem"
        }
        texts["log"] = gateway.log.read_bytes()
        return Left(secrets_of(day, accounts, gateway), buyers, day.answers, texts, commands)

    with SandboxChild(folder) as sandbox, Gateway(folder / "data", PAYMUX_MASTER_KEY=MASTER_KEY) as gateway:
        yield asyncio.run(live(gateway, sandbox))
        assert gateway.process.exit_code is None


def found(secrets: Mapping[str, str], texts: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """(secret, place) of each secret that is somewhere."""
    return [
        (name, place)
        for name, secret in secrets.items()
        for place, text in texts.items()
        if any(one in text for one in spellings(secret))
    ]


# ---------------------------------------------------------------- the promises


def test_the_day_was_a_full_one(left: Left) -> None:
    """The search would find what is there: orders, answers of every kind, alarms, an incident, commands."""
    assert VISIBLE.encode() in left.texts["paymux.db"] + left.texts["paymux.db-wal"]
    for event in (
        b"sign.refused",
        b"channel.misconfigured",
        b"call.failed",
        b"callback.forged",
        b"log_uploaded",
    ):
        assert event in left.texts["log"]
    results = {
        biz(answer)["result_code"]
        for _, answer in left.answers
        if answer["result_code"] == "200" and "biz_response" in answer
    }
    assert {
        "PAY_SUCCESS",
        "PAY_FAIL",
        "PAY_IN_PROGRESS",
        "REFUND_SUCCESS",
        "PRECREATE_SUCCESS",
        "FAIL",
    } <= results
    explained = [text for name, text in left.commands.items() if name.startswith("explain")]
    assert len(explained) > 30
    assert all(VISIBLE.encode() in text or b"sn" in text for text in explained)
    assert b"alipay" in left.commands["doctor"]
    assert len(left.secrets) > 40
    assert len(left.buyers) > 1


def test_files_and_log(left: Left) -> None:
    """Not in the database or what stands beside it, not in the log, an incident's traceback included."""
    assert {"paymux.db", "paymux.db-wal", "log"} <= set(left.texts)
    assert found(left.secrets, left.texts) == []


def test_commands(left: Left) -> None:
    """Not in what any command prints, when it tells and when it fails."""
    assert {kind for kind in BROKEN if not left.commands[kind].startswith(b"paymux: ")} == set()
    assert found(left.secrets, left.commands) == []


def test_answers(left: Left) -> None:
    """Not in any answer, but that activation and check-in hand over the key they are about."""
    handed = {"/terminal/activate", "/terminal/checkin"}
    told = {f"{path} {n}": json.dumps(answer).encode() for n, (path, answer) in enumerate(left.answers)}
    keys = {
        name: key
        for name, key in left.secrets.items()
        if name in {"activated", "first check-in", "second check-in"}
    }
    rest = {name: secret for name, secret in left.secrets.items() if name not in keys}
    assert found(rest, told) == []
    others = {place: text for place, text in told.items() if place.split()[0] not in handed}
    assert found(keys, others) == []


def test_buyers(left: Left) -> None:
    """Who the buyers are stands in their orders and in what merchants are told of them, and nowhere else."""
    log_and_commands = {"log": left.texts["log"]} | {
        name: text for name, text in left.commands.items() if not name.endswith("--json")
    }
    assert found({buyer: buyer for buyer in left.buyers}, log_and_commands) == []
    histories = [
        text for name, text in left.commands.items() if name.startswith("explain") and name.endswith("--json")
    ]
    for text in histories:
        events: list[dict[str, Any]] = json.loads(text).get("events", [])
        assert [buyer for buyer in left.buyers if buyer in json.dumps(events)] == []
