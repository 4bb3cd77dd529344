"""What is written for people is true: links lead somewhere, commands exist, tables say what the code says."""

import ast
import base64
import contextlib
import hashlib
import http.server
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature

from paymux.channels.alipay import codes as alipay_codes
from paymux.channels.contract import Schedule
from paymux.channels.registry import CHANNELS
from paymux.channels.wechat import codes as wechat_codes
from paymux.cli.main import main
from paymux.domain.errors import RequestRefused
from paymux.domain.order import OrderStatus
from paymux.kit.notify_key import NotifyKey
from paymux.sandbox.faults import ARMABLE
from paymux.sandbox.scripts import SCRIPTS
from paymux.wire.upay_v2.codes import CALL_ERRORS, ResultCode
from tests.house import project
from tests.house.text_rules import broken_links, make_targets_named

MARKDOWN = project.matching("*.md")


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """A missing file and a missing heading are both seen; code, URLs and mail are not links to check."""
    page = tmp_path / "page.md"
    page.write_text("# Some title, with *stars*\n")
    text = (
        "[a](page.md) [b](page.md#some-title-with-stars) [c](https://x/y) [d](mailto:a@b) `[e](gone.md)`\n"
        "```\n[f](gone.md)\n```\n"
    )
    assert list(broken_links(page, text)) == []
    assert list(broken_links(page, "[a](gone.md) [b](page.md#other) [c](#nowhere)")) == [
        "gone.md",
        "page.md#other",
        "#nowhere",
    ]


def test_links_lead_somewhere() -> None:
    """Every relative link in every Markdown file leads to a file, and to a heading in it."""
    found = [
        f"{project.name(path)}: {link}" for path in MARKDOWN for link in broken_links(path, path.read_text())
    ]
    assert found == []


def test_pages_say_something() -> None:
    """Every Markdown file has a title and something below it."""
    found = [project.name(path) for path in MARKDOWN if not re.match(r"# \S.*\n+\S", path.read_text())]
    assert found == []


def test_make_commands_are_seen_in_code_only() -> None:
    """Prose may say what it likes; `make demo` and the lines of a code block are commands."""
    text = "We make money. Run `make demo`, then:\n\n```sh\n$ make test\nmake check\n```\n"
    assert make_targets_named(text) == {"demo", "test", "check"}


def test_the_commands_people_are_told_exist() -> None:
    """Each `make x` in the documentation is a target, and each target has a line in the help."""
    makefile = (project.ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    helped = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    told = {target for path in MARKDOWN for target in make_targets_named(path.read_text())}
    assert {"demo", "test"} <= told <= phony
    assert helped == phony


def test_the_help_prints_each_target() -> None:
    """`make` alone tells a newcomer what there is, and does nothing."""
    told = subprocess.run(
        ["make"],  # noqa: S607 - make is where PATH says
        cwd=project.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {"help", "demo", "test", "check"} <= set(re.findall(r"make ([a-z0-9-]+)  ", told))


def test_the_build_server_runs_what_the_readme_says() -> None:
    """`.ci/run` calls the same commands people call, and stops at the first failure."""
    script = (project.ROOT / ".ci/run").read_text()
    assert "set -euo pipefail" in script
    assert re.findall(r"^make .*$", script, re.MULTILINE) == ["make test", "make check"]


def test_every_setting_is_explained() -> None:
    """Each field of the settings, and of the tables in them, stands in docs/settings.md as code."""
    if importlib.util.find_spec("paymux.config") is None:
        pytest.skip("paymux.config does not exist yet")
    settings = set(_keys(importlib.import_module("paymux.config").Settings))
    page = (project.ROOT / "docs/settings.md").read_text()
    explained = {
        word for code in re.findall(r"`([^`\n]+)`", page) for word in re.findall(r"[a-z0-9_.]+", code)
    }
    assert settings
    assert sorted(settings - explained) == []


def _keys(record: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of each setting, as the settings file's tables make it."""
    for field in msgspec.structs.fields(record):
        if isinstance(field.default, msgspec.Struct):
            yield from _keys(type(field.default), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


# ---------------------------------------------------------------- tables and code


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_every_command_is_named(page: str) -> None:
    """Both front pages list the commands there are, and no others."""
    (row,) = [line for line in _read(page).splitlines() if line.startswith(("| tools |", "| 命令 |"))]
    assert set(re.findall(r"`(\w+)`", row)) == set(main.commands)


def test_both_front_pages_show_the_same_commands() -> None:
    """What can be copied is equal in both languages, and so are the tests that hold the promises."""
    pages = [_read(name) for name in ("README.md", "README.zh-CN.md")]
    english, chinese = [(_blocks(page, "sh"), sorted(_tests_named(page))) for page in pages]
    assert english == chinese


def test_the_tests_that_are_named_exist() -> None:
    """Who looks for the test that holds a promise finds it."""
    for path in MARKDOWN:
        for file, test in _tests_named(path.read_text()):
            assert (project.ROOT / file).exists(), f"{project.name(path)}: {file}"
            assert not test or f"def {test}(" in _read(file), f"{project.name(path)}: {file}::{test}"


def test_every_result_code_says_what_to_do() -> None:
    """docs/upay-v2.md explains each code a till can hear, and no status is forgotten."""
    page = set(re.findall(r"`([A-Z_]+)`", _read("docs/upay-v2.md")))
    heard = {*ResultCode, *CALL_ERRORS, *OrderStatus} - {
        "INVALID_PARAMETER"
    }  # read in old samples, never sent
    refusals = {name for name in _refusals() if name not in {"FAIL", "ACTIVATE_FAIL"}}
    assert sorted((heard | refusals) - page) == []


def _refusals() -> Iterator[str]:
    """Yield the error code of each refusal the flows know, and those given where it is raised."""
    yield from (one.error_code for one in RequestRefused.__subclasses__())
    yield from re.findall(r'StateForbids\("(\w+)"', _read("src/paymux/domain/refund_rules.py"))


def test_the_scripts_are_the_sandboxs() -> None:
    """The table of docs/sandbox.md is the sandbox's own, in its order; faults likewise."""
    page = _read("docs/sandbox.md")
    told = re.findall(r"^\| (\d\d) \| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert told == [(one.digits, one.name, one.meaning.rpartition("· ")[2]) for one in SCRIPTS.values()]
    assert [fault for fault in ARMABLE if f"`{fault}`" not in page] == []


@pytest.mark.parametrize("channel", sorted(CHANNELS))
def test_each_wallet_has_a_page_with_its_schedule(channel: str) -> None:
    """The numbers on a wallet's page are its capabilities', and each way to pay has its line."""
    page = _read(f"docs/channels/{channel}.md")
    capabilities = CHANNELS[channel].capabilities
    told = dict(re.findall(r"^\| `(\w+_s)` \| ([\d, ]+) \|", page, re.MULTILINE))
    schedule = msgspec.structs.asdict(capabilities.schedule)
    numbers = {name: value if isinstance(value, tuple) else (value,) for name, value in schedule.items()}
    assert told == {name: ", ".join(map(str, value)) for name, value in numbers.items()}
    assert set(told) == set(Schedule.__struct_fields__)
    ways = "".join(re.findall(r"^\| (?:pay|precreate) \| ([^|]+) \|", page, re.MULTILINE))
    assert [way for way in capabilities.sub_payways if way.value not in ways] == []


@pytest.mark.parametrize("channel", sorted(CHANNELS))
def test_each_decided_code_of_a_wallet_is_told(channel: str) -> None:
    """A code that means more than a plain refusal stands on the wallet's page, under our word for it."""
    tables = {"alipay": alipay_codes, "wechat": wechat_codes}[channel]
    decided = {
        code.removeprefix("ACQ.")
        for name, table in vars(tables).items()
        if name.isupper() and name != "PAYMENT_TYPES" and isinstance(table, dict)
        for code, verdict in table.items()
        if verdict != "TRADE_FAILED"
    }
    page = _read(f"docs/channels/{channel}.md")
    assert decided
    assert sorted(code for code in decided if f"`{code}`" not in page) == []


def test_an_alarm_is_found() -> None:
    """Both ways of raising one are seen: at the log, and in a verdict that the recorder logs."""
    assert list(_alarms('log.error(\n    "a.b",\n    alarm=True)')) == ["a.b"]
    assert list(_alarms('Verdict(what="c.d", alarm=True)')) == ["c.d"]
    assert list(_alarms("log.error(verdict.what, alarm=True)")) == []
    assert list(_alarms('log.error("e.f", alarm=False)')) == []


def test_every_alarm_has_its_advice() -> None:
    """docs/operations.md says what each alarm means, and names none that cannot happen."""
    raised = {name for path in project.matching("src/paymux/*.py") for name in _alarms(path.read_text())}
    section = _read("docs/operations.md").partition("## Alarms")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", section, re.MULTILINE)) == raised


def _alarms(text: str) -> Iterator[str]:
    """Yield the event of each call that passes alarm=True: its `what`, or its first argument."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        given = {word.arg: word.value for word in node.keywords}
        alarm, event = given.get("alarm"), given.get("what", node.args[0] if node.args else None)
        if isinstance(alarm, ast.Constant) and alarm.value is True and isinstance(event, ast.Constant):
            yield str(event.value)


# ---------------------------------------------------------------- examples that run


class _Till(http.server.BaseHTTPRequestHandler):
    """Answers "right" to a call of terminal 1001 that is signed with its key, else "wrong"."""

    def do_POST(self) -> None:
        """Check as upay-v2.md §1.1 says, over the raw bytes."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sign = hashlib.md5(body + b"the key", usedforsecurity=False).hexdigest()
        right = self.headers["Authorization"] == f"1001 {sign}" and self.path == "/upay/v2/pay"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"right" if right else b"wrong")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _till_server() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Till)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("language", "command"),
    [("sh", ["bash", "-c"]), ("python", [sys.executable, "-c"]), ("js", ["node", "-e"])],
)
def test_the_signing_examples_sign(language: str, command: list[str]) -> None:
    """Each snippet, as printed, makes a call whose signature is right."""
    needed = [command[0], *(["curl"] if language == "sh" else [])]
    if not all(map(shutil.which, needed)):
        pytest.skip(f"one of {needed} is not installed")
    section = _read("docs/upay-v2.md").partition("## Signing")[2]
    snippet = _blocks(section, language)[0]
    assert len(snippet.strip().splitlines()) <= 6
    with _till_server() as url:
        assert _run([*command, snippet], GATEWAY=url, SN="1001", KEY="the key").strip() == "right"


def test_the_first_payment_is_signed() -> None:
    """The five lines of the front page work with the demo's number and key in their places."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (lines,) = [block for block in _blocks(_read("README.md"), "sh") if "curl" in block]
    for printed in ("SN=100111220000000001", "KEY=the_key_the_demo_printed", "http://127.0.0.1:8600"):
        assert printed in lines
    with _till_server() as url:
        lines = lines.replace("SN=100111220000000001", "SN=1001").replace("http://127.0.0.1:8600", url)
        told = _run(["bash", "-c", lines.replace("the_key_the_demo_printed", "'the key'")])
    assert told == "right"


def test_the_notification_examples_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both snippets accept what the gateway signed, whatever form the header has, and nothing else."""
    monkeypatch.chdir(tmp_path)
    key, body = NotifyKey.load_or_create(tmp_path / "notify_key.pem"), '{"subject":"咖啡"}'.encode()
    Path("paymux-notify-key.pem").write_text(key.public_pem)
    Path("body.json").write_bytes(body)
    section = _read("docs/upay-v2.md").partition("## Notifications")[2]
    names: dict[str, object] = {}
    exec(_blocks(section, "python")[0], names)  # noqa: S102 - our own page
    check = names["check"]
    assert callable(check)
    for header in (key.sign(body), f"1001 {key.sign(body)}"):
        check(body, header)
    with pytest.raises(InvalidSignature):
        check(body + b" ", key.sign(body))
    if shutil.which("openssl"):
        shell = ["bash", "-c", _blocks(section, "sh")[0]]
        assert "Verified OK" in _run(shell, AUTHORIZATION=key.sign(body))
        forged = base64.b64encode(bytes(256)).decode()
        assert subprocess.run(shell, env={**os.environ, "AUTHORIZATION": forged}, check=False).returncode


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def _tests_named(page: str) -> list[tuple[str, str]]:
    """Return (file, function or "") of each test a page names."""
    return re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)


def _read(name: str) -> str:
    return (project.ROOT / name).read_text()
