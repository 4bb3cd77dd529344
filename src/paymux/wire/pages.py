"""The small addresses beside the protocols: health, metrics, the notification key, QR codes, description."""

import io

import segno
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from paymux.domain.order import OrderKey
from paymux.flows.desk import Desk
from paymux.wire.metrics import Metrics
from paymux.wire.openapi.page import Description

_QR_BYTES_MAX = 512
"""qr_code has 128 characters at most (upay-v2.md §5); a longer text would only cost us time."""
_QR_SCALE = 8
_NOWHERE = OrderKey(0, "", "")
_NOTHING_ELSE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""The page for people brings its looks along, and loads nothing from anywhere."""


def page_routes(
    desk: Desk, metrics: Metrics, *, notify_public_pem: str, description: Description
) -> list[Route]:
    """The routes; /readyz asks the database, /healthz only whether this process turns its loop."""

    async def ready(_: Request) -> Response:
        try:
            await desk.store.order(_NOWHERE)
        except Exception:  # any trouble means the same: send nobody here
            desk.log.exception("readyz.failed")
            return JSONResponse({"status": "unready", "reason": "the database does not answer"}, 503)
        return JSONResponse({"status": "ready"})

    async def healthy(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def measured(_: Request) -> Response:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    async def notify_key(_: Request) -> Response:
        if not notify_public_pem:
            return JSONResponse({"error": "NOT_FOUND", "message": "this gateway signs no notifications"}, 404)
        return PlainTextResponse(notify_public_pem, media_type="application/x-pem-file")

    async def described(_: Request) -> Response:
        return Response(description.json, media_type="application/json")

    async def explained(_: Request) -> Response:
        return HTMLResponse(description.page, headers=_NOTHING_ELSE)

    return [
        Route("/healthz", healthy),
        Route("/readyz", ready),
        Route("/metrics", measured),
        Route("/.well-known/paymux-notify-key.pem", notify_key),
        Route("/upay/qrcode", qr_picture),
        Route("/openapi.json", described),
        Route("/docs", explained),
    ]


def qr_picture(request: Request) -> Response:
    """Draw `content` as PNG, or as SVG with format=svg. Not async: Starlette draws in a thread of its own."""
    content = request.query_params.get("content", "")
    if not content or len(content.encode()) > _QR_BYTES_MAX:
        text = f"content must have 1 to {_QR_BYTES_MAX} bytes"
        return JSONResponse({"error": "INVALID_PARAMS", "message": text}, 400)
    kind = "svg" if request.query_params.get("format") == "svg" else "png"
    picture = io.BytesIO()
    segno.make(content, micro=False).save(picture, kind=kind, scale=_QR_SCALE)
    media_type = "image/svg+xml" if kind == "svg" else "image/png"
    return Response(picture.getvalue(), media_type=media_type, headers={"cache-control": "max-age=300"})
