"""A pay's extra JSON, as the merchant sent it: extended, goods_details (upay-v2.md §4.1).

The edge has checked it. A channel picks what its wallet understands and leaves the rest; what cannot be read
here is left out, because a pay must not fail over an ornament.
"""

from typing import Any

import msgspec


class Goods(msgspec.Struct, frozen=True, kw_only=True):
    """One line of goods_details; `price` is fen."""

    goods_id: str
    goods_name: str
    quantity: int
    price: int


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """`extended` may nest (`extend_params`); `goods` is empty unless every line is readable."""

    extended: dict[str, Any] = {}
    goods: tuple[Goods, ...] = ()

    def text(self, name: str) -> str:
        """Return an extended value as text; "" when it is missing or nested."""
        value = self.extended.get(name, "")
        return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""

    def texts(self, name: str) -> dict[str, str]:
        """Return a nested extended value's texts, such as `extend_params`; {} when there is none."""
        value = self.extended.get(name)
        return {key: str(item) for key, item in value.items()} if isinstance(value, dict) else {}


EMPTY = Detail()
_JSON = msgspec.json.Decoder(dict[str, Any])


def read_detail(text: str) -> Detail:
    """Read `{"extended": {…}, "goods_details": […], …}`; never raises."""
    if not text:
        return EMPTY
    try:
        parts = _JSON.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return EMPTY
    return Detail(extended=_extended(parts.get("extended")), goods=_goods(parts.get("goods_details")))


def _extended(value: object) -> dict[str, Any]:
    """Return the map; WAP requests carry it as JSON text (upay-v2.md §10)."""
    if isinstance(value, dict):
        return value
    try:
        return _JSON.decode(value) if isinstance(value, str) else {}
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {}


def _goods(value: object) -> tuple[Goods, ...]:
    try:
        return msgspec.convert(value or (), tuple[Goods, ...], strict=False)
    except msgspec.ValidationError:
        return ()
