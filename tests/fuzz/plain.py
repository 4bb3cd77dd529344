"""A mutator for those who have no fuzzer: seeded, blind to coverage, and enough to keep the targets alive."""

from collections.abc import Iterator, Sequence
from random import Random

from tests.fuzz.trial import Trial

_EDITS_MAX = 4


def mutants(trial: Trial, *, count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` inputs made from the trial's seeds and words; the same ones for the same seed."""
    dice = Random(seed)
    for _ in range(count):
        data = dice.choice(trial.seeds)
        for _ in range(dice.randint(1, _EDITS_MAX)):
            data = _edited(dice, data, trial.seeds, trial.words)
        yield data[: trial.bytes_max]


def _edited(dice: Random, data: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = dice.randint(0, len(data))
    to = min(len(data), at + dice.choice((1, 1, 2, 8, 64)))
    match dice.randrange(7):
        case 0:
            return data[:at] + dice.randbytes(to - at) + data[to:]
        case 1:
            return data[:at] + data[to:]
        case 2:
            return data[:at] + data[at:to] * dice.randint(2, 5) + data[to:]
        case 3:
            return data[:at] + dice.randbytes(dice.randint(1, 8)) + data[at:]
        case 4:
            other = dice.choice(seeds)
            return data[:at] + other[dice.randint(0, len(other)) :]
        case 5 if words:
            return data[:at] + dice.choice(words) + data[dice.choice((at, to)) :]
        case _:
            return data[:at]
