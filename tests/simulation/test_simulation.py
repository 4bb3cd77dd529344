"""Twenty thousand orders under fire, in every run of the tests."""

import pytest

from tests.simulation.database.opener import POSTGRESQL
from tests.simulation.day import live
from tests.simulation.replay import digests

DAYS, ORDERS = 40, 500
BROKE_ONCE = {500066: 1000, 510288: 1000, 510488: 1000, 510888: 1000, 510912: 1000}
"""Seeds that found what no other test had, and their orders: a cancel overtook a slow precreate, a refund was
carried out though an operator had kept the sale."""
ON_A_SERVER = (2, 25, 64, 72)
"""Days with all that befalls a database: cut connections, a server that is away, stalls, deaths, races."""
CHUNK = 5
"""Days a test: so that two workers share them."""


@pytest.mark.parametrize("first", range(1, DAYS + 1, CHUNK))
def test_no_promise_is_broken(first: int) -> None:
    """Whatever these days bring, M1 to M11 hold; a failure names its seed and tells the order's story."""
    for seed in range(first, first + CHUNK):
        result = live(seed, ORDERS)
        stories = "\n".join(result.stories)
        assert not result.breaches, (
            f"make simulate SEEDS={seed} ORDERS={ORDERS}\n{result.breaches}\n{stories}"
        )


@pytest.mark.parametrize(("seed", "orders"), BROKE_ONCE.items())
def test_what_broke_once_holds(seed: int, orders: int) -> None:
    """Days that found a fault stay mended."""
    assert not live(seed, orders).breaches, f"make simulate SEEDS={seed} ORDERS={orders}"


@pytest.mark.postgres
@pytest.mark.parametrize("seed", ON_A_SERVER)
def test_no_promise_is_broken_on_postgresql(seed: int) -> None:
    """A few days of it in every run of the tests; `make simulate ARGS="--database postgresql"` for more."""
    result = live(seed, 100, POSTGRESQL)
    assert not result.breaches, "\n".join(result.stories)


def test_the_same_seed_is_the_same_day() -> None:
    """In another process, with another PYTHONHASHSEED: byte for byte."""
    assert digests("1..6", "60", "1") == digests("1..6", "60", "31337")


@pytest.mark.postgres
def test_the_same_seed_is_the_same_day_on_postgresql() -> None:
    """A true server's speed decides nothing."""
    assert digests("64", "40", "1", POSTGRESQL) == digests("64", "40", "31337", POSTGRESQL)


def test_faults_are_really_out() -> None:
    """A simulation without faults would prove nothing: over some days every kind of trouble comes up."""
    days = [live(seed, 100) for seed in range(1, 13)]
    assert sum(day.troubles for day in days) > 100
    assert sum(day.deaths for day in days) > 10
    assert sum(day.convergence.uncertain for day in days) > 100
    assert any(day.alarms["order.late_success"] for day in days)
