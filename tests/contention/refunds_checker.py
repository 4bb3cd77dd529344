"""Holds what tills were told, our rows and the wallets' books against each other, to the fen."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.contention.brawls import Ask
from tests.contention.findings import Breach, Finding

DONE, GOING_ON = "REFUND_SUCCESS", frozenset({"REFUND_IN_PROGRESS", "REFUND_ERROR"})
CANCELED = "CANCEL_SUCCESS"
_REFUSED = frozenset({"REFUNDABLE_AMOUNT_NOT_ENOUGH", "UPAY_REFUND_INVALID_ORDER_STATE"})
_CONFLICT = "REFUND_REQUEST_CONFLICT"
_NO_CANCEL = frozenset({"UPAY_CANCEL_INVALID_ORDER_STATE", "UPAY_CANCEL_ORDER_NOOP"})
_CANCELS = frozenset({CANCELED, "CANCEL_IN_PROGRESS", "CANCEL_ERROR"})


@dataclass(frozen=True, kw_only=True)
class Told:
    """One call and its answer; ms of a clock all share. `tsn`: the refund's number at the wallet."""

    ask: Ask
    sent_ms: int
    answered_ms: int
    result: str
    error: str = ""
    tsn: str = ""


@dataclass(frozen=True)
class Movement:
    """A refund or cancel, as our tables have it. `till` made it, if known; `ended_ms` 0: it is open."""

    tsn: str
    kind: str
    status: str
    amount: int
    number: str
    till: int | None = None
    began_ms: int = 0
    ended_ms: int = 0


@dataclass(kw_only=True)
class Account:
    """All that is known about one sale. `taken`: its payments at the wallet; `back`: number there and fen."""

    sn: str
    total: int
    told: list[Told] = field(default_factory=list)
    status: str = ""
    paid: int = 0
    refunded: int = 0
    refunding: int = 0
    movements: list[Movement] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    back: list[tuple[str, int]] = field(default_factory=list)


def weigh(accounts: Iterable[Account]) -> Iterator[Finding]:
    """Everything that is not as it must be, when all is over."""
    for account in accounts:
        checks = (_at_the_wallet, _in_our_books, _as_told, _cancels_as_told)
        for breach, text in (found for check in checks for found in check(account)):
            yield Finding(breach, account.sn, text)


Found = Iterator[tuple[Breach, str]]


def _at_the_wallet(account: Account) -> Found:
    """Taken once, given back once per number, and never more than was taken."""
    if account.taken != [account.total]:
        yield Breach.DOUBLED, f"{account.total} were to be paid, and the wallet took {account.taken}"
    for number, times in Counter(number for number, _ in account.back).items():
        if times > 1:
            yield Breach.DOUBLED, f"refund {number} was made {times} times"
    if _back(account) > sum(account.taken):
        yield Breach.DOUBLED, f"{_back(account)} went back of {account.taken}"


def _in_our_books(account: Account) -> Found:
    """Our order, its movements and the wallet say the same of each fen."""
    ours, theirs = (account.paid, account.refunded), (sum(account.taken), _back(account))
    if account.status == "CANCELED" and not any(ours):
        theirs = (theirs[0] - theirs[1], 0)  # a payment that was reversed is none
    if ours != theirs or account.refunding:
        reserved = f"{account.refunding} reserved"
        yield Breach.UNBALANCED, f"paid and refunded are {ours} here, {reserved}, {theirs} at the wallet"
    done = [one for one in account.movements if one.status == "SUCCESS"]
    refunds = {(one.tsn, one.amount) for one in done if one.kind == "refund"}
    undone = {one.amount for one in done if one.kind != "refund"}
    made = {(number, fen) for number, fen in account.back if (number, fen) in refunds}
    others = {fen for number, fen in account.back if (number, fen) not in refunds}
    if made != refunds or others != undone:
        yield Breach.UNBALANCED, f"our movements are {done}, the wallet's {account.back}"
    for number, times in Counter(one.number for one in account.movements if one.number).items():
        if times > 1:
            yield Breach.DOUBLED, f"{number} is {times} refunds here"


def _as_told(account: Account) -> Found:
    """Who was told done finds it at the wallet, once and of his amount; who was refused moved nothing."""
    rows = {one.number: one for one in account.movements if one.number}
    of_number: dict[str, list[Told]] = defaultdict(list)
    for told in account.told:
        if told.ask.number:
            of_number[told.ask.number].append(told)
    for number, tolds in of_number.items():
        row = rows.get(number)
        for told in tolds:
            yield from _answer(told, row, account)
        if row and row.status == "SUCCESS" and not any(told.result in {DONE, *GOING_ON} for told in tolds):
            yield Breach.UNTRUE, f"{number} was made, and all were told that it was not: {tolds}"


def _answer(told: Told, row: Movement | None, account: Account) -> Found:
    known = (row.tsn, row.amount) if row else None
    if told.result == DONE:
        if known != (told.tsn, told.ask.amount) or account.back.count((told.tsn, told.ask.amount)) != 1:
            yield Breach.LOST, f"{told}, but there is {row}, at the wallet {account.back}"
    elif told.result in GOING_ON:
        if known != (told.tsn, told.ask.amount):
            yield Breach.UNTRUE, f"{told}, but there is {row}"
    elif told.error == _CONFLICT:
        if row is None or row.amount == told.ask.amount:
            yield Breach.UNTRUE, f"{told}, but there is {row}"
    elif told.error not in _REFUSED and told.result != "REFUND_FAIL":
        yield Breach.UPSET, f"no such answer belongs to a refund: {told}"


def _cancels_as_told(account: Account) -> Found:
    """A cancel that was told leaves the buyer everything; what was refused leaves its refunds alone."""
    for told in account.told:
        if told.ask.number:
            continue
        if told.result not in _CANCELS and told.error not in _NO_CANCEL:
            yield Breach.UPSET, f"no such answer belongs to a cancel: {told}"
        if told.result == CANCELED and (account.status, _back(account)) != ("CANCELED", account.total):
            yield Breach.UNTRUE, f"{told}, and it is {account.status} with {_back(account)} back"


def _back(account: Account) -> int:
    return sum(fen for _, fen in account.back)


# ---------------------------------------------------------------- did they cross at all?


def crossings(account: Account) -> Iterator[tuple[Told, Movement]]:
    """Each call with each refund it met under way: reserved already, not ended yet, at the other gateway."""
    for told in account.told:
        for one in account.movements:
            elsewhere = one.till is not None and one.till % 2 != told.ask.till % 2
            if (
                elsewhere
                and one.began_ms < told.answered_ms
                and told.sent_ms < (one.ended_ms or told.answered_ms)
            ):
                yield told, one
