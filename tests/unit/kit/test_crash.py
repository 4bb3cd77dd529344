"""Crash points: a process dies at the visit it was told, and nowhere else."""

import os
import signal

import pytest

from paymux.kit.crash import POINTS, CrashPoints


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals a process sent to itself."""
    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: signals.append(number))
    return signals


@pytest.mark.parametrize(
    ("at", "visits"), [("pay.after_send", 1), ("pay.after_send:3", 3), ("after_send:2", 2)]
)
def test_it_dies_at_that_visit(at: str, visits: int, died: list[int]) -> None:
    """Earlier visits and other places do no harm."""
    crash = CrashPoints(at)
    for _ in range(visits):
        assert died == []
        crash("pay.after_intent")
        crash("pay.after_send")
    assert died == [signal.SIGKILL]


def test_it_never_dies_unasked(died: list[int]) -> None:
    """Without an order every place is only a comparison."""
    crash = CrashPoints()
    for point in POINTS:
        crash(point)
    assert died == []


@pytest.mark.parametrize(
    "at", ["pay", "after", "pay.after_send:0", "pay.after_send:", "pay.after_send:x", ":1", "PAY.after_send"]
)
def test_a_place_that_does_not_exist_is_refused(at: str) -> None:
    """A test that arms nothing would prove nothing: the message names what there is."""
    with pytest.raises(ValueError, match=r"no crash point is called .*notify\.after_record"):
        CrashPoints(at)
