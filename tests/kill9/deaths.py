"""The deaths: each finds the gateway dead, gives it a life, and leaves it dead again.

What they return is what they became, one name per death: who was armed for a place he never came to is
killed at a random moment instead, and counted as that; who ended in peace is not counted.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from paymux.storage.migrate import Migration, migrations
from tests.harness.children import START_S, Child, until
from tests.harness.postgres import fetch
from tests.kill9 import dying
from tests.kill9.disk import limit_files
from tests.kill9.era import Era
from tests.kill9.old_schema import OldSchema
from tests.kill9.plan import Death

REACH_S = 3
"""Birth takes up to a second, and so long a life is long enough to come by any place."""
LIFE_S = 0.8
"""A longest life: birth waits for a whole second, so a cycle takes one second or two."""
SIGKILLED = -signal.SIGKILL

FIRST_MOMENTS: tuple[Callable[[Path], bool], ...] = (
    lambda data: any(data.glob("*notify_key*")),
    lambda data: (data / "master.key").exists(),
    lambda data: (data / "paymux.db").exists(),
    lambda data: any(file.stat().st_size for file in data.glob("paymux.db-wal")),
)
"""What appears on the disk, one after the other, while a gateway starts for the first time."""

_OPENING = 8
"""Statements that open a database, before its first migration begins."""
_AROUND = 5
"""A migration's own ones: begin, look, note, commit, look again."""
_UP_TO_DATE = 17
"""Statements of a start that has nothing to migrate."""


async def under_load(era: Era, _: Death, dice: random.Random) -> list[str]:
    """At a random moment of a busy second."""
    await era.gateway.start()
    await asyncio.sleep(dice.uniform(0, LIFE_S))
    era.gateway.kill()
    return ["load"]


async def at_a_point(era: Era, death: Death, _: random.Random) -> list[str]:
    """At a visit to a named place."""
    era.gateway.spawn(crash_at=death.point)
    return [f"at {death.point.partition(':')[0]}" if await _died(era) else "load"]


async def at_a_statement(era: Era, _: Death, dice: random.Random) -> list[str]:
    """Between two SQL statements, mostly within a transaction."""
    era.gateway.spawn(program=partial(dying.at_statement, dice.randint(_UP_TO_DATE, 600)))
    return ["statement" if await _died(era) else "load"]


async def storm(era: Era, death: Death, dice: random.Random) -> list[str]:
    """Under load, and again and again while the backlog of the death before is worked on."""
    kinds = await under_load(era, death, dice)
    for _ in range(dice.randint(1, 4)):
        await era.gateway.start()
        await asyncio.sleep(dice.uniform(0, 0.25))
        era.gateway.kill()
        kinds.append("recovery")
    return kinds


async def starting(era: Era, _: Death, dice: random.Random) -> list[str]:
    """Before it listens, or before it answers."""
    if dice.random() < 0.5:
        era.gateway.spawn(program=partial(dying.at_statement, dice.randint(1, _UP_TO_DATE)))
        return ["start-up" if await _died(era) else "load"]
    child = era.gateway.spawn()
    await asyncio.sleep(dice.choice([dice.uniform(0, 0.15), dice.uniform(0, 1)]))
    ready = "gateway.ready" in child.text
    era.gateway.kill()
    return ["recovery" if ready else "start-up"]


async def first_start(era: Era, _: Death, dice: random.Random) -> list[str]:
    """In an empty folder, as soon as this or that file is there."""
    moment, deadline_s = dice.choice(FIRST_MOMENTS), time.monotonic() + START_S
    era.gateway.spawn()
    while not moment(era.gateway.data):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0)
    era.gateway.kill()
    return ["first start"]


async def migrating(era: Era, death: Death, dice: random.Random) -> list[str]:
    """At one statement after the other: from nothing, or from the schema of a release before."""
    if era.is_new:
        era.gateway.spawn(program=partial(dying.at_statement, _statement(death, migrations())))
        return ["migration" if await _died(era) else "load"]
    old = OldSchema(era.gateway.data / "paymux.db")
    steps = old.go_back(dice.randint(1, len(migrations()) - 1))
    era.gateway.spawn(program=partial(dying.at_statement, _statement(death, steps)))
    died = await _died(era)
    await era.gateway.run("admin", "books", "--json")
    old.bring_back()
    return ["migration" if died else "load"]


def _statement(death: Death, steps: Sequence[Migration]) -> int:
    """One of the statements of these migrations, counted from the birth of the process."""
    among = sum(len(step.statements) + _AROUND for step in steps)
    return _OPENING + 1 + death.statement % among


async def shutting_down(era: Era, _: Death, dice: random.Random) -> list[str]:
    """While it finishes what it had begun: SIGTERM, and then no patience."""
    await era.gateway.start()
    await asyncio.sleep(dice.uniform(0, LIFE_S / 2))
    era.gateway.process.terminate()
    await asyncio.sleep(dice.uniform(0, 0.5))
    ended = era.gateway.process.exit_code
    era.gateway.kill()
    assert ended in {None, 0}, f"a stop that was asked for ended with exit code {ended}"
    return ["shutdown"] if ended is None else []


async def checkpointing(era: Era, _: Death, dice: random.Random) -> list[str]:
    """While the log is copied back into the database."""
    database = era.gateway.data / "paymux.db"
    child = era.gateway.spawn(program=partial(dying.checkpointing, dice.randint(1, 20)))
    await child.said("gateway.ready")
    await asyncio.sleep(dice.uniform(0, LIFE_S / 2))
    hit = await asyncio.to_thread(_kill_when_written, database, child.pid)
    era.gateway.kill()
    return ["checkpoint" if hit else "load"]


async def locked(era: Era, _: Death, dice: random.Random) -> list[str]:
    """While another program holds the database's lock; the next one begins under the same lock."""
    await era.gateway.start()
    hold_ms = dice.randint(300, 7_000)
    database = str(era.gateway.data / "paymux.db")
    with era.trouble():
        other = Child(dying.hold_lock, database, hold_ms, log=era.folder / "lock.log")
        try:
            await other.said("held")
            await asyncio.sleep(dice.uniform(0, 1.2 * hold_ms / 1000))
            era.gateway.kill()
            began = await _begins(era)
            await other.ended()
            if not began:
                await era.gateway.start()
        finally:
            other.end()
        await _answers_again(era)
    await asyncio.sleep(dice.uniform(0, LIFE_S / 2))
    era.gateway.kill()
    return ["locked", "load"]


async def write_errors(era: Era, _: Death, dice: random.Random) -> list[str]:
    """While no file may grow: every write beyond the limit fails, the log's as well."""
    await era.gateway.start()
    await asyncio.sleep(dice.uniform(0, LIFE_S / 2))
    wal, pid = era.gateway.data / "paymux.db-wal", era.gateway.process.pid
    with era.trouble():
        limit_files(pid, dice.choice([0, wal.stat().st_size]))
        felt = await _fails(era, within_s=dice.uniform(0.5, 3))
        if dice.random() < 0.6:
            limit_files(pid, None)
            await _answers_again(era)
        era.gateway.kill()
    return ["write errors" if felt else "load"]


async def full_disk(era: Era, _: Death, dice: random.Random) -> list[str]:
    """While the disk is full; it recovers without a restart, or is killed and started before or after."""
    assert era.disk is not None
    era.log_on_disk(on_disk=dice.random() < 0.5)
    await era.gateway.start()
    await asyncio.sleep(dice.uniform(0, LIFE_S / 2))
    with era.trouble():
        era.disk.fill(leave_bytes=dice.choice([0, 4_096, dice.randrange(200_000)]))
        try:
            felt = await _fails(era, within_s=dice.uniform(1, 4))
            way = dice.choice(["no restart", "no restart", "restart", "start while full"])
            if way == "start while full":
                era.gateway.kill()
                await _starts_or_says_why(era)
            if way != "restart":
                era.disk.empty()
                if era.gateway.process.exit_code is None:
                    await _answers_again(era)
        finally:
            era.gateway.kill()
            era.disk.empty()
    era.log_on_disk(on_disk=False)
    return ["full disk" if felt else "load"]


async def read_only_disk(era: Era, death: Death, dice: random.Random) -> list[str]:
    """The machine dies, and its disk comes back read-only: the gateway must not pretend to work."""
    assert era.disk is not None
    await under_load(era, death, dice)
    with era.trouble():
        era.disk.read_only(read_only=True)
        try:
            child = era.gateway.spawn()
            await until(lambda: child.exit_code is not None, within_s=START_S, what="it gives up")
            assert child.exit_code == 2, child.text
            assert "writable" in child.text or "cannot be" in child.text, child.text
        finally:
            era.disk.read_only(read_only=False)
    return ["read-only disk"]


async def server_dies(era: Era, _: Death, dice: random.Random) -> list[str]:
    """A process of the server is killed: it ends all others, recovers, and the gateway finds it again."""
    await era.gateway.start()
    await asyncio.sleep(dice.uniform(0, LIFE_S))
    with era.trouble():
        pids = fetch(era.dsn, "SELECT pid FROM pg_stat_activity WHERE application_name = 'paymux'")
        pid = dice.choice(pids)[0]
        os.kill(pid, signal.SIGKILL)
        await until(lambda: _is_buried(pid), within_s=START_S, what="the server has noticed")
        if dice.random() < 0.6:
            await _answers_again(era)
        era.gateway.kill()
    return ["server"]


KINDS: dict[str, Callable[[Era, Death, random.Random], Awaitable[list[str]]]] = {
    "load": under_load,
    "point": at_a_point,
    "statement": at_a_statement,
    "storm": storm,
    "start-up": starting,
    "first start": first_start,
    "migration": migrating,
    "shutdown": shutting_down,
    "server": server_dies,
    "checkpoint": checkpointing,
    "locked": locked,
    "write errors": write_errors,
    "full disk": full_disk,
    "read-only disk": read_only_disk,
}


# ---------------------------------------------------------------- parts


async def _died(era: Era) -> bool:
    """Wait until it has killed itself; do it for it when it will not."""
    process = era.gateway.process
    await _within(REACH_S, lambda: process.exit_code is not None)
    by_itself = process.exit_code
    era.gateway.kill()
    assert by_itself in {None, SIGKILLED}, f"exit code {by_itself}: {process.text[-2000:]}"
    return by_itself == SIGKILLED


def _is_buried(pid: int) -> bool:
    """Whether its parent has seen that it is dead; until then a server takes calls that it will cut off."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def _fails(era: Era, *, within_s: float) -> bool:
    """Wait until somebody has felt the trouble, but not for ever: files may have room left inside."""
    before = era.tills.failures
    await _within(within_s, lambda: era.tills.failures >= before + 3)
    return era.tills.failures > before


async def _within(within_s: float, check: Callable[[], object]) -> None:
    """Look again and again until `check` is true, or the time is over: both are fine."""
    deadline_s = time.monotonic() + within_s
    while not check() and time.monotonic() < deadline_s:  # noqa: ASYNC110 - another process is watched
        await asyncio.sleep(0.01)


async def _answers_again(era: Era) -> None:
    """The trouble is over: good answers come again, from the same process."""
    good = era.good_answers
    await until(
        lambda: era.good_answers >= good + 10, within_s=30, what="it answers again, without a restart"
    )


async def _begins(era: Era) -> bool:
    """Under a lock it waits, and gives up with a message when that takes too long; False: it gave up."""
    child = era.gateway.spawn()
    await until(
        lambda: child.exit_code is not None or "gateway.ready" in child.text,
        within_s=START_S,
        what="it begins or gives up",
    )
    assert child.exit_code is None or "database is locked" in child.text, child.text
    return child.exit_code is None


async def _starts_or_says_why(era: Era) -> None:
    """On a full disk it may work or give up, but must not hang in between."""
    child, answers = era.gateway.spawn(), era.memory.answers
    await until(
        lambda: child.exit_code is not None or era.memory.answers > answers,
        within_s=START_S,
        what="it starts or gives up",
    )
    assert child.exit_code in {None, 2}, child.text


def _kill_when_written(database: Path, pid: int) -> bool:
    """SIGKILL at the first write into the database file itself: with a log, that is a checkpoint."""
    before, deadline_s = database.stat().st_mtime_ns, time.monotonic() + REACH_S
    while time.monotonic() < deadline_s:
        if database.stat().st_mtime_ns != before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            return True
        time.sleep(0.0002)
    return False
