"""Where long runs leave their figures, for `make reliability` to make a page of."""

import json
import platform
import sqlite3
from datetime import UTC, datetime
from pathlib import Path


def started_at() -> str:
    """Now, as a run's figures say it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_results(path: Path, figures: dict[str, object]) -> None:
    """Write a run's figures with what they were made on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made_on = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    path.write_text(json.dumps(figures | made_on, ensure_ascii=False, indent=2) + "\n", "utf-8")
