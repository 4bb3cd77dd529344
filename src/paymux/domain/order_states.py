"""The table (status, fact) → status, every pair decided. Nothing else decides what an order becomes.

`!` is a contradiction: nothing changes and an operator is told. Sources: DESIGN §4; upay-v2.md §7, §8.4.
"""

from enum import StrEnum

from paymux.domain.order import OrderStatus


class Fact(StrEnum):
    """What we learned or decided about an order."""

    TOOK = "TOOK"
    """The wallet took the money, and nobody has begun to undo the order."""
    TOOK_LATE = "TOOK_LATE"
    """The wallet took the money of an order that is being undone or has been undone."""
    REFUSED = "REFUSED"
    """The wallet definitely took nothing, or closed the trade (as Alipay does after a full refund)."""
    SILENT = "SILENT"
    """No definite answer. Silence is not an answer: recovery will ask again."""
    GIVE_UP = "GIVE_UP"
    """The time to pay is over: we begin to reverse (冲正)."""
    UNDONE = "UNDONE"
    """The cancel or reversal is done: the money is back or was never taken.

    Of a PAID order: one that had been refused or decided by hand was carried out after all.
    """
    UNDO_REFUSED = "UNDO_REFUSED"
    """The wallet holds the money and definitely will not give it back."""
    UNDO_SPENT = "UNDO_SPENT"
    """The budget of quick attempts to undo is spent; slow ones go on."""
    SALE_STANDS = "SALE_STANDS"
    """An operator has seen in the wallet's own books that the money is there and the sale shall stand."""
    CANCEL_ASKED = "CANCEL_ASKED"
    """The shop wants to undo the order."""
    REFUND_ASKED = "REFUND_ASKED"
    """An amount was reserved for a refund."""
    REFUNDS_OPEN = "REFUNDS_OPEN"
    """A refund ended while others are under way."""
    REFUNDED_NONE = "REFUNDED_NONE"
    """No refund is under way and nothing went back."""
    REFUNDED_PART = "REFUNDED_PART"
    """No refund is under way and a part went back."""
    REFUNDED_ALL = "REFUNDED_ALL"
    """Everything went back."""
    REFUND_SPENT = "REFUND_SPENT"
    """The budget of quick attempts to refund is spent; slow ones go on."""


class Contradiction(Exception):
    """The fact cannot be true of an order in this status; nothing was changed."""


_PAYMENT = """
                   TOOK  TOOK_LATE  REFUSED       SILENT  GIVE_UP
CREATED            PAID  .          PAY_CANCELED  .       .
PAID               .     !          !             .       !
PAY_CANCELED       !     .          .             .       !
PAY_ERROR          !     .          PAY_CANCELED  .       !
REFUNDED           .     !          .             .       !
PARTIAL_REFUNDED   .     !          !             .       !
REFUND_INPROGRESS  .     !          .             .       !
REFUND_ERROR       .     !          .             .       !
CANCELED           !     .          .             .       !
CANCEL_INPROGRESS  !     .          CANCELED      .       !
CANCEL_ERROR       !     .          CANCELED      .       !
"""

_UNDOING = """
                   UNDONE        UNDO_REFUSED  UNDO_SPENT    SALE_STANDS  CANCEL_ASKED
CREATED            PAY_CANCELED  PAID          PAY_ERROR     !            CANCEL_INPROGRESS
PAID               CANCELED      !             !             !            CANCEL_INPROGRESS
PAY_CANCELED       .             .             .             !            !
PAY_ERROR          PAY_CANCELED  .             .             PAID         CANCEL_INPROGRESS
REFUNDED           !             !             !             !            !
PARTIAL_REFUNDED   !             !             !             !            !
REFUND_INPROGRESS  !             !             !             !            !
REFUND_ERROR       !             !             !             !            !
CANCELED           .             .             .             !            !
CANCEL_INPROGRESS  CANCELED      PAID          CANCEL_ERROR  !            .
CANCEL_ERROR       CANCELED      PAID          .             PAID         CANCEL_INPROGRESS
"""

_REFUNDS = """
                  REFUND_ASKED      REFUNDS_OPEN REFUNDED_NONE REFUNDED_PART    REFUNDED_ALL REFUND_SPENT
CREATED           !                 !            !             !                !            !
PAID              REFUND_INPROGRESS !            !             !                !            !
PAY_CANCELED      .                 .            .             .                .            .
PAY_ERROR         !                 !            !             !                !            !
REFUNDED          !                 !            !             !                !            !
PARTIAL_REFUNDED  REFUND_INPROGRESS !            !             !                !            !
REFUND_INPROGRESS .                 .            PAID          PARTIAL_REFUNDED REFUNDED     REFUND_ERROR
REFUND_ERROR      !                 .            PAID          PARTIAL_REFUNDED REFUNDED     .
CANCELED          .                 .            .             .                .            .
CANCEL_INPROGRESS !                 !            !             !                !            !
CANCEL_ERROR      !                 !            !             !                !            !
"""


def _read_grid(text: str) -> dict[tuple[OrderStatus, Fact], OrderStatus | None]:
    header, *rows = (line.split() for line in text.strip().splitlines())
    facts = [Fact(name) for name in header]
    table: dict[tuple[OrderStatus, Fact], OrderStatus | None] = {}
    for name, *cells in rows:
        status = OrderStatus(name)
        for fact, cell in zip(facts, cells, strict=True):
            table[status, fact] = None if cell == "!" else status if cell == "." else OrderStatus(cell)
    return table


NEXT = {**_read_grid(_PAYMENT), **_read_grid(_UNDOING), **_read_grid(_REFUNDS)}
"""Every pair of status and fact; `.` in a grid means "stays", None means contradiction."""


def next_status(status: OrderStatus, fact: Fact) -> OrderStatus:
    """Return what an order in `status` becomes when `fact` is learned; raises `Contradiction`."""
    following = NEXT[status, fact]
    if following is None:
        message = f"{fact} cannot be true of an order in status {status}"
        raise Contradiction(message)
    return following
