"""Between the gateway's records and the sandbox's, where both live in one process."""

from urllib.parse import urlsplit

import msgspec

from paymux.channels.contract import ClientTls, HttpRequest
from paymux.domain.people import Account
from paymux.sandbox.messages import Call

_NO_CREDENTIALS = frozenset({"name", "channel", "payways", "base_url"})


def account_of(row: dict[str, object], merchant_sn: str) -> Account:
    """Return a sandbox merchant's row as a channel account of one of our merchants."""
    return Account(
        name=str(row["name"]),
        merchant_sn=merchant_sn,
        channel=str(row["channel"]),
        payways=msgspec.convert(row["payways"], tuple[str, ...]),
        base_url=str(row["base_url"]),
        credentials={
            key: value for key, value in row.items() if key not in _NO_CREDENTIALS and isinstance(value, str)
        },
    )


def call_of(request: HttpRequest, tls: ClientTls | None) -> Call:
    """Return a request of ours as the sandbox hears it."""
    parts = urlsplit(request.url)
    return Call(
        method=request.method,
        path=parts.path,
        query=parts.query.encode(),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.body,
        client_cert=request.mutual_tls and tls is not None and bool(tls.certificate),
    )
