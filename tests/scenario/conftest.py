"""Every story is told on SQLite; those about money in doubt are told on PostgreSQL, too, in `make test`.

The others take minutes (`pytest -m "slow and postgres" tests/scenario`): hours of virtual time are thousands
of looks for due work, and each is a journey to the server. So do those under the rules of Citus.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import town
from tests.harness.citus_rules import Judge, distribute, watch
from tests.harness.postgres import drop_schema, new_schema, server
from tests.harness.virtual_postgres import stop_the_clock

_ALWAYS = frozenset({"test_crash_points", "test_doubt", "test_operator", "test_refund", "test_telling"})
_DAYS_LONG = "test_a_merchant_is_told_again"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Call the long ones slow."""
    for item in items:
        if item.path.parent != Path(__file__).parent or "[sqlite" in item.name:
            continue
        always = item.path.stem in _ALWAYS and not item.name.startswith(_DAYS_LONG)
        if "[by-bucket" in item.name or not always:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(
    autouse=True,
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("by-bucket", marks=pytest.mark.postgres),
    ],
)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the town keeps its orders."""
    if request.param == "sqlite":
        yield
        return
    stop_the_clock(monkeypatch)
    dsn = new_schema(server())
    judge = Judge()
    if request.param == "by-bucket":
        distribute(dsn, town.SEALER)
        judge = watch(monkeypatch)
    town.DSN.append(dsn)
    yield
    town.DSN.pop()
    drop_schema(dsn)
    assert judge.breaches == []
