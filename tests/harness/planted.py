"""Faults planted into a copy of the gateway, so that a harness can show that it sees them.

Each is one exact replacement in one file; one whose place is gone stops the run instead of testing nothing.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import paymux

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Where in the package, and what stands there instead of what."""

    file: str
    old: str
    new: str


def plant(package: Path, fault: Fault) -> None:
    """Put a fault in its place; raises `ValueError` when the place is not there exactly once."""
    file = package / fault.file
    text = file.read_text("utf-8")
    if text.count(fault.old) != 1:
        message = f"{fault.file} has changed: the fault's place is there {text.count(fault.old)} times"
        raise ValueError(message)
    file.write_text(text.replace(fault.old, fault.new), "utf-8")


def planted_text(fault: Fault, folder: Path) -> str:
    """Plant a fault into a copy of the package in that folder; return the file that it changed."""
    original = Path(paymux.__file__).parent
    package = folder / "paymux"
    shutil.copytree(original, package, ignore=shutil.ignore_patterns("__pycache__"))
    plant(package, fault)
    changed = (package / fault.file).read_text("utf-8")
    assert changed != (original / fault.file).read_text("utf-8")
    return changed


def told_of(module: str, fault: str, *, seed: str, breaches: Iterable[str]) -> tuple[set[str], int, str]:
    """Run `python -m module --plant fault`; return the breaches it counts, its exit code, and all it says."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--plant", fault, "--seed", seed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    caught = {breach for breach in breaches if re.search(rf"^{breach} +[1-9]", done.stdout, re.MULTILINE)}
    return caught, done.returncode, done.stdout + done.stderr


def run_with(fault: Fault, module: str, *words: str) -> int:
    """Run `python -m module` against a copy of the gateway with this fault; return its exit code.

    `{folder}` in a word is a folder that is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="paymux-planted-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(Path(paymux.__file__).parent, source / "paymux")
        plant(source / "paymux", fault)
        return subprocess.run(
            [sys.executable, "-m", module, *(word.format(folder=folder) for word in words)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(source)},
            check=False,
        ).returncode
