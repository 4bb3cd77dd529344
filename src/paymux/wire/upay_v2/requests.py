"""The seven requests, read: every field with its length, default and rule (upay-v2.md §3 to §7, §13).

Each reader takes the verified body and its signer, and returns what the flows want; it raises `CallRefused`
INVALID_PARAMS naming fields and rules, or INVALID_TERMINAL when the body speaks for another terminal.
"""

import re
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec

from paymux.domain.payways import SubPayway
from paymux.domain.people import Terminal, Vendor
from paymux.domain.requests import OrderRef, PayRequest, PrecreateRequest, RefundRequest
from paymux.flows.terminals import ActivateRequest
from paymux.wire.upay_v2.codes import CallRefused
from paymux.wire.upay_v2.fields import Fields

CLIENT_SN_BYTES_MAX = 64
"""The oldest edition's limit; newer ones say 32, which `strict_client_sn` enforces (§13 no. 4)."""
CLIENT_SN_BYTES_STRICT = 32

REFLECT_MARK = "json:"
"""How an order keeps a `reflect` that is no plain text: the mark and its JSON, to return it unchanged."""

REFLECT_JSON_CHARS_MAX = 256
"""A `reflect` sent as an object may be longer than the 64 characters of a text: it has names and quotes."""

_DIGITS = re.compile(r"[0-9]{1,4}", re.ASCII)
_JSON = msgspec.json.Encoder(order="deterministic", decimal_format="number")
_MAP = msgspec.json.Decoder(dict[str, Any])
_DETAILS = frozenset({"extended", "goods_details", "longitude", "latitude", "device_id"})
_NEEDS_PAYER = frozenset({SubPayway.WAP, SubPayway.MINI})


def read_pay(body: bytes, terminal: Terminal, *, client_sn_bytes_max: int) -> PayRequest:
    """Barcode pay (§4.1)."""
    fields = Fields.read(body)
    _check_terminal(fields, terminal)
    sale = _sale(fields, client_sn_bytes_max)
    dynamic_id = _barcode(fields)
    payway = _payway(fields, required=False)
    fields.finish()
    return PayRequest(terminal=terminal, dynamic_id=dynamic_id, payway=payway, **sale)


def read_precreate(body: bytes, terminal: Terminal, *, client_sn_bytes_max: int) -> PrecreateRequest:
    """QR or front-end order (§5). sub_payway is QR unless given; WAP and mini program need payer_uid."""
    fields = Fields.read(body)
    _check_terminal(fields, terminal)
    sale = _sale(fields, client_sn_bytes_max)
    payway = _payway(fields, required=True)
    sub_payway = _sub_payway(fields)
    payer_uid = fields.number("payer_uid", bytes_max=64, required=sub_payway in _NEEDS_PAYER)
    fields.finish()
    return PrecreateRequest(
        terminal=terminal, payway=payway, sub_payway=sub_payway, payer_uid=payer_uid, **sale
    )


def read_query(body: bytes, terminal: Terminal) -> tuple[OrderRef, str]:
    """Which order, and the refund_request_no when one refund is asked about, else "" (§6)."""
    fields = Fields.read(body)
    _check_terminal(fields, terminal, store_will_do=True)
    ref = _ref(fields, terminal)
    refund_request_no = fields.number("refund_request_no", bytes_max=32)
    fields.finish()
    return ref, refund_request_no


def read_cancel(body: bytes, terminal: Terminal) -> OrderRef:
    """Which order to undo (§7.2)."""
    fields = Fields.read(body)
    _check_terminal(fields, terminal)
    ref = _ref(fields, terminal)
    fields.finish()
    return ref


def read_refund(body: bytes, terminal: Terminal) -> RefundRequest:
    """How much of which order to give back, once per refund_request_no (§7.1)."""
    fields = Fields.read(body)
    _check_terminal(fields, terminal)
    ref = _ref(fields, terminal)
    number = fields.number("refund_request_no", bytes_max=32, required=True)
    amount = fields.amount("refund_amount")
    operator = fields.text("operator", chars_max=64)
    fields.finish()
    return RefundRequest(ref=ref, refund_request_no=number, amount=amount, operator=operator)


def read_activation(body: bytes, vendor: Vendor) -> ActivateRequest:
    """Make a device a terminal (§3.1). app_id may be missing: an old official client has none."""
    fields = Fields.read(body)
    app_id = fields.number("app_id", bytes_max=64)
    if app_id and app_id != vendor.app_id:
        fields.fault("app_id不属于签名的服务商")
    request = ActivateRequest(
        code=fields.number("code", bytes_max=64, required=True),
        device_id=fields.number("device_id", bytes_max=128, required=True),
        client_sn=fields.number("client_sn", bytes_max=50),
        name=fields.text("name", chars_max=128),
    )
    fields.finish()
    return request


def read_checkin(body: bytes, terminal: Terminal) -> str:
    """The device_id that wants a new key (§3.2)."""
    fields = Fields.read(body)
    _check_terminal(fields, terminal)
    device_id = fields.number("device_id", bytes_max=128, required=True)
    fields.finish()
    return device_id


# -- parts of requests


def _check_terminal(fields: Fields, terminal: Terminal, *, store_will_do: bool = False) -> None:
    """The body must speak for the terminal that signed it. Old queries may name the store instead (§6)."""
    sn = fields.number("terminal_sn", bytes_max=32, required=not store_will_do)
    if sn and sn != terminal.terminal_sn:
        raise CallRefused("INVALID_TERMINAL", "终端错误: terminal_sn不是签名的终端")
    if store_will_do and not sn:
        store_sn = fields.number("wosai_store_id", bytes_max=64)
        if not store_sn:
            fields.fault("terminal_sn与wosai_store_id不能同时为空")
        elif store_sn != terminal.store_sn:
            raise CallRefused("INVALID_TERMINAL", "终端错误: wosai_store_id不是签名终端的门店")


def _sale(fields: Fields, client_sn_bytes_max: int) -> dict[str, Any]:
    """What pay and precreate have in common."""
    return {
        "client_sn": fields.number("client_sn", bytes_max=client_sn_bytes_max, required=True),
        "total": fields.amount("total_amount"),
        "subject": fields.text("subject", chars_max=64, required=True),
        "operator": fields.text("operator", chars_max=32),
        "description": fields.text("description", chars_max=256),
        "reflect": _reflect(fields),
        "notify_url": _notify_url(fields),
        "detail": _detail(fields),
    }


def _ref(fields: Fields, terminal: Terminal) -> OrderRef:
    """Return the sn or client_sn; a channel's trade_no may stand in sn (§7.1), hence its length."""
    sn = fields.number("sn", bytes_max=64)
    client_sn = fields.number("client_sn", bytes_max=CLIENT_SN_BYTES_MAX)
    if not sn and not client_sn:
        fields.fault("sn与client_sn不能同时为空")
    return OrderRef(terminal=terminal, sn=sn, client_sn=client_sn)


def _barcode(fields: Fields) -> str:
    """Return the barcode: 32 bytes, Alipay's face codes (fp…) 35. A scanner's line end is cut off."""
    code = fields.number("dynamic_id", bytes_max=64, required=True).strip()
    if len(code.encode()) > (35 if code.startswith("fp") else 32):
        fields.fault("dynamic_id长度不超过32字节")
    return code


def _payway(fields: Fields, *, required: bool) -> str:
    value = fields.number("payway", bytes_max=4, required=required)
    if value and not _DIGITS.fullmatch(value):
        fields.fault("payway必须为纯数字字符串")
    return value


def _sub_payway(fields: Fields) -> SubPayway:
    value = fields.number("sub_payway", bytes_max=2)
    try:
        sub_payway = SubPayway(value or SubPayway.QR)
    except ValueError:
        sub_payway = SubPayway.BARCODE
    if sub_payway is SubPayway.BARCODE:
        fields.fault("sub_payway取值为2到6")
    return sub_payway


def _reflect(fields: Fields) -> str:
    """Return what the caller wants back. The oldest edition spells it `reflact` (§13 no. 11)."""
    name = "reflect" if fields.raw("reflect") is not None else "reflact"
    value = fields.raw(name)
    if value is None or (isinstance(value, str) and not value.startswith(REFLECT_MARK)):
        return fields.text(name, chars_max=64)
    text = _JSON.encode(value).decode()
    if len(text) > REFLECT_JSON_CHARS_MAX:
        fields.fault(f"{name}长度不超过64个字符")
    return REFLECT_MARK + text


def _notify_url(fields: Fields) -> str:
    """Return an http(s) URL; printed samples lack the scheme ("www.example.com"), which means http (§11)."""
    value = fields.text("notify_url", chars_max=128).strip()
    if not value:
        return ""
    url = value if "://" in value else f"http://{value}"
    if not _is_web_address(url):
        fields.fault("notify_url必须为http或https地址")
    return url


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and parts.username is None and url.isprintable() and " " not in url


# -- what only a channel understands


def _detail(fields: Fields) -> str:
    """Return extended, goods_details, position and device as canonical JSON text, "" when all are missing."""
    if not fields.any_of(_DETAILS):
        return ""
    longitude, latitude = _position(fields)
    given = {
        "extended": _extended(fields),
        "goods_details": _goods(fields),
        "longitude": longitude,
        "latitude": latitude,
        "device_id": fields.number("device_id", bytes_max=128),
    }
    kept = {name: value for name, value in given.items() if value}
    return _JSON.encode(kept).decode() if kept else ""


def _position(fields: Fields) -> tuple[str, str]:
    """Return longitude and latitude: both or neither."""
    longitude, latitude = (_coordinate(fields, name) for name in ("longitude", "latitude"))
    if bool(longitude) is not bool(latitude):
        fields.fault("longitude与latitude必须同时出现")
    return longitude, latitude


def _coordinate(fields: Fields, name: str) -> str:
    value = fields.raw(name)
    if value is None or isinstance(value, str):
        return fields.text(name, chars_max=32)
    if type(value) is int or isinstance(value, Decimal):
        return _JSON.encode(value).decode()
    fields.fault(f"{name}必须为数字字符串")
    return ""


def _extended(fields: Fields) -> dict[str, Any] | str:
    """Return the map: ≤ 24 keys of ≤ 64 bytes, texts ≤ 256 characters. Text may hold a map, too."""
    value = fields.raw("extended")
    if value is None:
        return ""
    if isinstance(value, str):
        value = _map_in(value)
    if isinstance(value, str):
        return fields.text("extended", chars_max=256)
    if not isinstance(value, dict):
        fields.fault("extended必须为JSON对象")
        return ""
    if len(value) > 24:
        fields.fault("extended不超过24个参数")
    for name, inner in value.items():
        if len(name.encode()) > 64:
            fields.fault("extended参数名长度不超过64字节")
        if len(inner if isinstance(inner, str) else _JSON.encode(inner)) > 256:
            fields.fault(f"extended.{name[:64]}长度不超过256")
    return value


def _map_in(text: str) -> dict[str, Any] | str:
    try:
        return _MAP.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _goods(fields: Fields) -> list[dict[str, Any]]:
    """Return goods_details: each with goods_id, goods_name, quantity and price in fen."""
    value = fields.raw("goods_details")
    if value is None:
        return []
    if not isinstance(value, list):
        fields.fault("goods_details必须为JSON数组")
        return []
    return [_one_goods(fields, item, f"goods_details[{at}]") for at, item in enumerate(value)]


def _one_goods(fields: Fields, item: object, place: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        fields.fault(f"{place}必须为JSON对象")
        return {}
    goods = fields.inside(item, place)
    return {
        "goods_id": goods.number("goods_id", bytes_max=32, required=True),
        "goods_name": goods.text("goods_name", chars_max=32, required=True),
        "quantity": goods.count("quantity", digits_max=10),
        "price": goods.count("price", digits_max=9),
        "promotion_type": goods.count("promotion_type", digits_max=1, missing=0),
    }
