"""What the shops remember: every sale with all that was answered about it. Held against every later answer.

It knows the gateway by the printed protocol only. An answer is compared with what was told before its call
was sent: answers that overtake each other contradict nobody.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tests.harness.live import Json


class Breach(StrEnum):
    """The ways in which a promise can be broken."""

    LOST = "lost"
    """What somebody was told is not so any more, or the gateway does not know of money that moved."""
    DOUBLED = "doubled"
    """Paid or refunded twice, or sent twice."""
    UNBALANCED = "unbalanced"
    """The two sets of books differ."""
    INDEFINITE = "indefinite"
    """Nobody knows how an order ended, long after everything was calm again."""
    UNTOLD = "untold"
    """The merchant's server was not told, or told falsely, or by somebody else."""
    LEAKED = "leaked"
    """A secret where it must not be."""
    BROKEN = "broken"
    """The database is damaged."""
    UPSET = "upset"
    """The gateway failed without anybody having harmed it, or did not come back."""


@dataclass(frozen=True)
class Finding:
    """One broken promise; `sn` or `client_sn` names the order when it is about one."""

    breach: Breach
    text: str
    number: str = ""


HELD = frozenset({"PAID", "PARTIAL_REFUNDED", "REFUNDED", "REFUND_INPROGRESS", "REFUND_ERROR"})
"""Whoever is told one of these knows that the wallet took the money."""
UNDONE = frozenset({"PAY_CANCELED", "CANCELED"})
"""Whoever is told one of these knows that the buyer has the money."""
_CANCELS = frozenset({"CANCEL_INPROGRESS", "CANCELED", "CANCEL_ERROR"})
DEFINITE = UNDONE | {"PAID", "PARTIAL_REFUNDED", "REFUNDED"}


@dataclass(frozen=True)
class Told:
    """What a shop knows of a sale for certain, from all answers together."""

    sn: str = ""
    held: bool = False
    undone: str = ""
    net: int | None = None


@dataclass
class RefundWish:
    """A refund somebody asked for; `tsn` is its number at the wallet once it is known."""

    amount: int
    tsn: str = ""
    result: str = ""


@dataclass
class Sale:
    """One sale of one shop. `born` and `ended` count the deaths the gateway had died by then."""

    client_sn: str
    shop: int
    wallet: str
    qr: bool
    script: str
    total: int
    born: int
    told: Told = Told()
    answers: int = 0
    cancel_asked: bool = False
    refunds: dict[str, RefundWish] = field(default_factory=dict)

    def hear(self, data: Json, before: Told) -> Iterator[str]:
        """Take in an order as an answer shows it; yield how it breaks what was told `before` the call."""
        status, net = data["order_status"], int(data["net_amount"])
        if data["client_sn"] != self.client_sn or data["total_amount"] != str(self.total):
            yield f"another order was shown: {data}"
        if before.sn and data["sn"] != before.sn:
            yield f"it was order {before.sn}, and is {data['sn']}"
        if before.undone and status != before.undone:
            yield f"it was {before.undone}, and is {status}"
        if before.held and not (status in HELD or (self.cancel_asked and status in _CANCELS)):
            yield f"it was paid, and is {status}"
        if before.net is not None and net > before.net:
            yield f"{before.net} fen were left of it, and now {net}"
        self.answers += 1
        told = self.told
        self.told = replace(
            told,
            sn=data["sn"],
            held=told.held or status in HELD,
            undone=status if status in UNDONE else told.undone,
            net=net if told.net is None else min(net, told.net),
        )

    def hear_refund(self, number: str, biz: Json, before: str) -> Iterator[str]:
        """Take in the answer to a refund; yield how it breaks the result that was told `before`."""
        refund, result = self.refunds[number], biz["result_code"]
        if before == "REFUND_SUCCESS" and result != before:
            yield f"refund {number} had succeeded, and now is {result} {biz['error_code']}"
        if not result.startswith("REFUND_"):
            return
        tsn = biz["data"]["tsn"]
        if refund.tsn and tsn != refund.tsn:
            yield f"refund {number} was {refund.tsn}, and is {tsn}"
        refund.tsn = tsn
        if refund.result != "REFUND_SUCCESS":
            refund.result = result


class Memory:
    """All sales of one era, all terminal keys in use, and every breach found so far."""

    def __init__(self) -> None:
        self.sales: dict[str, Sale] = {}
        self.answers = 0
        self.deaths: list[str] = []
        self.last_death_s = 0.0
        self.findings: list[Finding] = []
        self.secrets: set[str] = set()
        self.barcodes: set[str] = set()

    def note(self, breach: Breach, text: str, number: str = "") -> None:
        """Keep a broken promise."""
        self.findings.append(Finding(breach, text, number))

    def died(self, kinds: list[str]) -> None:
        """Keep how the gateway died."""
        self.deaths += kinds
        self.last_death_s = time.monotonic()

    def deaths_since(self, sale: Sale) -> list[str]:
        """How the gateway died while this sale was under way, and after."""
        return self.deaths[sale.born :]
