"""Unmodified SDKs pay, query, refund and verify against the sandbox.

Each runs as a program of its own, in its own environment under `.tools/` (`make sdk-tools`): none of their
code meets ours but over the wire.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest

from paymux.sandbox.server import Sandbox

pytestmark = pytest.mark.sdk

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parent.parent / ".tools"
PATIENCE_S = 60


def python(tool: str) -> list[str]:
    """Return the command of an SDK's own interpreter; skip without it."""
    program = TOOLS / tool / "bin" / "python"
    if not program.exists():
        pytest.skip(f"no {program.relative_to(TOOLS.parent)}: run `make sdk-tools`")
    return [str(program)]


def node(sdk: str) -> list[str]:
    """Return the command of Node; skip without it or without the SDK."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    if not (TOOLS / "npm" / "node_modules" / sdk).is_dir():
        pytest.skip(f"no {sdk} under .tools/npm: run `make sdk-tools`")
    return [program]


def told(command: list[str], *, then: Callable[[Sandbox, Any], Any] | None = None) -> dict[str, Any]:
    """Run a story against a fresh sandbox; return what it said, and `then` what came of it."""

    async def whole() -> dict[str, Any]:
        sandbox = Sandbox(amount_scripts=True)
        await sandbox.start()
        try:
            facts: dict[str, Any] = json.loads(await _run(command, json.dumps(sandbox.world.accounts())))
            facts["books"] = {row["out_trade_no"]: row for row in sandbox.world.books()}
            if then:
                facts["then"] = await then(sandbox, facts)
        finally:
            await sandbox.stop()
        return facts

    return asyncio.run(whole())


async def _run(command: list[str], text: str) -> bytes:
    """Run a program with `text` as its input; fail with its words when it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(PATIENCE_S):
            said, complained = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, complained.decode()[-3_000:]
    return said


def expected_of_alipay(number: str) -> dict[str, Any]:
    """Return what any Alipay SDK must have said and booked."""
    return {
        "paid": ["10000", "88.88"],
        "callback": ["TRADE_SUCCESS", True],
        "queried": "TRADE_SUCCESS",
        "refunded": ["Y", "8.88"],
        "refund": "REFUND_SUCCESS",
        "ordered": "https://qr.alipay.com/bax",
        "unknown": "ACQ.TRADE_NOT_EXIST",
        "forged": "caught",
        "book": {"out_trade_no": number, "paid": 8888, "refunded": 888, "state": "PARTIAL_REFUNDED"},
    }


def held_against(facts: dict[str, Any], name: str, number: str) -> dict[str, Any]:
    """Return one merchant's facts with its line of the books."""
    book = facts["books"][number]
    wanted = ("out_trade_no", "paid", "refunded", "state")
    told_and_booked: dict[str, Any] = facts[name] | {"book": {field: book[field] for field in wanted}}
    return told_and_booked


def test_python_alipay_sdk() -> None:
    """Key and certificate mode; its signed page address opens the cashier."""

    async def open_pages(sandbox: Sandbox, facts: dict[str, Any]) -> list[bool]:
        shown = []
        async with aiohttp.ClientSession() as browser:
            for name in ("alipay", "alipay-cert"):
                fields = dict(parse_qsl(facts[name].pop("page")))
                async with browser.get(f"{sandbox.base_url}/gateway.do", params=fields) as page:
                    shown.append("¥5.00" in await page.text())
        return shown

    facts = told([*python("alipay-sdk"), str(HERE / "python" / "alipay_story.py")], then=open_pages)
    assert facts["then"] == [True, True]
    more = {"repeated": "ACQ.TRADE_HAS_SUCCESS", "cancelled": ["10000", "N"]}
    for name in ("alipay", "alipay-cert"):
        number = f"sdk-{name}"
        assert held_against(facts, name, number) == expected_of_alipay(number) | more


def test_wechatpy(tmp_path: Path) -> None:
    """Over plain HTTP and mutual TLS, with payment and refund callbacks verified by the SDK."""
    facts = told([*python("wechatpy"), str(HERE / "python" / "wechat_story.py"), str(tmp_path)])
    books = facts.pop("books")
    assert facts == {
        "paid": ["SUCCESS", "8888", True],
        "queried": "REFUND",
        "refunded": "888",
        "refund": "SUCCESS",
        "refund_callback": ["SUCCESS", 888],
        "ordered": "weixin://wxpay/bizpayurl?pr=" + facts["ordered"][28:],
        "callback": ["SUCCESS", 100],
        "reversed": ["SUCCESS", "N"],
        "insufficient": "NOTENOUGH",
    }
    shown = {number: (row["paid"], row["refunded"], row["state"]) for number, row in books.items()}
    assert shown == {
        "wxpy1": (8888, 888, "PARTIAL_REFUNDED"),
        "wxpy2": (100, 0, "PAID"),
        "wxpy3": (0, 0, "REVERSED"),
    }


def test_npm_alipay_sdk() -> None:
    """The official one, which puts common parameters into the query and only biz_content into the body."""
    facts = told([*node("alipay-sdk"), str(HERE / "npm" / "alipay_story.mjs"), str(TOOLS / "npm")])
    for name in ("alipay", "alipay-cert"):
        number = f"node-{name}"
        assert held_against(facts, name, number) == expected_of_alipay(number)


def test_npm_wechatpay_axios_plugin() -> None:
    """MD5 and HMAC-SHA256; it verifies every reply before it hands it over."""
    facts = told(
        [*node("wechatpay-axios-plugin"), str(HERE / "npm" / "wechat_story.mjs"), str(TOOLS / "npm")]
    )
    for name in ("wechat", "wechat-hmac"):
        assert facts[name] == {
            "paid": ["SUCCESS", "8888"],
            "refunded": "888",
            "queried": "REFUND",
            "forged": "caught",
        }
        assert facts["books"][f"axios-{name}"]["refunded"] == 888
