"""Several processes on one PostgreSQL: they share socket, numbers and work, and can be replaced."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.harness.children import until
from tests.harness.live import (
    Gateway,
    Json,
    NoAnswer,
    SandboxChild,
    Till,
    Wallets,
    barcode,
    open_http,
    shop,
    tables,
)
from tests.harness.postgres import drop_schema, new_schema, server

Story = Callable[[Gateway, aiohttp.ClientSession, Wallets], Awaitable[None]]


@pytest.fixture
def dsn() -> Iterator[str]:
    """An empty schema."""
    found = new_schema(server())
    yield found
    drop_schema(found)


def in_town(tmp_path: Path, dsn: str, story: Story) -> None:
    """Two processes behind one port, a shop, and the wallets."""

    async def told() -> None:
        with (
            SandboxChild(tmp_path) as sandbox,
            Gateway(tmp_path / "crew", "--workers", "2", PAYMUX_DATABASE=dsn) as gateway,
        ):
            await sandbox.ready()
            async with open_http() as http:
                wallets = Wallets(http, sandbox.url)
                await gateway.provision(tables({shop(1): await wallets.accounts("wechat", "alipay")}))
                await gateway.start()
                await until(lambda: len(gateway.events("gateway.ready")) == 2, within_s=60, what="both serve")
                await story(gateway, http, wallets)
                assert await gateway.stop() == 0

    asyncio.run(told())


def till(gateway: Gateway, http: aiohttp.ClientSession) -> Till:
    """The till of shop 1."""
    one = shop(1)
    return Till(http, gateway.url, sn=one.terminal_sn, key=one.terminal_key)


async def sell(gateway: Gateway, name: str, until_set: asyncio.Event) -> dict[str, Json | None]:
    """Sell tea until told to stop, each time over a new connection; None: nobody answered."""
    answers: dict[str, Json | None] = {}
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as http:
        while not until_set.is_set():
            number = f"{name}-{len(answers)}"
            try:
                answers[number] = await till(gateway, http).pay(barcode("wechat", len(answers), "00"), number)
            except NoAnswer:
                answers[number] = None
    return answers


def processes(gateway: Gateway) -> list[int]:
    """The members that have got ready, oldest first."""
    return [int(event["process"]) for event in gateway.events("gateway.ready")]


@pytest.mark.postgres
def test_all_are_replaced_and_no_call_is_lost(tmp_path: Path, dsn: str) -> None:
    """SIGHUP: new processes take over while tills sell; every sale is answered, and booked once."""

    async def story(gateway: Gateway, _http: aiohttp.ClientSession, wallets: Wallets) -> None:
        done = asyncio.Event()
        selling = [asyncio.create_task(sell(gateway, f"till{n}", done)) for n in range(6)]
        await asyncio.sleep(0.5)
        os.kill(gateway.process.pid, signal.SIGHUP)
        await until(lambda: len(gateway.events("crew.replaced")) == 2, within_s=60, what="both are replaced")
        await asyncio.sleep(0.5)
        done.set()
        answers = [one for answered in await asyncio.gather(*selling) for one in answered.values()]
        assert len(answers) > 20
        assert {one and one["result_code"] for one in answers} == {"PAY_SUCCESS"}
        numbers = [one["data"]["sn"] for one in answers if one]
        assert len(set(numbers)) == len(numbers)
        assert await gateway.books() == await wallets.books()
        assert len(set(processes(gateway))) == 4

    in_town(tmp_path, dsn, story)


@pytest.mark.postgres
def test_one_is_killed_and_the_other_goes_on(tmp_path: Path, dsn: str) -> None:
    """What the dead one had begun is finished by the other, a successor takes its place, the books agree."""

    async def story(gateway: Gateway, http: aiohttp.ClientSession, wallets: Wallets) -> None:
        done = asyncio.Event()
        selling = [asyncio.create_task(sell(gateway, f"till{n}", done)) for n in range(6)]
        await asyncio.sleep(0.5)
        os.kill(processes(gateway)[0], signal.SIGKILL)
        await until(lambda: len(processes(gateway)) == 3, within_s=60, what="there is a successor")
        await asyncio.sleep(0.5)
        done.set()
        answers = {name: one for answered in await asyncio.gather(*selling) for name, one in answered.items()}
        unheard = [name for name, one in answers.items() if one is None]
        assert len(unheard) <= 6
        assert len(answers) - len(unheard) > 20
        for name in unheard:
            await until_definite(till(gateway, http), name)
        assert await gateway.books() == await wallets.books()

    in_town(tmp_path, dsn, story)


async def until_definite(asking: Till, client_sn: str) -> None:
    """Ask about a sale until it is over: what was never sent is reversed after 45 s."""
    for _ in range(1_200):
        answer = await asking.call("query", client_sn=client_sn)
        if answer["result_code"] != "SUCCESS" or answer["data"]["order_status"] in {"PAID", "PAY_CANCELED"}:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(answer)


@pytest.mark.postgres
def test_a_worker_finishes_what_gateways_left(tmp_path: Path, dsn: str) -> None:
    """The gateways are gone, a payment is uncertain: `paymux worker` asks the wallet and books it."""

    async def story(gateway: Gateway, http: aiohttp.ClientSession, wallets: Wallets) -> None:
        paying = asyncio.create_task(till(gateway, http).pay(barcode("alipay", 1, "05"), "lost"))
        await until_taken(wallets)
        for process in processes(gateway):
            os.kill(process, signal.SIGKILL)
        gateway.kill()
        await asyncio.gather(paying, return_exceptions=True)
        worker = gateway.helper("worker")
        try:
            await worker.said("worker.ready")
            for _ in range(100):
                if await gateway.books() == await wallets.books():
                    break
                await asyncio.sleep(0.2)
            assert await gateway.books() == await wallets.books()
            worker.terminate()
            assert await worker.ended() == 0
        finally:
            worker.end()
        await gateway.start()

    in_town(tmp_path, dsn, story)


async def until_taken(wallets: Wallets) -> None:
    """Wait until the wallet has taken money."""
    for _ in range(300):
        if await wallets.books():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nothing was paid")


def test_a_database_file_has_one_process(tmp_path: Path) -> None:
    """Several workers on SQLite are refused with words that help."""
    with Gateway(tmp_path / "alone", "--workers", "2") as gateway:

        async def told() -> None:
            child = gateway.spawn()
            assert await child.ended() == 2
            assert "postgresql://" in child.text

        asyncio.run(told())
