"""What a target is: one function over bytes, and what a fuzzer needs to begin with it."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trial:
    """A target made ready. `one` tries one input and raises when a promise is broken.

    `seeds` are inputs that reach far, `words` what a mutator may put in, `bytes_max` the longest input;
    `close` lets go of what was opened.
    """

    one: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    bytes_max: int = 1024
    close: Callable[[], object] = object


@dataclass(frozen=True, slots=True)
class Target:
    """A row of the table. `make` is called once per process, after the instrumentation.

    `cost`: it is tried that many times less often than a run asks for.
    """

    make: Callable[[], Trial]
    cost: int = 1


class Dice:
    """Choices read off an input, so that whoever mutates the bytes mutates the choices; 0 when they end."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def spent(self) -> bool:
        """Nothing is left to choose with."""
        return self._at >= len(self._data)

    def below(self, bound: int) -> int:
        """Return a number below `bound`, which is 256 at most."""
        at = self._at
        if at >= len(self._data):
            return 0
        self._at = at + 1
        return self._data[at] % bound

    def pick(self, items: Sequence[T]) -> T:
        """Return one of at most 256 items."""
        assert len(items) <= 256
        return items[self.below(len(items))]

    def some(self) -> bytes:
        """Return a few of the bytes themselves."""
        length = self.below(256)
        self._at += length
        return self._data[self._at - length : self._at]

    def rest(self) -> bytes:
        """Return all that is left."""
        at, self._at = self._at, len(self._data)
        return self._data[at:]


Pairs = list[tuple[str, str]]
"""Names and values in their order: the fields of a form, of flat XML, or of JSON with tokens for values."""


def edited(
    dice: Dice,
    pairs: Pairs,
    *,
    names: Sequence[str],
    values: Sequence[str],
    raw: Callable[[bytes], str],
    edits_max: int = 8,
) -> Pairs:
    """Change the pairs as the dice say: drop, double, rename, exchange, replace. `raw`: bytes as a value."""
    pairs = list(pairs)
    for _ in range(edits_max):
        if dice.spent:
            break
        at = dice.below(len(pairs) or 1)
        kind = dice.below(8) if pairs else _APPEND
        if kind == _APPEND:
            pairs.append((dice.pick(names), dice.pick(values)))
        elif kind == _EXCHANGE:
            other = dice.below(len(pairs))
            (name, value), (other_name, other_value) = pairs[at], pairs[other]
            pairs[at], pairs[other] = (name, other_value), (other_name, value)
        else:
            pairs[at : at + 1] = _replaced(dice, pairs[at], kind, names, values, raw)
    return pairs


_APPEND, _EXCHANGE = 5, 6


def _replaced(
    dice: Dice,
    pair: tuple[str, str],
    kind: int,
    names: Sequence[str],
    values: Sequence[str],
    raw: Callable[[bytes], str],
) -> Pairs:
    """What stands in a pair's place after one edit."""
    name, value = pair
    match kind:
        case 0:
            return []
        case 1:
            return [(name, dice.pick(values))]
        case 2:
            return [(dice.pick(names), value)]
        case 3:
            return [(name, dice.pick(values)), pair]
        case 4:
            return [(name, raw(dice.some()))]
        case _:
            return [(name, spliced(value, dice))]


def single_edits(
    prefixes: Iterable[bytes], *, fields: int, values: int, replaced: int = 3
) -> Iterator[bytes]:
    """Yield each prefix, and it with each one field dropped, doubled, and replaced by some of the values.

    The values take turns, so that over all prefixes and fields each has been everywhere.
    """
    turn = itertools.cycle(range(values))
    for prefix in prefixes:
        yield prefix
        for at in range(fields):
            for kind in (0, 3, *([1] * replaced)):
                yield prefix + bytes([at, kind, next(turn)])


def spliced(text: str, dice: Dice) -> str:
    """Put a few characters of the dice's choice into a text, over as many or between."""
    at, over = dice.below(len(text) + 1) if len(text) < 256 else dice.below(256), dice.below(3)
    return text[:at] + dice.some()[:8].decode("latin-1") + text[at + over :]
