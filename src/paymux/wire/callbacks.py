"""Channels call us: keep the body raw, hand it to the flow, answer in the channel's own words.

The URL says where the order lives, so that it is one look-up (DESIGN §7); what the callback itself claims is
verified by the channel, not here. Without the channel's thanks it calls again, which is what we want whenever
anything went wrong.
"""

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from paymux.channels.contract import Callback
from paymux.domain.order import OrderKey
from paymux.domain.people import BUCKETS
from paymux.flows.callback import callback
from paymux.flows.desk import Desk
from paymux.wire.body import BodyIncomplete, BodyTooLarge, CallerGone, read_body

_ORDER = "/callbacks/{account}/{bucket}/{merchant_id}/{sn}"
_REFUND = _ORDER + "/refunds/{tsn}"
_BUCKETS = {str(bucket): bucket for bucket in range(BUCKETS)}
"""As they are spelled in addresses; a number of any length would end in the database's own errors."""


def callback_routes(desk: Desk) -> list[Route]:
    """The two addresses `Desk.callback_url` gives to channels: of an order, and of one of its refunds."""

    async def called(request: Request) -> Response:
        return await _called(desk, request)

    return [Route(path, called, methods=["GET", "POST"]) for path in (_ORDER, _REFUND)]


async def _called(desk: Desk, request: Request) -> Response:
    key = _key(request.path_params)
    try:
        raw = await _raw(desk, request)
        ack = await callback(desk, request.path_params["account"], key, raw)
    except (BodyTooLarge, BodyIncomplete, CallerGone) as error:
        desk.log.warning("callback.unread", sn=key.sn, reason=type(error).__name__)
        return PlainTextResponse("unread", status_code=400)
    except Exception:  # whatever it was, the channel shall call again
        incident = desk.ids.event_id()
        desk.log.exception("callback.failed", alarm=True, sn=key.sn, incident=incident)
        return PlainTextResponse("failed", status_code=500)
    return Response(ack.body, status_code=ack.status, headers={"content-type": ack.content_type})


def _key(path: dict[str, Any]) -> OrderKey:
    bucket = _BUCKETS.get(path["bucket"])
    if bucket is None:
        raise HTTPException(404)  # an address we never gave to anybody
    return OrderKey(bucket, path["merchant_id"], path["sn"])


async def _raw(desk: Desk, request: Request) -> Callback:
    loop = asyncio.get_running_loop()
    bytes_max = desk.limits.body_bytes_max
    body = await read_body(request.scope, request.receive, bytes_max=bytes_max, loop=loop)
    return Callback(
        method=request.method,
        query=request.scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]},
        body=body,
    )
