"""One commit, one line of history: what was concluded, and below it what was heard (promise M11)."""

from msgspec.structs import replace

from paymux.storage.contract import Event

_FROM = " < "
"""Stands in `what` between a conclusion and what it was drawn from: "order.paid < wechat.pay"."""


def joined(heard: Event, said: Event) -> Event:
    """The line that keeps both: the conclusion on the first line of its text, then what was heard."""
    conclusion = " ".join(said.text.splitlines())
    return replace(said, what=f"{said.what}{_FROM}{heard.what}", text=f"{conclusion}\n{heard.text}")


def apart(event: Event, *, channel: str) -> tuple[Event, ...]:
    """What a line keeps, as it happened: what was heard, then what was concluded; one where it is only one.

    `channel` is the order's: what has its name it said itself, all else is its concluder's own word.
    """
    concluded, joint, source = event.what.partition(_FROM)
    if not joint:
        return (event,)
    conclusion, _, words = event.text.partition("\n")
    who = channel if source.startswith(f"{channel}.") else event.who
    heard = replace(event, who=who, what=source, text=words)
    return (heard, replace(event, what=concluded, text=conclusion))
