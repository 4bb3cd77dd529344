"""Yesterday's database: takes the newest migrations back, so that a start has to do them again."""

import sqlite3
from contextlib import closing
from pathlib import Path

from paymux.storage.migrate import Migration, migrations


class OldSchema:
    """A database nobody has open. What a migration created is kept here until `bring_back`.

    A column it added is lost with its values, as in a database that never had it. Raises `ValueError` for a
    migration whose way back nobody has written down here yet.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._kept: dict[str, list[tuple[object, ...]]] = {}
        """`INSERT` statement → rows."""

    def go_back(self, count: int) -> list[Migration]:
        """Take the newest `count` migrations back; return them in order."""
        undone = list(migrations()[-count:])
        with closing(sqlite3.connect(self._database, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for migration in reversed(undone):
                for statement in reversed(migration.statements):
                    self._undo(connection, statement)
                connection.execute("DELETE FROM migrations WHERE number = ?", (migration.number,))
            connection.execute("COMMIT")
        return undone

    def bring_back(self) -> None:
        """Fill in what was dropped, once the migrations are done again."""
        with closing(sqlite3.connect(self._database)) as connection, connection:
            for insert, rows in self._kept.items():
                connection.executemany(insert, rows)

    def _undo(self, connection: sqlite3.Connection, statement: str) -> None:
        match _words(statement):
            case ["CREATE", "TABLE", table, *_]:
                self._keep(connection, table)
                connection.execute(f"DROP TABLE {table}")
            case ["CREATE", "INDEX", index, *_] | ["CREATE", "UNIQUE", "INDEX", index, *_]:
                connection.execute(f"DROP INDEX {index}")
            case ["ALTER", "TABLE", table, "ADD", "COLUMN", column, *_]:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            case other:
                raise ValueError(other)

    def _keep(self, connection: sqlite3.Connection, table: str) -> None:
        found = connection.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own tables
        names = [column[0] for column in found.description]
        marks = ", ".join("?" * len(names))
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - as above
        self._kept[insert] = found.fetchall()


def _words(statement: str) -> list[str]:
    lines = [line for line in statement.splitlines() if not line.startswith("--")]
    return " ".join(lines).replace("(", " ( ").split()
