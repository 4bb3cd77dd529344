"""What goes over the wire, as plain values: the core of the sandbox never sees a socket.

The shell (`server.py`) and the virtual-time simulation both speak to the core through these records only.
"""

from __future__ import annotations

import msgspec


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request to the sandbox.

    `path` may be a full URL: official SDKs send absolute-form request targets (channels/00-principles.md §6).
    `client_cert` says whether the caller proved itself with a TLS client certificate.
    """

    method: str
    path: str
    query: bytes = b""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    client_cert: bool = False

    def bare_path(self) -> str:
        """Return the path without scheme and host, and without the query."""
        path = self.path.partition("?")[0]
        if path.startswith(("http://", "https://")):
            path = "/" + path.split("//", 1)[1].partition("/")[2]
        return path


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the sandbox answers.

    `delay_ms` is waited (in sandbox time) before the reply is sent; `lost` means: close the connection
    without a byte of reply.
    """

    status: int = 200
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    delay_ms: int = 0
    lost: bool = False


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """One POST the wallet wants to make to a merchant; `ack` names the answer it waits for.

    `ack` is `success` (Alipay: the literal body) or `xml` (WeChat: return_code SUCCESS).
    """

    id: str
    url: str
    headers: dict[str, str]
    body: bytes
    ack: str


def html(text: str, *, status: int = 200) -> Reply:
    """Return a page for a person."""
    return Reply(status=status, headers={"content-type": "text/html; charset=utf-8"}, body=text.encode())


def redirect(url: str) -> Reply:
    """Send a browser on, with GET."""
    return Reply(status=303, headers={"location": url})
