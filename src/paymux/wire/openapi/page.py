"""The description as bytes: JSON as it is, and a page for people. Written at the first asking, then kept."""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup, escape

from paymux.domain.limits import Limits
from paymux.wire.openapi.document import document

_CODE = re.compile(r"`([^`]+)`")


class Description:
    """What a gateway with these settings serves."""

    def __init__(self, limits: Limits, *, strict_client_sn: bool) -> None:
        self._limits = limits
        self._strict_client_sn = strict_client_sn

    @cached_property
    def document(self) -> dict[str, Any]:
        """As an OpenAPI document."""
        return document(self._limits, strict_client_sn=self._strict_client_sn)

    @cached_property
    def json(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self.document)

    @cached_property
    def page(self) -> str:
        """As HTML that needs nothing else: no script, no picture, no other address."""
        loader = jinja2.PackageLoader("paymux.wire.openapi", "templates")
        templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        templates.trim_blocks = templates.lstrip_blocks = True
        templates.filters |= {"words": words, "pretty": _pretty}
        calls = list(_calls(self.document))
        tags = [
            (tag, [call for call in calls if call["tag"] == tag["name"]]) for tag in self.document["tags"]
        ]
        order = _fields(self.document, self.document["components"]["schemas"]["Order"])
        return templates.get_template("docs.html").render(
            document=self.document, tags=tags, order_fields=order
        )


def words(text: str) -> Markup:
    """A description's few signs as HTML: paragraphs, and `code`."""
    paragraphs = [_CODE.sub(r"<code>\1</code>", str(escape(part))) for part in text.split("\n\n")]
    return Markup("".join(f"<p>{part}</p>" for part in paragraphs))  # noqa: S704 - escaped in the line above


def _pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _calls(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    places = [*document["paths"].items(), *(("", hook) for hook in document["webhooks"].values())]
    for path, operations in places:
        for method in ("get", "post"):
            if method in operations:
                yield _call(document, path, method.upper(), operations)


def _call(document: dict[str, Any], path: str, method: str, operations: dict[str, Any]) -> dict[str, Any]:
    operation = operations[method.lower()]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    told = operation["responses"]["200"].get("content", {}).get("application/json", {})
    signer: str = next(iter(operation.get("security", [{"": []}])[0]))
    return {
        "id": operation["operationId"],
        "tag": operation["tags"][0],
        "method": method,
        "path": path,
        "summary": operation["summary"],
        "words": operation.get("description", ""),
        "signer": signer,
        "parameters": [
            _row(
                document,
                one["name"],
                one["schema"] | {"description": one["description"]},
                one.get("required"),
            )
            for one in (*operations.get("parameters", ()), *operation.get("parameters", ()))
        ],
        "fields": _fields(document, body.get("schema", {})),
        "request": body.get("example"),
        "answer": told.get("example"),
        "results": _results(told.get("schema", {})),
        "responses": {
            status: (response["description"], ", ".join(response.get("content", {})))
            for status, response in operation["responses"].items()
        },
    }


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _resolved(document, schema)
    needed = schema.get("required", ())
    return [
        _row(document, name, inner, name in needed) for name, inner in schema.get("properties", {}).items()
    ]


def _row(document: dict[str, Any], name: str, schema: dict[str, Any], needed: object) -> dict[str, Any]:
    inner = _resolved(document, schema.get("items", {}))
    return {
        "name": name,
        "form": _form(_resolved(document, schema)),
        "needed": bool(needed),
        "old": schema.get("deprecated", False),
        "words": schema.get("description", ""),
        "inner": _fields(document, inner) if "properties" in inner else [],
    }


def _form(schema: dict[str, Any]) -> str:
    """Type and bound as people say them."""
    kinds = schema.get("type", "any")
    if isinstance(kinds, list) or kinds == "any":
        return "text or any JSON"
    form = {"string": "text"}.get(kinds, kinds)
    if "enum" in schema:
        return f"{form}: {', '.join(schema['enum'])}" if len(schema["enum"]) < 8 else form
    if "x-bytes-max" in schema:
        return f"{form} ≤ {schema['x-bytes-max']} bytes"
    if "maxLength" in schema:
        digits = "[0-9]" in schema.get("pattern", "")
        return f"{form} ≤ {schema['maxLength']} {'digits' if digits else 'characters'}"
    if "maximum" in schema:
        return f"{form} {schema['minimum']} to {schema['maximum']}"
    return str(form)


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _results(answer: dict[str, Any]) -> dict[str, str]:
    """The business result codes of an answer, with what they mean."""
    biz = answer.get("oneOf", [{}])[0].get("properties", {}).get("biz_response", {}).get("properties", {})
    found: dict[str, str] = biz.get("result_code", {}).get("x-enum-descriptions", {})
    return found
