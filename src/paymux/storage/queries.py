"""Loads the query files: every query has a name, a description and one place.

`-- name: order_by_key` starts a query, `-- part: order_columns` a piece of SQL that later queries call by
`{order_columns}`. Other comments before the SQL describe it. queries.sql serves both engines;
queries.postgres.sql adds what only PostgreSQL does, with the parts of the first.
"""

import re
from importlib.resources import files
from itertools import count

import msgspec

_HEAD = re.compile(r"^-- (name|part): ([a-z_]+)$", re.MULTILINE)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One query: `sql` in one line without comments, `description` for people."""

    name: str
    description: str
    sql: str


def load(text: str, parts: dict[str, str] | None = None) -> dict[str, Query]:
    """Read the text of a query file; raises `ValueError` for a nameless, used or undescribed one.

    `parts` are known before, and get the file's own ones added.
    """
    found: dict[str, Query] = {}
    parts = {} if parts is None else parts
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


def numbered(sql: str) -> str:
    """`?` → `$1`, `$2` …, as PostgreSQL wants its parameters."""
    numbers = count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql)


def _query(name: str, block: str, parts: dict[str, str]) -> Query:
    lines = [line.strip() for line in block.strip().splitlines()]
    described = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    sql = " ".join(line for line in lines if not line.startswith("--")).rstrip(";")
    for part, text in parts.items():
        sql = sql.replace(f"{{{part}}}", text)
    return Query(name=name, description=" ".join(described), sql=sql)


def _text(file: str) -> str:
    return files("paymux.storage").joinpath(file).read_text("utf-8")


POSTGRES_PARTS: dict[str, str] = {}
"""Name → piece of SQL: what queries call by `{name}`, and what batch.py puts together."""
QUERIES = load(_text("queries.sql"), POSTGRES_PARTS)
"""Name → query. Parameters are positional (`?`), in the order rows.py and the engines give them."""
POSTGRES_QUERIES = load(_text("queries.postgres.sql"), POSTGRES_PARTS)
"""Name → query of PostgreSQL alone, its parameters numbered."""

SQL = {name: query.sql for name, query in QUERIES.items()}
"""Name → SQL, for SQLite."""
POSTGRES_SQL = {name: numbered(sql) for name, sql in SQL.items()} | {
    name: query.sql for name, query in POSTGRES_QUERIES.items()
}
"""Name → SQL, for PostgreSQL."""
