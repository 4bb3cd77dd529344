"""Real processes for what virtual time cannot prove: gateways and wallets as children, tills over HTTP.

Sockets, files, fsync and signals are the true ones. Every child is ended with its `with` block, whatever
happens.

Each gateway believes to be alone and numbers its orders by the second, so no two of them may share a wallet
account: a gateway of its own needs a sandbox, or at least accounts, of its own.
"""

import base64
import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.harness.children import Child, command, hold_port, until

WALLETS = {"alipay": ("1", "28"), "wechat": ("3", "13")}
"""Wallet → payway and how its barcodes begin."""
Json = dict[str, Any]
Books = dict[str, tuple[int, int]]
"""out_trade_no → (paid, refunded), fen."""

QUICK: Mapping[str, object] = {
    "PAYMUX_ALLOW_PRIVATE_TARGETS": "true",
    "PAYMUX_SHUTDOWN_S": 5,
    "PAYMUX_LIMITS_PAY_WAIT_S": 1,
    "PAYMUX_LIMITS_PRECREATE_WAIT_S": 1,
    "PAYMUX_LIMITS_PRECREATE_GAPS_S": "1,2",
    "PAYMUX_LIMITS_CANCEL_WAIT_S": 1,
    "PAYMUX_LIMITS_REFUND_WAIT_S": 1,
    "PAYMUX_LIMITS_NOTIFY_GAPS_S": "1,1,2",
    "PAYMUX_LIMITS_NOTIFY_TIMEOUT_S": 1,
    "PAYMUX_LIMITS_LEASE_S": 2,
}
"""Limits under which what a kill interrupted is taken up again within seconds."""


# ---------------------------------------------------------------- programs


class Gateway:
    """A gateway's data directory and, between `start` and an end, its `paymux serve` process.

    It comes back on the port it had: the wallets' callbacks know it by that.
    """

    def __init__(self, data: Path, *options: str, **settings: object) -> None:
        self.data = data
        self._options = options
        self.log = data.with_name(f"{data.name}.log")
        self._settings = {**QUICK, **settings, "PAYMUX_DATA_DIR": data}
        self._place = hold_port()
        self._child: Child | None = None
        self._commands = 0

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def process(self) -> Child:
        """The present process, or the last one."""
        assert self._child is not None
        return self._child

    def spawn(self, *, crash_at: str = "", program: Callable[..., object] = command) -> Child:
        """Begin a process without waiting for anything; `crash_at` names the point where it kills itself.

        `program` runs the `paymux` command line it is given; a test may hand in one that ends it early.
        """
        armed = {"PAYMUX_CRASH_AT": crash_at} if crash_at else {}
        port = str(self._port)
        self._child = Child(
            program, "serve", "--port", port, *self._options, log=self.log, settings=self._settings | armed
        )
        return self._child

    async def start(self, *, crash_at: str = "") -> None:
        """Begin a process and wait until it answers."""
        await self.spawn(crash_at=crash_at).said("gateway.ready")

    def kill(self) -> None:
        """Pull the plug: SIGKILL."""
        self.process.end()

    async def stop(self) -> int:
        """Ask it to end, as a service manager does: SIGTERM. Return the exit code."""
        self.process.terminate()
        return await self.process.ended()

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Read its database from outside."""
        uri = f"file:{self.data / 'paymux.db'}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def unsettled(self) -> list[tuple[Any, ...]]:
        """What is still to be done; a second look at what was undone does not count."""
        return self.rows("SELECT kind, sn, run_at_ms FROM due WHERE kind <> 'watch'")

    async def settled(self, within_s: int = 45) -> None:
        """Wait until nothing is left to be done."""
        await until(lambda: not self.unsettled(), within_s=within_s, what="everything is settled")

    def helper(self, *arguments: str) -> Child:
        """Begin another `paymux` process on the same data, such as a worker."""
        self._commands += 1
        log = self.log.with_name(f"{self.data.name}.{self._commands}.out")
        return Child(command, *arguments, log=log, settings=self._settings)

    async def run(self, *arguments: str) -> str:
        """Run another `paymux` command on the same data; return what it prints."""
        child = self.helper(*arguments)
        try:
            assert await child.ended() == 0, child.text
        finally:
            child.end()
        return child.text

    async def provision(self, tables: Mapping[str, Iterable[Mapping[str, object]]]) -> None:
        """Write a provisioning file and have it taken in."""
        file = self.data.with_name(f"{self.data.name}.toml")
        file.write_text(_toml(tables))
        await self.run("provision", str(file))

    async def books(self) -> Books:
        """Our books, as `paymux admin books --json` prints them."""
        return _as_books(json.loads(await self.run("admin", "books", "--json")))

    def events(self, name: str) -> list[Json]:
        """The lines of its log with this event name."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.end()
        self._place.close()

    @property
    def _port(self) -> int:
        port: int = self._place.getsockname()[1]
        return port


class SandboxChild:
    """A `paymux sandbox` process."""

    def __init__(self, folder: Path) -> None:
        self._child = Child(command, "sandbox", "--port", "0", log=folder / "sandbox.log")
        self.url = ""

    async def ready(self) -> None:
        """Wait until it serves."""
        self.url = (await self._child.said("phone ")).split()[1].removesuffix("/phone")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()


# ---------------------------------------------------------------- who there is


@dataclass(frozen=True, kw_only=True)
class Shop:
    """A merchant with one store, an activation code and an imported terminal."""

    merchant_sn: str
    store_sn: str
    code: str
    terminal_sn: str
    terminal_key: str
    device_id: str


VENDOR_SN, VENDOR_KEY, APP_ID = "91800001", "5e1f7c0a9b3d4e6f8a7b6c5d4e3f2a1b", "2026010100000001"


def shop(number: int) -> Shop:
    """Return the numbers and keys of one of many shops, counted from 1."""
    return Shop(
        merchant_sn=f"16800000000{number:05d}",
        store_sn=f"15800000000{number:05d}",
        code=f"{88_000_000 + number}",
        terminal_sn=f"1001112200{number:08d}",
        terminal_key=hashlib.sha256(f"terminal {number}".encode()).hexdigest()[:32],
        device_id=f"till-{number}",
    )


def tables(shops: Mapping[Shop, Iterable[Json]]) -> dict[str, list[Json]]:
    """A provisioning file's tables: each shop with its channel accounts, as a sandbox lists them."""
    return {
        "vendor": [{"vendor_sn": VENDOR_SN, "vendor_key": VENDOR_KEY, "app_id": APP_ID}],
        "merchant": [{"merchant_sn": one.merchant_sn, "name": f"茶馆 {one.merchant_sn}"} for one in shops],
        "store": [
            {"store_sn": one.store_sn, "merchant_sn": one.merchant_sn, "name": "一号店"} for one in shops
        ],
        "activation_code": [{"code": one.code, "store_sn": one.store_sn, "uses": 1000} for one in shops],
        "terminal": [
            {
                "terminal_sn": one.terminal_sn,
                "terminal_key": one.terminal_key,
                "store_sn": one.store_sn,
                "device_id": one.device_id,
                "app_id": APP_ID,
            }
            for one in shops
        ],
        "channel_account": [
            account | {"merchant_sn": one.merchant_sn}
            for one, accounts in shops.items()
            for account in accounts
        ],
    }


# ---------------------------------------------------------------- tills


class NoAnswer(Exception):
    """The gateway could not be reached, or the connection broke before the answer was there."""


class Till:
    """A till, or a vendor: it signs the very bytes it sends (upay-v2.md §1.1)."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, sn: str, key: str) -> None:
        self._http = http
        self._url = url
        self.sn = sn
        self.key = key

    async def post(self, path: str, body: bytes, *, key: str = "") -> Json:
        """Send bytes, signed with the till's key or another one; return the answer. Raises `NoAnswer`."""
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"{self.sn} {sign(body, key or self.key)}",
        }
        try:
            async with self._http.post(self._url + path, data=body, headers=headers) as reply:
                assert reply.status == 200
                answer = await reply.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoAnswer from error
        assert isinstance(answer, dict)
        return answer

    async def call(self, name: str, **fields: object) -> Json:
        """Make an order call; return its biz_response."""
        body = json.dumps({"terminal_sn": self.sn, **fields}).encode()
        return biz(await self.post(f"/upay/v2/{name}", body))

    async def pay(self, barcode: str, client_sn: str, **fields: object) -> Json:
        """Sell tea for 1 yuan, unless the fields say otherwise."""
        sale = {"total_amount": "100", "subject": "tea", "operator": "ann"} | fields
        return await self.call("pay", dynamic_id=barcode, client_sn=client_sn, **sale)

    async def precreate(self, payway: str, client_sn: str, **fields: object) -> Json:
        """Show a QR code for 1 yuan."""
        sale = {"total_amount": "100", "subject": "tea", "operator": "ann"} | fields
        return await self.call("precreate", payway=payway, client_sn=client_sn, **sale)

    async def refund(self, client_sn: str, number: str, amount: int) -> Json:
        """Give fen back."""
        return await self.call(
            "refund", client_sn=client_sn, refund_request_no=number, refund_amount=str(amount)
        )


def open_http() -> aiohttp.ClientSession:
    """A client with room for every till of a test; a call ends after a minute."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
    )


def sign(body: bytes, key: str) -> str:
    """MD5 over the bytes and the key."""
    return hashlib.md5(body + key.encode()).hexdigest()  # noqa: S324 - the protocol prescribes MD5


def biz(answer: Json) -> Json:
    """The business part of a call that was taken."""
    assert answer["result_code"] == "200", answer
    found = answer["biz_response"]
    assert isinstance(found, dict)
    return found


def barcode(wallet: str, number: int, script: str) -> str:
    """A buyer's barcode whose last two digits choose the sandbox's script."""
    return f"{WALLETS[wallet][1]}{number:014d}{script}"


# ---------------------------------------------------------------- the wallets' side


class Wallets:
    """What a sandbox tells about itself."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def accounts(self, *names: str) -> list[Json]:
        """The accounts of these names, fit for a provisioning file."""
        rows = await self.rows("accounts")
        return [row for row in rows if row["name"] in names]

    async def books(self) -> Books:
        """The wallets' books."""
        return _as_books(await self.rows("books"))

    async def journal(self, sn: str = "") -> list[tuple[str, str, int, str]]:
        """Every movement of an order (of all orders): what, out_trade_no, fen, refund number."""
        return [
            (row["what"], row["out_trade_no"], row["amount_fen"], row["refund_no"])
            for row in await self.rows("journal")
            if row["what"] != "topup" and sn in ("", row["out_trade_no"])
        ]

    async def arm(self, **fault: object) -> None:
        """Let something go wrong."""
        async with self._http.post(f"{self._url}/_sandbox/faults", json=fault) as reply:
            assert reply.status == 200, await reply.text()

    async def rows(self, name: str) -> list[Json]:
        """A list of its control API as it is: accounts, books, journal, transcript."""
        async with self._http.get(f"{self._url}/_sandbox/{name}") as reply:
            assert reply.status == 200
            rows = await reply.json()
        assert isinstance(rows, list)
        return rows


def assert_books_agree(ours: Books, theirs: Books) -> None:
    """Both sets of books tell the same, to the fen; what the wallets never heard of is nothing here."""
    assert {sn: amounts for sn, amounts in ours.items() if sn in theirs} == theirs
    assert {sn for sn, amounts in ours.items() if sn not in theirs and any(amounts)} == set()


# ---------------------------------------------------------------- the merchant's server


@dataclass(frozen=True)
class Told:
    """One notification as it came."""

    path: str
    authorization: str
    body: bytes

    @property
    def order(self) -> Json:
        """The order it tells about."""
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    def is_signed(self, public_pem: str) -> bool:
        """Whether the gateway whose key this is has signed these bytes."""
        key = serialization.load_pem_public_key(public_pem.encode())
        assert isinstance(key, rsa.RSAPublicKey)
        try:
            signature = base64.b64decode(self.authorization, validate=True)
            key.verify(signature, self.body, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


class Ear:
    """A merchant's server that takes every notification; `told` is what it heard."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    def at(self, path: str) -> list[Told]:
        """What was told at `url` + path."""
        return [one for one in self.told if one.path == path]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._hear)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _hear(self, request: web.Request) -> web.Response:
        told = Told(request.path, request.headers.get("Authorization", ""), await request.read())
        self.told.append(told)
        return web.Response(text="success")


async def notify_key(http: aiohttp.ClientSession, gateway: Gateway) -> str:
    """The public key the gateway publishes for its notifications, PEM."""
    async with http.get(f"{gateway.url}/.well-known/paymux-notify-key.pem") as reply:
        assert reply.status == 200
        return await reply.text()


# ---------------------------------------------------------------- helpers


def _toml(tables: Mapping[str, Iterable[Mapping[str, object]]]) -> str:
    return "\n".join(_toml_lines(tables))


def _toml_lines(tables: Mapping[str, Iterable[Mapping[str, object]]]) -> Iterator[str]:
    """JSON's spelling of texts, lists and truth is TOML's, too."""
    for table, entries in tables.items():
        for entry in entries:
            yield f"[[{table}]]"
            yield from (f"{key} = {json.dumps(value)}" for key, value in entry.items())


def _as_books(rows: list[Json]) -> Books:
    return {row["out_trade_no"]: (row["paid"], row["refunded"]) for row in rows}
