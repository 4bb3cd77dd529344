"""One etcd, three nodes of Patroni and PostgreSQL, all on loopback and below one private folder."""

import asyncio
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import asyncpg
import psutil

from tests.failover import processes
from tests.failover.keeper import KEEP
from tests.failover.settings import shared
from tests.harness.children import hold_port
from tests.harness.postgres import installations

Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parents[2]
NODES = 3
START_S = 120
"""How long a cluster or node may take to get ready on a busy machine; a copy of the data is part of it."""
_LOOK_S = 0.1
_CALM = """
SELECT count(*) FILTER (WHERE state = 'streaming' AND replay_lsn IS NOT NULL),
       count(*) FILTER (WHERE sync_state = 'sync')
FROM pg_stat_replication"""
_USER = "paymux"


class Node:
    """One machine, so to speak: a Patroni and its PostgreSQL."""

    def __init__(self, name: str, folder: Path, *, port: int, rest_port: int) -> None:
        self.name = name
        self.folder = folder
        self.port = port
        self.rest_port = rest_port
        self._patroni: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Where PostgreSQL works."""
        return self.folder / "data"

    def start(self) -> None:
        """Switch the machine on."""
        if self._patroni is not None:
            self._patroni.wait()  # it was killed: let the kernel forget it
        command = [sys.executable, "-m", "patroni", str(self.folder / "patroni.json")]
        self._patroni = processes.start(command, folder=self.folder, name="patroni")

    def everything(self) -> list[psutil.Process]:
        """All its processes, Patroni first."""
        return processes.below(self.folder)

    def postmaster(self) -> list[psutil.Process]:
        """PostgreSQL's first process."""
        return processes.below(self.data)[:1]

    def postgres(self, word: str) -> list[psutil.Process]:
        """PostgreSQL's processes with this word in their title."""
        return processes.below(self.data, word)


class Cluster:
    """Three nodes; `async with` makes them and ends them. `keep`: leave data and logs where they are."""

    def __init__(self, *, synchronous: bool, keep: bool) -> None:
        self.synchronous = synchronous
        self.folder = Path(tempfile.mkdtemp(prefix="paymux-failover-", dir="/tmp")).resolve()
        self.nodes: list[Node] = []
        self.keep = keep
        self._password = secrets.token_hex(16)
        self._opened = ExitStack()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._opened.callback(self._end, self._keeper())
        try:
            processes.give(self.folder)
            ports = [self._port() for _ in range(2 * NODES + 2)]
            etcd = self._start_etcd(*ports[:2])
            for number in range(NODES):
                name = f"node{number + 1}"
                self.nodes.append(
                    self._make(name, etcd, port=ports[2 + 2 * number], rest_port=ports[3 + 2 * number])
                )
            auth = aiohttp.BasicAuth(_USER, self._password)
            self._http = aiohttp.ClientSession(auth=auth, timeout=aiohttp.ClientTimeout(total=60))
            for node in self.nodes:
                node.start()
            await self.calm()
        except BaseException as error:
            await self.__aexit__(type(error))
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None = None, *failure: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            self.keep = True  # whatever it was, somebody has to look into it
        if self._http is not None:
            await self._http.close()
        await asyncio.to_thread(self._opened.close)

    @property
    def dsn(self) -> str:
        """What a gateway is given: all three, and whoever takes writes."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://{_USER}:{self._password}@{hosts}/postgres?target_session_attrs=read-write"

    def dsn_of(self, node: Node) -> str:
        """One node alone."""
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{node.port}/postgres"

    # -- looking

    async def members(self) -> list[dict[str, Any]]:
        """What Patroni says of its members; [] when nobody answers."""
        for node in self.nodes:
            with suppress(aiohttp.ClientError, TimeoutError):
                timeout = aiohttp.ClientTimeout(total=1)
                url = f"http://127.0.0.1:{node.rest_port}/cluster"
                async with self._open_http.get(url, timeout=timeout) as told:
                    return list((await told.json())["members"])
        return []

    async def leader(self) -> Node | None:
        """The node that leads and runs, as Patroni sees it."""
        return self._one(await self.members(), "leader")

    async def sync_standby(self) -> Node | None:
        """The node that has everything that was acknowledged."""
        return self._one(await self.members(), "sync_standby")

    async def calm(self) -> Node:
        """Wait until one node leads and all others follow it closely; return the leader."""
        return await until(self._calm, within_s=START_S, what="one leads, all others follow")

    async def switch_over(self, leader: Node, candidate: Node) -> None:
        """Ask Patroni to swap roles, as `patronictl switchover` does; returns when it has."""
        url = f"http://127.0.0.1:{leader.rest_port}/switchover"
        asked = {"leader": leader.name, "candidate": candidate.name}
        async with self._open_http.post(url, json=asked) as told:
            assert told.status == 200, f"no switchover: {await told.text()}"

    def versions(self) -> dict[str, str]:
        """What the cluster is made of."""
        asked = {"etcd": _etcd(), "postgresql": str(next(installations()) / "postgres")}
        told = {
            name: subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            for name, program in asked.items()
        }
        numbers = {name: text.splitlines()[0].split()[2] for name, text in told.items()}
        return numbers | {"patroni": version("patroni")}

    def others(self, node: Node) -> list[Node]:
        """All but one."""
        return [one for one in self.nodes if one is not node]

    @property
    def _open_http(self) -> aiohttp.ClientSession:
        assert self._http is not None, "not open"
        return self._http

    async def _calm(self) -> Node | None:
        members = await self.members()
        leader = self._one(members, "leader")
        if leader is None or [one["state"] for one in members].count("streaming") != NODES - 1:
            return None
        if self.synchronous and self._one(members, "sync_standby") is None:
            return None
        try:
            connection = await asyncpg.connect(self.dsn_of(leader), timeout=5, command_timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return None
        try:
            streaming, sync = await connection.fetchrow(_CALM)
        finally:
            connection.terminate()
        calm = streaming == NODES - 1 and sync == (1 if self.synchronous else 0)
        return leader if calm else None

    def _one(self, members: list[dict[str, Any]], role: str) -> Node | None:
        names = [
            one["name"] for one in members if one["role"] == role and one["state"] in {"running", "streaming"}
        ]
        return next((node for node in self.nodes if node.name in names), None)

    # -- making

    def _keeper(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.failover.keeper", str(self.folder)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)

    def _end(self, keeper: subprocess.Popen[bytes]) -> None:
        keeper.communicate(KEEP if self.keep else None, timeout=60)

    def _port(self) -> int:
        place: socket.socket = self._opened.enter_context(hold_port())
        port: int = place.getsockname()[1]
        return port

    def _start_etcd(self, port: int, peer_port: int) -> str:
        here, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
        folder = self.folder / "etcd"
        folder.mkdir()
        processes.give(folder)
        options = [
            *("--name", "one", "--data-dir", str(folder / "data")),
            *("--listen-client-urls", here, "--advertise-client-urls", here),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"one={peer}",
            ),
        ]
        processes.start([_etcd(), *options], folder=folder, name="etcd")
        return f"127.0.0.1:{port}"

    def _make(self, name: str, etcd: str, *, port: int, rest_port: int) -> Node:
        node = Node(name, self.folder / name, port=port, rest_port=rest_port)
        node.folder.mkdir(mode=0o700)
        processes.give(node.folder)
        rest, server = f"127.0.0.1:{rest_port}", f"127.0.0.1:{port}"
        login = {"username": _USER, "password": self._password}
        settings = {
            "scope": "paymux",
            "name": name,
            "etcd3": {"host": etcd},
            "restapi": {"listen": rest, "connect_address": rest, "authentication": login},
            "ctl": {"authentication": login},
            "watchdog": {"mode": "off"},  # a machine of its own has one; three on one machine have not
            "bootstrap": {
                "dcs": shared(synchronous=self.synchronous),
                "initdb": [{"encoding": "UTF8"}, "no-locale", "data-checksums"],
            },
            "postgresql": {
                "listen": server,
                "connect_address": server,
                "data_dir": str(node.data),
                "bin_dir": str(next(installations())),
                "pgpass": str(node.folder / "pgpass"),
                "authentication": {"superuser": login, "replication": login},
                "pg_hba": [
                    "host all all 127.0.0.1/32 scram-sha-256",
                    "host replication all 127.0.0.1/32 scram-sha-256",
                ],
                # What cannot be rewound is copied anew; an operator may prefer to look at it first.
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
            },
        }
        (node.folder / "patroni.json").write_text(json.dumps(settings, indent=1))
        return node


def _etcd() -> str:
    program = shutil.which("etcd", path=os.pathsep.join((str(ROOT / ".tools/etcd"), os.environ["PATH"])))
    assert program, "no etcd: `make failover` fetches it"
    return program


async def until(look: Callable[[], Awaitable[Result | None]], *, within_s: int, what: str) -> Result:
    """Look again and again until there is something; raises TimeoutError after the deadline."""
    deadline_s = time.monotonic() + within_s
    while not (found := await look()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {within_s} s: {what}")
        await asyncio.sleep(_LOOK_S)
    return found
