"""The walls between the rooms hold: each wrong import, planted in a copy of the house, is caught."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house import project

ROOMS = (
    "__init__", "__main__", "app", "config",
    "channels/__init__", "channels/alipay/__init__", "channels/alipay/channel", "channels/registry",
    "channels/transport", "channels/wechat/__init__", "channels/wechat/channel",
    "cli/__init__", "cli/main", "domain/__init__", "domain/order", "flows/__init__", "flows/pay",
    "kit/__init__", "kit/clock", "sandbox/__init__", "sandbox/server",
    "storage/__init__", "storage/citus", "storage/contract", "storage/opener", "storage/postgres",
    "storage/sqlite",
    "wire/__init__", "wire/server", "workers/__init__", "workers/recovery",
)  # fmt: skip

RIGHT = {
    "__main__": "import paymux.cli.main",
    "cli/main": "import paymux.app\nimport paymux.sandbox.server",
    "app": "import paymux.channels.registry\nimport paymux.storage.opener\nimport paymux.wire.server",
    "wire/server": "import starlette\nimport paymux.config\nimport paymux.flows.pay",
    "workers/recovery": "import paymux.flows.pay",
    "flows/pay": "import paymux.domain.order\nimport paymux.kit.clock\nimport paymux.storage.contract",
    "channels/registry": "import paymux.channels.alipay.channel\nimport paymux.channels.wechat.channel",
    "channels/alipay/channel": "import paymux.channels.alipay\nimport paymux.domain.order",
    "channels/transport": "import aiohttp",
    "storage/opener": (
        "import paymux.storage.citus\nimport paymux.storage.postgres\nimport paymux.storage.sqlite"
    ),
    "storage/citus": "import paymux.storage.postgres",
    "storage/postgres": "import asyncpg\nimport paymux.storage.contract",
    "storage/sqlite": "import sqlite3\nimport paymux.storage.contract",
    "domain/order": "import msgspec",
    "kit/clock": "import asyncio",
    "sandbox/server": "import aiohttp",
}

WRONG = [
    ("domain/order", "import paymux.kit.clock", "layers"),
    ("storage/contract", "import paymux.channels.transport", "layers"),
    ("flows/pay", "import paymux.wire.server", "layers"),
    ("wire/server", "import paymux.workers.recovery", "layers"),
    ("wire/server", "import paymux.app", "layers"),
    ("surprise", "", "layers"),
    ("domain/order", "import time", "domain-is-pure"),
    ("domain/order", "from os import environ", "domain-is-pure"),
    ("domain/order", "import structlog", "domain-is-pure"),
    ("channels/wechat/channel", "import paymux.channels.alipay.channel", "channels-are-strangers"),
    ("channels/alipay/channel", "import asyncio", "channels-do-no-io"),
    ("flows/pay", "import paymux.channels.alipay.channel", "registry-knows-channels"),
    ("flows/pay", "import paymux.storage.sqlite", "opener-knows-engines"),
    ("wire/server", "import paymux.storage.postgres", "opener-knows-engines"),
    ("workers/recovery", "import paymux.storage.citus", "opener-knows-engines"),
    ("flows/pay", "import asyncpg", "edges-know-no-engine"),
    ("workers/recovery", "import paymux.storage.opener", "app-knows-openers"),
    ("flows/pay", "import paymux.channels.registry", "app-knows-openers"),
    ("flows/pay", "import sqlite3", "edges-know-no-engine"),
    ("workers/recovery", "import aiohttp", "one-http-client"),
    ("sandbox/server", "import paymux.domain.order", "sandbox-is-a-stranger"),
    ("flows/pay", "import paymux.sandbox.server", "cli-knows-the-sandbox"),
]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Build a copy of the house: every room, with right imports only, under the project's own contracts."""
    (tmp_path / "pyproject.toml").write_bytes((project.ROOT / "pyproject.toml").read_bytes())
    for room in ROOMS:
        file = tmp_path / "src/paymux" / f"{room}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(RIGHT.get(room, "") + "\n")
    return tmp_path


def test_the_right_imports_pass(house: Path) -> None:
    """The imports the design asks for break nothing."""
    code, told = _lint(house)
    assert code == 0, told


@pytest.mark.parametrize(("room", "planted", "contract"), WRONG)
def test_a_wrong_import_is_caught(house: Path, room: str, planted: str, contract: str) -> None:
    """Each wall stops the import it was built against."""
    with (house / "src/paymux" / f"{room}.py").open("a") as file:
        file.write(f"{planted}\n")
    code, told = _lint(house, contract=contract)
    assert code == 1, told
    assert "BROKEN" in told


def test_every_wall_is_tried() -> None:
    """A contract nobody has seen break is a hope: each one has a planted import above."""
    tools = tomllib.loads((project.ROOT / "pyproject.toml").read_text())["tool"]
    assert {contract["id"] for contract in tools["importlinter"]["contracts"]} == {
        contract for _, _, contract in WRONG
    }


def _lint(house: Path, *, contract: str = "") -> tuple[int, str]:
    """Run import-linter in its own process: it must find the copy, not the package installed here."""
    run = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    only = ["--contract", contract] if contract else []
    done = subprocess.run(
        [*run, "--no-cache", "--no-logo", *only],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
