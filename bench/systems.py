"""The programs that are measured, each a process of its own on loopback, and the clock of its CPU time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.shop import API_KEY, APP_ID, MCH_ID, MERCHANT_SN, STORE_SN, TERMINAL_KEY, TERMINAL_SN

ROOT = Path(__file__).resolve().parent.parent
_START_S = 30
_STOP_S = 15
_LOG_TAIL = 4_000

_PROVISIONING = f"""\
[[merchant]]
merchant_sn = "{MERCHANT_SN}"
name = "bench"

[[store]]
store_sn = "{STORE_SN}"
merchant_sn = "{MERCHANT_SN}"
name = "bench"

[[terminal]]
terminal_sn = "{TERMINAL_SN}"
terminal_key = "{TERMINAL_KEY}"
store_sn = "{STORE_SN}"
device_id = "bench"

[[channel_account]]
name = "wechat"
merchant_sn = "{MERCHANT_SN}"
channel = "wechat"
payways = ["3"]
base_url = "{{wallet}}"
app_id = "{APP_ID}"
mch_id = "{MCH_ID}"
api_key = "{API_KEY}"
"""


class ProgramFailed(Exception):
    """A program did not start, or ended before its time; the text ends with the tail of its log."""


class Program(NamedTuple):
    """One running server."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def cpu_ns(self) -> int:
        """CPU time of the whole process until now, all threads, user and system."""
        # What clock_getcpuclockid(3) returns on Linux: to the nanosecond, where /proc/PID/stat counts ticks.
        return time.clock_gettime_ns((~self.process.pid << 3) | 2)

    def failed(self, what: str) -> ProgramFailed:
        """Make the complaint: what happened, and what the program itself said last."""
        return ProgramFailed(f"{self.name} {what}\n{self.log.read_text(errors='replace')[-_LOG_TAIL:]}")


@contextmanager
def wallet(folder: Path) -> Iterator[Program]:
    """Run the stub wallet."""
    with _running("wallet", folder, _module("bench.wallet", "{port}")) as program:
        yield program


@contextmanager
def systems(folder: Path, wallet_url: str) -> Iterator[list[Program]]:
    """Run all that are compared; whatever happens, they are ended."""
    with ExitStack() as stack:
        yield [stack.enter_context(start(folder, wallet_url)) for start in (_paymux, _conventional, _floor)]


@contextmanager
def _paymux(folder: Path, wallet_url: str) -> Iterator[Program]:
    """Run the real gateway with everything on, set up from a provisioning file."""
    home = folder / "paymux"
    home.mkdir()
    settings, provisioning = home / "paymux.toml", home / "provisioning.toml"
    settings.write_text(f'data_dir = "{home / "data"}"\nlog_level = "warning"\n')
    provisioning.write_text(_PROVISIONING.format(wallet=wallet_url))
    command = _module("paymux", "--config", str(settings))
    _finish([*command, "provision", str(provisioning)])
    with _running("paymux", folder, [*command, "serve", "--port", "{port}"]) as program:
        yield program


@contextmanager
def _conventional(folder: Path, wallet_url: str) -> Iterator[Program]:
    with _uvicorn("conventional", folder, wallet_url) as program:
        yield program


@contextmanager
def _floor(folder: Path, wallet_url: str) -> Iterator[Program]:
    with _uvicorn("floor", folder, wallet_url) as program:
        yield program


@contextmanager
def _uvicorn(name: str, folder: Path, wallet_url: str) -> Iterator[Program]:
    command = _module("uvicorn", f"bench.{name}.app:app", "--port", "{port}", "--log-level", "warning")
    command += ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"]
    where = {"BENCH_DATABASE": str(folder / f"{name}.db"), "BENCH_WALLET": wallet_url}
    with _running(name, folder, command, where) as program:
        yield program


# -- processes


@contextmanager
def _running(
    name: str, folder: Path, command: list[str], extra: dict[str, str] | None = None
) -> Iterator[Program]:
    port = _free_port()
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - the arguments are ours
            [part.replace("{port}", str(port)) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=_environment() | (extra or {}),
        )
    program = Program(name, f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_it_listens(program, port)
        yield program
        if process.poll() is not None:
            raise program.failed("ended before its time")
    finally:
        _end(process)


def _wait_until_it_listens(program: Program, port: int) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        if program.process.poll() is not None:
            raise program.failed("did not start")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise program.failed(f"did not listen within {_START_S} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _finish(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - the arguments are ours
        command, cwd=ROOT, env=_environment(), capture_output=True, check=False
    )
    if done.returncode:
        raise ProgramFailed(f"{' '.join(command)}\n{(done.stdout + done.stderr).decode(errors='replace')}")


def _module(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


def _environment() -> dict[str, str]:
    """Return ours without settings of another gateway, and with the package of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYMUX_")}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
