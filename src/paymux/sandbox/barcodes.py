"""The barcodes buyers show: their last two digits choose the script, the middle says whose they are.

They change every minute, as true ones do, but old ones keep working: a test may write one down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.records import Person

MINUTE_MS = 60_000
_PREFIXES = {"alipay": "28", "wechat": "13"}


def barcode(bank: Bank, person: Person, digits: str) -> str:
    """Return the buyer's barcode of this minute that plays script `digits`: 18 digits."""
    buyers = bank.buyers_of(person.wallet)
    middle = bank.now_ms() // MINUTE_MS * len(buyers) + buyers.index(person)
    return f"{_PREFIXES[person.wallet]}{middle:014d}{digits}"
