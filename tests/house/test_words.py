"""The project speaks of itself alone: no paths of one machine, no download addresses."""

import json
import re

import pytest

from tests.house import project
from tests.house.text_rules import addresses

_BINARY = {".png", ".jpg", ".ico", ".gz", ".zip", ".db"}


@pytest.mark.parametrize(
    "planted",
    [
        f"see /{'work'}/notes.txt",
        f'open("/{"root"}/key.pem")',
        f"https://registry.{'npmjs'}.org/",
        f"from https://example.com/a/paymux-1.0.{'whl'}",
        f"--index-url https://{'pypi'}.org/simple",
    ],
)
def test_an_address_is_found(planted: str) -> None:
    """Each kind of path or address that means something on one machine only is seen."""
    assert addresses(planted)


def test_what_only_looks_like_an_address_is_left_alone() -> None:
    """Paths of our own URLs, relative paths and ordinary links are fine."""
    assert addresses("GET /v1/charges, ./work/x, https://host/work/x, /upay/v2/pay, docs/root/a") == []


def test_no_file_names_a_machine() -> None:
    """Nothing in the project depends on, or tells about, where it was written."""
    texts = [path for path in project.files() if path.suffix not in _BINARY]
    found = [f"{project.name(path)}: {hit}" for path in texts for hit in addresses(path.read_text())]
    assert found == []


def test_python_locks_pin_by_hash_and_name_no_place() -> None:
    """Every locked package has a hash; where to fetch it from is the machine's own business."""
    locks = project.matching("*.lock")
    assert locks
    for lock in locks:
        lines = [line for line in lock.read_text().splitlines() if line and not line.lstrip().startswith("#")]
        packages = [line for line in lines if not line.startswith(" ")]
        assert all(re.match(r"[\w.-]+==\S+ .*\\$", line) for line in packages), project.name(lock)
        assert all(re.match(r" +--hash=sha256:[0-9a-f]{64}( \\)?$", line) for line in lines if line[0] == " ")


def test_the_npm_lock_pins_by_hash_and_names_no_place() -> None:
    """The same for npm: an integrity hash for every package, and no `resolved`."""
    locked = json.loads((project.ROOT / "tests/sdk/npm/package-lock.json").read_bytes())["packages"]
    packages = {name: entry for name, entry in locked.items() if name}
    assert packages
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
