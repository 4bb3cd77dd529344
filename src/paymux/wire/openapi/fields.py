"""The fields of the requests, as data: meaning, bound, whether needed, an example (upay-v2.md §3 to §7)."""

from typing import Any

import msgspec

from paymux.domain.money import FEN_MAX
from paymux.domain.payways import PAYWAY_NAMES, SubPayway
from paymux.wire.upay_v2.codes import SUB_PAYWAY_NAMES
from paymux.wire.upay_v2.requests import CLIENT_SN_BYTES_MAX, REFLECT_JSON_CHARS_MAX

Schema = dict[str, Any]
AMOUNT_DIGITS = len(str(FEN_MAX))
AMOUNT: Schema = {"type": "string", "maxLength": AMOUNT_DIGITS, "pattern": "^0*[1-9][0-9]*$"}
"""Fen, more than zero."""


class Field(msgspec.Struct, frozen=True):
    """One field. A text is bounded in bytes (numbers, for machines) or in characters (words, for people).

    `schema` says what is not a bounded text. Amounts, numbers and counts may be JSON integers, too; the
    description names the form the protocol prints: text.
    """

    name: str
    what: str
    example: Any = None
    bytes_max: int = 0
    chars_max: int = 0
    needed: bool = False
    schema: Schema = {}

    def described(self) -> Schema:
        """Its JSON Schema."""
        described = {"type": "string", **self.schema} if "type" not in self.schema else dict(self.schema)
        if self.bytes_max or self.chars_max:
            described["maxLength"] = self.bytes_max or self.chars_max
        if self.needed and described["type"] == "string" and "pattern" not in described:
            described["minLength"] = 1
        described["description"] = self.what
        if self.bytes_max:
            described["x-bytes-max"] = self.bytes_max
        if self.example is not None:
            described["examples"] = [self.example]
        return described


# -- used by several calls

TERMINAL_SN = Field(
    "terminal_sn", "The terminal that signs the call.", "100111220000000001", bytes_max=32, needed=True
)
DEVICE_ID = Field("device_id", "The device the till runs on.", "till-1", bytes_max=128)
OPERATOR = Field("operator", "Who stands at the till; printed editions demand it.", "ann", chars_max=32)
SN = Field(
    "sn",
    "Our number of the order; it goes before `client_sn`. The wallet's `trade_no` is understood here, too.",
    "7024962095120384",
    bytes_max=64,
)
ORDER_CLIENT_SN = Field("client_sn", "Your number of the order.", "A1001", bytes_max=CLIENT_SN_BYTES_MAX)


def one_of(*names: str) -> Schema:
    """A rule: at least one of these texts must be there, and not be empty."""
    return {"anyOf": [{"required": [name], "properties": {name: {"minLength": 1}}} for name in names]}


EITHER_NUMBER = one_of("sn", "client_sn")

_GOODS: Schema = {
    "type": "object",
    "required": ["goods_id", "goods_name", "quantity", "price"],
    "properties": {
        field.name: field.described()
        for field in (
            Field("goods_id", "Your number of the goods.", "1", bytes_max=32, needed=True),
            Field("goods_name", "What it is called.", "tea", chars_max=32, needed=True),
            Field(
                "quantity", "How many.", 1, schema={"type": "integer", "minimum": 0, "maximum": 10**10 - 1}
            ),
            Field(
                "price",
                "Of one, in fen.",
                100,
                schema={"type": "integer", "minimum": 0, "maximum": 10**9 - 1},
            ),
            Field(
                "promotion_type",
                "0 none, 1 the wallet's.",
                0,
                schema={"type": "integer", "minimum": 0, "maximum": 9},
            ),
        )
    },
}


def _client_sn(bytes_max: int) -> Field:
    what = (
        "Your number of the order: one for ever, also when it failed. Used again it is `CLIENT_SN_CONFLICT`."
    )
    return Field("client_sn", what, "A1001", bytes_max=bytes_max, needed=True)


_TOTAL = Field(
    "total_amount", "What the buyer is to pay, in fen, more than 0.", "100", needed=True, schema=AMOUNT
)
_SUBJECT = Field("subject", "What is sold; the buyer sees it.", "咖啡", chars_max=64, needed=True)
_SALE_MORE = (
    Field("description", "More about it.", "two cups", chars_max=256),
    Field(
        "reflect",
        f"Comes back in every answer as it was sent: text, or any JSON of up to {REFLECT_JSON_CHARS_MAX}"
        " characters written out.",
        "table 7",
        schema={"type": ["string", "object", "array", "number", "boolean"], "maxLength": 64},
    ),
    Field(
        "reflact",
        "`reflect` as the oldest edition spells it; read when there is no `reflect`.",
        schema={
            "type": ["string", "object", "array", "number", "boolean"],
            "maxLength": 64,
            "deprecated": True,
        },
    ),
    Field(
        "notify_url",
        "Where you want to be told. http or https, no name and password in it. Without a scheme: http.",
        "https://shop.example/notify",
        chars_max=128,
    ),
    Field(
        "longitude",
        "Where the till is; together with `latitude`.",
        "121.615459404",
        chars_max=32,
        schema={"minLength": 1},
    ),
    Field(
        "latitude",
        "Where the till is; together with `longitude`.",
        "31.4056441552",
        chars_max=32,
        schema={"minLength": 1},
    ),
    DEVICE_ID,
    Field(
        "extended",
        "For the wallet alone: up to 24 names of up to 64 bytes, values of up to 256 characters. A text that"
        " holds such an object is understood, too.",
        {"goods_tag": "x"},
        schema={"type": "object", "maxProperties": 24, "propertyNames": {"maxLength": 64}},
    ),
    Field("goods_details", "What is in the basket.", schema={"type": "array", "items": _GOODS}),
)


def pay_fields(client_sn_bytes_max: int) -> tuple[Field, ...]:
    """Barcode pay (§4.1)."""
    dynamic_id = Field(
        "dynamic_id",
        "What the scanner read: up to 32 bytes, Alipay's face codes (`fp…`) 35. Blanks around it are cut.",
        "280000000000000000",
        bytes_max=35,
        needed=True,
    )
    payway = Field(
        "payway",
        "The wallet, when the barcode alone does not tell.",
        schema={"maxLength": 4, "pattern": "^[0-9]{0,4}$"},
    )
    first = (TERMINAL_SN, _client_sn(client_sn_bytes_max), _TOTAL, dynamic_id, _SUBJECT, OPERATOR, payway)
    return (*first, *_SALE_MORE)


def precreate_fields(client_sn_bytes_max: int) -> tuple[Field, ...]:
    """QR and front-end orders (§5)."""
    wallets = ", ".join(f"{number} {name}" for number, name in PAYWAY_NAMES.items())
    ways = [way for way in SubPayway if way is not SubPayway.BARCODE]
    names = ", ".join(f"{way} {SUB_PAYWAY_NAMES[way]}" for way in ways)
    payway = Field(
        "payway",
        f"The wallet: {wallets}. Which of them the merchant has is a matter of its accounts.",
        "3",
        needed=True,
        schema={"maxLength": 4, "pattern": "^[0-9]{1,4}$"},
    )
    sub_payway = Field(
        "sub_payway", f"How the buyer meets it: {names}. Missing: QR.", "2", schema={"enum": [*ways]}
    )
    payer_uid = Field(
        "payer_uid",
        "The buyer's number at the wallet (openid, user id); WAP pages and mini programs need it.",
        bytes_max=64,
    )
    first = (TERMINAL_SN, _client_sn(client_sn_bytes_max), _TOTAL, payway, sub_payway, _SUBJECT, OPERATOR)
    return (*first, payer_uid, *_SALE_MORE)


QUERY_FIELDS = (
    msgspec.structs.replace(TERMINAL_SN, needed=False),
    Field(
        "wosai_store_id",
        "The store, as the oldest clients say it instead of `terminal_sn`.",
        bytes_max=64,
        schema={"deprecated": True},
    ),
    SN,
    ORDER_CLIENT_SN,
    Field("refund_request_no", "Asks about this refund instead of the sale.", bytes_max=32),
)
CANCEL_FIELDS = (TERMINAL_SN, SN, ORDER_CLIENT_SN)
REFUND_FIELDS = (
    TERMINAL_SN,
    SN,
    ORDER_CLIENT_SN,
    Field(
        "refund_request_no",
        "Your number of the refund: repeat it when you do not know what became of it, never make a new one.",
        "R1",
        bytes_max=32,
        needed=True,
    ),
    Field("refund_amount", "What goes back, in fen, more than 0.", "30", needed=True, schema=AMOUNT),
    msgspec.structs.replace(OPERATOR, chars_max=64),
)
ACTIVATE_FIELDS = (
    Field("app_id", "The vendor's application; old clients have none.", "2026010100000001", bytes_max=64),
    Field("code", "The activation code; one use of it is spent.", "88000001", bytes_max=64, needed=True),
    msgspec.structs.replace(DEVICE_ID, needed=True),
    Field("client_sn", "Your own number for the terminal; one of a kind.", bytes_max=50),
    Field("name", "What people call the terminal.", "front", chars_max=128),
)
CHECKIN_FIELDS = (TERMINAL_SN, msgspec.structs.replace(DEVICE_ID, needed=True))


def request_schema(fields: tuple[Field, ...], **rules: Any) -> Schema:  # noqa: ANN401 - JSON Schema
    """The schema of a request body; fields nobody knows are ignored."""
    return {
        "type": "object",
        "required": [field.name for field in fields if field.needed],
        "properties": {field.name: field.described() for field in fields},
        **rules,
    }


def example(fields: tuple[Field, ...], *names: str) -> dict[str, Any]:
    """A request body with the needed fields and the named ones."""
    return {field.name: field.example for field in fields if field.needed or field.name in names}
