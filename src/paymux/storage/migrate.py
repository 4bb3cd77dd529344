"""Brings a database to the newest schema: numbered plain SQL files, forward only (DESIGN §7).

Engines do the executing, each migration and its entry in the books in one transaction: killed anywhere, it
is as if it had not begun, and the next start does it again.
"""

import re
from collections.abc import Iterable
from importlib.resources import files

import msgspec

from paymux.domain.errors import ConfigurationBroken

_FILE = re.compile(r"([0-9]{4})_([a-z_]+)\.sql")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the schema."""

    number: int
    name: str
    statements: tuple[str, ...]


def migrations() -> tuple[Migration, ...]:
    """All migrations this code knows, in order."""
    found = []
    for file in files("paymux.storage").joinpath("migrations").iterdir():
        if match := _FILE.fullmatch(file.name):
            steps = statements(file.read_text("utf-8"))
            found.append(Migration(number=int(match[1]), name=match[2], statements=steps))
    return tuple(sorted(found, key=lambda one: one.number))


def pending(known: tuple[Migration, ...], applied: Iterable[tuple[int, str]]) -> tuple[Migration, ...]:
    """Return what is left to do; raises `ConfigurationBroken` for a database newer or other than the code."""
    names = {one.number: one.name for one in known}
    done = dict(applied)
    for number, name in done.items():
        if names.get(number) != name:
            raise ConfigurationBroken(
                f"the database has been through migration {number:04d}_{name}, which this paymux does not "
                "know: another one has used it, most likely a newer one. Start that one, or restore the "
                "backup made before it."
            )
    return tuple(one for one in known if one.number not in done)


def statements(text: str) -> tuple[str, ...]:
    """Split a file of plain SQL: a statement ends where a line ends with a semicolon."""
    parts = re.split(r";[ ]*$", text, flags=re.MULTILINE)
    return tuple(part.strip() for part in parts if part.strip())
