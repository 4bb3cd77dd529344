"""The page says what the figures say, and the figures are whole."""

import json

import pytest

from tests.reliability.page import FIGURES, PAGE, RUNS, page


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
    assert figures["kill9"]["failures"] == 0
    assert all(one["crashes"] == one["hangs"] == 0 for one in figures["fuzz"]["targets"])
