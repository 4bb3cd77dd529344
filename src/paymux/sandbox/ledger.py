"""The other set of books: balances of buyers and sellers, and a journal of every movement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paymux.sandbox.records import Movement

if TYPE_CHECKING:
    from paymux.sandbox.records import Trade


class Ledger:
    """Balances in fen. Money is never made or lost here except by a journalled `topup`."""

    def __init__(self) -> None:
        """Start with empty books."""
        self.buyers: dict[str, int] = {}
        self.sellers: dict[str, int] = {}
        self.journal: list[Movement] = []

    def can_pay(self, buyer: str, amount_fen: int) -> bool:
        """Say whether the buyer has the money."""
        return self.buyers[buyer] >= amount_fen

    def top_up(self, buyer: str, amount_fen: int, *, time_ms: int) -> None:
        """Bring money in from outside (or take it out, when negative)."""
        self.buyers[buyer] = self.buyers.get(buyer, 0) + amount_fen
        self._write(time_ms, "topup", "", "", "", amount_fen, buyer)

    def pay(self, trade: Trade, *, time_ms: int) -> None:
        """Move the order's amount from its buyer to its seller."""
        self._move(trade, trade.amount_fen)
        self._write(time_ms, "pay", trade.account, trade.out_trade_no, "", trade.amount_fen, trade.buyer)

    def give_back(self, trade: Trade, amount_fen: int, *, what: str, refund_no: str, time_ms: int) -> None:
        """Move money back to the buyer; `what` is `refund` or `reverse`."""
        self._move(trade, -amount_fen)
        self._write(time_ms, what, trade.account, trade.out_trade_no, refund_no, amount_fen, trade.buyer)

    def total_fen(self) -> int:
        """Return all money in the sandbox: constant but for top-ups."""
        return sum(self.buyers.values()) + sum(self.sellers.values())

    def _move(self, trade: Trade, amount_fen: int) -> None:
        self.buyers[trade.buyer] -= amount_fen
        self.sellers[trade.account] = self.sellers.get(trade.account, 0) + amount_fen

    def _write(
        self,
        time_ms: int,
        what: str,
        account: str,
        out_trade_no: str,
        refund_no: str,
        amount_fen: int,
        buyer: str,
    ) -> None:
        self.journal.append(
            Movement(
                time_ms=time_ms,
                what=what,
                account=account,
                out_trade_no=out_trade_no,
                refund_no=refund_no,
                amount_fen=amount_fen,
                buyer=buyer,
                buyer_balance_fen=self.buyers[buyer],
                seller_balance_fen=self.sellers.get(account, 0),
            )
        )
