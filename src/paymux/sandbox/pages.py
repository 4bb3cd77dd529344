"""Pages for people: the phone and the cashier, from templates in this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jinja2
import segno

from paymux.sandbox.amounts import yuan
from paymux.sandbox.times import dashed

if TYPE_CHECKING:
    from paymux.sandbox.records import Person, Trade


class Pages:
    """Renders templates; everything is escaped."""

    def __init__(self) -> None:
        """Load the templates of the package."""
        loader = jinja2.PackageLoader("paymux.sandbox", "templates")
        self._templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        self._templates.filters |= {"yuan": yuan, "dashed": dashed, "qr": _qr}

    def phone(self, **facts: object) -> str:
        """Return the phone page."""
        return self._templates.get_template("phone.html").render(**facts)

    def cashier(self, trade: Trade, buyers: list[Person]) -> str:
        """Return the page on which a buyer pays an order in a browser."""
        return self._templates.get_template("cashier.html").render(trade=trade, buyers=buyers, trouble="")

    def trouble(self, text: str) -> str:
        """Return the page that says why there is nothing to pay."""
        return self._templates.get_template("cashier.html").render(trade=None, buyers=[], trouble=text)


def _qr(text: str) -> str:
    """Return a QR code as an inline SVG; safe: it is all made of numbers."""
    return segno.make(text, error="m").svg_inline(scale=3, border=2)
