"""TOML files that people write: whatever is in one, the worst outcome is a complaint that names the file."""

import tomllib
from pathlib import Path
from typing import Any

from paymux.domain.errors import ConfigurationBroken


def read_toml(path: Path, *, name: str) -> dict[str, Any]:
    """Return the parsed file, called `name` in complaints; raises `ConfigurationBroken`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationBroken(f"{name} cannot be read: {error}") from error
    except RecursionError as error:
        raise ConfigurationBroken(f"{name} is nested deeper than anybody can read") from error
    except ValueError as error:  # TOMLDecodeError, and what Python says to a number of thousands of digits
        raise ConfigurationBroken(f"{name} is no valid TOML: {error}") from error
