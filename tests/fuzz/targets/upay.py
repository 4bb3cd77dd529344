"""Upay v2 before any flow: who is calling, what the body says, where the path leads.

What a body says is read a second time here with Python's own json, and what was accepted is handed to both
channels: whatever a till may say must make a request that the wallet, too, can read and verify.
"""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from paymux.channels.contract import HttpRequest, Pay, Precreate
from paymux.domain.people import Terminal, Vendor
from paymux.domain.requests import PayRequest, PrecreateRequest, RefundRequest
from paymux.sandbox import alipay_signing, wechat_signing
from paymux.sandbox.xmltext import read_xml
from paymux.wire.server import plain_path
from paymux.wire.upay_v2 import requests
from paymux.wire.upay_v2.codes import CallRefused
from paymux.wire.upay_v2.signing import diagnose, matching_key, read_claim
from tests.fuzz import tokens
from tests.fuzz.genuine import NOTIFY_URL, NOW_MS, lived
from tests.fuzz.trial import Dice, Trial, edited, single_edits

TERMINAL = Terminal(terminal_sn="100", merchant_sn="m", store_sn="s", current_key="0" * 32, last_key="1" * 32)
VENDOR = Vendor(vendor_sn="91", vendor_key="f" * 32, app_id="2024")

# ---------------------------------------------------------------- who is calling


def authorization() -> Trial:
    """Bytes → the header, a line end, the body."""
    keys = {"current": TERMINAL.current_key, "last": TERMINAL.last_key, "vendor": VENDOR.vendor_key}

    def one(data: bytes) -> None:
        header, _, body = data.partition(b"\n")
        claim = read_claim(header)
        found = matching_key(claim, body, keys.values())
        told = diagnose(claim, body, keys)
        if claim.fault:
            assert not found
            assert not told
        else:
            sn, given = header.split()
            assert claim.sn.encode("latin-1") == sn
            assert found == next((key for key in keys.values() if _sign(body, key) == given.lower()), "")
        assert not any(key in told or _sign(body, key).decode() in told for key in keys.values())

    spellings = (
        b'{"terminal_sn":"100", "a":"\\u8336"}',
        '{"a": "茶", "terminal_sn": "100"}'.encode(),
        b'{"a":1}\r\n',
        b"",
    )
    seeds = [
        b"100 %s\n%s" % (_sign(signed, key), sent)
        for key in keys.values()
        for signed in spellings
        for sent in spellings
    ]
    seeds += [b"", b"100\n", b"100  " + b"F" * 32 + b" \n{}", b"\xff\x00 " + b"0" * 32 + b"\n["]
    return Trial(one, tuple(seeds), words=(b" ", b"\t", b'{"a":', b"\\ud800", b"1e999", b"[" * 9, b"NaN"))


def _sign(body: bytes, key: str) -> bytes:
    return hashlib.md5(body + key.encode()).hexdigest().encode()  # noqa: S324 - the protocol prescribes it


# ---------------------------------------------------------------- what the body says

READERS: tuple[Callable[[bytes], object], ...] = (
    lambda body: requests.read_pay(body, TERMINAL, client_sn_bytes_max=64),
    lambda body: requests.read_precreate(body, TERMINAL, client_sn_bytes_max=32),
    lambda body: requests.read_query(body, TERMINAL),
    lambda body: requests.read_cancel(body, TERMINAL),
    lambda body: requests.read_refund(body, TERMINAL),
    lambda body: requests.read_activation(body, VENDOR),
    lambda body: requests.read_checkin(body, TERMINAL),
)
_SALE = [
    ("terminal_sn", '"100"'),
    ("client_sn", '"C1"'),
    ("total_amount", '"1234"'),
    ("subject", '"tea"'),
    ("operator", '"ann"'),
    ("description", '"a cup"'),
    ("reflect", '{"a":1.5}'),
    ("notify_url", '"http://shop.example/n"'),
    ("extended", '{"goods_tag":"x","extend_params":{"hb_fq_num":"3"},"sub_appid":"wx1","scene_info":{}}'),
    ("goods_details", '[{"goods_id":"1","goods_name":"tea","quantity":1,"price":"50"}]'),
    ("longitude", "121.6"),
    ("latitude", '"31.4"'),
    ("device_id", '"d"'),
]
_REF = [("terminal_sn", '"100"'), ("sn", '"7100000000000001"'), ("client_sn", '"C1"')]
BASES = (
    [*_SALE, ("dynamic_id", '"130000000000000000"'), ("payway", '"3"')],
    [*_SALE, ("payway", '"1"'), ("sub_payway", '"4"'), ("payer_uid", '"2088000011112222"')],
    [*_REF, ("refund_request_no", '"r1"')],
    _REF,
    [*_REF, ("refund_request_no", '"r1"'), ("refund_amount", '"1"'), ("operator", '"ann"')],
    [("app_id", '"2024"'), ("code", '"12345678"'), ("device_id", '"d"'), ("name", '"till"')],
    [("terminal_sn", '"100"'), ("device_id", '"d"')],
)
NAMES = (*dict.fromkeys(name for base in BASES for name, _ in base), "reflact", "wosai_store_id")
VALUES = (
    *tokens.ODD_TOKENS,
    '"json:{"',
    '"{\\"a\\":\\"b\\"}"',
    '"{\\"a\\":"',
    '{"extend_params":[]}',
    '{"sub_appid":" x "}',
    '[{"goods_id":1,"goods_name":"x","quantity":"9999999999","price":999999999,"more":null}]',
    "[null]",
    "[{}]",
    '"fp' + "0" * 33 + '"',
    '"280000000000000000"',
    '" tea "',
    '"a\\tb\\u2028c\\ufffe"',
    '"www.example.com"',
    '"HTTP://a:b@c/"',
    '"http://x:0/"',
    '"2"',
    '"6"',
    '"5"',
    '"s"',
)
WORDS = (*(f'"{name}":'.encode() for name in NAMES), *(value.encode() for value in VALUES))


def bodies() -> Trial:
    """Bytes → a call, and its body as it is."""

    def one(data: bytes) -> None:
        dice = Dice(data)
        place = dice.below(len(READERS))
        body = dice.rest()
        with suppress(CallRefused):
            check_read(READERS[place](body), body)

    seeds = [bytes([place]) + tokens.json_object(base) for place, base in enumerate(BASES)]
    seeds += [
        bytes([place]) + tokens.json_object([(name, token if name == odd else right) for name, right in base])
        for place, base in enumerate(BASES)
        for odd in ("total_amount", "refund_amount", "client_sn", "extended")
        for token in VALUES
        if odd in dict(base)
    ]
    return Trial(one, tuple(seeds), words=WORDS, bytes_max=1500)


def fields() -> Trial:
    """Bytes → a call, and edits of its fields; what is accepted must be fit to be sent to the wallets."""

    def one(data: bytes) -> None:
        dice = Dice(data)
        place = dice.below(len(READERS))
        body = tokens.json_object(edited(dice, BASES[place], names=NAMES, values=VALUES, raw=tokens.as_token))
        with suppress(CallRefused):
            request = READERS[place](body)
            check_read(request, body)
            if isinstance(request, PayRequest | PrecreateRequest):
                _check_sendable(request)

    prefixes = [bytes([place]) for place in range(len(READERS))]
    seeds = single_edits(prefixes, fields=len(BASES[1]), values=len(VALUES), replaced=len(VALUES) // 3)
    return Trial(one, tuple(seeds), bytes_max=96)


def check_read(request: object, body: bytes) -> None:
    """Hold an accepted request against the body, read anew; whole numbers count as texts, others do not."""
    given: dict[str, Any] = json.loads(
        body, parse_int=lambda text: str(int(text)), parse_float=_Spelled, object_pairs_hook=_once
    )
    if isinstance(request, PayRequest | PrecreateRequest):
        assert _text(given, "client_sn") == request.client_sn
        assert 0 < len(request.client_sn.strip()) <= len(request.client_sn.encode()) <= 64
        assert _amount(given, "total_amount") == request.total
        assert _text(given, "subject") == request.subject
        assert len(request.subject) <= 64
        assert "\0" not in request.subject + request.client_sn + request.operator + request.description
        assert request.notify_url == "" or re.match(r"https?://[^/]", request.notify_url, re.IGNORECASE)
        assert request.detail == "" or isinstance(json.loads(request.detail), dict)
    if isinstance(request, RefundRequest):
        assert _text(given, "refund_request_no") == request.refund_request_no != ""
        assert _amount(given, "refund_amount") == request.amount
        assert request.ref.sn or request.ref.client_sn


class _Spelled(str):
    """A number with a point or an exponent: no text, and no amount of fen."""

    __slots__ = ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a name that stands there twice was accepted"
    return dict(pairs)


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    assert value is None or type(value) is str, f"{name} is {value!r}, and was accepted"
    return value or ""


def _amount(given: dict[str, Any], name: str) -> int:
    text = _text(given, name)
    assert re.fullmatch(r"[0-9]{1,10}", text, re.ASCII), f"{text!r} was accepted as an amount"
    assert int(text) > 0
    return int(text)


# ---------------------------------------------------------------- what the wallets would be sent


def _check_sendable(request: PayRequest | PrecreateRequest) -> None:
    """Build the request for the wallet that is asked for, and let the sandbox's own code read it."""
    payway = request.payway or ("3" if request.dynamic_id.startswith("1") else "1")  # type: ignore[union-attr]  # a precreate has its payway
    wallet = lived("wechat" if payway == "3" else "alipay")[0]
    built = wallet.channel.build(_operation(request), now_ms=NOW_MS, nonce="n0nce")
    if not isinstance(built, HttpRequest):
        return
    credentials = wallet.account.credentials
    if payway == "3":
        sent = read_xml(built.body)
        assert wechat_signing.verifies(sent, credentials["api_key"], credentials["sign_type"]), sent
        assert sent["total_fee"] == str(request.total)
        return
    sent = dict(parse_qsl(built.body.decode("ascii"), strict_parsing=True))
    signed = alipay_signing.string_to_sign(sent, without=("sign",)).encode()
    public = wallet.world.alipay.accounts["alipay"].merchant.public
    assert alipay_signing.verifies(signed, sent["sign"], public), sent
    content = json.loads(sent["biz_content"])
    assert content["total_amount"] == f"{request.total // 100}.{request.total % 100:02d}"


def _operation(request: PayRequest | PrecreateRequest) -> Pay | Precreate:
    common = {
        "out_trade_no": "7100000000000001",
        "amount": request.total,
        "subject": request.subject,
        "description": request.description,
        "operator": request.operator,
        "store_sn": TERMINAL.store_sn,
        "terminal_sn": TERMINAL.terminal_sn,
        "detail": request.detail,
        "notify_url": NOTIFY_URL,
        "ctime_ms": NOW_MS,
    }
    if isinstance(request, PayRequest):
        return Pay(auth_code=request.dynamic_id, **common)
    return Precreate(
        sub_payway=request.sub_payway,
        payer_uid=request.payer_uid,
        expires_ms=NOW_MS + 240_000,
        **common,
    )


# ---------------------------------------------------------------- where the path leads


def paths() -> Trial:
    """Bytes → a path as the server hands it over, percent signs resolved."""

    def one(data: bytes) -> None:
        path = data.decode(errors="replace")
        plain = plain_path(path)
        assert plain.startswith("/")
        assert plain == "/" or not plain.endswith("/")
        assert "//" not in plain
        assert plain == plain.lower()
        if not re.match(r"/*https?://", plain) and "?" not in plain:
            assert plain_path(plain) == plain, "what is plain stays as it is"
            assert plain_path(f"//{plain}/?") == plain

    seeds = [
        b"/upay/v2/pay",
        b"//Upay/V2//pay/?",
        b"https://gateway.example:8443/upay/v2/query?",
        b"http://x",
        b"",
        b"?",
        "/İ/ß/upay".encode(),
    ]
    words = (b"//", b"/?", b"http://", b"HTTPS://", b"/upay/v2/", b"%2f", b"/..", "İ".encode())
    return Trial(one, tuple(seeds), words=words, bytes_max=128)
