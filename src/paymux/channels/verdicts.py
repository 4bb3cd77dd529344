"""Verdicts: what a wallet's code proves, as tables in each channel's codes.py, and the outcome it makes.

A row of a table is a verdict and the codes that deserve it. The verdict is one of the words below or one of
our own error codes (upay-v2.md §8.3), which means "definitely refused". A code on no table proves nothing:
it is Unknown (promise M6; channels/00-principles.md §1).
"""

from enum import StrEnum

from paymux.domain.outcome import (
    AlreadyExists,
    GaveBack,
    InProgress,
    Misconfigured,
    Outcome,
    Refused,
    Trouble,
    Unknown,
)


class Verdict(StrEnum):
    """What a code can mean besides a plain refusal."""

    UNKNOWN = "UNKNOWN"
    """Listed, and it proves nothing: ask."""
    IN_PROGRESS = "IN_PROGRESS"
    """The buyer is typing the password."""
    EXISTS = "EXISTS"
    """Our number was used before: ask what became of it."""
    MISCONFIGURED = "MISCONFIGURED"
    """Nothing was processed: our contract or credentials are wrong."""
    NOT_FOUND = "NOT_FOUND"
    """No such trade, which proves nothing while a request may still be under way."""
    NOTHING_TAKEN = "NOTHING_TAKEN"
    """The order is closed or was never there: no money was taken."""
    REFUND_INSTEAD = "REFUND_INSTEAD"
    """Too late to undo: the money must go back by refund."""


Table = dict[str, str]
"""Code → verdict word or error code of ours."""


def read_table(rows: str, *, prefix: str = "") -> Table:
    """Read lines of `VERDICT CODE CODE …`; every code may stand there once, and gets `prefix` in front."""
    table: Table = {}
    for verdict, *codes in filter(None, map(str.split, rows.splitlines())):
        for code in codes:
            assert prefix + code not in table, f"{code} is decided twice"
            table[prefix + code] = verdict
    return table


def judge(table: Table, *, code: str, text: str) -> Outcome:
    """Return the outcome of a signed failure `code`; `text` is the wallet's own explanation."""
    verdict = table.get(code, Verdict.UNKNOWN)
    match verdict:
        case Verdict.IN_PROGRESS:
            return InProgress(text=text)
        case Verdict.EXISTS:
            return AlreadyExists(provider_code=code)
        case Verdict.MISCONFIGURED:
            return Misconfigured(provider_code=code, text=text)
        case Verdict.NOTHING_TAKEN:
            return GaveBack(had_taken=False)
        case Verdict.UNKNOWN | Verdict.NOT_FOUND:
            return doubt(text or code, code=code, not_found=verdict == Verdict.NOT_FOUND)
        case Verdict.REFUND_INSTEAD:
            return _refused("UPAY_CANCEL_INVALID_ORDER_STATE", code=code, text=text, refund_instead=True)
        case _:
            return _refused(verdict, code=code, text=text)


def doubt(text: str, *, code: str = "", not_found: bool = False) -> Unknown:
    """Return "we cannot tell" with the reason; a reply came, so the trouble is the protocol's."""
    return Unknown(trouble=Trouble.PROTOCOL, text=text, provider_code=code, not_found=not_found)


def _refused(error_code: str, *, code: str, text: str, refund_instead: bool = False) -> Refused:
    return Refused(error_code=error_code, provider_code=code, text=text, refund_instead=refund_instead)
