"""The catalogue of planted bugs stays true to the source, and the simulation sees some of them at once."""

import pytest

from tests.mutants.__main__ import SOURCE, Mutant, _tried, mutants

ALL = {one.name: one for one in mutants()}
QUICK = ("no-compare-and-set", "unstable-refund-number", "told-in-a-second-commit", "pay-sent-again")
"""One of each checker's; `make mutants` tries them all."""
ENOUGH = 2_000


def test_there_are_enough_of_them() -> None:
    """Thirty at least, each with a name of its own and a reason."""
    assert len(ALL) == len(list(mutants())) >= 30
    assert all(one.why and one.edits for one in ALL.values())


@pytest.mark.parametrize("mutant", ALL.values(), ids=ALL.keys())
def test_its_place_is_in_the_source(mutant: Mutant) -> None:
    """What a mutant replaces stands there exactly once, so that it never rots unseen."""
    for file, old, new in mutant.edits:
        assert (SOURCE / file).read_text("utf-8").count(old) == 1, file
        assert old != new


@pytest.mark.parametrize("name", QUICK)
def test_the_simulation_catches_it(name: str) -> None:
    """A checker that sees nothing would pass every day."""
    verdict = _tried(ALL[name], ENOUGH)
    assert verdict.caught, verdict
