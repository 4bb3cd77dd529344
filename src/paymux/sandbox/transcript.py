"""What was said lately, scrubbed: for people who ask why a payment went as it did."""

from __future__ import annotations

import re
from collections import deque
from urllib.parse import unquote_plus

import msgspec

from paymux.sandbox.messages import Call, Reply
from paymux.sandbox.records import Notice

CALLS_MAX = 1_000
TEXT_MAX = 2_000
#: A barcode is money for a minute: only its first two and last two digits are kept.
_BARCODE = re.compile(r"(auth_code\W{1,4}(?:<!\[CDATA\[)?|auth_code><!\[CDATA\[)(\w{2})\w+(\w{2})")
_SIGNATURE = re.compile(r"(\bsign\W{1,4}(?:<!\[CDATA\[)?)([\w+/]{8})[\w+/=]+")


class Transcript:
    """The last calls and callbacks, oldest first; masked when shown, so that noting costs nothing."""

    def __init__(self) -> None:
        """Start empty."""
        self._notes: deque[_Call | _Callback] = deque(maxlen=CALLS_MAX)

    def call(self, time_ms: int, call: Call, reply: Reply) -> None:
        """Note a call to a wallet."""
        self._notes.append(_Call(time_ms=time_ms, call=call, reply=reply))

    def callback(self, time_ms: int, notice: Notice, status: int, answer: bytes) -> None:
        """Note a callback and what the merchant answered."""
        attempt = notice.attempts
        self._notes.append(
            _Callback(time_ms=time_ms, notice=notice, attempt=attempt, status=status, answer=answer)
        )

    def entries(self) -> list[dict[str, object]]:
        """Tell what was said."""
        return [note.shown() for note in self._notes]

    def clear(self) -> None:
        """Forget."""
        self._notes.clear()


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    time_ms: int
    call: Call
    reply: Reply

    def shown(self) -> dict[str, object]:
        call, reply = self.call, self.reply
        return {
            "time_ms": self.time_ms,
            "kind": "call",
            "method": call.method,
            "path": call.bare_path(),
            "request": scrub(b"&".join(part for part in (call.query, call.body) if part)),
            "status": reply.status,
            "reply": scrub(reply.body),
            "lost": reply.lost,
            "delay_ms": reply.delay_ms,
        }


class _Callback(msgspec.Struct, frozen=True, kw_only=True):
    time_ms: int
    notice: Notice
    attempt: int
    status: int
    answer: bytes

    def shown(self) -> dict[str, object]:
        return {
            "time_ms": self.time_ms,
            "kind": "callback",
            "wallet": self.notice.wallet,
            "url": self.notice.url,
            "fields": self.notice.fields,
            "attempt": self.attempt,
            "status": self.status,
            "answer": scrub(self.answer),
        }


def scrub(data: bytes) -> str:
    """Return readable text with barcodes and signatures masked, cut to a sane length."""
    text = data[: 4 * TEXT_MAX].decode("utf-8", "replace")
    if "%22" in text or "%3A" in text:
        text = unquote_plus(text)
    return _SIGNATURE.sub(r"\1\2…", _BARCODE.sub(r"\1\2****\3", text))[:TEXT_MAX]
