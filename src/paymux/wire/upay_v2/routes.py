"""The nine calls of Upay v2: verify the raw bytes, read, let the flow decide about money, write the answer.

An answer is never an exception: whatever happens becomes a reply of upay-v2.md §2, and what nobody foresaw
becomes UNKNOWN_SYSTEM_ERROR with an incident number that finds the reason in the log.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from paymux.domain.errors import ClientSnConflict, OrderNotFound, RequestRefused, StorageFailed
from paymux.domain.order import Order, OrderKey
from paymux.domain.people import Merchant, Terminal, Vendor
from paymux.domain.people import Store as Shop
from paymux.domain.requests import OrderRef, PayRequest, PrecreateRequest
from paymux.flows import terminals
from paymux.flows.cancel import cancel
from paymux.flows.desk import Desk
from paymux.flows.find import find
from paymux.flows.pay import pay
from paymux.flows.precreate import precreate
from paymux.flows.query import query
from paymux.flows.record import event
from paymux.flows.refund import refund
from paymux.wire.upay_v2 import replies, requests
from paymux.wire.upay_v2.codes import CallRefused
from paymux.wire.upay_v2.replies import Answer
from paymux.wire.upay_v2.signing import NOBODY, Claim, body_digest, diagnose, matching_key, read_claim

Handler = Callable[[Claim, bytes], Awaitable[Answer]]
_SN_CHARS_MAX = 32
"""The longest terminal_sn there may be (upay-v2.md §3.1)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the protocol: its name in metrics and logs, its largest body, and who answers it."""

    name: str
    bytes_max: int
    handle: Handler


class UpayEdge:
    """Upay v2 over one desk. `calls` maps each path to its call."""

    def __init__(self, desk: Desk, *, strict_client_sn: bool) -> None:
        self._desk = desk
        self._client_sn_bytes_max = (
            requests.CLIENT_SN_BYTES_STRICT if strict_client_sn else requests.CLIENT_SN_BYTES_MAX
        )
        handlers: dict[str, Handler] = {
            "/upay/v2/pay": self._pay,
            "/upay/v2/precreate": self._precreate,
            "/upay/v2/query": self._query,
            "/upay/v2/refund": self._refund,
            "/upay/v2/cancel": self._cancel,
            "/upay/v2/revoke": self._cancel,
            "/terminal/activate": self._activate,
            "/terminal/checkin": self._checkin,
        }
        bytes_max = desk.limits.body_bytes_max
        self.calls = {path: Call(_name(path), bytes_max, handler) for path, handler in handlers.items()}
        upload = Call("uploadLog", desk.limits.log_bytes_max, self._upload_log)
        self.calls["/terminal/uploadLog"] = upload

    async def answer(self, call: Call, authorization: bytes | None, body: bytes) -> Answer:
        """Answer one call, whatever happens; never raises but for cancellation."""
        try:
            return await call.handle(read_claim(authorization), body)
        except CallRefused as refused:
            return replies.call_error(refused.code, refused.text)
        except RequestRefused as refusal:
            return replies.refusal_answer(refusal.error_code, refusal.text)
        except StorageFailed as failure:
            return self._incident(call, failure)
        except Exception as surprise:  # noqa: BLE001 - the edge's last line: the caller must get an answer
            return self._incident(call, surprise)

    # -- the calls

    async def _pay(self, claim: Claim, body: bytes) -> Answer:
        terminal, _ = await self._terminal(claim, body)
        request = requests.read_pay(body, terminal, client_sn_bytes_max=self._client_sn_bytes_max)
        self._warn_if_long(request)
        try:
            order = await pay(self._desk, request)
        except ClientSnConflict as conflict:
            return await self._conflict(conflict, terminal)
        return await self._noted(terminal, order, replies.pay_answer(order))

    async def _precreate(self, claim: Claim, body: bytes) -> Answer:
        terminal, _ = await self._terminal(claim, body)
        request = requests.read_precreate(body, terminal, client_sn_bytes_max=self._client_sn_bytes_max)
        self._warn_if_long(request)
        try:
            order = await precreate(self._desk, request)
        except ClientSnConflict as conflict:
            return await self._conflict(conflict, terminal)
        image_url = f"{self._desk.callback_base}/upay/qrcode?content={quote(order.qr_code, safe='')}"
        return await self._noted(terminal, order, replies.precreate_answer(order, image_url=image_url))

    async def _query(self, claim: Claim, body: bytes) -> Answer:
        terminal, _ = await self._terminal(claim, body)
        ref, refund_request_no = requests.read_query(body, terminal)
        return replies.query_answer(await query(self._desk, ref, refund_request_no=refund_request_no))

    async def _cancel(self, claim: Claim, body: bytes) -> Answer:
        terminal, _ = await self._terminal(claim, body)
        ref = requests.read_cancel(body, terminal)
        try:
            answer = await cancel(self._desk, ref)
        except RequestRefused as refusal:
            return await self._refusal(refusal, ref)
        return await self._noted(terminal, answer.order, replies.cancel_answer(answer))

    async def _refund(self, claim: Claim, body: bytes) -> Answer:
        terminal, _ = await self._terminal(claim, body)
        request = requests.read_refund(body, terminal)
        try:
            answer = await refund(self._desk, request)
        except RequestRefused as refusal:
            return await self._refusal(refusal, request.ref)
        return await self._noted(terminal, answer.order, replies.refund_answer(answer))

    async def _activate(self, claim: Claim, body: bytes) -> Answer:
        vendor = await self._vendor(claim, body)
        request = requests.read_activation(body, vendor)
        try:
            terminal = await terminals.activate(self._desk, vendor, request)
        except RequestRefused as refusal:
            raise CallRefused(refusal.error_code, refusal.text) from refusal
        self._desk.log.info("terminal.activated", terminal_sn=terminal.terminal_sn)
        return replies.activate_answer(terminal, *await self._owners(terminal))

    async def _checkin(self, claim: Claim, body: bytes) -> Answer:
        terminal, key = await self._terminal(claim, body)
        device_id = requests.read_checkin(body, terminal)
        try:
            terminal = await terminals.checkin(self._desk, terminal, device_id=device_id, signed_with=key)
        except RequestRefused as refusal:
            raise CallRefused(refusal.error_code, refusal.text) from refusal
        return replies.checkin_answer(terminal, *await self._owners(terminal))

    async def _upload_log(self, claim: Claim, body: bytes) -> Answer:
        """Take any bytes (§13 no. 26); that they came is logged, they themselves are not kept."""
        terminal, _ = await self._terminal(claim, body)
        self._desk.log.info("terminal.log_uploaded", terminal_sn=terminal.terminal_sn, bytes=len(body))
        return replies.upload_answer()

    async def _owners(self, terminal: Terminal) -> tuple[Merchant | None, Shop | None]:
        store = self._desk.store
        return await store.merchant(terminal.merchant_sn), await store.shop(terminal.store_sn)

    # -- who is calling

    async def _terminal(self, claim: Claim, body: bytes) -> tuple[Terminal, str]:
        """Return the signing terminal and the key it used; raises `CallRefused`."""
        terminal = await self._desk.store.terminal(claim.sn)
        key = matching_key(claim, body, _keys(terminal))
        if not key and not claim.fault:
            terminal = await self._desk.store.terminal(claim.sn, fresh=True)
            key = matching_key(claim, body, _keys(terminal))
        if terminal is None or not key:
            tried = {"current": terminal.current_key, "last": terminal.last_key} if terminal else {}
            await self._log_refused(claim, body, tried)
            unknown = terminal is None and not claim.fault
            raise CallRefused("TERMINAL_NOT_EXISTS" if unknown else "ILLEGAL_SIGN")
        if not terminal.active:
            raise CallRefused("INVALID_TERMINAL", "终端错误: 终端已停用")
        return terminal, key

    async def _vendor(self, claim: Claim, body: bytes) -> Vendor:
        """Return the signing vendor; raises `CallRefused`."""
        vendor = await self._desk.store.vendor(claim.sn)
        key = matching_key(claim, body, (vendor.vendor_key,) if vendor else NOBODY)
        if vendor is None or not key:
            await self._log_refused(claim, body, {"vendor": vendor.vendor_key} if vendor else {})
            raise CallRefused("ILLEGAL_SIGN")
        return vendor

    async def _log_refused(self, claim: Claim, body: bytes, tried: dict[str, str]) -> None:
        """Say for people why a signature was refused: never a key, never the sign we expected (PAINS A)."""
        tried = {name: key for name, key in tried.items() if key}
        others = await self._mistakable(claim, body)
        self._desk.log.warning(
            "sign.refused",
            sn=claim.sn if tried else _shown(claim.sn),
            header_fault=claim.fault,
            body_bytes=len(body),
            body_md5=body_digest(body),
            tried=sorted(tried),
            would_match=diagnose(claim, body, {**others, **tried}),
        )

    async def _mistakable(self, claim: Claim, body: bytes) -> dict[str, str]:
        """Return keys a caller may have mistaken for his own, by name."""
        store = self._desk.store
        found: dict[str, str] = {}
        if vendor := await store.vendor(claim.sn):
            found["vendor"] = vendor.vendor_key
        if terminal := await store.terminal(claim.sn):
            found |= {"current": terminal.current_key, "last": terminal.last_key}
        named = _terminal_named(body)
        if named and named != claim.sn and (terminal := await store.terminal(named)):
            found |= {"body's terminal's current": terminal.current_key}
            found |= {"body's terminal's last": terminal.last_key}
        return {name: key for name, key in found.items() if key}

    # -- refusals

    async def _conflict(self, conflict: ClientSnConflict, terminal: Terminal) -> Answer:
        """FAIL, as §13 no. 7 decides; with the order when the very same request came twice (promise M7)."""
        order: Order | None = None
        if not conflict.field and conflict.sn:
            key = OrderKey(terminal.bucket, terminal.merchant_sn, conflict.sn)
            order = await self._desk.store.order(key)
        answer = replies.refusal_answer(conflict.error_code, conflict.text, order)
        return await self._noted(terminal, order, answer) if order is not None else answer

    async def _refusal(self, refusal: RequestRefused, ref: OrderRef) -> Answer:
        """FAIL with the order it is about, when there is one (§2)."""
        order: Order | None = None
        if not isinstance(refusal, OrderNotFound):
            order = await find(self._desk, ref, trade_no_too=True)
        answer = replies.refusal_answer(refusal.error_code, refusal.text, order)
        return await self._noted(ref.terminal, order, answer) if order is not None else answer

    async def _noted(self, terminal: Terminal, order: Order, answer: Answer) -> Answer:
        """Keep in the order's history what we answered (promise M11).

        A plain success is not written again: it is what the last recorded fact of the same call says.
        """
        if answer.outcome not in replies.PLAIN:
            who = f"terminal {terminal.terminal_sn}"
            told = event(self._desk, order, who=who, what="call.answered", text=answer.outcome)
            await self._desk.store.add_events((told,))
        return answer

    def _warn_if_long(self, request: PayRequest | PrecreateRequest) -> None:
        if len(request.client_sn) > requests.CLIENT_SN_BYTES_STRICT:
            self._desk.log.warning(
                "client_sn.long", client_sn=request.client_sn, terminal_sn=request.terminal.terminal_sn
            )

    def _incident(self, call: Call, cause: Exception) -> Answer:
        incident = self._desk.ids.event_id()
        self._desk.log.error("call.failed", alarm=True, call=call.name, incident=incident, exc_info=cause)
        return replies.call_error("UNKNOWN_SYSTEM_ERROR", incident=incident)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _shown(sn: str) -> str:
    """Return nobody's number as the log may show it: a till may have put its key in the number's place."""
    is_number = sn.isascii() and sn.isdecimal() and len(sn) <= _SN_CHARS_MAX
    return sn if is_number or not sn else f"{sn[:4]}… ({len(sn)} characters)"


def _keys(terminal: Terminal | None) -> tuple[str, ...]:
    if terminal is None:
        return NOBODY
    return (terminal.current_key, terminal.last_key) if terminal.last_key else (terminal.current_key,)


class _Named(msgspec.Struct):
    terminal_sn: str = ""


_NAMED = msgspec.json.Decoder(_Named)


def _terminal_named(body: bytes) -> str:
    """Return the terminal_sn a body names, "" when it cannot be read."""
    try:
        return _NAMED.decode(body).terminal_sn
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
