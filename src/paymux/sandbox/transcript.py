"""What was said lately, scrubbed: for people who ask why a payment went as it did."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    from paymux.sandbox.messages import Call, Reply
    from paymux.sandbox.records import Notice

CALLS_MAX = 1_000
TEXT_MAX = 2_000
#: A barcode is money for a minute: only its first two and last two digits are kept.
_BARCODE = re.compile(r"(auth_code\W{1,4}(?:<!\[CDATA\[)?|auth_code><!\[CDATA\[)(\w{2})\w+(\w{2})")
_SIGNATURE = re.compile(r"(\bsign\W{1,4}(?:<!\[CDATA\[)?)([\w+/]{8})[\w+/=]+")


class Transcript:
    """The last calls and callbacks, oldest first."""

    def __init__(self) -> None:
        """Start empty."""
        self.entries: deque[dict[str, object]] = deque(maxlen=CALLS_MAX)

    def call(self, time_ms: int, call: Call, reply: Reply) -> None:
        """Note a call to a wallet."""
        request = b"&".join(part for part in (call.query, call.body) if part)
        self.entries.append(
            {
                "time_ms": time_ms,
                "kind": "call",
                "method": call.method,
                "path": call.bare_path(),
                "request": scrub(request),
                "status": reply.status,
                "reply": scrub(reply.body),
                "lost": reply.lost,
                "delay_ms": reply.delay_ms,
            }
        )

    def callback(self, time_ms: int, notice: Notice, status: int, answer: bytes) -> None:
        """Note a callback and what the merchant answered."""
        self.entries.append(
            {
                "time_ms": time_ms,
                "kind": "callback",
                "wallet": notice.wallet,
                "url": notice.url,
                "fields": notice.fields,
                "attempt": notice.attempts,
                "status": status,
                "answer": scrub(answer),
            }
        )

    def clear(self) -> None:
        """Forget."""
        self.entries.clear()


def scrub(data: bytes) -> str:
    """Return readable text with barcodes and signatures masked, cut to a sane length."""
    text = data[: 4 * TEXT_MAX].decode("utf-8", "replace")
    if "%22" in text or "%3A" in text:
        text = unquote_plus(text)
    return _SIGNATURE.sub(r"\1\2…", _BARCODE.sub(r"\1\2****\3", text))[:TEXT_MAX]
