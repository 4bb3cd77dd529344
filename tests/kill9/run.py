"""The run: era after era under fire, while the ones before are brought to rest and weighed."""

import asyncio
import json
import random
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.harness.children import Child, street
from tests.harness.postgres import new_schema, private_server, version_of
from tests.kill9.deaths import KINDS
from tests.kill9.disk import why_no_mount
from tests.kill9.era import Era
from tests.kill9.memory import Breach
from tests.kill9.plan import ERA_CYCLES, Death, EraPlan, Plan, eras
from tests.kill9.report import Report, say
from tests.kill9.tills import Habits

STORIES_MAX = 5
"""Findings that are told at length; the first one is what matters."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to do. `kinds`: only these deaths. `folder`: where data lies while it is needed.

    `server`: the database is PostgreSQL's.

    `glance_every`: after how many deaths the witness looks while everything goes on. `rest_s`: how long an
    era may take to come to rest, 0: as long as everything may take.
    """

    cycles: int
    seed: str
    command: str
    era_cycles: int = ERA_CYCLES
    kinds: tuple[str, ...] = ()
    brisk: bool = False
    glance_every: int = 5
    rest_s: int = 0
    folder: Path | None = None
    server: bool = False


class Run:
    """One run of the harness."""

    def __init__(self, options: Options) -> None:
        self.report = Report(command=options.command, seed=options.seed)
        self._options = options
        self._plan = Plan(options.seed, options.kinds)
        self._folder = options.folder or Path(tempfile.mkdtemp(prefix="paymux-kill9-"))
        """Kept when a promise was broken."""
        self._resting: list[asyncio.Task[None]] = []

    async def run(self) -> Report:
        """Kill until enough deaths are died, or the first promise is broken."""
        options, no_mount = self._options, why_no_mount(self._folder)
        if no_mount:
            self.report.skipped.append(f"full disk, read-only disk: mounting was refused ({no_mount})")
        plans = list(
            eras(
                options.cycles,
                era_cycles=options.era_cycles,
                small_disks=not no_mount,
                kinds=options.kinds,
            )
        )
        wallets = Child(street, len(plans), log=self._folder / "wallets.log")
        try:
            urls = json.loads(await wallets.said("["))
            for plan, url in zip(plans, urls, strict=True):
                if not self.report.findings:
                    await self._live(plan, url)
            if not self.report.findings:
                await asyncio.gather(*self._resting)
        finally:
            for task in self._resting:
                task.cancel()
            await asyncio.gather(*self._resting, return_exceptions=True)
            wallets.end()
        if not self.report.findings and not options.folder:
            shutil.rmtree(self._folder)
        return self.report

    async def _live(self, plan: EraPlan, url: str) -> None:
        """One era under fire; its rest goes on beside the next one."""
        habits = Habits(brisk=self._options.brisk, wechat_qr=plan.wechat_qr)
        opened = AsyncExitStack()
        server = opened.enter_context(private_server(durable=True)) if self._options.server else None
        if server:
            self.report.postgresql = version_of(server.dsn)
        era = Era(
            plan,
            self._folder / f"era-{plan.number}",
            url,
            seed=self._options.seed,
            habits=habits,
            rest_s=self._options.rest_s,
            dsn=new_schema(server) if server else "",
        )
        async with opened:
            await opened.enter_async_context(era)
            try:
                await self._under_fire(era)
            except Exception as error:  # noqa: BLE001 - whatever it is, its seed and its data must be told
                era.memory.note(Breach.UPSET, f"it did not live as it should: {error!r}")
            if era.memory.findings:
                await self._tell(era)
                return
            self._resting.append(asyncio.create_task(self._rest(era, opened.pop_all())))

    async def _under_fire(self, era: Era) -> None:
        dice = random.Random(f"{self._options.seed} deaths of era {era.plan.number}")
        for death in self._plan.beginning():
            await self._die(era, death, dice)
        await era.open_shops()
        while len(era.memory.deaths) < era.plan.cycles and not era.memory.findings:
            await self._die(era, self._plan.next(small_disk=era.plan.small_disk), dice)
            if len(era.memory.deaths) % self._options.glance_every == 0:
                era.inspect()
                await era.glance()

    async def _die(self, era: Era, death: Death, dice: random.Random) -> None:
        kinds = await KINDS[death.kind](era, death, dice)
        era.memory.died(kinds)
        self.report.kinds.update(kinds)
        self.report.later_visits += any(kind.startswith("at ") for kind in kinds) and not death.is_first

    async def _rest(self, era: Era, opened: AsyncExitStack) -> None:
        async with opened:
            try:
                await era.come_to_rest()
            except Exception as error:  # noqa: BLE001 - as above
                era.memory.note(Breach.UPSET, f"it did not come to rest: {error!r}")
            await self._tell(era)
        if not era.memory.findings:
            era.forget()

    async def _tell(self, era: Era) -> None:
        """Add an era to the report; with a story when a promise was broken."""
        memory, report = era.memory, self.report
        report.orders += len({sale.told.sn for sale in memory.sales.values()} - {""})
        report.answers += memory.answers
        report.troubled += era.tills.failures
        report.findings += memory.findings
        if not memory.findings:
            say(f"era {era.plan.number}: {len(memory.deaths)} deaths, {len(memory.sales)} sales: all is true")
            return
        say(f"era {era.plan.number}, seed {report.seed}, after death {len(memory.deaths)}:")
        for finding in memory.findings[:STORIES_MAX]:
            say(f"  {finding.breach.upper()} {finding.number}: {finding.text}")
            sale = era.sale_of(finding.number)
            if sale is not None:
                say(f"  {sale}\n  lived through: {', '.join(memory.deaths_since(sale)) or 'no death'}")
        if number := next((one.number for one in memory.findings if one.number), ""):
            say(await era.explain(number))
        say(f"the data is in {era.keep()}")
