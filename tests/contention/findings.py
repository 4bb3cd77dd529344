"""The ways in which something that may happen once can go wrong when many reach for it."""

from dataclasses import dataclass
from enum import StrEnum


class Breach(StrEnum):
    """What was seen."""

    DOUBLED = "doubled"
    """One piece of work for two at the same time, one refund twice, more back than was paid."""
    LOST = "lost"
    """Work that nobody got, or that was not done though its owner was told so; a refund told and not made."""
    ROBBED = "robbed"
    """Somebody changed a row that was another's by then."""
    UNBALANCED = "unbalanced"
    """The two sets of books differ."""
    UNTRUE = "untrue"
    """What somebody was told is not so."""
    INDEFINITE = "indefinite"
    """It did not come to an end, long after everything was calm."""
    UPSET = "upset"
    """Trouble that nobody made: deadlocks, errors, answers that no such call may get."""
    IDLE = "idle"
    """There was hardly any contention, so the run proves nothing."""


@dataclass(frozen=True)
class Finding:
    """One breach; `about` names the row or the order."""

    breach: Breach
    about: str
    text: str
