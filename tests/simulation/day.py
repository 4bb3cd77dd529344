"""One day in town: customers come, everything goes wrong, then the faults end and the truth is held up.

trade  (weather.span_s)   customers, faults, kills, storms, outages
heal                      faults stop, every process lives, tills finish what they began
quiet                     one process and an hour or more of looking again; then every checker has its say
"""

import asyncio
import functools
import gc
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from paymux.channels.contract import Channel
from paymux.channels.registry import open_channel
from paymux.domain.limits import Limits
from paymux.domain.people import Account, Merchant, Store, Terminal
from paymux.sandbox.messages import Callback
from paymux.sandbox.world import World
from tests.harness.counterfeit import account_of
from tests.harness.virtual_time import VirtualClock, VirtualLoop, run_virtually
from tests.simulation.checkers.alive import Convergence, check_alive, convergence
from tests.simulation.checkers.books import check_books, check_quiet, check_refunds
from tests.simulation.checkers.court import Breach, Court
from tests.simulation.checkers.happy import check_happy
from tests.simulation.checkers.kept import Kept
from tests.simulation.checkers.secrets import Secrets
from tests.simulation.checkers.sent import SentChecker
from tests.simulation.checkers.told import ToldChecker
from tests.simulation.database.opener import SQLITE, database_for
from tests.simulation.fleet import Fleet
from tests.simulation.history import History
from tests.simulation.intruders import Intruder
from tests.simulation.keys import simulation_keys
from tests.simulation.people import MerchantServer, Operator
from tests.simulation.process import Process, Surroundings, claim_tasks
from tests.simulation.roads import OUTAGES, TICK_S, Roads
from tests.simulation.tills import HABITS, NEEDS, Customer, Till
from tests.simulation.weather import Weather, Wheel, forecast

HEAL_S = 150
QUIET_S_MAX = 30 * 3_600
QUIET_GAP_S = 10
ASKED_AGAIN = 5
"""Every so many-th sale is asked about again at the end; all of them are held against the books."""
_HEALED = ("15", "18")
"""Scripts that end with the faults: the wallet finds its orders again, the seller's balance is topped up."""
_NOTIFIED = 0.9
"""The share of orders whose shop wants to be told."""


@dataclass
class Result:
    """What a day came to."""

    seed: int
    customers: int
    digest: str
    breaches: list[Breach]
    orders: int
    answers: int
    sent: int
    troubles: int
    deaths: int
    decisions: int
    alarms: Counter[str]
    convergence: Convergence
    virtual_s: int
    weather: str
    stories: list[str] = field(default_factory=list)
    spent_s: float = 0.0
    """CPU seconds the day took."""


def live(seed: int, orders: int, engine: str = SQLITE) -> Result:
    """Live through the day of a seed, with its orders kept by an engine."""
    began_s = time.process_time()
    with _rare_collections():
        result = _lived(seed, orders, engine)
    result.spent_s = time.process_time() - began_s
    return result


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Nearly all of a day lives until it is judged: look for garbage rarely, and once when the day is over.

    What was there before is passed over. Searching as often as Python does took a tenth of the time.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        gc.set_threshold(*usual)


def _lived(seed: int, orders: int, engine: str) -> Result:
    loop = VirtualLoop()
    return run_virtually(Day(seed, orders, loop, engine).run(), loop)


@functools.cache
def _channel(kept: bytes) -> Channel:
    return open_channel(msgspec.msgpack.decode(kept, type=Account))


def _open_once(account: Account) -> Channel:
    """A channel per account and content: reading its keys again at every restart would only cost time."""
    return _channel(msgspec.msgpack.encode(account))


class Day:
    """Everything there is in town."""

    def __init__(self, seed: int, orders: int, loop: VirtualLoop, engine: str) -> None:
        self.seed = seed
        self._customers_wanted = orders
        self.weather: Weather = forecast(seed, orders)
        self._loop = loop
        self._dice = Random(f"day/{seed}")
        self._clock = VirtualClock(loop)
        now_ms = self._clock.now_ms
        self.history = History(now_ms)
        self.court = Court(now_ms)
        self.world = World(seed, now_ms, keys=simulation_keys())
        self._kept = Kept(self.court, self.history, now_ms=now_ms, trade=self.world.bank.find)
        self._sent = SentChecker(self.court, self._kept, now_ms)
        self._told = ToldChecker(self.court, self._kept)
        self._database = database_for(
            engine, loop=loop, clock=self._clock, weather=self.weather, seed=seed, history=self.history
        )
        self._told.storms = self._database.unsteady
        self.roads = Roads(
            loop=loop,
            world=self.world,
            weather=self.weather,
            dice=Random(f"roads/{seed}"),
            history=self.history,
            sent=self._sent,
        )
        self.roads.deliver = self._deliver
        self._fleet = Fleet(
            seed=seed,
            weather=self.weather,
            limits=Limits(worker_gap_s=self.weather.worker_gap_s),
            dice=Random(f"fleet/{seed}"),
            court=self.court,
            history=self.history,
        )
        self._alarms: Counter[str] = Counter()
        self._loud: set[str] = set()
        self._tills: list[Till] = []
        self._customers: list[asyncio.Task[None]] = []
        self._scripts, self._habits = Wheel(self.weather.scripts), Wheel(self.weather.habits)
        self._secrets = Secrets(self.court)
        self._operator = Operator(
            self.world, self.roads, self._kept, self._database.store, self._fleet.door, self.history
        )
        self._around = Surroundings(
            loop=loop,
            database=self._database,
            roads=self.roads,
            open_channel=_open_once,
            sign=lambda note: _signature(note.body),
            log=self._logged,
            crash=self._fleet.at_point,
        )
        claim_tasks(loop)

    async def run(self) -> Result:
        """Live it, and judge it."""
        try:
            await self._database.begin(self._kept.committed)
            await self._settle_in()
            await self._trade()
            await self._heal()
            await self._quiet()
            await self._judge()
        finally:
            await self._database.close()
        return self._result()

    # -- the town is built

    async def _settle_in(self) -> None:
        merchants = [f"168000000000000{number}" for number in range(1, 3)]
        wanted = {merchants[0]: ("alipay", "wechat"), merchants[1]: ("alipay", "wechat-hmac")}
        rows = {str(row["name"]): row for row in self.world.accounts()}
        terminals = [
            Terminal(
                terminal_sn=f"10000000000000000{number}",
                merchant_sn=merchants[number % 2],
                store_sn=f"158000000000000{number % 2}",
                current_key=f"{number:032x}"[::-1].replace("0", "k"),
            )
            for number in range(4)
        ]
        await self._database.store.put_people(
            merchants=tuple(Merchant(merchant_sn=one, name="tea house") for one in merchants),
            stores=tuple(
                Store(store_sn=f"158000000000000{n}", merchant_sn=merchants[n], name="first")
                for n in range(2)
            ),
            terminals=tuple(terminals),
            accounts=tuple(account_of(rows[name], one) for one in merchants for name in wanted[one]),
        )
        for one, names in wanted.items():
            fields = {"alipay": "app_id", "wechat": "mch_id"}
            payees = {str(rows[name][fields[str(rows[name]["channel"])]]) for name in names}
            self._sent.payees[one] = payees
        self._secrets.know(terminals, [rows[name] for names in wanted.values() for name in names])
        for one in merchants:
            self.roads.merchants[f"{one}.example"] = MerchantServer(
                name=f"merchant {one[-1]}",
                weather=self.weather,
                dice=Random(f"merchant/{self.seed}/{one}"),
                told=self._told,
                history=self.history,
                sign=_signature,
            )
        self._tills = [self._till(terminal) for terminal in terminals]
        self._intruder = Intruder(
            terminals=terminals,
            kept=self._kept,
            roads=self.roads,
            door=self._fleet.door,
            court=self.court,
            history=self.history,
            dice=Random(f"intruder/{self.seed}"),
        )
        await self._fleet.begin(self._around)

    def _till(self, terminal: Terminal) -> Till:
        return Till(
            terminal=terminal,
            loop=self._loop,
            door=self._fleet.door,
            weather=self.weather,
            dice=Random(f"till/{self.seed}/{terminal.terminal_sn}"),
            history=self.history,
            sent=self._sent,
            told=self._told,
        )

    # -- what processes say

    def _logged(self, process: Process, event: dict[str, Any]) -> None:
        text = repr(sorted(event.items()))
        self._secrets.read("a log", text)
        if not event.get("alarm"):
            return
        name = str(event.get("event"))
        self._alarms[name] += 1
        self._loud.add(str(event.get("sn", "")))
        # a stack names the checkout's folder and its lines: the same day must not hash otherwise elsewhere
        stackless = event | {"exception": str(event.get("exception", "")).rpartition("\n")[2]}
        self.history.note(
            process.name, f"! {name}", str(event.get("sn", "")), repr(sorted(stackless.items()))
        )
        if name.endswith("done_after_all") and event.get("sn") not in self._kept.decided:
            text = f"a refusal was believed while a request could still arrive: {text}"
            self.court.breach("M4", (str(event.get("sn", "")),), text)
        crashed = name in {
            "call.failed",
            "worker.failed",
            "callback.failed",
            "worker.claim_failed",
            "edge.raised",
        }
        if crashed and not (self._told.storms and "StorageFailed" in text):
            self.court.breach("M10", (str(event.get("sn", "")),), f"{process.name}: {text}")

    # -- wallets call

    def _deliver(self, callback: Callback) -> "asyncio.Future[tuple[int, bytes] | None]":
        process = self._fleet.door()
        if process is None:
            nobody: asyncio.Future[tuple[int, bytes] | None] = self._loop.create_future()
            nobody.set_result(None)
            return nobody
        return process.called_back(callback.url, callback.headers, callback.body)

    # -- the day

    async def _trade(self) -> None:
        span_s, weather = self.weather.span_s, self.weather
        fates = [self._loop.create_task(fate) for fate in self._fates(span_s)]
        self._operating = self._loop.create_task(self._operator.work())
        ticks = round(span_s / TICK_S)
        await self._crowd(sorted(self._dice.randrange(ticks) * TICK_S for _ in range(weather.orders)))
        await asyncio.gather(*fates)

    async def _crowd(self, arrivals: list[float]) -> None:
        began_s = self._loop.time()
        for number, at_s in enumerate(arrivals, start=1):
            await asyncio.sleep(began_s + at_s - self._loop.time())
            self._customers.append(self._loop.create_task(self._visit(number)))

    async def _visit(self, number: int) -> None:
        dice, weather = self._dice, self.weather
        till = dice.choice(self._tills)
        script, habit = self._scripts.roll(dice), self._habits.roll(dice)
        script = NEEDS.get(habit, script)
        alipay = dice.random() < weather.alipay
        url = f"http://{till.merchant}.example/told" if dice.random() < _NOTIFIED else ""
        qr = dice.random() < weather.qr
        total = _total(dice)
        if qr:
            total = (total // 100 + 1) * 100 + int(script)
            fields = {"payway": "1" if alipay else "3"}
        else:
            fields = {"dynamic_id": f"{'28' if alipay else '13'}{number:014d}{script}"}
        self.history.note("customer", habit, f"C{number:06d}", f"{script} {total} fen")
        customer = Customer(till, client_sn=f"C{number:06d}", total=total, fields=fields, notify_url=url)
        await HABITS[habit](customer)

    def _fates(self, span_s: int) -> list[Any]:
        weather, dice = self.weather, self._dice
        fates = [self._kill_at(dice.random() * span_s) for _ in range(weather.kills)]
        fates += [self._stop_at(dice.random() * span_s) for _ in range(weather.stops)]
        fates += [self._storm_at(dice.random() * span_s) for _ in range(weather.storms)]
        fates += [self._intruder.try_once(dice.random() * span_s) for _ in range(weather.intruders)]
        fates += [self._outage_at(dice.random() * span_s) for _ in range(weather.outages)]
        return fates

    async def _kill_at(self, at_s: float) -> None:
        await asyncio.sleep(at_s)
        self._fleet.die(self._fleet.door(), "kill -9")

    async def _stop_at(self, at_s: float) -> None:
        await asyncio.sleep(at_s)
        await self._fleet.replace_one()

    async def _storm_at(self, at_s: float) -> None:
        await asyncio.sleep(at_s)
        self._told.storms = True
        self.history.note("fate", self._database.storm())
        await asyncio.sleep(0.5 + self._dice.random() * self._database.storm_s_max)
        self.history.note("fate", self._database.abate())

    async def _outage_at(self, at_s: float) -> None:
        await asyncio.sleep(at_s)
        account = self._dice.choice(("alipay", "wechat", "wechat-hmac"))
        self.roads.outages[account] = self._dice.choice(OUTAGES)
        self.history.note("fate", f"{account} is out", "", self.roads.outages[account])
        await asyncio.sleep(self._dice.random() * self.weather.outage_s)
        self.roads.outages.pop(account, None)
        self.history.note("fate", f"{account} is back")

    # -- the night

    async def _heal(self) -> None:
        self.roads.calm()
        self._database.calm()
        self._fleet.crash_rate = 0.0
        for till in self._tills:
            till.calm()
        for script in _HEALED:
            self.world.bank.scripts.remaps[script] = "00"
        for trade in self.world.bank.trades.values():
            trade.script = "00" if trade.script in _HEALED else trade.script
        self.history.note("fate", "is tired of it")
        self._healed_ms = self._clock.now_ms()
        await self._fleet.whole()
        await asyncio.sleep(HEAL_S)

    async def _quiet(self) -> None:
        """One process, which looks rarely; the others go home. Until nothing is left to do."""
        done = asyncio.gather(*self._customers, return_exceptions=True)
        await self._fleet.only_one(Limits(worker_gap_s=QUIET_GAP_S))
        until_ms = self._clock.now_ms() + QUIET_S_MAX * 1000
        while self._clock.now_ms() < until_ms and not await self._enough(done):  # noqa: ASYNC110 - time is free here
            await asyncio.sleep(QUIET_GAP_S)
        self._operating.cancel()
        if not self.court.breaches:
            for customer in self._customers:
                ended = customer.done() and not customer.cancelled() and customer.exception() is None
                self.court.holds(ended, "M1", (), "a till's story did not end: {!r}", customer)
        for customer in self._customers:
            customer.cancel()
        await done
        await self._ask_again()

    async def _enough(self, done: "asyncio.Future[Any]") -> bool:
        if self.court.breaches or not done.done():
            return bool(self.court.breaches)
        return not await self._database.rows("SELECT 1 FROM due LIMIT 1")

    async def _open_work(self) -> list[str]:
        return [
            row[0] for row in await self._database.rows("SELECT kind || ' ' || sn FROM due ORDER BY sn, kind")
        ]

    async def _ask_again(self) -> None:
        """Some sales are asked about once more, at their own merchant's till."""
        tills = {till.merchant: till for till in self._tills}
        for merchant, client_sn in list(self._sent.asked)[::ASKED_AGAIN]:
            await tills[merchant].call("query", client_sn)

    async def _judge(self) -> None:
        await self._fleet.end()
        trades = list(self.world.bank.trades.values())
        if not self.court.breaches:
            check_quiet(self.court, self._kept, await self._open_work())
            check_books(self.court, self._kept, trades, self.world.bank.ledger)
            check_refunds(self.court, self._kept, trades)
            check_happy(self.court, self._kept, self._sent, undisturbed=self._is_undisturbed())
            self._told.end(self._sent.cancels_asked, self._loud)
            await self._secrets.scan(self._database.rows, self.history, barcodes=self.seed % 8 == 0)
            check_alive(self.court, self._kept, self._sent.troubles_ms, self._healed_ms)
        self.convergence = convergence(self._kept, self._sent.troubles_ms, self._healed_ms)

    def _is_undisturbed(self) -> bool:
        """Whether no process died and no disk or wallet failed on this day."""
        weather = self.weather
        deaths = weather.kills or weather.stops or weather.crash or self._fleet.deaths
        disk = weather.storms or weather.commit_slow or weather.read_slow or self._database.unsteady
        return not (deaths or disk or weather.outages)

    def _result(self) -> Result:
        return Result(
            seed=self.seed,
            customers=self._customers_wanted,
            digest=self.history.digest(),
            breaches=self.court.breaches,
            orders=len(self._kept.orders),
            answers=self._told.answers,
            sent=self._sent.sent_count,
            troubles=self.roads.troubles,
            deaths=self._fleet.deaths,
            decisions=self._operator.decisions,
            alarms=self._alarms,
            convergence=self.convergence,
            virtual_s=round(self._loop.time()),
            weather=self.weather.said(),
            stories=[self._story(breach) for breach in self.court.breaches[:3]],
        )

    def _story(self, breach: Breach) -> str:
        """Everything about the order a breach is about: its numbers name it, its client_sn and movements."""
        numbers = set(breach.numbers)
        for order in self._kept.orders.values():
            if order.sn in numbers or order.client_sn in numbers:
                numbers |= {order.sn, order.client_sn}
        return self.history.story(numbers)


def _total(dice: Random) -> int:
    """Amounts as shops have them: small ones mostly, odd fen, and now and then a big one."""
    return dice.choice(
        (1, 29, 100, dice.randint(1, 999), dice.randint(1_000, 99_999), dice.randint(10**6, 10**8))
    )


def _signature(text: str) -> str:
    """Stands for the RSA signature of notifications, whose cryptography has tests of its own."""
    return f"signed {len(text)} {zlib.crc32(text.encode()):08x}"
