"""Every fuzz target in short: its seeds and some hundred seeded mutants of them, without coverage guidance.

`make fuzz` does the same for as long as one likes, led by coverage. Here the targets are kept alive, and
whoever breaks a parser hears of it within seconds.
"""

import contextlib
import subprocess
import sys

import pytest

from tests.fuzz.plain import mutants
from tests.fuzz.table import TARGETS
from tests.fuzz.trial import Trial
from tests.house.project import ROOT

MUTANTS, SEED = 300, 1


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_promise(name: str) -> None:
    """Seeds and mutants all pass; what fails is shown as a literal to copy into test_regressions.py."""
    trial = TARGETS[name].make()
    with contextlib.closing(trial):
        assert trial.seeds
        assert all(len(seed) <= trial.bytes_max for seed in trial.seeds)
        for data in (*trial.seeds, *mutants(trial, count=MUTANTS, seed=SEED)):
            _tried(name, trial, data)


def test_the_targets_need_nothing_but_the_gateway() -> None:
    """The fuzzer's own environment has no pytest, nor anything else that tests are written with."""
    program = "import sys; sys.modules['pytest'] = sys.modules['hypothesis'] = None; import tests.fuzz.table"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def _tried(name: str, trial: Trial, data: bytes) -> None:
    try:
        trial.one(data)
    except BaseException as error:
        error.add_note(f"target {name}, seed {SEED}, input {data!r}")
        raise
