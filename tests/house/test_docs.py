"""What is written for people is true: links lead somewhere, commands exist, every setting is explained."""

import importlib
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

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
    helped = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
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
    assert {"help", "demo", "test", "check"} <= set(re.findall(r"make ([a-z-]+)  ", told))


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
