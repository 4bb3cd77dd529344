"""Everything that happened on a day, in order: its hash is the day's identity, its lines are the story."""

import hashlib
from collections.abc import Callable, Iterable

import msgspec

SHOWN_CHARS = 700


class Line(msgspec.Struct, frozen=True, gc=False):
    """One happening: virtual milliseconds since the day began, who, what, and about which number."""

    at_ms: int
    who: str
    what: str
    about: str
    text: str | bytes


class History:
    """Takes happenings, hashes them at once, and keeps them for a story."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._began_ms = now_ms()
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: list[Line] = []

    def note(self, who: str, what: str, about: str = "", text: str | bytes = "") -> None:
        """Something happened now."""
        at_ms = self._now_ms() - self._began_ms
        self.lines.append(Line(at_ms, who, what, about, text))
        tail = text.encode() if isinstance(text, str) else text
        self._hash.update(f"{at_ms}|{who}|{what}|{about}|".encode() + tail)

    def digest(self) -> str:
        """The hash of all that was noted: 32 hex digits."""
        return self._hash.hexdigest()

    def story(self, numbers: Iterable[str]) -> str:
        """All that happened about these numbers, and to the processes meanwhile, for people to read."""
        wanted = {number for number in numbers if number}
        concerned = [line for line in self.lines if line.about in wanted]
        if not concerned:
            return ""
        first_ms, last_ms = concerned[0].at_ms - 1_000, concerned[-1].at_ms + 1_000
        shown = [
            line
            for line in self.lines
            if line.about in wanted or (not line.about and first_ms <= line.at_ms <= last_ms)
        ]
        return "\n".join(map(_told, shown))


def _told(line: Line) -> str:
    text = line.text.decode(errors="replace") if isinstance(line.text, bytes) else line.text
    text = " ".join(text.split())
    if len(text) > SHOWN_CHARS:
        text = text[:SHOWN_CHARS] + "…"
    return f"{line.at_ms / 1000:>10.3f}s  {line.who:<22} {line.what:<26} {line.about:<20} {text}".rstrip()
