"""The sandbox on real sockets: HTTP, mutual TLS, lost replies, callbacks, and a second life."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web

import paymux.sandbox
from paymux.sandbox.keys import KeyRing
from paymux.sandbox.server import Sandbox, is_loopback
from tests.sandbox.merchants import AlipayMerchant, WechatMerchant, micropay, pay_biz, read_flat_xml


@asynccontextmanager
async def running(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    """Start the sandbox and a client for it."""
    await sandbox.start()
    try:
        async with aiohttp.ClientSession() as client:
            yield client
    finally:
        await sandbox.stop()


def play(sandbox: Sandbox, story: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    """Run a story against a started sandbox."""

    async def whole() -> None:
        async with running(sandbox) as client, asyncio.timeout(20):
            await story(client)

    asyncio.run(whole())


def client_tls(row: dict[str, Any], folder: Path, *, with_cert: bool) -> ssl.SSLContext:
    """Trust the sandbox's CA; bring the merchant's certificate or not."""
    context = ssl.create_default_context(cadata=row["ca_cert"])
    if with_cert:
        path = folder / "client.pem"
        path.write_text(row["client_cert"] + row["client_key"])
        context.load_cert_chain(path)
    return context


def test_a_payment_over_http(keys: KeyRing) -> None:
    """Accounts from the API, a signed form in, a signed reply out, the truth in the books."""
    sandbox = Sandbox(keys=keys)

    async def story(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{sandbox.base_url}/_sandbox/accounts") as reply:
            row = (await reply.json())[0]
        assert row["base_url"] == f"{sandbox.base_url}/gateway.do"
        merchant = AlipayMerchant(sandbox.world, "alipay")
        fields = merchant.fields("trade.pay", pay_biz("a1", "00", "1.00"))
        async with client.post(row["base_url"], data=fields) as reply:
            assert json.loads(await reply.read())["alipay_trade_pay_response"]["code"] == "10000"
        async with client.get(f"{sandbox.base_url}/_sandbox/books") as reply:
            assert (await reply.json())[0]["state"] == "PAID"
        async with client.get(f"{sandbox.base_url}/phone") as reply:
            assert "a1" in await reply.text()

    play(sandbox, story)


def test_an_absolute_request_target_is_understood(keys: KeyRing) -> None:
    """`POST http://host/gateway.do HTTP/1.1` is what official Python SDKs write."""
    sandbox = Sandbox(keys=keys)

    async def story(_: aiohttp.ClientSession) -> None:
        host, port = sandbox.base_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"GET {sandbox.base_url}/_sandbox/books HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"[]")

    play(sandbox, story)


def test_a_lost_reply_closes_the_connection(keys: KeyRing) -> None:
    """Not a byte comes back, and the money is taken."""
    sandbox = Sandbox(keys=keys)

    async def story(client: aiohttp.ClientSession) -> None:
        merchant = WechatMerchant(sandbox.world, "wechat")
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.post(
                f"{sandbox.base_url}/pay/micropay", data=merchant.body(micropay("w1", "05", 100))
            )
        assert sandbox.world.books()[0]["paid"] == 100

    play(sandbox, story)


def test_refunds_need_mutual_tls(keys: KeyRing, tmp_path: Path) -> None:
    """With the client certificate: done; without: no handshake; on the plain port: nginx's 400."""
    sandbox = Sandbox(keys=keys)

    async def story(client: aiohttp.ClientSession) -> None:
        merchant = WechatMerchant(sandbox.world, "wechat")
        merchant.pay("w1")
        terms = {"out_trade_no": "w1", "out_refund_no": "r1", "total_fee": "100", "refund_fee": "100"}
        url = f"{sandbox.secure_base_url}/secapi/pay/refund"
        good, bare = (client_tls(merchant.row, tmp_path, with_cert=with_cert) for with_cert in (True, False))
        with pytest.raises(aiohttp.ClientError):
            await client.post(url, data=merchant.body(terms), ssl=bare)
        async with client.post(f"{sandbox.base_url}/secapi/pay/refund", data=merchant.body(terms)) as reply:
            assert (reply.status, b"No required SSL certificate" in await reply.read()) == (400, True)
        assert sandbox.world.books()[0]["refunded"] == 0
        async with client.post(url, data=merchant.body(terms), ssl=good) as reply:
            assert read_flat_xml(await reply.read())["result_code"] == "SUCCESS"
        assert sandbox.world.books()[0]["refunded"] == 100

    play(sandbox, story)


def test_callbacks_are_delivered_and_repeated(keys: KeyRing) -> None:
    """The first is answered with nonsense, the second comes 15 s (of a fast clock) later and is accepted."""
    sandbox = Sandbox(keys=keys)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    answers = iter(["pardon?", "success"])

    async def listen(request: web.Request) -> web.Response:
        await heard.put(await request.read())
        return web.Response(text=next(answers))

    async def story(client: aiohttp.ClientSession) -> None:
        app = web.Application()
        app.router.add_post("/notify", listen)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        merchant = AlipayMerchant(sandbox.world, "alipay")
        fields = merchant.fields(
            "trade.pay", pay_biz("a1", "00", "1.00"), notify_url=f"http://127.0.0.1:{port}/notify"
        )
        await client.post(f"{sandbox.base_url}/_sandbox/time", json={"rate": 50})
        await client.post(f"{sandbox.base_url}/gateway.do", data=fields)
        bodies = [await heard.get(), await heard.get()]
        assert [dict(parse_qsl(body.decode()))["out_trade_no"] for body in bodies] == ["a1", "a1"]
        await runner.cleanup()
        assert heard.empty()

    play(sandbox, story)


def test_callbacks_go_to_this_machine_only() -> None:
    """Whatever a request asks for."""
    assert all(map(is_loopback, ["http://127.0.0.1:1/x", "https://localhost/", "http://[::1]/"]))
    elsewhere = [
        "http://example.com/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example.com/",
        "file:///etc/passwd",
    ]
    assert not any(map(is_loopback, [*elsewhere, "", "http://", "http://[", "ftp://127.0.0.1/"]))


def test_a_second_start_with_the_same_folder_goes_on(tmp_path: Path) -> None:
    """Merchants, keys and books are those of the first."""
    first, second = Sandbox(data_dir=tmp_path, seed=1), Sandbox(data_dir=tmp_path, seed=2)

    async def before(_: aiohttp.ClientSession) -> None:
        AlipayMerchant(first.world, "alipay").pay("a1")

    async def after(_: aiohttp.ClientSession) -> None:
        assert second.world.books() == first.world.books()
        rows = [[row["app_id"] for row in one.world.accounts()] for one in (first, second)]
        assert rows[0] == rows[1]
        assert AlipayMerchant(second.world, "alipay").refund("a1", "1.00")["fund_change"] == "Y"

    play(first, before)
    play(second, after)


def test_too_large_a_body_is_refused(keys: KeyRing) -> None:
    """413, before anything is parsed."""
    sandbox = Sandbox(keys=keys)

    async def story(client: aiohttp.ClientSession) -> None:
        async with client.post(f"{sandbox.base_url}/pay/micropay", data=b"x" * 1_000_001) as reply:
            assert reply.status == 413

    play(sandbox, story)


def test_a_taken_port_is_said_so(keys: KeyRing) -> None:
    """OSError at start, with nothing left running."""
    sandbox = Sandbox(keys=keys)

    async def story(_: aiohttp.ClientSession) -> None:
        port = int(sandbox.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await Sandbox(port=port, keys=keys).start()

    play(sandbox, story)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_cleanly_when_asked(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM: no traceback, exit code 0, books on disk."""
    program = (
        "import pathlib, sys\n"
        "from paymux.sandbox.server import run\n"
        "run(data_dir=pathlib.Path(sys.argv[1]), on_ready=lambda one: print(one.base_url, flush=True))\n"
    )
    source = str(Path(paymux.sandbox.__file__).parent.parent.parent)
    command = [sys.executable, "-c", program, str(tmp_path)]
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": source}
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(number)
        _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")
    assert (tmp_path / "sandbox-books.json").exists()
