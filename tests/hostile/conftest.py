"""Who is attacked: one `paymux serve` with two merchants and both wallets behind it, per test worker.

Whatever is done to it, at the end it lives, nothing unforeseen happened in it, and its memory stayed bounded.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.live import Gateway, SandboxChild, Shop, Till, Wallets, barcode, open_http, shop, tables

HERE, THERE = shop(21), shop(22)
"""Two merchants of one gateway."""
GROWTH_MIB_MAX = 96
"""More than one request of the largest kind and its copies, far less than any of the floods below."""

CAREFUL = {"PAYMUX_ALLOW_PRIVATE_TARGETS": "false"}
"""As it is set where merchants are: their notifications may not go to the inner network."""


class Target:
    """The gateway, its wallets and what an attacker may know."""

    def __init__(self, gateway: Gateway, sandbox: SandboxChild) -> None:
        self.gateway = gateway
        self.sandbox = sandbox
        self.here, self.there = HERE, THERE


def memory_mib(gateway: Gateway) -> int:
    """How much memory its process has at this moment."""
    return _status_mib(gateway, "VmRSS")


def peak_mib(gateway: Gateway) -> int:
    """The most it had since its birth, or since `forget_peak`."""
    return _status_mib(gateway, "VmHWM")


def forget_peak(gateway: Gateway) -> None:
    """Count the peak anew."""
    Path(f"/proc/{gateway.process.pid}/clear_refs").write_text("5")


def _status_mib(gateway: Gateway, name: str) -> int:
    status = Path(f"/proc/{gateway.process.pid}/status")
    if not status.exists():
        pytest.skip("only Linux tells so about another process's memory")
    lines = status.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) // 1024


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The gateway under attack; one order of HERE's is paid."""

    async def begin(gateway: Gateway, sandbox: SandboxChild) -> None:
        await sandbox.ready()
        async with open_http() as http:
            accounts = await Wallets(http, sandbox.url).accounts("alipay", "wechat")
            await gateway.provision(tables({HERE: accounts, THERE: accounts}))
            await gateway.start()
            till = till_of(http, gateway, HERE)
            assert (await till.pay(barcode("wechat", 1, "00"), "SOLD"))["result_code"] == "PAY_SUCCESS"
            await gateway.settled()

    folder = tmp_path_factory.mktemp("target")
    with SandboxChild(folder) as sandbox, Gateway(folder / "data", **CAREFUL) as gateway:
        asyncio.run(begin(gateway, sandbox))
        yield Target(gateway, sandbox)
        assert gateway.process.exit_code is None
        assert [event for name in ("call.failed", "callback.failed") for event in gateway.events(name)] == []


def till_of(http: object, gateway: Gateway, one: Shop) -> Till:
    """A shop's till."""
    return Till(http, gateway.url, sn=one.terminal_sn, key=one.terminal_key)  # type: ignore[arg-type]  # a session
