"""The page says what the figures say, and the figures are whole."""

import json
from typing import Any

import pytest

from tests.reliability.__main__ import merged
from tests.reliability.page import FIGURES, PAGE, RUNS, Run, page

MADE: dict[str, Any] = {"started": "2026-01-02T03:04:05+00:00", "seconds": 100, "failures": 0}
MADE |= {"python": "3.11.7", "sqlite": "3.40.1"}
KILL9: dict[str, Any] = MADE | {
    "command": "make kill9 CYCLES=1000 SEED=1 ARGS=--server",
    "cycles": 1_000,
    "orders": 9_000,
    "answers": 90_000,
    "kinds": {"load": 968, "server": 32},
    "postgresql": "15.18",
}
ROUND = {"outage_ms": 2_900, "slowest_ms": 3_100, "acknowledged": 700, "unknown": 2}
FAILOVER: dict[str, Any] = MADE | {
    "command": "make failover ROUNDS=2 SEED=1",
    "acknowledged": 1_234,
    "proof_lost": 5,
    "versions": {"postgresql": "16.1"},
    "rounds": [
        {"fault": "freeze", **ROUND},
        {"fault": "freeze", **ROUND, "outage_ms": 1_000},
        {"fault": "stall", **ROUND},
    ],
}
TALLY = {"rows": 10, "claims": 700, "contended": 450, "reclaimed": 6, "too_late": 4, "missed": 9}
MONEY = {"sales": 30, "refunds": 101, "contended": 100, "calls": 200, "made": 70, "joined": 20}
MONEY |= {"refused": 50, "cancels_won": 1, "fen_paid": 1_234_505, "fen_back": 99, "crossed": 190}
CONTENTION: dict[str, Any] = MADE | {
    "command": "make contend CLAIMS=700 REFUNDS=100 SEED=1",
    "postgresql": "15.18",
    "claims": {
        "processes": 4,
        "long": TALLY,
        "short": TALLY | {"claims": 500, "contended": 300},
        "failures": 0,
    },
    "refunds": {"processes": 4, "tally": MONEY, "failures": 0},
}


def test_the_page_is_made_from_its_figures() -> None:
    """Nobody edits docs/reliability.md by hand: `make reliability` writes it."""
    assert PAGE.read_text("utf-8") == page(json.loads(FIGURES.read_text("utf-8")))


@pytest.mark.parametrize("run", RUNS)
def test_every_run_has_its_figures(run: str) -> None:
    """Each long run has been made, and says how to repeat it."""
    figures = json.loads(FIGURES.read_text("utf-8"))[run]
    assert figures["command"].startswith("make ")
    assert figures["seconds"] > 0


def test_nothing_was_broken() -> None:
    """A page that shows a broken promise is not published; it is mended."""
    figures = json.loads(FIGURES.read_text("utf-8"))
    assert figures["simulation"]["broken_promises"] == 0
    assert figures["simulation-postgresql"]["broken_promises"] == 0
    assert figures["replay"]["different"] == []
    assert all(one["caught"] for one in figures["mutants"]["mutants"])
    assert {figures[run]["failures"] for run in ("kill9", "kill9-postgres", "contention", "failover")} == {0}
    assert figures["failover"]["proof_lost"] > 0
    assert all(one["crashes"] == one["hangs"] == 0 for one in figures["fuzz"]["targets"])


@pytest.mark.parametrize(
    ("run", "figures", "title", "row"),
    [
        ("kill9-postgres", KILL9, "kill -9 on PostgreSQL", "| 1,000 | 0 | 3.0e-03 | `make kill9 CYCLES=1000"),
        ("failover", FAILOVER, "Failover", "| 3 | 0 | 1.0e+00 | `make failover"),
        ("contention", CONTENTION, "Contention", "| 750 | 0 | 4.0e-03 | `make contend"),
        ("contention", CONTENTION, "Contention", "| 100 | 0 | 3.0e-02 | `make contend"),
    ],
)
def test_a_run_on_postgresql_has_a_section_and_a_row(run: str, figures: Run, title: str, row: str) -> None:
    """With its 95 % bound and its server, when there are figures of it, and else not at all."""
    text = page({run: figures})
    assert f"## {title}\n" in text
    assert row in text
    assert "PostgreSQL 1" in text.splitlines()[-1]
    assert title not in page({})
    assert f"## {title}\n" not in page({"kill9": KILL9})


def test_deaths_on_both_engines_stand_side_by_side() -> None:
    """Neither run's figures replace the other's."""
    text = page({"kill9": KILL9 | {"cycles": 7, "kinds": {"checkpoint": 7}}, "kill9-postgres": KILL9})
    assert "| `checkpoint` | 7 |" in text
    assert "| `server` | 32 |" in text


def test_a_failover_shows_median_and_range() -> None:
    """Per fault, in seconds; and what the proof lost."""
    text = page({"failover": FAILOVER})
    assert "| `freeze` | 2 | 2.9 s (1.0 to 2.9) | 3.1 s (3.1 to 3.1) | 1,400 | 4 |" in text
    assert "it lost\n5 acknowledged writes" in text


def test_contention_shows_work_and_money() -> None:
    """Each alone when only one was tried; a broken promise has no bound."""
    assert "| claims | 700 | 500 |" in page({"contention": CONTENTION})
    assert "| paid | 12,345.05 CNY |" in page({"contention": CONTENTION})
    work = {name: value for name, value in CONTENTION.items() if name != "refunds"}
    assert "refunds that several" not in page({"contention": work})
    broken = work | {"claims": work["claims"] | {"failures": 2}}
    assert "| 750 | 2 |  | `make contend" in page({"contention": broken})


def test_a_new_run_replaces_the_one_before() -> None:
    """As a whole."""
    assert merged(FAILOVER, KILL9) == KILL9
