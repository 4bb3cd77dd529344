"""Two sets of books, compared to the fen when all is quiet, and what is still open (M1, M2, M3)."""

from collections import Counter
from collections.abc import Iterable

from paymux.sandbox.ledger import Ledger
from paymux.sandbox.records import Trade
from tests.simulation.checkers.court import Court
from tests.simulation.checkers.kept import DEFINITE, UNDONE, Kept, KeptOrder


def check_books(court: Court, kept: Kept, trades: Iterable[Trade], ledger: Ledger) -> None:
    """Ours and the wallets' say the same of every order, and no money was made or lost on the way."""
    theirs = {trade.out_trade_no: trade for trade in trades}
    for sn, order in kept.orders.items():
        trade = theirs.get(sn)
        ours = (order.paid, order.refunded)
        there = (trade.paid_fen, trade.refunded_fen if trade.paid_fen else 0) if trade else (0, 0)
        court.holds(
            ours == there,
            "BOOKS",
            (sn,),
            "{}: ours (paid, back) {}, the wallet's {}",
            order.status,
            ours,
            there,
        )
        if order.status in UNDONE:
            held = there[0] - there[1]
            court.holds(held == 0, "M4", (sn,), "{}, and the wallet holds {} fen", order.status, held)
    strangers = [sn for sn, trade in theirs.items() if sn not in kept.orders]
    court.holds(
        not strangers, "M5", tuple(strangers[:3]), "wallets have orders we do not know: {}", strangers[:3]
    )
    pays = Counter((one.account, one.out_trade_no) for one in ledger.journal if one.what == "pay")
    twice = [number for (_, number), count in pays.items() if count > 1]
    court.holds(not twice, "M2", tuple(twice[:3]), "paid more than once at the wallet: {}", twice[:3])
    _check_one_sale_each(court, kept, theirs)


def _check_one_sale_each(court: Court, kept: Kept, theirs: dict[str, Trade]) -> None:
    """No client_sn has the buyer's money twice."""
    held: Counter[tuple[str, str]] = Counter()
    for sn, order in kept.orders.items():
        trade = theirs.get(sn)
        if trade and trade.paid_fen > trade.refunded_fen:
            held[order.merchant, order.client_sn] += 1
    for key, count in held.items():
        court.holds(count == 1, "M2", key, "{} orders of one client_sn hold money", count)


def check_refunds(court: Court, kept: Kept, trades: Iterable[Trade]) -> None:
    """Each refund at the wallet is one we know, done once, of our amount; together no more than was paid."""
    for trade in trades:
        order = kept.orders.get(trade.out_trade_no)
        total = sum(refund.amount_fen for refund in trade.refunds)
        court.holds(
            total <= trade.amount_fen,
            "M3",
            (trade.out_trade_no,),
            "refunded {} of {}",
            total,
            trade.amount_fen,
        )
        for refund in trade.refunds:
            movement = kept.movements.get(refund.out_refund_no)
            known = (
                movement is not None and movement.amount == refund.amount_fen and movement.status == "SUCCESS"
            )
            numbers = (trade.out_trade_no, refund.out_refund_no)
            court.holds(known, "M3", numbers, "the wallet refunded {}; we have {}", refund, movement)
        numbers_used = Counter(
            movement.number
            for refund in trade.refunds
            if (movement := kept.movements.get(refund.out_refund_no)) and movement.number
        )
        twice = [number for number, count in numbers_used.items() if count > 1]
        client = (order.merchant, order.client_sn) if order else ("", "")
        court.holds(
            not twice,
            "M7",
            (trade.out_trade_no, *client),
            "one refund_request_no, several refunds: {}",
            twice,
        )


def check_quiet(court: Court, kept: Kept, left: list[str]) -> None:
    """After the last fault everything came to a definite end, and no work is left (M1)."""
    for sn, order in kept.orders.items():
        court.holds(order.status in DEFINITE, "M1", (sn,), "is still {}", _shown(order))
        waiting = order.refunding
        court.holds(not waiting, "M1", (sn,), "{} fen are still reserved: {}", waiting, _shown(order))
    court.holds(not left, "M1", (), "work is left: {}", left[:5])


def _shown(order: KeptOrder) -> str:
    return f"{order.status} after {' → '.join(order.statuses)}"
