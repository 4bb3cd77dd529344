"""Where breaches are brought."""

from collections.abc import Callable
from typing import NamedTuple

BREACHES_MAX = 25
"""A bug that breaks every order need not be told a thousand times."""


class Breach(NamedTuple):
    """One broken promise: which, about which numbers, what was seen, and when (virtual ms of the day)."""

    promise: str
    numbers: tuple[str, ...]
    text: str
    at_ms: int


class Court:
    """Collects what checkers bring."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._began_ms = now_ms()
        self.breaches: list[Breach] = []

    def holds(self, truth: object, promise: str, numbers: tuple[str, ...], text: str, *facts: object) -> None:
        """Take note unless it is true; `text` is a format for `facts`, written only then."""
        if not truth:
            self.breach(promise, numbers, text.format(*facts))

    def breach(self, promise: str, numbers: tuple[str, ...], text: str) -> None:
        """Take note of a broken promise."""
        if len(self.breaches) < BREACHES_MAX:
            self.breaches.append(Breach(promise, numbers, text, self._now_ms() - self._began_ms))
