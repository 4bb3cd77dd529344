"""The test run itself is honest: it fails when nothing was tried, and when a warning was waved through."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import project

FINE, FAILED, NOTHING_RAN = 0, 1, 5


@pytest.mark.parametrize(
    ("test", "code"),
    [
        ("def test_a(): pass", FINE),
        ("def test_a(): raise ValueError", FAILED),
        ("import warnings\ndef test_a(): warnings.warn('beware')", FAILED),
        ("import pytest\n@pytest.mark.slow\ndef test_a(): pass", NOTHING_RAN),
        ("import pytest\n@pytest.mark.skip\ndef test_a(): pass", NOTHING_RAN),
        ("def a(): pass", NOTHING_RAN),
    ],
)
def test_a_run_without_a_test_is_no_success(tmp_path: Path, test: str, code: int) -> None:
    """Nothing found, everything deselected and everything skipped all count as nothing tried."""
    for name in ("pyproject.toml", "tests/conftest.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((project.ROOT / name).read_bytes())
    (tmp_path / "tests/test_planted.py").write_text(test + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "1", "-m", "not slow", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
