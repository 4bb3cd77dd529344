"""One call to a channel: build, send, read, and a scrubbed transcript of it. Touches no order."""

from functools import partial

import msgspec

from paymux.channels.contract import (
    Channel,
    HttpRequest,
    HttpResponse,
    Operation,
    Pay,
)
from paymux.channels.transport import NoReply, NotSent
from paymux.domain.order import Order
from paymux.domain.outcome import Misconfigured, Outcome, Prepared, Trouble, Unknown
from paymux.flows.desk import Desk
from paymux.storage.contract import Event

_TRANSCRIPT_CHARS_MAX = 8_000
"""A kept request or reply is cut here: no honest one is longer, and history must not fill the disk."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel said: the outcome, and the transcript to keep with whatever is concluded from it."""

    outcome: Outcome
    event: Event


async def call(desk: Desk, order: Order, operation: Operation) -> Said:
    """Do one channel operation about an order. Never raises for what the network or the channel does."""
    channel = await desk.wallets.of(order)
    began_ms = desk.clock.now_ms()
    build = partial(channel.build, operation, now_ms=began_ms, nonce=desk.ids.nonce())
    request = await desk.aside(build) if channel.capabilities.signs_slowly else build()
    if isinstance(request, Prepared):
        return Said(outcome=request, event=_event(desk, order, operation, "nothing to send: signed locally"))
    outcome, response = await _exchange(desk, channel, order, operation, request)
    if isinstance(outcome, Misconfigured):
        desk.log.error(
            "channel.misconfigured",
            alarm=True,
            account=order.account,
            merchant=order.merchant_id,
            sn=order.sn,
            code=outcome.provider_code,
            text=outcome.text,
        )
    took_ms = desk.clock.now_ms() - began_ms
    text = _transcript(channel, request, response, outcome, took_ms)
    return Said(outcome=outcome, event=_event(desk, order, operation, text))


async def _exchange(
    desk: Desk, channel: Channel, order: Order, operation: Operation, request: HttpRequest
) -> tuple[Outcome, HttpResponse | None]:
    tls = channel.tls
    if request.mutual_tls and (tls is None or not tls.certificate):
        text = "refunds and reversals need client_cert and client_key in the channel account"
        return Misconfigured(provider_code="NO_CLIENT_CERTIFICATE", text=text), None
    try:
        response = await desk.transport.send(f"{order.merchant_id}/{order.account}", tls, request)
    except NotSent as error:
        return Unknown(trouble=Trouble.IO, text=str(error), sent=False), None
    except NoReply as error:
        return Unknown(trouble=Trouble.IO, text=str(error)), None
    return channel.read(operation, response), response


def describe(outcome: Outcome) -> str:
    """Say an outcome in a few words for people."""
    name = type(outcome).__name__
    words = [
        str(value)
        for field in ("error_code", "provider_code", "text", "trade_no")
        if (value := getattr(outcome, field, ""))
    ]
    return f"{name} ({', '.join(words)})" if words else name


def _event(desk: Desk, order: Order, operation: Operation, text: str) -> Event:
    return Event(
        bucket=order.bucket,
        merchant_id=order.merchant_id,
        sn=order.sn,
        event_id=desk.ids.event_id(),
        at_ms=desk.clock.now_ms(),
        who=order.channel,
        what=f"{order.channel}.{operation_name(operation)}",
        text=text,
    )


def operation_name(operation: Operation) -> str:
    """The operation's name in capabilities and history: pay, query, refund_query and so on."""
    return _NAMES.get(type(operation).__name__, type(operation).__name__.lower())


_NAMES = {"RefundQuery": "refund_query", Pay.__name__: "pay"}


def _transcript(
    channel: Channel, request: HttpRequest, response: HttpResponse | None, outcome: Outcome, took_ms: int
) -> str:
    sent = channel.scrub(request.body[:_TRANSCRIPT_CHARS_MAX].decode(errors="replace"))
    if response is None:
        came = "no reply"
    else:
        body = channel.scrub(response.body[:_TRANSCRIPT_CHARS_MAX].decode(errors="replace"))
        came = f"{response.status} {body}"
    return f"> {request.url.partition('?')[0]} {sent}\n< {came}\n= {describe(outcome)} after {took_ms} ms"
