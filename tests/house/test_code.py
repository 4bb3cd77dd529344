"""Code stays readable: short functions and files, exceptions with reasons; and money meets no float."""

import subprocess
import sys
from fnmatch import fnmatch

import pytest

from tests.house import project
from tests.house.code_rules import (
    FILE_LINES_MAX,
    floats,
    leaky_comparisons,
    long_functions,
    unexplained_exceptions,
)

MONEY_ROOMS = ("domain", "flows", "storage", "wire", "channels")

ROOMS_OF_STRANGERS = ("wire", "flows", "channels", "storage", "workers", "domain", "sandbox")
"""Where a secret may be held against what somebody from outside has sent."""

LONG_FILES = {
    "src/paymux/channels/*/channel.py": "one channel, one sitting: facts, verbs, builders, readers",
}
"""Glob → why such a file may be longer. Tables and channels may; all else wants a second file."""

PYTHON = project.matching("src/*.py", "tests/*.py", "bench/*.py")


def test_a_long_function_is_found() -> None:
    """71 lines are too many, 70 are not; decorators count."""
    body = "    x = 1\n" * 69
    assert list(long_functions(f"def short():\n{body}")) == []
    assert list(long_functions(f"@cache\ndef tall():\n{body}")) == [("tall", 71)]
    assert list(long_functions(f"class A:\n  async def tall():\n{body}    y = 2\n")) == [("tall", 71)]


def test_functions_fit_a_screen() -> None:
    """No function has more than 70 lines: who reads it can see all of it."""
    found = [(project.name(path), *long) for path in PYTHON for long in long_functions(path.read_text())]
    assert found == []


def test_files_fit_a_sitting() -> None:
    """No file has more than 500 lines, but for the kinds that say why."""
    lines = {project.name(path): len(path.read_text().splitlines()) for path in PYTHON}
    found = [
        (name, count)
        for name, count in lines.items()
        if count > FILE_LINES_MAX and not any(fnmatch(name, pattern) for pattern in LONG_FILES)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("planted", "strict"),
    [
        ("amount = float(text)", False),
        ("def pay(amount: float) -> None: ...", False),
        ("rows: dict[str, float] = {}", False),
        ("fee = 0.006", True),
        ("yuan = amount_fen / 100", True),
        ("amount_fen /= 2", True),
        ("ratio: float = 1  # house: float-ok", False),
    ],
)
def test_a_float_is_found(planted: str, *, strict: bool) -> None:
    """Each way of getting a float is seen, and an escape without a reason is no escape."""
    assert len(list(floats(planted, strict=strict))) == 1


def test_what_only_looks_like_a_float_is_left_alone() -> None:
    """Whole division, attributes called float, explained exceptions and, outside the domain, seconds."""
    assert list(floats("half = amount // 2; x = msg.float; t = '0.5'", strict=True)) == []
    assert list(floats("timeout_s = 0.5", strict=False)) == []
    assert list(floats("wait_s: float  # house: float-ok seconds, not money", strict=False)) == []


def test_no_float_near_money() -> None:
    """Money is an int: the rooms it passes through have no float, and the domain cannot even make one."""
    found = [
        f"{project.name(path)}: {use}"
        for room in MONEY_ROOMS
        for path in project.matching(f"src/paymux/{room}/*.py")
        for use in floats(path.read_text(), strict=room == "domain")
    ]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "ok = sign == expected",
        "ok = claim.sign != given",
        "ok = fields['sign'] == mine",
        "ok = fields.get('sign', '') == mine",
        "ok = sign(body, key).encode() == given",
        "ok = hashlib.md5(body).hexdigest() == given",
        "ok = given in (terminal.current_key, terminal.last_key)",
        "ok = given not in keys",
        "ok = vendor_key.startswith(given)",
        "ok = expected.upper() == signature.upper()",
        "ok = sign == mine  # house: compare-ok",
    ],
)
def test_a_leaky_comparison_is_found(planted: str) -> None:
    """Each way of comparing that takes longer the more is right is seen."""
    assert len(list(leaky_comparisons(planted))) == 1


def test_what_only_looks_leaky_is_left_alone() -> None:
    """Constant time, kinds and names of fields, emptiness, identity, and what has its reason."""
    fine = (
        "a = hmac.compare_digest(sign, given)\n"
        "b = sign_type == given_type\n"
        "c = name != 'sign'\n"
        "d = key == ''\n"
        "e = key is None or not sign\n"
        "f = known_key == key  # house: compare-ok both are ours\n"
    )
    assert list(leaky_comparisons(fine)) == []


def test_secrets_are_compared_in_constant_time() -> None:
    """Who guesses a signature or key learns nothing from how long the no takes."""
    found = [
        f"{project.name(path)}: {comparison}"
        for room in ROOMS_OF_STRANGERS
        for path in project.matching(f"src/paymux/{room}/*.py")
        for comparison in leaky_comparisons(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "x = 1  # noqa",
        "x = 1  # noqa: S324",
        "x = 1  # noqa: S324, E501",
        "x = y  # type: ignore",
        "x = y  # type: ignore[attr-defined]",
        "x = y  # type: ignore  # because the stubs are wrong",
        "# ruff: noqa: E501",
    ],
)
def test_an_unexplained_exception_is_found(planted: str) -> None:
    """A comment that silences a checker must name the rule and give the reason."""
    assert len(list(unexplained_exceptions(planted))) == 1


def test_an_explained_exception_is_left_alone() -> None:
    """Code and reason are all it takes, in any of the usual spellings; strings are not comments."""
    fine = (
        "a = 1  # noqa: S324 - the wallet signs with MD5\n"
        "b = 1  # noqa: S324, E501  # a table reads better wide\n"
        "c = d  # type: ignore[attr-defined]  # the stubs lack it\n"
        "e = '# noqa'\n"
    )
    assert list(unexplained_exceptions(fine)) == []


def test_every_exception_is_explained() -> None:
    """No checker is silenced without a reason a reader can judge."""
    found = [
        f"{project.name(path)} {exception}"
        for path in PYTHON
        for exception in unexplained_exceptions(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "call",
    [
        "import time\n\nNOW = time.time()\n",
        "from time import monotonic\n\nNOW = monotonic()\n",
        "from datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n",
        "import uuid\n\nNEW = uuid.uuid4()\n",
        "import secrets\n\nNEW = secrets.token_hex(8)\n",
        "import os\n\nNEW = os.urandom(8)\n",
        "import hashlib\n\nSIGN = hashlib.md5(b'', usedforsecurity=False)\n",
        "import asyncio\n\nWAIT = asyncio.sleep(1)\n",
    ],
)
def test_flows_cannot_take_time_or_chance_from_the_machine(call: str) -> None:
    """What a flow does can be replayed: ruff refuses clocks, dice and MD5 outside their files."""
    assert _banned("src/paymux/flows/planted.py", call)
    assert not _banned("src/paymux/sandbox/planted.py", call)


def _banned(path: str, text: str) -> bool:
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251"]
    told = subprocess.run(
        [*ruff, "--stdin-filename", path, "-"],
        cwd=project.ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode in {0, 1}, told.stderr
    return "TID251" in told.stdout
