"""Signature vectors others made, read where they lie: they are not ours to copy into the project.

The folder is `PAYMUX_VECTORS`, or `shared/vectors` beside the checkout. Where it is missing, tests that need
it skip and say so.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def folder() -> Path | None:
    """Return the folder with the vectors, or None."""
    found = Path(os.environ.get("PAYMUX_VECTORS") or ROOT.parent / "shared" / "vectors")
    return found if found.is_dir() else None


def load(name: str) -> Any:  # noqa: ANN401 - each file has its own shape, and its tests know it
    """Return the parsed content of `<name>.json`; skip the calling test or module when it is not there."""
    home = folder()
    path = home / f"{name}.json" if home else None
    if path is None or not path.is_file():
        pytest.skip(
            f"no signature vectors {name}.json: set PAYMUX_VECTORS to their folder", allow_module_level=True
        )
    return _parsed(path)


@cache
def _parsed(path: Path) -> Any:  # noqa: ANN401 - as above
    return json.loads(path.read_bytes())
