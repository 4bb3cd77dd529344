"""Reads the short form in which history keeps a wallet's fields: `name=value name="a value"`."""

import json

_JSON = json.JSONDecoder(strict=False)


def fields_of(told: str) -> list[tuple[str, str]]:
    """Return names and values in their order; raises `ValueError` where the text is no short form."""
    found, at = [], 0
    while at < len(told):
        name, is_one, rest = told[at:].partition("=")
        if not is_one or (at and told[at - 1] != " "):
            raise ValueError(f"no field at {at}: {told[at : at + 32]!r}")
        value, length = _JSON.raw_decode(rest) if rest[:1] == '"' else _bare(rest)
        found.append((name, value))
        at += len(name) + 1 + length + 1
    return found


def _bare(rest: str) -> tuple[str, int]:
    value = rest.partition(" ")[0]
    return value, len(value)
