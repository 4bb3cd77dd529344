"""The provisioning file (DESIGN §10): which tables and keys there are, and complaints one can act on.

docs/provisioning.md explains it to people; `TABLES` is the law. Every complaint names table, entry and key.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paymux.domain.errors import ConfigurationBroken
from paymux.kit.toml import read_toml

TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "vendor": (("vendor_sn", "vendor_key", "app_id"), ()),
    "merchant": (("merchant_sn", "name"), ("timezone",)),
    "store": (("store_sn", "merchant_sn", "name"), ()),
    "activation_code": (("code", "store_sn"), ("uses", "expires")),
    "terminal": (("terminal_sn", "terminal_key", "store_sn", "device_id"), ("app_id", "client_sn", "name")),
    "channel_account": (("name", "merchant_sn", "channel"), ("payways", "base_url")),
}
"""Table → its required and its optional keys. All other keys of a channel_account are credentials."""

_NUMBER = re.compile(r"[0-9A-Za-z_.-]{1,64}", re.ASCII)
"""Numbers and account names become parts of URLs and headers."""
_NUMBER_KEYS = frozenset({"vendor_sn", "app_id", "merchant_sn", "store_sn", "code", "terminal_sn"})
_NOT_TEXT = frozenset({"uses", "expires", "payways"})


LATER = "app"
"""The charge API's table: the same file will serve it when there is one; until then it is left alone."""


class Entry:
    """One entry of one table. `number` is what it is called by: the value of its first key."""

    def __init__(self, table: str, place: int, values: Mapping[str, Any], *, where: str) -> None:
        self.table = table
        self.values = values
        self.number = str(values.get(TABLES[table][0][0], ""))
        self._title = f"{where}: [[{table}]] no. {place}" + (f" ({self.number})" if self.number else "")

    def text(self, key: str) -> str:
        """The value of a text key, "" when it is not given."""
        return str(self.values.get(key, ""))

    def wrong(self, key: str, text: str) -> ConfigurationBroken:
        """Make the complaint about one key."""
        return ConfigurationBroken(f"{self._title}: {key} {text}")


def read_file(path: Path) -> dict[str, Any]:
    """Return the parsed TOML; raises `ConfigurationBroken`."""
    return read_toml(path, name=str(path))


def entries_of(tables: Mapping[str, Any], *, where: str) -> Iterator[Entry]:
    """Yield every entry, its keys checked; raises `ConfigurationBroken`. `where` names the file."""
    if not tables:
        raise ConfigurationBroken(f"{where} is empty; tables are {', '.join(TABLES)}")
    seen: set[tuple[str, str, str]] = set()
    for table, rows in tables.items():
        _check_table(table, rows, where=where)
        for place, row in enumerate(rows if table != LATER else (), start=1):
            entry = Entry(table, place, row, where=where)
            _check_keys(entry)
            name = (table, entry.number, entry.text("merchant_sn") if table == "channel_account" else "")
            if name in seen:
                raise entry.wrong(TABLES[table][0][0], "is there twice: remove one of the entries")
            seen.add(name)
            yield entry


def _check_table(table: str, rows: object, *, where: str) -> None:
    if table not in TABLES and table != LATER:
        raise ConfigurationBroken(f"{where}: unknown table {table}; there are {', '.join(TABLES)}")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigurationBroken(f"{where}: {table} must be written as [[{table}]], with two brackets")


def _check_keys(entry: Entry) -> None:
    required, optional = TABLES[entry.table]
    for key in required:
        if entry.values.get(key) in (None, ""):
            raise entry.wrong(key, "is missing: add it")
    for key, value in entry.values.items():
        known = required + optional
        if entry.table != "channel_account" and key not in known:
            raise entry.wrong(key, f"is not known here: remove it or mend its spelling ({', '.join(known)})")
        is_number = key in _NUMBER_KEYS or (key == "name" and entry.table == "channel_account")
        is_switch = isinstance(value, bool) and key not in known and not is_number
        is_other = key in _NOT_TEXT and key in known
        if not is_other and not is_switch and not isinstance(value, str):
            shown = f', "{value}"' if key in _NUMBER_KEYS else ""  # all else may be a secret
            raise entry.wrong(key, f"must be text: write it in quotes{shown}")
        if is_number and value and not _NUMBER.fullmatch(value):
            raise entry.wrong(key, "may hold letters, digits, _ . and - only, at most 64 of them")
