"""No secret ever leaves its sealed place: not into logs, not into history, not into notifications (M9)."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from paymux.domain.people import Terminal
from tests.simulation.checkers.court import Court
from tests.simulation.history import History

_SECRET_FIELDS = ("private_key", "api_key", "client_key")
_JOIN = " || ' ' || "
_COLUMNS = {
    "events": ("who", "what", "text"),
    "notifications": ("url", "body", "last_answer"),
    "orders": ("digest", "detail", "description", "error_message"),
    "transactions": ("error_message",),
}

Rows = Callable[[str], Awaitable[list[tuple[Any, ...]]]]
"""SQL → what is committed."""


class Secrets:
    """Knows every secret of the town, and reads what people can read."""

    def __init__(self, court: Court) -> None:
        self._court = court
        self._secrets: list[str] = []

    def know(self, terminals: Iterable[Terminal], accounts: Iterable[dict[str, object]]) -> None:
        """Learn what must never be seen."""
        self._secrets = [terminal.current_key for terminal in terminals]
        for account in accounts:
            for field in _SECRET_FIELDS:
                text = str(account.get(field, ""))
                body = "".join(line for line in text.splitlines() if not line.startswith("-----"))
                if body:
                    self._secrets.append(body[:40])

    def read(self, where: str, text: str) -> None:
        """Read one text."""
        for secret in self._secrets:
            if secret in text:
                self._court.breach("M9", (), f"{where} shows a secret: {text[:300]}")

    async def scan(self, rows: Rows, history: History, *, barcodes: bool) -> None:
        """Read what is stored; with `barcodes`, each order's history for its own barcode, too."""
        for table, columns in _COLUMNS.items():
            texts = await rows(f"SELECT {_JOIN.join(columns)} FROM {table}")  # noqa: S608 - names from above
            self.read(table, "\n".join(row[0] for row in texts))
        if barcodes:
            await self._scan_barcodes(rows, history)

    async def _scan_barcodes(self, rows: Rows, history: History) -> None:
        told: defaultdict[str, list[str]] = defaultdict(list)
        for client_sn, text in await rows(
            "SELECT client_sn, text FROM events JOIN orders USING (bucket, merchant_id, sn)"
        ):
            told[client_sn].append(text)
        sales = {
            line.about: line.text for line in history.lines if line.who == "till" and line.what == "→ pay"
        }
        for client_sn, body in sales.items():
            text = body if isinstance(body, str) else body.decode()
            barcode = text.partition('"dynamic_id":"')[2].partition('"')[0]
            seen = any(barcode in one for one in told[client_sn])
            self._court.holds(
                not (barcode and seen), "M9", (client_sn,), "its history shows the whole barcode"
            )
