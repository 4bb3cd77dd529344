"""The answers: envelopes, the order's fields, what each code asks of a till (upay-v2.md §2, §4.3, §8)."""

from collections.abc import Iterable
from typing import Any

from paymux.domain.order import FINAL, OrderStatus, TransactionStatus
from paymux.domain.payways import PAYWAY_NAMES
from paymux.wire.openapi.fields import AMOUNT_DIGITS, Schema
from paymux.wire.upay_v2.codes import BIZ_ERRORS, CALL_ERRORS, SUB_PAYWAY_NAMES, ResultCode

NOT_SENT = frozenset({"INVALID_PARAMETER", "UPAY_ORDER_NOT_EXIST"})
"""Spellings of old editions, which readers know and we do not send."""
TEXT: Schema = {"type": "string"}
_FEN: Schema = {"type": "string", "pattern": f"^[0-9]{{1,{AMOUNT_DIGITS}}}$"}
_TIME: Schema = {"type": "string", "pattern": "^([0-9]{13})?$"}
_SN: Schema = {"type": "string", "pattern": "^[0-9]{16}$"}

RESULTS = {
    ResultCode.PAY_SUCCESS: "Paid. Hand over the goods.",
    ResultCode.PAY_FAIL: "Not paid, and nothing is held. Try again with a new `client_sn`.",
    ResultCode.PAY_IN_PROGRESS: "The wallet has not decided. Query until the status is final.",
    ResultCode.PAY_FAIL_ERROR: "Unclear, and so is its reversal. Hand over nothing; call support.",
    ResultCode.PAY_FAIL_IN_PROGRESS: "Cancelled meanwhile and being undone. Query until the status is final.",
    ResultCode.CANCEL_SUCCESS: "Undone: the money is back.",
    ResultCode.CANCEL_ERROR: "With `PAID` the wallet refuses; the sale stands. Else unclear: query, repeat.",
    ResultCode.CANCEL_IN_PROGRESS: "It will be undone. Query until `CANCELED`.",
    ResultCode.CANCEL_ABORT_SUCCESS: "A payment under way was stopped: the money is back or was never taken.",
    ResultCode.CANCEL_ABORT_ERROR: "It is unclear whether the payment could be stopped. Query, cancel again.",
    ResultCode.CANCEL_ABORT_IN_PROGRESS: "The payment is being stopped. Query until `CANCELED`.",
    ResultCode.REFUND_SUCCESS: "The money went back.",
    ResultCode.REFUND_ERROR: "Unclear; the gateway goes on trying. Pay nobody in cash; call support.",
    ResultCode.REFUND_IN_PROGRESS: "The wallet works on it. Query, or repeat the same request.",
    ResultCode.REFUND_FAIL: "Refused; nothing moved. Mend the reason, repeat with the same number.",
    ResultCode.PRECREATE_SUCCESS: "Here is what the buyer needs. Show it, then query.",
    ResultCode.PRECREATE_FAIL: "No code; nothing can be paid. Try again with a new `client_sn`.",
    ResultCode.PRECREATE_FAIL_ERROR: "No code, and the closing is unclear. A new `client_sn`; call support.",
    ResultCode.PRECREATE_FAIL_IN_PROGRESS: "No code came; the order is being closed. A new `client_sn`.",
    ResultCode.ACTIVATE_SUCCESS: "The new terminal. Store its number and key.",
    ResultCode.TERMINAL_CHECKIN_SUCCESS: "The new key. Store it before you use it.",
    ResultCode.SUCCESS: "The order was found. Look at `data.order_status`.",
    ResultCode.FAIL: "Refused before anything was touched; `error_code` says why.",
}
"""Result code → what it means and what the till does."""

CALLS = {
    "INVALID_PARAMS": "A field is wrong; the message names each of them.",
    "INVALID_TERMINAL": "The terminal is switched off, speaks for another one, or is on another device.",
    "TERMINAL_NOT_EXISTS": "Nobody has this `terminal_sn`.",
    "ILLEGAL_SIGN": "The signature is wrong; the gateway's log says what would have matched.",
    "ACTIVATE_FAIL": "The code is unknown, spent or expired, or number or device are another terminal's.",
    "UNKNOWN_SYSTEM_ERROR": "Our fault. Query before you try again.",
    "MAINTENANCE_INPROGRESS": "Cut off by a restart; what was begun goes on. Query before you try again.",
}
"""Error code of a call that was not taken → what it means."""

ORDER_STATUSES = {
    OrderStatus.CREATED: "waits for the buyer or the wallet",
    OrderStatus.PAID: "paid",
    OrderStatus.PAY_CANCELED: "not paid; nothing is held",
    OrderStatus.PAY_ERROR: "unclear, and so is the reversal; an operator knows, and we go on asking",
    OrderStatus.REFUNDED: "given back in full",
    OrderStatus.PARTIAL_REFUNDED: "given back in part",
    OrderStatus.REFUND_INPROGRESS: "a refund is under way",
    OrderStatus.REFUND_ERROR: "a refund is unclear; an operator knows, and we go on asking",
    OrderStatus.CANCELED: "undone",
    OrderStatus.CANCEL_INPROGRESS: "being undone",
    OrderStatus.CANCEL_ERROR: "unclear whether it could be undone; an operator knows, and we go on asking",
}
"""Status → what is true of the order."""

_STATUSES = [status for status in TransactionStatus if status is not TransactionStatus.FAIL_IO_3]

ORDER_FIELDS: dict[str, tuple[str, Schema]] = {
    "terminal_sn": ("The terminal that made the order.", TEXT),
    "sn": ("Our number of the order.", _SN),
    "tsn": ("Our number of the movement this answer is about.", _SN),
    "client_sn": ("Your number of the order.", TEXT),
    "client_tsn": ("`client_sn`; of a refund with `-refund_request_no` behind it.", TEXT),
    "trade_no": ("The wallet's number of the payment, once there is one.", TEXT),
    "ctime": ("When the order was made.", {"type": "string", "pattern": "^[0-9]{13}$"}),
    "status": ("Status of the movement.", {"type": "string", "enum": [*_STATUSES]}),
    "order_status": (
        "Status of the order. Final are: "
        + ", ".join(status for status in OrderStatus if status in FINAL)
        + ".",
        {"$ref": "#/components/schemas/OrderStatus"},
    ),
    "payway": ("The wallet.", {"type": "string", "enum": [*PAYWAY_NAMES]}),
    "payway_name": ("The wallet's name.", {"type": "string", "enum": sorted(set(PAYWAY_NAMES.values()))}),
    "sub_payway": ("How the buyer met it.", {"type": "string", "enum": [*SUB_PAYWAY_NAMES]}),
    "payer_uid": ("The buyer's number at the wallet.", TEXT),
    "payer_login": ("The buyer's name at the wallet, masked by it.", TEXT),
    "total_amount": ("What the sale is about, in fen.", _FEN),
    "net_amount": ("What is left of it after refunds, in fen; 0 once it is undone.", _FEN),
    "subject": ("What was sold.", TEXT),
    "description": ("More about it.", TEXT),
    "operator": ("Who made the latest movement.", TEXT),
    "reflect": ("As it was sent, in the type it was sent in.", {}),
    "store_id": ("The store.", TEXT),
    "terminal_id": ("As `terminal_sn`.", TEXT),
    "finish_time": ("When the status became final.", _TIME),
    "channel_finish_time": ("When the wallet says the money moved.", _TIME),
    "payment_list": (
        "What the buyer paid with: purse, card, coupons.",
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "amount_total"],
                "properties": {"type": TEXT, "amount_total": _FEN},
            },
        },
    ),
}
"""Fields of an order, as `replies.order_data` writes them: always all of them, "" until they are known."""

CODE_FIELDS: dict[str, tuple[str, Schema]] = {
    "qr_code": ("What the QR code says; draw it.", TEXT),
    "qr_code_image_url": ("The code as a picture, if you cannot draw.", TEXT),
    "wap_pay_request": ("What a WAP page, mini program or app hands to the wallet.", TEXT),
}
"""What a precreate adds when there is something to pay with."""

TERMINAL_FIELDS: dict[str, tuple[str, Schema]] = {
    "terminal_sn": ("The terminal's number.", TEXT),
    "terminal_key": ("The key it signs with from now on.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}),
    "merchant_sn": ("Its merchant.", TEXT),
    "merchant_name": ("The merchant's name.", TEXT),
    "store_sn": ("Its store.", TEXT),
    "store_name": ("The store's name.", TEXT),
}


def schemas() -> dict[str, Schema]:
    """The named schemas that answers are made of."""
    order = _object(ORDER_FIELDS)
    coded = {"properties": _object(CODE_FIELDS)["properties"]}
    return {
        "OrderStatus": {
            "type": "string",
            "enum": [*ORDER_STATUSES],
            "x-enum-descriptions": dict(ORDER_STATUSES),
        },
        "BusinessError": {
            "type": "string",
            "description": 'Why the answer is not what was wanted; "" when it is.',
            "enum": ["", *sent(BIZ_ERRORS)],
            "x-enum-descriptions": {code: BIZ_ERRORS[code] for code in sent(BIZ_ERRORS)},
        },
        "Order": order,
        "OrderToPay": {"allOf": [{"$ref": "#/components/schemas/Order"}, coded]},
        "Terminal": _object(TERMINAL_FIELDS),
        "CallError": {
            "description": "The call was not taken. With 500: query before you try again.",
            "oneOf": [_call_errors(result_code) for result_code in ("400", "500")],
        },
        "PageError": _object({"error": ("A code.", TEXT), "message": ("What is wrong.", TEXT)}),
    }


def sent(codes: Iterable[str]) -> list[str]:
    """The codes we send, of a table that has also what readers must know."""
    return [code for code in codes if code not in NOT_SENT]


def order_answer(prefix: str, *, data: str = "Order") -> Schema:
    """An answer about an order: result codes that begin so (all of them but FAIL carry the order)."""
    results = [result for result in ResultCode if result.startswith(prefix)]
    return good({**_results([*results, ResultCode.FAIL]), "data": {"$ref": f"#/components/schemas/{data}"}})


def terminal_answer(result: ResultCode) -> Schema:
    """The terminal, flat for old clients and nested for newer ones (§13 no. 2)."""
    terminal = _object(TERMINAL_FIELDS)["properties"]
    nested = {"$ref": "#/components/schemas/Terminal"}
    return good({**_results([result]), **terminal, "data": nested}, needed=[*terminal, "data"])


def good(biz: dict[str, Schema], *, needed: Iterable[str] = ()) -> Schema:
    """The envelope around a business answer, or the call's error."""
    always = ["result_code", "error_code", "error_message"]
    taken = {
        "type": "object",
        "required": [*always, "biz_response"],
        "properties": {
            "result_code": {"const": "200"},
            "error_code": {"const": ""},
            "error_message": {"const": ""},
            "biz_response": {"type": "object", "required": [*always, *needed], "properties": biz},
        },
    }
    return {"oneOf": [taken, {"$ref": "#/components/schemas/CallError"}]}


UPLOADED: Schema = {
    "oneOf": [
        {
            "type": "object",
            "required": ["result_code", "error_code", "error_message"],
            "properties": {
                "result_code": {"const": "200"},
                "error_code": {"const": "SUCCESS"},
                "error_message": {"const": "ok"},
            },
        },
        {"$ref": "#/components/schemas/CallError"},
    ]
}
"""The one answer without a business part (§3.3)."""


def _results(results: list[ResultCode]) -> dict[str, Schema]:
    return {
        "result_code": {
            "type": "string",
            "enum": [*results],
            "x-enum-descriptions": {result: RESULTS[result] for result in results},
        },
        "error_code": {"$ref": "#/components/schemas/BusinessError"},
        "error_message": TEXT,
    }


def _call_errors(result_code: str) -> Schema:
    codes = [code for code in sent(CALL_ERRORS) if CALL_ERRORS[code][0] == result_code]
    return {
        "type": "object",
        "required": ["result_code", "error_code", "error_message"],
        "properties": {
            "result_code": {"const": result_code},
            "error_code": {
                "type": "string",
                "enum": codes,
                "x-enum-descriptions": {code: f"{CALL_ERRORS[code][1]}. {CALLS[code]}" for code in codes},
            },
            "error_message": {"type": "string", "description": "For people; names each wrong field."},
            "error_code_standard": {
                "type": "string",
                "description": "The incident's number in the gateway's log.",
            },
        },
    }


def _object(fields: dict[str, tuple[str, Schema]]) -> Schema:
    properties: dict[str, Any] = {
        name: {"description": what, **schema} for name, (what, schema) in fields.items()
    }
    return {"type": "object", "required": [*fields], "properties": properties}
