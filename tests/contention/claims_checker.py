"""Holds what claimants were told against what the witness saw: nothing is done twice, or to another's row.

It judges by turns (`Holding`): each claim begins one, and only its owner may end it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import msgspec

from tests.contention.findings import Breach, Finding
from tests.contention.journal import Holding, Line, What
from tests.contention.witness import Deed, Seen

_ENDS = {Deed.PUT_OFF: What.PUT_OFF, Deed.DROPPED: What.DROP}
"""What only the owner of a turn may end it with, and as what he must have asked for it. Putting a row anew is
anybody's right who commits a change of its order."""


class Tally(msgspec.Struct, kw_only=True):
    """What a run came to. `contended`: rows that another wanted, too, at the very moment they were claimed.

    `missed` counts how often somebody wanted a row that another got. `reclaimed`: turns that began because
    the one before had run out; `too_late`: deeds of owners whose turn was over, all without effect.
    """

    rows: int = 0
    claims: int = 0
    contended: int = 0
    missed: int = 0
    reclaimed: int = 0
    too_late: int = 0


class Checker:
    """Weighs one half of a run; `tally` is filled meanwhile."""

    def __init__(self, journals: Iterable[Iterable[Line]], seen: Iterable[Seen]) -> None:
        self.tally = Tally()
        self._claims: dict[Holding, list[Line]] = defaultdict(list)
        self._asked: dict[tuple[What, Holding], list[Line]] = defaultdict(list)
        self._rows: dict[tuple[str, str], list[Seen]] = defaultdict(list)
        missed: Counter[Holding] = Counter()
        for line in chain.from_iterable(journals):
            if line.what is What.CLAIMED:
                self._claims[line.holding].append(line)
            elif line.what is What.MISSED:
                missed[line.holding] += 1
            else:
                self._asked[line.what, line.holding].append(line)
        for one in seen:
            self._rows[one.ref, one.kind].append(one)
        self.tally.rows = len(self._rows)
        self.tally.claims = sum(map(len, self._claims.values()))
        self.tally.contended = len(missed.keys() & self._claims.keys())
        self.tally.missed = missed.total()

    def findings(self) -> Iterator[Finding]:
        """Everything that is not as it must be."""
        ended: dict[Holding, int] = {}
        for history in self._rows.values():
            yield from self._row(history, ended)
        begun = {one.after for one in chain.from_iterable(self._rows.values()) if one.deed is Deed.CLAIMED}
        for holding in self._claims.keys() - begun:
            yield Finding(Breach.UNTRUE, _name(holding), "a claim was told that never happened")
        yield from self._late(ended)

    def _row(self, history: list[Seen], ended: dict[Holding, int]) -> Iterator[Finding]:
        """One row's life; its turns that ended are put into `ended`, with the time."""
        for one in history:
            deed = one.deed
            if deed is Deed.LAID:
                continue
            ended[one.before] = one.at_ms
            if deed is Deed.CLAIMED:
                yield from self._claim(one)
            elif deed is Deed.STRANGE:
                yield Finding(Breach.UPSET, _name(one.before), f"nobody does this: {one}")
            elif deed in _ENDS and not self._was_asked(one, deed):
                text = f"{deed} at {one.at_ms}, which its owner did not ask for then"
                yield Finding(Breach.ROBBED, _name(one.before), text)

    def _claim(self, one: Seen) -> Iterator[Finding]:
        told = self._claims.get(one.after, [])
        if len(told) != 1:
            breach = Breach.DOUBLED if told else Breach.LOST
            yield Finding(breach, _name(one.after), f"claimed at {one.at_ms}, {len(told)} were given it")
        until_ms = one.old_lease_ms or 0
        if any(line.now_ms < until_ms for line in told):
            yield Finding(
                Breach.DOUBLED, _name(one.after), f"claimed while it was another's until {until_ms}"
            )
        self.tally.reclaimed += bool(until_ms)

    def _was_asked(self, one: Seen, deed: Deed) -> bool:
        asked = self._asked.get((_ENDS[deed], one.before), ())
        return any(line.asked_ms <= one.at_ms <= line.answered_ms for line in asked)

    def _late(self, ended: Mapping[Holding, int]) -> Iterator[Finding]:
        """A deed without effect is right only when the turn was over before its answer."""
        done = {
            (_ENDS[one.deed], one.before)
            for one in chain.from_iterable(self._rows.values())
            if one.deed in _ENDS
        }
        for (what, holding), lines in self._asked.items():
            if (what, holding) in done:
                continue
            for line in lines:
                self.tally.too_late += 1
                if line.answered_ms < ended.get(holding, line.answered_ms + 1):
                    yield Finding(Breach.LOST, _name(holding), f"{what} by its owner did nothing")


def kept(seen: Iterable[Seen]) -> Iterator[Finding]:
    """Where leases are long, each row has one claim in all, its first, whose lease holds to the end."""
    claims: Counter[tuple[str, str]] = Counter()
    rows: set[tuple[str, str]] = set()
    for one in seen:
        rows.add((one.ref, one.kind))
        claims[one.ref, one.kind] += one.deed is Deed.CLAIMED
    for row in rows:
        if claims[row] != 1:
            breach = Breach.DOUBLED if claims[row] else Breach.LOST
            yield Finding(breach, " ".join(row), f"it was claimed {claims[row]} times")


def _name(holding: Holding) -> str:
    return f"{holding.kind} {holding.ref}, due {holding.run_at_ms}, turn {holding.attempts}"
