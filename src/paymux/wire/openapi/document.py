"""The whole description: an OpenAPI 3.1 document, from the tables beside it and the gateway's settings."""

from typing import Any

from paymux import __version__
from paymux.domain.limits import Limits
from paymux.domain.people import BUCKETS
from paymux.wire.openapi import answers, examples, fields
from paymux.wire.openapi.fields import Field, Schema
from paymux.wire.upay_v2.codes import ResultCode
from paymux.wire.upay_v2.requests import CLIENT_SN_BYTES_MAX, CLIENT_SN_BYTES_STRICT

_ABOUT = """\
paymux is a payment gateway: tills and shops speak one protocol to it, `Upay v2` (收钱吧支付网关 2.0), \
and it speaks to each wallet in the wallet's own.

Amounts are text in fen (分), times are text in epoch milliseconds, bodies are JSON in UTF-8. `null`, `""` \
and a missing field are the same; JSON integers are read where text is wanted; fields nobody knows are \
ignored, and one that stands there twice is refused. The HTTP status of every Upay answer is 200: look at \
`result_code`, then at `biz_response.result_code`, then at `data.order_status`.

No answer at all? Query by `client_sn`, or send the same bytes again. A repeated number never pays or \
refunds twice."""

_SIGNING = """\
`Authorization: <sn> <sign>`, where `sign` is the MD5 of the body with the key right behind it, in 32 hex \
digits: `md5(body ‖ key)`. It is made over the exact bytes that are sent, so write the body once, sign it, \
and send that. The path and the other headers are not covered, and there is neither a time nor a nonce: \
the numbers in the body make a repeated call harmless."""
_TERMINAL = (
    f"{_SIGNING}\n\n`sn` is the `terminal_sn`, the key its `terminal_key`."
    " After a check-in the new key and the one that signed the check-in are both valid."
)
_VENDOR = f"{_SIGNING}\n\n`sn` is the `vendor_sn`, the key the `vendor_key`. Only activation is signed so."
_NOTIFIED = """\
Sent to the `notify_url` of the order when it is paid, undone, refunded, or in front of an operator. The \
body is the order, without an envelope. The header `Authorization` is the Base64 of an RSA PKCS#1 v1.5 \
signature with SHA-256 over the raw body; the public key is at `/.well-known/paymux-notify-key.pem`. \
Answer HTTP 200 with the body `success`; else it comes again. It may come twice: judge by `order_status`."""


def document(limits: Limits, *, strict_client_sn: bool) -> dict[str, Any]:
    """Return the description of a gateway with these settings, ready to be written as JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "paymux",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "orders", "description": "What tills do with sales. Signed by a terminal."},
            {"name": "terminals", "description": "How a device becomes a terminal and gets its keys."},
            {"name": "wallets", "description": "Where wallets tell what became of a payment or refund."},
            {"name": "operation", "description": "For whoever runs or watches the gateway."},
        ],
        "paths": {
            **_order_calls(limits, CLIENT_SN_BYTES_STRICT if strict_client_sn else CLIENT_SN_BYTES_MAX),
            **_terminal_calls(limits),
            **_callbacks(),
            **_pages(),
        },
        "webhooks": {"notification": {"post": _notification()}},
        "components": {
            "schemas": answers.schemas(),
            "securitySchemes": {
                "terminal": _signature(_TERMINAL),
                "vendor": _signature(_VENDOR),
            },
        },
    }


def _signature(words: str) -> dict[str, Any]:
    return {"type": "apiKey", "in": "header", "name": "Authorization", "description": words}


# -- Upay v2


def _order_calls(limits: Limits, client_sn_bytes_max: int) -> dict[str, Any]:
    pay, precreate = fields.pay_fields(client_sn_bytes_max), fields.precreate_fields(client_sn_bytes_max)
    both = {"dependentRequired": {"longitude": ["latitude"], "latitude": ["longitude"]}}
    needs_payer: Schema = {
        "if": {"properties": {"sub_payway": {"enum": ["3", "4"]}}, "required": ["sub_payway"]},
        "then": {"required": ["payer_uid"], "properties": {"payer_uid": {"minLength": 1}}},
    }
    asks = fields.one_of("terminal_sn", "wosai_store_id")
    cancel = fields.request_schema(fields.CANCEL_FIELDS, **fields.EITHER_NUMBER)
    cancelled = answers.order_answer("CANCEL_")
    undoing = f"Undoes an order, or stops a payment under way. Waits up to {limits.cancel_wait_s} s."

    def call(name: str, summary: str, words: str, request: Schema, answer: Schema) -> dict[str, Any]:
        operation = _call(name, summary, words, limits.body_bytes_max, answer)
        operation["requestBody"] = _json_body(request, examples.REQUESTS[name])
        return {f"/upay/v2/{name}": {"post": operation}}

    return {
        **call(
            "pay",
            "Charge the buyer's barcode (付款, B扫C)",
            f"Waits up to {limits.pay_wait_s} s for the wallet. Still open? Query until it is final.",
            fields.request_schema(pay, **both),
            answers.order_answer("PAY_"),
        ),
        **call(
            "precreate",
            "Make an order the buyer pays on his own device (预下单, C扫B)",
            f"Gives a QR code, or what a WAP page, mini program or app needs. The order lives"
            f" {limits.precreate_life_s} s, then it is closed: `PAY_CANCELED`, `TRADE_TIMEOUT`.",
            fields.request_schema(precreate, **both, **needs_payer),
            answers.order_answer("PRECREATE_", data="OrderToPay"),
        ),
        **call(
            "query",
            "Ask what became of an order or of one refund (查询)",
            f"Poll as often as you like: the wallet is asked at most every {limits.query_min_gap_s} s.",
            fields.request_schema(fields.QUERY_FIELDS, allOf=[fields.EITHER_NUMBER, asks]),
            answers.order_answer("SUCCESS"),
        ),
        **call(
            "refund",
            "Give back a part or all (退款)",
            f"As often as you like until nothing is left. Waits up to {limits.refund_wait_s} s."
            " The same number with the same amount is never a second refund.",
            fields.request_schema(fields.REFUND_FIELDS, **fields.EITHER_NUMBER),
            answers.order_answer("REFUND_"),
        ),
        **call("cancel", "Undo an order (撤单)", undoing, cancel, cancelled),
        **call("revoke", "The same as cancel, by hand (手动撤单)", undoing, cancel, cancelled),
    }


def _terminal_calls(limits: Limits) -> dict[str, Any]:
    activate = _call(
        "activate",
        "Make a device a terminal (激活)",
        "Spends one use of an activation code. Signed by the vendor.",
        limits.body_bytes_max,
        answers.terminal_answer(ResultCode.ACTIVATE_SUCCESS),
    )
    activate |= {"tags": ["terminals"], "security": [{"vendor": []}]}
    activate["requestBody"] = _json_body(
        fields.request_schema(fields.ACTIVATE_FIELDS), examples.REQUESTS["activate"]
    )
    checkin = _call(
        "checkin",
        "Get a new key (签到)",
        "The new key and the one that signed this are valid from now on. Lost the answer? Check in again.",
        limits.body_bytes_max,
        answers.terminal_answer(ResultCode.TERMINAL_CHECKIN_SUCCESS),
    )
    checkin |= {"tags": ["terminals"]}
    checkin["requestBody"] = _json_body(
        fields.request_schema(fields.CHECKIN_FIELDS), examples.REQUESTS["checkin"]
    )
    upload = _call(
        "uploadLog",
        "Hand in a terminal's log",
        "Takes any bytes, and only notes that they came.",
        limits.log_bytes_max,
        answers.UPLOADED,
    )
    upload |= {"tags": ["terminals"]}
    upload["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
    return {
        "/terminal/activate": {"post": activate},
        "/terminal/checkin": {"post": checkin},
        "/terminal/uploadLog": {"post": upload},
    }


def _call(name: str, summary: str, words: str, bytes_max: int, answer: Schema) -> dict[str, Any]:
    told: dict[str, Any] = {"description": "Every answer, errors included.", "content": _json(answer)}
    if name in examples.ANSWERS:
        told["content"]["application/json"]["example"] = examples.ANSWERS[name]
    return {
        "operationId": name,
        "tags": ["orders"],
        "summary": summary,
        "description": f"{words}\n\nA body may have {bytes_max} bytes.",
        "security": [{"terminal": []}],
        "responses": {"200": told},
    }


def _json_body(schema: Schema, example: dict[str, Any]) -> dict[str, Any]:
    content = _json(schema)
    content["application/json"]["example"] = example
    return {"required": True, "content": content}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _notification() -> dict[str, Any]:
    body = _json_body({"$ref": "#/components/schemas/Order"}, examples.ORDER)
    return {
        "operationId": "notification",
        "tags": ["orders"],
        "summary": "You are told what became of an order (回调通知)",
        "description": _NOTIFIED,
        "requestBody": body,
        "responses": {
            "200": {"description": "Taken.", "content": {"text/plain": {"schema": {"const": "success"}}}}
        },
    }


# -- wallets


def _callbacks() -> dict[str, Any]:
    place = [
        _in_path(Field("account", "The channel account the order was paid through.", "alipay")),
        _in_path(
            Field(
                "bucket",
                "Where the merchant's orders live.",
                7,
                schema={"type": "integer", "minimum": 0, "maximum": BUCKETS - 1},
            )
        ),
        _in_path(Field("merchant_id", "The merchant.", "1680000000000001")),
        _in_path(Field("sn", "The order.", examples.ORDER["sn"])),
    ]
    of_order, of_refund = "/callbacks/{account}/{bucket}/{merchant_id}/{sn}", "/refunds/{tsn}"
    tsn = _in_path(Field("tsn", "The refund.", examples.ORDER["sn"]))
    return {
        of_order: {"parameters": place, **_called("Payment", "a payment")},
        of_order + of_refund: {"parameters": [*place, tsn], **_called("Refund", "a refund")},
    }


def _called(name: str, what: str) -> dict[str, Any]:
    words = (
        "The wallet's own message, verified by its signature; only what is durably recorded is thanked for."
        " Nobody else has to know these addresses."
    )
    texts = {"text/plain": {"schema": answers.TEXT}}
    responses = {
        "200": {
            "description": "Thanks, or a refusal, in the wallet's words.",
            "content": {**texts, "text/xml": {"schema": answers.TEXT}},
        },
        "400": {"description": "The body was too long or cut off.", "content": texts},
        "404": {
            "description": "No such account, or an address we never gave.",
            "content": {**texts, **_json({"$ref": "#/components/schemas/PageError"})},
        },
        "500": {"description": "It could not be recorded: call again.", "content": texts},
    }
    operations = {}
    for method in ("get", "post"):
        operations[method] = {
            "operationId": f"{method}Callback{name}",
            "tags": ["wallets"],
            "summary": f"A wallet tells about {what}",
            "description": words,
            "responses": responses,
        }
    content: dict[str, Any] = {
        "application/x-www-form-urlencoded": {"schema": {}},
        "text/xml": {"schema": {}},
    }
    operations["post"]["requestBody"] = {"content": content}
    return operations


def _in_path(field: Field) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1} | field.schema
    return {
        "name": field.name,
        "in": "path",
        "required": True,
        "description": field.what,
        "schema": schema,
        "example": field.example,
    }


# -- pages


def _pages() -> dict[str, Any]:
    status = {"type": "object", "required": ["status"], "properties": {"status": answers.TEXT}}
    error = _json({"$ref": "#/components/schemas/PageError"})
    unready = {"description": "The database does not answer: send nobody here.", "content": _json(status)}
    no_key = {"description": "This gateway signs no notifications.", "content": error}
    bad = {"description": "Nothing to draw, or too much.", "content": error}
    picture = {
        "200": {
            "description": "The picture.",
            "content": {"image/png": {"schema": {}}, "image/svg+xml": {"schema": {}}},
        },
        "400": bad,
    }
    text = {"text/plain": {"schema": answers.TEXT}}
    pages = {
        "/healthz": _page("healthz", "Does this process turn its loop?", _json(status)),
        "/readyz": _page("readyz", "Does the database answer?", _json(status), **{"503": unready}),
        "/metrics": _page("metrics", "Numbers for Prometheus", text),
        "/.well-known/paymux-notify-key.pem": _page(
            "notifyKey",
            "The public key that notifications are verified with",
            {"application/x-pem-file": {"schema": answers.TEXT}},
            **{"404": no_key},
        ),
        "/upay/qrcode": _page("qrcode", "Draw a QR code", {}, **picture),
        "/openapi.json": _page("openapi", "This description, for machines", _json({"type": "object"})),
        "/docs": _page("docs", "This description, for people", {"text/html": {"schema": answers.TEXT}}),
    }
    pages["/upay/qrcode"]["get"]["parameters"] = [
        {
            "name": "content",
            "in": "query",
            "required": True,
            "description": "What the code shall say, up to 512 bytes.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 512, "x-bytes-max": 512},
            "example": "https://shop.example/pay",
        },
        {
            "name": "format",
            "in": "query",
            "description": "`svg`, or a PNG.",
            "schema": {"type": "string", "enum": ["png", "svg"], "default": "png"},
        },
    ]
    return pages


def _page(name: str, summary: str, content: dict[str, Any], **responses: dict[str, Any]) -> dict[str, Any]:
    found = {"200": {"description": "Here it is.", "content": content}}
    operation = {
        "operationId": name,
        "tags": ["operation"],
        "summary": summary,
        "responses": {**found, **responses},
    }
    return {"get": operation}
