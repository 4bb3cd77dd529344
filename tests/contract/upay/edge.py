"""How tests speak Upay v2: an ASGI caller without sockets, a till that signs, and a check of every reply.

The till has its own MD5 and its own JSON: a second witness of what the gateway reads and writes.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.types import ASGIApp, Message

from paymux.domain.people import ActivationCode, Vendor
from tests.harness.town import STORE, TERMINAL, Town

KEY = "0" * 32
VENDOR = Vendor(vendor_sn="91800001", vendor_key="f" * 32, app_id="2024010100001")
CODE = "12345678"


class HttpReply(NamedTuple):
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The parsed body."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Hung(Exception):
    """The application ended without an answer."""


async def http(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    chunks: Iterable[bytes] = (b"",),
    headers: Iterable[tuple[bytes, bytes]] = (),
    query: str = "",
    gone: bool = False,
) -> HttpReply:
    """Send one request; `gone`: hang up after the chunks instead of ending the body."""
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    parts = list(chunks)
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": gone or at + 1 < len(parts)}
        for at, part in enumerate(parts)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        raise Hung
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return HttpReply(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


class Till:
    """A till, or a vendor: signs with its key whatever it is given, and checks each reply's form."""

    def __init__(self, app: ASGIApp, *, sn: str = TERMINAL, key: str = KEY) -> None:
        self.app = app
        self.sn = sn
        self.key = key

    async def call(self, name: str, /, **fields: object) -> dict[str, Any]:
        """POST an order call with these fields; terminal_sn is added."""
        return await self.post(f"/upay/v2/{name}", {"terminal_sn": self.sn} | fields)

    async def pay(self, dynamic_id: str, client_sn: str, /, **fields: object) -> dict[str, Any]:
        """Pay 1 yuan by barcode."""
        sale: dict[str, object] = {"total_amount": "100", "subject": "tea", "operator": "ann"}
        sale |= {"dynamic_id": dynamic_id, "client_sn": client_sn}
        return await self.call("pay", **sale | fields)

    async def precreate(self, client_sn: str, /, **fields: object) -> dict[str, Any]:
        """Ask for a QR code for 1 yuan."""
        sale: dict[str, object] = {"total_amount": "100", "subject": "tea", "operator": "ann", "payway": "3"}
        return await self.call("precreate", **sale | {"client_sn": client_sn} | fields)

    async def post(self, path: str, fields: object) -> dict[str, Any]:
        """POST any JSON."""
        return await self.post_bytes(path, json.dumps(fields).encode())

    async def post_bytes(self, path: str, body: bytes, *, authorization: str | None = None) -> dict[str, Any]:
        """POST exactly these bytes; the signature is made unless one is given."""
        return checked(await self.http(path, body, authorization=authorization))

    async def http(self, path: str, body: bytes, *, authorization: str | None = None) -> HttpReply:
        """POST exactly these bytes and return the raw reply."""
        given = authorization if authorization is not None else f"{self.sn} {sign(body, self.key)}"
        headers = [(b"content-type", b"application/json"), (b"authorization", given.encode())]
        return await http(self.app, "POST", path, chunks=[body], headers=headers)


def sign(body: bytes, key: str) -> str:
    """MD5 over the bytes and the key (upay-v2.md §1.1)."""
    return hashlib.md5(body + key.encode()).hexdigest()  # noqa: S324 - the protocol prescribes it


def checked(reply: HttpReply) -> dict[str, Any]:
    """Return a protocol answer after checking what is true of all of them (§1, §2)."""
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["content-length"] == str(len(reply.body))
    answer = reply.json
    assert answer["result_code"] in {"200", "400", "500"}
    assert {"error_code", "error_message"} <= answer.keys()
    assert (answer["error_code"] == "") == ("biz_response" in answer) or answer["error_code"] == "SUCCESS"
    assert_all_text(answer)
    return answer


def assert_all_text(answer: dict[str, Any]) -> None:
    """Every value is a string, but for objects, payment_list and the caller's own reflect; never null."""
    for name, value in answer.items():
        if name == "reflect":
            continue
        if name == "payment_list":
            assert all(isinstance(text, str) for line in value for text in line.values())
        elif isinstance(value, dict):
            assert_all_text(value)
        else:
            assert isinstance(value, str), name


def biz(answer: dict[str, Any]) -> dict[str, Any]:
    """The business part of a good call."""
    assert answer["result_code"] == "200", answer
    found: dict[str, Any] = answer["biz_response"]
    return found


def outcome(answer: dict[str, Any]) -> tuple[str, str, str, str]:
    """(biz result_code, error_code, order_status, status) of an answer; "" where there is none."""
    found = biz(answer)
    data = found.get("data", {})
    return found["result_code"], found["error_code"], data.get("order_status", ""), data.get("status", "")


def refusal(answer: dict[str, Any]) -> tuple[str, str]:
    """(result_code, error_code) of a call that was not taken."""
    assert "biz_response" not in answer
    return answer["result_code"], answer["error_code"]


async def open_vendor(town: Town, *, uses: int = 9, expires_ms: int = 0) -> None:
    """Let a vendor and an activation code be known."""
    code = ActivationCode(code=CODE, store_sn=STORE, uses_left=uses, expires_ms=expires_ms)
    await town.store.put_people(vendors=(VENDOR,), codes=(code,))
