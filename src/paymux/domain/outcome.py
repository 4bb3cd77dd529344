"""Outcome of one channel call: a closed union, so that "we don't know" can never hide among the noes.

Sources: channels/00-principles.md §1; DESIGN §6. `Unknown` is the default: only allow-listed replies with a
valid signature and our own number and amount may become anything else (promise M6).

    Outcome
    ├── Took            the wallet holds the buyer's money for *this* order
    ├── Prepared        a QR code or front-end parameters exist; nobody has paid yet
    ├── GaveBack        the reversal, close or refund we asked for is done
    ├── Refused         definitely not done, and no money moved by this call
    ├── InProgress      the wallet works on it (password being typed, refund accepted)
    ├── AlreadyExists   our number is known there already: ask what became of it
    ├── Misconfigured   our credentials or contract are wrong: nothing was processed; raise an alarm
    └── Unknown         anything else: silence, garbage, bad signature, unlisted code
"""

from enum import StrEnum

import msgspec


class Trouble(StrEnum):
    """Why an outcome is unknown; becomes FAIL_IO_n or FAIL_PROTOCOL_n (upay-v2.md §8.5)."""

    IO = "IO"
    PROTOCOL = "PROTOCOL"


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `payment_list` (upay-v2.md §9.3): what part of the amount came from where, in fen."""

    type: str
    amount_total: int


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """The wallet says, signed, that this order was paid with our amount.

    It may have been refunded since: whether money is back only a reversal's or a refund's own answer tells.
    """

    trade_no: str
    amount: int
    paid_at_ms: int = 0
    payer_uid: str = ""
    payer_login: str = ""
    payments: tuple[Payment, ...] = ()


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A precreated order: `qr_code` for sub_payway 2, `wap_pay_request` (JSON text or URL) for 3 to 6."""

    qr_code: str = ""
    wap_pay_request: str = ""
    trade_no: str = ""


class GaveBack(msgspec.Struct, frozen=True, kw_only=True):
    """A reversal or close leaves nothing taken; a refund has returned its amount.

    `had_taken`: whether money had been taken before, where the wallet says so (Alipay's `action`).
    """

    trade_no: str = ""
    at_ms: int = 0
    had_taken: bool | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A definite no from the allow-list.

    `error_code` is one of ours (upay-v2.md §8.3); `provider_code` and `text` are the wallet's own words.
    `refund_instead`: a reversal came too late or is not for paid orders; the money must go back by refund.
    """

    error_code: str
    provider_code: str = ""
    text: str = ""
    refund_instead: bool = False


class InProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Accepted, not finished: the buyer types the password, or the refund is on its way."""

    text: str = ""


class AlreadyExists(msgspec.Struct, frozen=True, kw_only=True):
    """Our number was used before, perhaps by a lost request of ours that succeeded: query decides."""

    provider_code: str = ""


class Misconfigured(msgspec.Struct, frozen=True, kw_only=True):
    """Signature, permission or contract error before any processing: not the buyer's fault."""

    provider_code: str
    text: str = ""


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """We cannot tell. `not_found` marks a query answered "no such trade", which proves nothing by itself.

    `sent` is false only when the transport knows that not one byte left this machine.
    """

    trouble: Trouble
    text: str
    provider_code: str = ""
    sent: bool = True
    not_found: bool = False


Outcome = Took | Prepared | GaveBack | Refused | InProgress | AlreadyExists | Misconfigured | Unknown
