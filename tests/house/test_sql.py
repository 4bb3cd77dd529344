"""SQL can be found and understood: every query has a name to grep and a sentence to read."""

import pytest

from tests.house import project
from tests.house.text_rules import unnamed_queries


@pytest.mark.parametrize(
    ("planted", "finding"),
    [
        ("SELECT 1;\n", "no name: SELECT 1;"),
        ("-- just a remark about one\nSELECT 1;\n", "no name: SELECT 1;"),
        ("-- name: one\nSELECT 1;\n", "no description: SELECT 1;"),
        ("-- Gives one.\n-- name: one\nSELECT 1;\n", "no description: SELECT 1;"),
        ("-- name: one\n-- Gives one.\nSELECT 1;\n\nSELECT 2", "no name: SELECT 2"),
        ("-- part: columns\n-- All of them.\na, b\n\n-- name: two\nSELECT 2", "no description: SELECT 2"),
    ],
)
def test_an_unnamed_query_is_found(planted: str, finding: str) -> None:
    """Name and description are both owed, in this order, by each statement and each part of one."""
    assert list(unnamed_queries(planted)) == [finding]


def test_named_queries_are_left_alone() -> None:
    """Titles between queries, comments inside a statement and long descriptions are fine."""
    text = (
        "-- Queries both engines run.\n\n-- ---- orders\n\n"
        "-- name: order_by_sn\n-- One order,\n-- or none.\nSELECT 1\n-- inside\nFROM t;\n"
        "-- part: columns\n-- What an order has.\na,\nb\n\n"
        "-- name: due\n-- What is due.\nSELECT 2\n"
    )
    assert list(unnamed_queries(text)) == []


def test_every_query_has_a_name_and_a_description() -> None:
    """Each query file introduces each of its queries."""
    found = [
        f"{project.name(path)}: {query}"
        for path in project.matching("src/queries*.sql")
        for query in unnamed_queries(path.read_text())
    ]
    assert found == []
