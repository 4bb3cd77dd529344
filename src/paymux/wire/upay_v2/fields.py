"""From untrusted body bytes to checked values; what is wrong is said by field name, all of it at once.

Null, "" and a missing field are the same; integers are read where text is wanted; what nobody asks for is
ignored (upay-v2.md §4.1). Whatever the bytes are, the worst outcome is INVALID_PARAMS.
"""

import json
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from paymux.domain.money import AmountInvalid, fen_from_text
from paymux.wire.upay_v2.codes import CallRefused

DEPTH_MAX = 16
"""Objects inside objects. The deepest honest request has three levels (extended.extend_params)."""

_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_KEY_END = re.compile(rb'"[ \t\n\r]*:')


class Fields:
    """The fields of one request. Each reading notes what is wrong; `finish` raises if anything was."""

    __slots__ = ("_faults", "_given", "_place")

    def __init__(self, given: dict[str, Any], faults: list[str], place: str) -> None:
        self._given = given
        self._faults = faults
        self._place = place

    @classmethod
    def read(cls, body: bytes) -> "Fields":
        """Read a request body; raises `CallRefused` unless it is one JSON object without repeated names."""
        return cls(_read_object(body), [], "")

    def inside(self, given: dict[str, Any], place: str) -> "Fields":
        """Return the fields of an inner object; their faults count as ours and name the place."""
        return Fields(given, self._faults, f"{place}.")

    def finish(self) -> None:
        """Raise `CallRefused` INVALID_PARAMS with every fault, such as "client_sn不可以为空"."""
        if self._faults:
            raise CallRefused("INVALID_PARAMS", "; ".join(self._faults))

    def fault(self, text: str) -> None:
        """Note that something is wrong; the text starts with the field's name."""
        self._faults.append(self._place + text)

    def any_of(self, names: frozenset[str]) -> bool:
        """Whether the request has one of these fields at all."""
        return not names.isdisjoint(self._given)

    def raw(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return the value as it was sent; None when it is null, "" or missing."""
        value = self._given.get(name)
        return None if value == "" else value

    def text(self, name: str, *, chars_max: int, required: bool = False) -> str:
        """Return a text for people, at most `chars_max` characters; "" when there is none."""
        value = self._text(name, required=required)
        if len(value) > chars_max:
            self.fault(f"{name}长度不超过{chars_max}个字符")
        return value

    def number(self, name: str, *, bytes_max: int, required: bool = False) -> str:
        """Return a number such as client_sn, at most `bytes_max` bytes; "" when there is none."""
        value = self._text(name, required=required)
        if len(value) > bytes_max or (not value.isascii() and len(value.encode()) > bytes_max):
            self.fault(f"{name}长度不超过{bytes_max}字节")
        return value

    def amount(self, name: str) -> int:
        """Return an amount in fen: digits, more than zero, at most 10 of them."""
        value = self.raw(name)
        if value is None:
            self.fault(f"{name}不可以为空")
            return 0
        text = str(value) if type(value) is int or type(value) is str else ""
        try:
            return fen_from_text(text)
        except AmountInvalid:
            self.fault(name + _amount_fault(text))
            return 0

    def count(self, name: str, *, digits_max: int, missing: int | None = None) -> int:
        """Return a whole number of at most `digits_max` digits; `missing` None: it must be there."""
        value = self.raw(name)
        if value is None:
            if missing is None:
                self.fault(f"{name}不可以为空")
            return missing or 0
        text = str(value) if type(value) is int or type(value) is str else ""
        if not text.isdecimal() or not text.isascii() or len(text) > digits_max:
            self.fault(f"{name}为非负整数，长度不超过{digits_max}位")
            return 0
        return int(text)

    def _text(self, name: str, *, required: bool) -> str:
        value = self._given.get(name)
        if value is None or value == "":
            if required:
                self.fault(f"{name}不可以为空")
            return ""
        if type(value) is int:
            return str(value)
        if type(value) is not str:
            self.fault(f"{name}必须为字符串")
            return ""
        if "\0" in value:
            self.fault(f"{name}不可以包含空字符")
        elif required and not _is_visible(value):
            self.fault(f"{name}不可以为空")
        return value


def _is_visible(value: str) -> bool:
    """Whether anything of the text can be seen: wallets get blanks for what cannot be printed."""
    if value.isprintable():
        return not value.isspace()
    return any(char.isprintable() and not char.isspace() for char in value)


def _amount_fault(value: str) -> str:
    if re.fullmatch(r"-[0-9]+", value, re.ASCII):
        return "不可以为负数"
    if re.fullmatch(r"0{1,10}", value, re.ASCII):
        return "必须大于0"
    return "金额为整数，长度不超过10位，以分为单位"


# -- the body


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        given = _DECODER.decode(body)
    except (msgspec.ValidationError, InvalidOperation):  # 1e9999999999999999999 is beyond Decimal, too
        raise CallRefused("INVALID_PARAMS", "请求体必须为JSON对象，其中的数字不可以过长") from None
    except msgspec.DecodeError as error:
        raise CallRefused("INVALID_PARAMS", f"请求体不是合法的JSON: {error}") from None
    except UnicodeDecodeError:
        raise CallRefused("INVALID_PARAMS", "请求体不是合法的UTF-8") from None
    except RecursionError:
        raise CallRefused("INVALID_PARAMS", f"请求体嵌套不超过{DEPTH_MAX}层") from None
    # Each key ends in `":`. So when there are no more of these than keys we were given, none came twice;
    # when there are more, a text may contain one, and only then is it worth a look at every pair.
    if len(_KEY_END.findall(body)) != _count_keys(given, 1):
        _refuse_repeats(body)
    return given


def _count_keys(value: dict[str, Any], depth: int) -> int:
    count = len(value)
    for inner in value.values():
        if type(inner) is dict or type(inner) is list:
            count += _count_inner(inner, depth + 1)
    return count


def _count_inner(value: dict[str, Any] | list[Any], depth: int) -> int:
    if depth > DEPTH_MAX:
        raise CallRefused("INVALID_PARAMS", f"请求体嵌套不超过{DEPTH_MAX}层")
    if isinstance(value, dict):
        return _count_keys(value, depth)
    return sum(_count_inner(item, depth + 1) for item in value if isinstance(item, dict | list))


def _refuse_repeats(body: bytes) -> None:
    """Raise `CallRefused` when an object of the well-formed body has a key twice."""
    json.loads(body, object_pairs_hook=_distinct, parse_int=str, parse_float=str)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) != len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise CallRefused("INVALID_PARAMS", f"{name}重复出现")
    return given
