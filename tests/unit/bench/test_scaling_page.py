"""docs/scaling.md does its sums right: each table follows from the inputs it names."""

import math
import re
from decimal import Decimal

from bench.buckets import table_of_shards
from tests.house import project

PAGE = (project.ROOT / "docs/scaling.md").read_text()
_DAY_S = 86_400


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table that begins with this heading."""
    lines = PAGE[PAGE.index(f"\n| {heading} |") + 1 :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


INPUTS = {name: float(value.split()[0]) for name, value, _ in rows("input")}


def rounded(value: float) -> str:
    """Return a figure as the page has it: two digits that count."""
    digits = Decimal(f"{value:.1e}")
    return f"{digits:,.0f}" if digits >= 10 else f"{digits.normalize():f}"


def test_the_table_follows_from_its_inputs() -> None:
    """Whoever changes an input changes the table."""
    for orders, *cells in rows("orders a day"):
        sales = int(orders.replace(",", ""))
        peak = sales / _DAY_S * INPUTS["peak second ÷ mean of the day"]
        cores = {
            who: peak * INPUTS[f"{who} CPU of a sale"] / 1000 / INPUTS["use of a core"]
            for who in ("gateway", "database")
        }
        processes = max(2, math.ceil(cores["gateway"]))
        year = sales * 365 / 1e9  # KB → TB
        assert cells == [
            rounded(peak),
            f"{processes}",
            rounded(processes * INPUTS["memory of a process"] / 1000),
            f"{processes * INPUTS['connections of a process']:,.0f}",
            rounded(cores["database"]),
            rounded(peak * INPUTS["log of a sale"] / 1000),
            rounded(year * INPUTS["log of a sale"]),
            rounded(year * INPUTS["space of a sale"]),
        ]


def test_the_shards_are_those_that_are_printed() -> None:
    """Nothing random is in it, so the page has it to the last digit."""
    told, *table = list(table_of_shards())
    assert "\n".join(line for line in table if line) in PAGE
    buckets, used, shards, most = re.findall(r"\d+", told)
    assert f"{buckets} buckets are hashed into {shards} shards, so they lie in {used} of them" in PAGE
    assert f"the fullest holds {most}." in PAGE
