"""Processes the tests share: one sandbox and one gateway with two shops, per test worker."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.harness.live import Gateway, SandboxChild, Wallets, open_http, shop, tables

PATIENT = {
    "PAYMUX_LIMITS_PAY_WAIT_S": 12,
    "PAYMUX_LIMITS_CANCEL_WAIT_S": 12,
    "PAYMUX_LIMITS_REFUND_WAIT_S": 12,
}
"""Calls that may take the time they need: nobody is killed here."""


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxChild]:
    """`paymux sandbox`; its accounts `alipay` and `wechat` are the shared gateway's."""
    with SandboxChild(tmp_path_factory.mktemp("sandbox")) as child:
        asyncio.run(child.ready())
        yield child


@pytest.fixture(scope="session")
def gateway(sandbox: SandboxChild, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`paymux serve` with shops 1 and 2, both with both wallets."""

    async def begin(gateway: Gateway) -> None:
        async with open_http() as http:
            accounts = await Wallets(http, sandbox.url).accounts("alipay", "wechat")
        await gateway.provision(tables({shop(1): accounts, shop(2): accounts}))
        await gateway.start()

    with Gateway(tmp_path_factory.mktemp("gateway") / "data", **PATIENT) as running:
        asyncio.run(begin(running))
        yield running
        assert "call.failed" not in running.log.read_text()
