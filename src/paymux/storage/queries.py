"""Loads queries.sql: every query has a name, a description and one place.

`-- name: order_by_key` starts a query, `-- part: order_columns` a piece of SQL that later queries call by
`{order_columns}`. Other comments before the SQL describe it.
"""

import re
from importlib.resources import files

import msgspec

_HEAD = re.compile(r"^-- (name|part): ([a-z_]+)$", re.MULTILINE)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One query: `sql` in one line without comments, `description` for people."""

    name: str
    description: str
    sql: str


def load(text: str) -> dict[str, Query]:
    """Read the text of a query file; raises `ValueError` for a nameless, used or undescribed one."""
    found: dict[str, Query] = {}
    parts: dict[str, str] = {}
    blocks = _HEAD.split(text)[1:]
    for what, name, block in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        query = _query(name, block, parts)
        if name in found or name in parts or not query.description or not query.sql:
            raise ValueError(f"queries: {name} must have a description, SQL, and a name of its own")
        if what == "part":
            parts[name] = query.sql
        else:
            found[name] = query
    return found


def _query(name: str, block: str, parts: dict[str, str]) -> Query:
    lines = [line.strip() for line in block.strip().splitlines()]
    described = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    sql = " ".join(line for line in lines if not line.startswith("--")).rstrip(";")
    for part, text in parts.items():
        sql = sql.replace(f"{{{part}}}", text)
    return Query(name=name, description=" ".join(described), sql=sql)


QUERIES = load(files("paymux.storage").joinpath("queries.sql").read_text("utf-8"))
"""Name → query. Parameters are positional (`?`), in the order rows.py and the engines give them."""

SQL = {name: query.sql for name, query in QUERIES.items()}
"""Name → SQL, for engines."""
