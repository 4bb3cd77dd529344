"""The run: a cluster, writers, fault after fault; after each one all that was acknowledged is looked for."""

import asyncio
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import paymux
from tests.failover import processes
from tests.failover.cluster import ROOT, Cluster, Node, until
from tests.failover.faults import FAULTS, LEAST_S
from tests.failover.report import Report, measured, say
from tests.failover.told import Told, acknowledged, now_ms
from tests.failover.verifier import Breach, Finding, books_of, weigh
from tests.failover.writer import GATEWAYS

WRITERS = 2
"""Processes; each is two gateways."""
_STEADY = 10
"""So many writes of each gateway show that it is back, and not just saw the end of what was under way."""
_PROOFS_MAX = 3
_STORIES_MAX = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to do. `rounds` of each of the `faults`; `keep` leaves everything where it is."""

    rounds: int
    faults: tuple[str, ...]
    seed: str
    keep: bool = False


class Run:
    """One cluster under fire."""

    def __init__(self, options: Options, report: Report, cluster: Cluster) -> None:
        self._options = options
        self._report = report
        self._cluster = cluster
        self._dice = random.Random(options.seed)
        self._writers: list[subprocess.Popen[bytes]] = []
        self._told: list[Told] = []
        self._checked_ms = 0

    async def begin(self) -> None:
        """Open the gateways, and wait until they write."""
        folder = self._cluster.folder / "writers"
        folder.mkdir()
        processes.give(folder)
        places = os.pathsep.join((str(Path(paymux.__file__).parents[1]), str(ROOT)))
        numbers = range(1, WRITERS + 1)
        for number in numbers:
            words = [self._cluster.dsn, str(folder), str(number), self._options.seed]
            command = [sys.executable, "-m", "tests.failover.writer", *words]
            environ = {"PYTHONPATH": places}
            self._writers.append(
                processes.start(command, folder=folder, name=f"writer{number}", environ=environ)
            )
        names = [f"g{number}{which}.told" for number in numbers for which in range(GATEWAYS)]
        self._told = [Told(folder / name) for name in names]
        await self._steady(now_ms())

    async def round(self, fault: str, number: int) -> list[Finding]:
        """One fault, its measure, and what is not as it was told."""
        leader = await self._cluster.calm()
        await self._steady(now_ms())
        await asyncio.sleep(self._dice.uniform(0.5, 2))
        began_ms = now_ms()
        await FAULTS[fault](self._cluster, leader, self._dice)
        await self._steady(now_ms())
        now_leads = await self._cluster.calm()
        await self._steady(now_ms())
        until_ms = now_ms()
        told = [one.look() for one in self._told]
        result = measured(fault, number, told, began_ms=began_ms, until_ms=until_ms)
        self._report.rounds.append(result)
        findings = await self.findings(now_leads, since_ms=self._checked_ms)
        self._checked_ms = began_ms
        if self._cluster.synchronous and result.outage_ms < 1000 * LEAST_S.get(fault, 0):
            findings.append(Finding(Breach.UPSET, fault, "writes were acknowledged that no standby had"))
        lost = sum(finding.breach is Breach.LOST for finding in findings)
        say(f"{fault} {number}: {leader.name} -> {now_leads.name}, {result.text()}, {lost} lost")
        return findings

    async def findings(self, leader: Node, *, since_ms: int = 0) -> list[Finding]:
        """What was told since then, by default all of it, held against the leader's books."""
        told = [line for one in self._told for line in one.look()]
        lines = [line for line in told if line.at_ms >= since_ms]
        books = await books_of(self._cluster.dsn_of(leader), sorted({line.sn for line in lines}))
        self._report.acknowledged = len(acknowledged(told))
        dead = [Finding(Breach.UPSET, f"writer {one.pid}") for one in self._writers if one.poll() is not None]
        return dead + await asyncio.to_thread(weigh, lines, books)

    async def _steady(self, since_ms: int) -> None:
        """Wait until every gateway writes again."""

        async def writing() -> bool:
            assert all(one.poll() is None for one in self._writers), "a writer died: see its log"
            return all(told.writes_since(since_ms) >= _STEADY for told in self._told)

        await until(writing, within_s=120, what="every gateway writes")


async def attack(options: Options, report: Report) -> None:
    """All faults in turn until a promise is broken; at the end all is held against the books once more."""
    async with Cluster(synchronous=True, keep=options.keep) as cluster:
        report.versions = cluster.versions()
        say(f"the cluster runs in {cluster.folder}, seed {options.seed}, {report.versions}")
        run = Run(options, report, cluster)
        await run.begin()
        for number in range(1, options.rounds + 1):
            for fault in options.faults:
                report.findings += await run.round(fault, number)
                if report.findings:
                    return _tell(report.findings, cluster)
        report.findings += await run.findings(await cluster.calm())
        return _tell(report.findings, cluster)


async def prove(options: Options, report: Report) -> None:
    """The same with asynchronous replication, until something is lost: else the rig could not see a loss."""
    report.proof_lost = 0
    for number in range(1, _PROOFS_MAX + 1):
        async with Cluster(synchronous=False, keep=options.keep) as cluster:
            shadow = Report(command=report.command)
            run = Run(options, shadow, cluster)
            await run.begin()
            findings = await run.round("kill-node", number)
        report.proof_lost = sum(finding.breach is Breach.LOST for finding in findings)
        if report.proof_lost:
            return


def _tell(findings: list[Finding], cluster: Cluster) -> None:
    for finding in findings[:_STORIES_MAX]:
        say(f"  {finding.breach.upper()} {finding.key}: {finding.text}")
    if findings:
        cluster.keep = True
        say(f"data and logs are in {cluster.folder}")
