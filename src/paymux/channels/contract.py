"""What a channel is: capabilities as data, requests built, replies read, callbacks verified. No I/O here.

A channel object belongs to one channel account and is stateless beyond its parsed keys, so it may be used by
any number of payments at once. `transport.py` alone has sockets.
Sources: DESIGN §6; channels/00-principles.md.

    class SomeWallet:                       # channels/<name>/channel.py
        capabilities = Capabilities(...)    # class-level data
        def __init__(self, account): ...    # parses keys once; ConfigurationBroken names what is wrong
        def build(self, operation, *, now_ms, nonce) -> HttpRequest | Prepared
        def read(self, operation, response) -> Outcome
        def verify(self, callback) -> CallbackFact       # raises CallbackForged
        def scrub(self, text) -> str
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol

import msgspec

from paymux.domain.order import UndoBy
from paymux.domain.outcome import Outcome, Prepared
from paymux.domain.payways import SubPayway
from paymux.domain.people import Account


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When a channel may be asked what, in seconds; its documents' rules as data (00-principles.md §2).

    `unknown_gaps_s` and `paying_gaps_s` are the waits between queries (the last one repeats) after an unknown
    reply and while the buyer types the password. `pay_deadline_s`: from then on a barcode pay is reversed.
    `reverse_wait_s`, `close_wait_s`: earliest reversal or close after the order was sent. `undo_gaps_s`,
    `refund_gaps_s`: waits between repeated reversals and refunds.
    """

    unknown_gaps_s: tuple[int, ...]
    paying_gaps_s: tuple[int, ...]
    pay_deadline_s: int
    reverse_wait_s: int
    close_wait_s: int
    undo_gaps_s: tuple[int, ...]
    refund_gaps_s: tuple[int, ...]


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel can do. `undo` says by which operation an order of each sub_payway is taken back.

    `signs_slowly`: a signature costs some 0.3 ms (RSA), so requests are built in a thread beside the loop.
    """

    name: str
    payways: tuple[str, ...]
    sub_payways: tuple[SubPayway, ...]
    operations: tuple[str, ...]
    undo: dict[SubPayway, UndoBy]
    payer_uid_needed: frozenset[SubPayway] = frozenset()
    schedule: Schedule
    signs_slowly: bool = False


class Pay(msgspec.Struct, frozen=True, kw_only=True):
    """Barcode pay (B扫C). `out_trade_no` is our sn; amounts are fen; `detail` is the request's extra JSON."""

    out_trade_no: str
    amount: int
    auth_code: str
    subject: str
    description: str = ""
    operator: str = ""
    store_sn: str = ""
    terminal_sn: str = ""
    detail: str = ""
    notify_url: str = ""
    ctime_ms: int


class Precreate(msgspec.Struct, frozen=True, kw_only=True):
    """QR, WAP, mini program, APP or H5 order (C扫B); after `expires_ms` the wallet must refuse to be paid."""

    out_trade_no: str
    amount: int
    sub_payway: SubPayway
    subject: str
    description: str = ""
    operator: str = ""
    store_sn: str = ""
    terminal_sn: str = ""
    payer_uid: str = ""
    client_ip: str = "127.0.0.1"
    detail: str = ""
    notify_url: str
    ctime_ms: int
    expires_ms: int


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Ask what became of our order; `amount` is what a success must show."""

    out_trade_no: str
    amount: int


class Reverse(msgspec.Struct, frozen=True, kw_only=True):
    """Take the order back whether it is paid or not (冲正; Alipay cancel, WeChat reverse)."""

    out_trade_no: str


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """Close an unpaid QR order so that nobody can pay it any more."""

    out_trade_no: str


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Give `amount` of `total` back. `refund_no` never changes for one refund: repeating is safe.

    `before`: what we know to have gone back of this order already, in fen, by other refunds.
    """

    out_trade_no: str
    refund_no: str
    amount: int
    total: int
    before: int = 0
    reason: str = ""
    notify_url: str = ""


class RefundQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Ask what became of that refund."""

    out_trade_no: str
    refund_no: str
    amount: int


Operation = Pay | Precreate | Query | Reverse | Close | Refund | RefundQuery


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What goes out. `mutual_tls`: present the account's client certificate. Times in seconds."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    timeout_s: int
    mutual_tls: bool = False


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What came back, whole. Headers are asked for by lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ClientTls(msgspec.Struct, frozen=True, kw_only=True):
    """PEM texts for mutual TLS: our certificate and key, and the CA to trust ("" = the system's)."""

    certificate: str = ""
    key: str = ""
    ca: str = ""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A channel called us: the raw request. Header names are lower case."""

    method: str
    query: str
    headers: dict[str, str]
    body: bytes


class CallbackFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified callback says. `refund_no` is "" for callbacks about the payment itself.

    `amount` is what the callback names, in fen, for the caller to hold against the order (promise M6);
    `outcome` is Took, InProgress, GaveBack (refund done), Refused (closed, refund refused) or Unknown.
    """

    out_trade_no: str
    refund_no: str = ""
    amount: int
    outcome: Outcome


class CallbackForged(Exception):
    """The callback's signature, account or form is wrong; nothing was changed and it is not acknowledged."""


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """The literal words a channel waits for (00-principles.md §4)."""

    status: int = 200
    content_type: str
    body: bytes


class Channel(Protocol):
    """One provider's protocol for one channel account."""

    capabilities: ClassVar[Capabilities]
    ack: ClassVar[Ack]
    nack: ClassVar[Ack]

    def __init__(self, account: Account) -> None:
        """Parse the account's keys; raises `ConfigurationBroken` naming the credential that is wrong."""

    @property
    def tls(self) -> ClientTls | None:
        """What mutual TLS needs, or None when the account has no certificate."""

    def build(self, operation: Operation, *, now_ms: int, nonce: str) -> HttpRequest | Prepared:
        """Write the true request; `Prepared` when nothing needs to be sent (a signed URL or order text)."""

    def read(self, operation: Operation, response: HttpResponse) -> Outcome:
        """Judge a reply: never raises; what is on no table is `Unknown`."""

    def verify(self, callback: Callback) -> CallbackFact:
        """Check signature and account over the raw bytes; raises `CallbackForged`."""

    def scrub(self, text: str) -> str:
        """Return a request or reply text without signatures, barcodes and payers' data, fit for keeping."""
