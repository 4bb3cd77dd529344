"""When does a refusal count? Not while another request for the same movement may still reach the wallet.

A reversal or refund whose reply was lost can arrive late. If a repeat is refused meanwhile, "no" is not yet
the truth: the first one may still be carried out. So every attempt that ends without an answer marks its
movement, durably, and a refusal is believed only once nothing sent before can be on its way any more.
"""

from paymux.domain import judge
from paymux.domain.order import Order, Transaction
from paymux.domain.outcome import InProgress, Outcome, Refused, Unknown
from paymux.domain.verdict import Verdict
from paymux.flows.call import Said
from paymux.flows.desk import Desk
from paymux.flows.record import about_tsn, record

_ALONE_MS = 15_000
"""For so long after a wish could first be carried out, only who made it durable sends for it."""
_SURE_MS = 10_000
"""For so long the maker's first refusal is believed: less, for the others' clocks may be ahead of ours."""


def is_definite(desk: Desk, movement: Transaction, *, first: bool, begun_ms: int) -> bool:
    """Whether a refusal of this movement, heard now, can be believed.

    It can when it answers the very first request (`first`: ours was the wish; no attempt has left a mark, and
    nobody else may have sent one yet), or when the last doubtful one went out so long ago that it will not
    arrive any more. `begun_ms` is when the movement could first be sent.
    """
    now_ms = desk.clock.now_ms()
    if not movement.doubt_ms:
        return first and now_ms - begun_ms < _SURE_MS
    return now_ms - movement.doubt_ms >= desk.limits.doubt_s * 1000


def not_before_ms(movement: Transaction, *, first: bool, begun_ms: int) -> int:
    """When we may send for this movement: its maker at once, anybody else when the maker's try must be over.

    Two processes that both send at once could each misread the other's end, and no turn is held between them.
    """
    waits = not first and not movement.doubt_ms
    return begun_ms + _ALONE_MS if waits else begun_ms


def leaves_doubt(outcome: Outcome) -> bool:
    """Whether an attempt that ended so may still be carried out."""
    return isinstance(outcome, InProgress) or (isinstance(outcome, Unknown) and outcome.sent)


async def keep_doubt(desk: Desk, order: Order, movement: Transaction, said: Said) -> Order:
    """Mark the movement and keep what was heard.

    An unanswered request renews the mark. A refusal that cannot be believed only sets a missing one: who sent
    what before a crash is not known, so it counts from here.
    """
    renew = not isinstance(said.outcome, Refused)

    def judged(now: Order, found: Transaction | None, now_ms: int) -> Verdict | None:
        if found is None or (found.doubt_ms and not renew):
            return None
        return judge.doubted(now, found, now_ms)

    return await record(desk, order, judged, about=about_tsn(desk, movement.tsn), heard=said.event)
