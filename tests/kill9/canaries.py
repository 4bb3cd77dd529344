"""Secrets as canaries: their plain bytes must be nowhere in what the gateway writes, dead or alive."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.harness.live import VENDOR_KEY, Json, Shop

_SECRET_FIELDS = ("private_key", "api_key", "client_key")
_LINE, _PIECE = 64, 40
"""Long keys are looked for by pieces of their lines: a part that leaks is a leak, however it is wrapped."""
_EVERY = 4
_BARCODE = re.compile(rb"(?=((?:28|13)[0-9]{16}))")


def secrets_of(shops: Iterable[Shop], accounts: Iterable[Json]) -> set[str]:
    """What the shops and their accounts at the wallets must keep secret."""
    found = {VENDOR_KEY, *(one.terminal_key for one in shops)}
    found.update(account[field] for account in accounts for field in _SECRET_FIELDS if account.get(field))
    return found


def secrets_in(data: Path) -> set[str]:
    """The keys the gateway made for itself, which belong in their own files only."""
    files = (data / "master.key", data / "notify_key.pem")
    return {file.read_text().strip() for file in files if file.exists()}


def leaks(data: bytes, secrets: Iterable[str], barcodes: set[str]) -> Iterator[str]:
    """Yield the beginning of each secret, and each whole barcode, that stands in the bytes."""
    for secret in secrets:
        for needle in _needles(secret):
            if needle.encode() in data:
                yield f"{needle[:6]}… of a secret of {len(secret)} characters"
    seen = {match[1].decode() for match in _BARCODE.finditer(data)}
    yield from (f"barcode {code[:2]}…{code[-2:]}" for code in seen & barcodes)


def _needles(secret: str) -> list[str]:
    if len(secret) <= _LINE:
        return [secret]
    body = re.sub(r"-----[A-Z ]+-----|\s", "", secret)
    lines = [body[at : at + _PIECE] for at in range(0, len(body) - _PIECE, _LINE)]
    return lines[1::_EVERY]
