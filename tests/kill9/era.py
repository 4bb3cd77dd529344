"""An era: one database and its wallets, over many lives of the gateway; at its end everything is weighed."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from aiohttp import web

from tests.harness.live import Ear, Gateway, Json, Till, Wallets, notify_key, open_http, shop, tables
from tests.harness.postgres import everything
from tests.kill9.canaries import leaks, secrets_in, secrets_of
from tests.kill9.disk import SmallDisk, small_disk
from tests.kill9.memory import Breach, Finding, Memory, Sale
from tests.kill9.plan import EraPlan
from tests.kill9.tills import Clerk, Habits, Tills, Unanswered
from tests.kill9.witness import Witness

SETTINGS: dict[str, object] = {
    "PAYMUX_CANCEL_SAME_DAY_ONLY": "false",
    "PAYMUX_LIMITS_CANCEL_WAIT_S": 0,
    "PAYMUX_LIMITS_REFUND_WAIT_S": 0,
    "PAYMUX_LIMITS_DOUBT_S": 2,
    "PAYMUX_LIMITS_LATE_WATCH_S": "3,6,12",
    "PAYMUX_LIMITS_PRECREATE_LIFE_S": 20,
    "PAYMUX_LIMITS_QUERY_MIN_GAP_S": 1,
    "PAYMUX_LIMITS_NOTIFY_SLOW_GAP_S": 3,
    "PAYMUX_LIMITS_SLOW_GAP_S": 5,
}
"""Beside the harness's quick ones: no midnight amid a run, second looks within seconds, and calls that are
answered though no life lasts a second. In every other era pays wait for one, and are cut off."""

SHOPS = {shop(1): ("alipay", "wechat"), shop(2): ("alipay-cert", "wechat-hmac")}
"""Both merchants use both wallets; between them they use every way to sign."""
REST_S, QR_REST_S = 150, 420
"""After so long everything is definite: a sale is reversed after 45 s, a WeChat code closed after 300."""
CALM_S = 5
"""Who pays late does it two seconds after he was told that the order is off."""
_UPSETS = frozenset(
    {
        "call.failed",
        "callback.failed",
        "due.orphan",
        "order.contradiction",
        "worker.claim_failed",
        "worker.failed",
    }
)
"""Alarms that have no honest reason here but trouble with the disk."""
_LOG = "gateway.log"
_GRACE = timedelta(seconds=3)
"""So long after the end of a trouble the log may still speak of it."""


class HardOfHearing(Ear):
    """A merchant's server that is out of order now and then."""

    _EVERY = 23

    async def _hear(self, request: web.Request) -> web.Response:
        heard = await super()._hear(request)
        return web.Response(status=500) if len(self.told) % self._EVERY == 0 else heard


class Era:
    """What the deaths need of it: the gateway, the tills, the disk, and whether there is trouble now."""

    def __init__(
        self,
        plan: EraPlan,
        folder: Path,
        url: str,
        *,
        seed: str,
        habits: Habits,
        rest_s: int = 0,
        dsn: str = "",
    ) -> None:
        self.dsn = dsn
        self.plan = plan
        self.folder = folder
        self.memory = Memory()
        self.is_new = True
        self.disk: SmallDisk | None = None
        self._url = url
        self._seed = seed
        self._habits = habits
        self._rest_s = rest_s or (QR_REST_S if habits.wechat_qr else REST_S)
        self._opened = AsyncExitStack()
        self._troubles: list[tuple[datetime, datetime]] = []
        self._log_read: dict[Path, int] = {}
        self._jobs: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True)
        place = self.folder
        if self.plan.small_disk:
            self.disk = self._opened.enter_context(small_disk(self.folder / "disk"))
            place = self.disk.place
        self._http = await self._opened.enter_async_context(open_http())
        self.ear = await self._opened.enter_async_context(HardOfHearing())
        temporary = self.folder / "tmp"
        temporary.mkdir()
        settings = SETTINGS | {"TMPDIR": temporary, "PAYMUX_LIMITS_PAY_WAIT_S": self.plan.number % 2}
        if self.dsn:
            settings["PAYMUX_DATABASE"] = self.dsn
        self.gateway = self._opened.enter_context(Gateway(place / "data", **settings))
        self.log_on_disk(on_disk=False)
        self.wallets = Wallets(self._http, self._url)
        self.witness = Witness(self.gateway, self.wallets, self.ear, self.memory)
        counters = [
            Till(self._http, self.gateway.url, sn=one.terminal_sn, key=one.terminal_key) for one in SHOPS
        ]
        seed = f"{self._seed}/{self.plan.number}"
        self.tills = Tills(counters, self.memory, self.wallets, ear_url=self.ear.url, seed=seed)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._go_home()
        await self._opened.aclose()

    async def open_shops(self) -> None:
        """Tell the gateway of its shops, and open them."""
        accounts = await self.wallets.rows("accounts")
        of = {one: [row for row in accounts if row["name"] in names] for one, names in SHOPS.items()}
        self.memory.secrets |= secrets_of(SHOPS, accounts)
        await self.gateway.provision(tables(of))
        self.is_new = False
        clerk = Clerk(self.tills, self._http, self.gateway.url, code=shop(1).code, device_id="clerk")
        self._jobs = [
            asyncio.create_task(self.tills.serve(self._habits)),
            asyncio.create_task(clerk.work(gap_s=0.3)),
        ]

    # -- while it is under fire

    @property
    def good_answers(self) -> int:
        """Answers that were none of "I am in trouble"."""
        return self.memory.answers - self.tills.failures

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Meanwhile the gateway may fail honestly, and say so."""
        began = datetime.now(UTC)
        try:
            with self.tills.trouble():
                yield
        finally:
            self._troubles.append((began, datetime.now(UTC)))

    def log_on_disk(self, *, on_disk: bool) -> None:
        """Choose where the next process writes its log: on the small disk, or where there is room."""
        place = self.disk.place if on_disk and self.disk else self.folder
        self.gateway.log = place / _LOG

    async def glance(self) -> None:
        """Look while everything goes on."""
        if any(job.done() for job in self._jobs):
            await self._go_home()
        self.memory.findings += await self.witness.glance()

    def inspect(self) -> None:
        """Look at what a dead gateway left on the disk, or on the server."""
        data = self.gateway.data
        secrets = self.memory.secrets | secrets_in(data)
        if self.dsn:
            for leak in leaks(everything(self.dsn), secrets, self.memory.barcodes):
                self.memory.note(Breach.LEAKED, f"{leak} in the tables")
        else:
            self.memory.findings += _damage(data, self.folder / "copy")
        for file in [*data.glob("paymux.db*"), *self._logs(), *(self.folder / "tmp").rglob("*")]:
            if file.is_file():
                for leak in leaks(file.read_bytes(), secrets, self.memory.barcodes):
                    self.memory.note(Breach.LEAKED, f"{leak} in {file.name}")
        self._read_logs()

    # -- its end

    async def come_to_rest(self) -> None:
        """Kill nobody any more; wait until everything is definite, and weigh it."""
        self.tills.close()
        if self.gateway.process.exit_code is not None:
            await self.gateway.start()
        await self._jobs[0]
        await self._go_home()
        calm_s = 0 if self._habits.brisk else CALM_S
        pem = await notify_key(self._http, self.gateway)
        self.memory.findings += await self.witness.rest(self._ask, pem, within_s=self._rest_s, calm_s=calm_s)
        self.gateway.kill()
        self.inspect()

    async def explain(self, number: str) -> str:
        """What the gateway itself tells about an order; for whoever has to understand a finding."""
        try:
            return await self.gateway.run("explain", number, "--full")
        except (AssertionError, OSError) as error:
            return f"no explanation: {error}"

    def sale_of(self, number: str) -> Sale | None:
        """The sale an order's number, or its client_sn, belongs to."""
        known = self.memory.sales.values() if number else ()
        return next((sale for sale in known if number in {sale.told.sn, sale.client_sn}), None)

    def keep(self) -> Path:
        """Save its files from a disk that is about to go away; return where they are."""
        if self.disk is not None:
            shutil.copytree(self.disk.place, self.folder / "disk-kept")
        return self.folder

    def forget(self) -> None:
        """Remove its files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _ask(self, sale: Sale) -> Json | None:
        till = self.tills.till_of(sale)
        with suppress(Unanswered):
            asked = {"terminal_sn": till.sn, "client_sn": sale.client_sn}
            answer = await self.tills.once(till, "/upay/v2/query", asked)
            data: Json | None = answer["biz_response"].get("data")
            if data is None and sale.told.sn:
                self.memory.note(Breach.LOST, "it does not exist any more", sale.told.sn)
            for text in sale.hear(data, sale.told) if data else ():
                self.memory.note(Breach.LOST, text, sale.told.sn)
            return data
        return None

    async def _go_home(self) -> None:
        for job in self._jobs:
            job.cancel()
        for ended in await asyncio.gather(*self._jobs, return_exceptions=True):
            if isinstance(ended, Exception):
                self.memory.note(Breach.UPSET, f"a shop went mad: {ended!r}")
        self._jobs = []

    def _logs(self) -> list[Path]:
        places = [self.folder, *([self.disk.place] if self.disk else [])]
        return [place / _LOG for place in places if (place / _LOG).exists()]

    def _read_logs(self) -> None:
        """What the gateway complained of since the last look, but for the times when it had a reason."""
        for file in self._logs():
            text = file.read_bytes()[self._log_read.get(file, 0) :].decode(errors="replace")
            self._log_read[file] = file.stat().st_size
            for line in text.splitlines():
                self._read_line(line)

    def _read_line(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            if line.startswith("Traceback") and not self._troubles:
                self.memory.note(Breach.UPSET, "a traceback in the log that is no event")
            return
        if event["event"] in _UPSETS and not self._excused(datetime.fromisoformat(event["at"])):
            self.memory.note(Breach.UPSET, line, str(event.get("sn", "")))

    def _excused(self, at: datetime) -> bool:
        return any(began <= at <= ended + _GRACE for began, ended in self._troubles)


def _damage(data: Path, copy: Path) -> list[Finding]:
    """Check a copy of the database, so that whatever the death left is left to the next gateway."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in data.glob("paymux.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, copy)
    try:
        with closing(sqlite3.connect(copy / "paymux.db")) as connection:
            told = connection.execute("PRAGMA integrity_check").fetchall()
            told += connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        told = [(str(error),)]
    return [Finding(Breach.BROKEN, str(row)) for row in told if row != ("ok",)]
