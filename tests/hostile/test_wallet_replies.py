"""What a wallet, or somebody in its place, may answer: nothing is believed, followed or unpacked (row 24).

Every reply below claims a success in some way that is none. The orders must stay open, the gateway small and
quick, and nobody may be called whom a document names.
"""

import asyncio
import gzip
import json
from collections.abc import Iterator

import pytest

from tests.harness.live import Gateway, Json, Wallets, open_http, shop, tables
from tests.hostile.conftest import GROWTH_MIB_MAX, HERE, Target, memory_mib, peak_mib, till_of
from tests.hostile.wallet import HostileWallet

MIB = 1024 * 1024
VICTIM = shop(23)
"""A merchant whose wallets are hostile."""
FIELDS = (
    "<return_code>SUCCESS</return_code><result_code>SUCCESS</result_code><out_trade_no>@SN@</out_trade_no>"
    "<total_fee>100</total_fee><trade_state>SUCCESS</trade_state><transaction_id>4200000001</transaction_id>"
)
PAID = f"<xml>{FIELDS}</xml>"
ALIPAY: Json = {
    "code": "10000",
    "msg": "Success",
    "trade_no": "2026",
    "out_trade_no": "@SN@",
    "trade_status": "TRADE_SUCCESS",
    "total_amount": "1.00",
    "receipt_amount": "1.00",
}
LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))


def http(body: bytes | str, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole reply."""
    content = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


XML: dict[str, bytes] = {
    "unsigned": http(PAID),
    "a wrong sign": http(f"<xml>{FIELDS}<sign>{'0' * 32}</sign></xml>"),
    "an empty sign": http(f"<xml>{FIELDS}<sign></sign></xml>"),
    "a DOCTYPE": http(f"<!DOCTYPE xml>{PAID}"),
    "a file": http(
        f'<!DOCTYPE xml [<!ENTITY f SYSTEM "file:///etc/hostname">]><xml>{FIELDS}<a>&f;</a></xml>'
    ),
    "a far file": http(f'<!DOCTYPE xml [<!ENTITY f SYSTEM "@URL@/entity">]><xml>{FIELDS}<a>&f;</a></xml>'),
    "a far DTD": http(f'<!DOCTYPE xml SYSTEM "@URL@/dtd">{PAID}'),
    "a parameter": http(f'<!DOCTYPE xml [<!ENTITY % p SYSTEM "@URL@/parameter"> %p;]>{PAID}'),
    "laughs": http(f'<!DOCTYPE xml [<!ENTITY l0 "ha">{LAUGHS}]><xml>{FIELDS}<a>&l9;</a></xml>'),
    "one fat entity": http(
        f'<!DOCTYPE xml [<!ENTITY f "{"x" * 50_000}">]><xml><a>{"&f;" * 2_000}</a>{FIELDS}</xml>'
    ),
    "an include": http(
        f'<xml xmlns:xi="http://www.w3.org/2001/XInclude">{FIELDS}<xi:include href="@URL@/include"/></xml>'
    ),
    "a stylesheet": http(f'<?xml-stylesheet href="@URL@/style"?>{PAID}'),
    "said twice": http(f"<xml><result_code>FAIL</result_code>{FIELDS}</xml>"),
    "deep": http("<xml>" + "<a>" * 20_000 + "</a>" * 20_000 + "</xml>"),
    "unclosed": http("<xml>" + "<a>" * 20_000),
    "unclosed CDATA": http("<xml><a>" + "<![CDATA[" * 7_000),
    "brackets": http("<xml><a><![CDATA[" + "]" * 60_000),
    "ampersands": http("<xml><a>" + "&" * 60_000 + "</a></xml>"),
    "references": http("<xml><a>" + "&#38;" * 12_000 + "</a></xml>"),
    "blanks": http("<xml>" + " " * 60_000 + "<a"),
    "a name of 60 KB": http(f"<xml><{'a' * 60_000}>1</a></xml>"),
    "an attribute of 60 KB": http(f'<xml a="{"x" * 60_000}">{FIELDS}</xml>'),
    "many fields": http("<xml>" + "".join(f"<a{n}/>" for n in range(7_000)) + "</xml>"),
    "too big": http(f"<xml>{FIELDS}<a>{'x' * 100_000}</a></xml>"),
    "UTF-16": http(PAID.encode("utf-16")),
    "said to be GBK": http(f'<?xml version="1.0" encoding="gbk"?>{PAID}'),
    "a bomb": http(gzip.compress(b"<xml>" + b" " * 200 * MIB), "Content-Encoding: gzip"),
    "a page": http("<html>502 Bad Gateway</html>", status="502 Bad Gateway"),
    "nothing": http(""),
    "silence": b"",
    "cut": http(PAID, length=10_000),
    "longer than said": http(PAID, length=10),
    "elsewhere": http("", "Location: @URL@/redirect", status="302 Found"),
    "elsewhere for good": http("", "Location: @URL@/redirect", status="308 Permanent Redirect"),
    "a flood": http(b"x" * 8 * MIB),
    "a flood of headers": http(PAID, *[f"A{n}: {'b' * 500}" for n in range(8_000)]),
    "a header of 4 MiB": http(PAID, f"A: {'b' * 4 * MIB}"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00",
}
DEEP = '{"alipay_trade_pay_response":' + "[" * 100_000
JSON: dict[str, bytes] = {
    f"{verb} {kind}": http(body)
    for verb in ("pay", "query")
    for kind, body in {
        "unsigned": json.dumps({f"alipay_trade_{verb}_response": ALIPAY}),
        "a wrong sign": json.dumps({f"alipay_trade_{verb}_response": ALIPAY, "sign": "AAAA"}),
        "no text for a sign": json.dumps({f"alipay_trade_{verb}_response": ALIPAY, "sign": {"a": 1}}),
        "twice": f'{{"alipay_trade_{verb}_response":{json.dumps(ALIPAY)},"sign":"","sign":"AAAA"}}',
        "a list": json.dumps({f"alipay_trade_{verb}_response": [ALIPAY], "sign": "AAAA"}),
        "another's": json.dumps({"error_response": ALIPAY, "sign": "AAAA"}),
    }.items()
} | {
    "deep": http(DEEP),
    "digits": http('{"alipay_trade_pay_response":{"code":' + "9" * 5_000 + '},"sign":"AAAA"}'),
    "NaN": http('{"alipay_trade_pay_response":{"code":NaN},"sign":"AAAA"}'),
    "a surrogate": http('{"alipay_trade_pay_response":{"code":"\\ud800"},"sign":"AAAA"}'),
    "braces": http("{" * 200_000),
    "quotes": http('{"alipay_trade_pay_response":{"a":"' + '\\"' * 200_000),
    "a BOM": http(b"\xef\xbb\xbf" + json.dumps({"alipay_trade_pay_response": ALIPAY, "sign": "A"}).encode()),
    "GBK": http(b'{"alipay_trade_pay_response":{"msg":"\xb2\xe8"},"sign":"AAAA"}'),
    "null": http("null"),
    "a number": http("1"),
}


@pytest.fixture(scope="module", params=["wechat", "alipay"])
def hostile(request: pytest.FixtureRequest) -> Iterator[HostileWallet]:
    """A hostile wallet of either kind."""
    with HostileWallet(XML if request.param == "wechat" else JSON) as wallet:
        yield wallet


def test_nothing_is_believed(
    target: Target, hostile: HostileWallet, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """All kinds at once: each order stays open, nobody else is called, memory stays bounded."""
    before_mib: list[int] = []
    wallet, prefix = ("wechat", "13") if hostile.replies is XML else ("alipay", "28")

    async def story(gateway: Gateway) -> dict[str, tuple[str, str]]:
        async with open_http() as session:
            accounts = await Wallets(session, target.sandbox.url).accounts(wallet)
            stolen = [
                account | {"base_url": hostile.url, "secure_base_url": hostile.url} for account in accounts
            ]
            await gateway.provision(tables({VICTIM: stolen}))
            await gateway.start()
            before_mib.append(memory_mib(gateway))
            till = till_of(session, gateway, VICTIM)
            pays = [
                till.pay(f"{prefix}{number:014d}{hostile.digits(kind)}", f"W{number}")
                for number, kind in enumerate(hostile.replies)
            ]
            answers = await asyncio.gather(*pays)
            return {
                kind: (answer["result_code"], answer["data"]["order_status"])
                for kind, answer in zip(hostile.replies, answers, strict=True)
            }

    with Gateway(tmp_path_factory.mktemp("victim") / "data") as gateway:
        told = asyncio.run(story(gateway))
        growth = peak_mib(gateway) - before_mib[0]
        assert {kind: one for kind, one in told.items() if one != ("PAY_IN_PROGRESS", "CREATED")} == {}
        assert set(hostile.asked) == set(hostile.replies)
        assert hostile.strangers == []
        assert [event for name in ("call.failed", "callback.failed") for event in gateway.events(name)] == []
        assert gateway.rows("SELECT count(*) FROM orders WHERE paid > 0") == [(0,)]
        assert growth < GROWTH_MIB_MAX


DOCUMENTS = {kind: reply.partition(b"\r\n\r\n")[2] for kind, reply in XML.items() if kind != "a flood"}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_same_as_a_callback(target: Target, kind: str) -> None:
    """Sent to an order's own callback address, a hostile document gets a no, and changes nothing."""
    with HostileWallet({}) as listener:
        [(bucket, merchant, sn, before)] = target.gateway.rows(
            "SELECT bucket, merchant_id, sn, version FROM orders WHERE client_sn = 'SOLD' AND store_sn = ?",
            HERE.store_sn,
        )
        content = DOCUMENTS[kind].replace(b"@SN@", sn.encode()).replace(b"@URL@", listener.url.encode())

        async def call() -> tuple[int, bytes]:
            async with (
                open_http() as session,
                session.post(
                    f"{target.gateway.url}/callbacks/wechat/{bucket}/{merchant}/{sn}", data=content
                ) as reply,
            ):
                return reply.status, await reply.read()

        status, said = asyncio.run(call())
        assert (status, b"FAIL" in said) == (200, True)
        assert listener.strangers == []
    assert target.gateway.rows("SELECT version FROM orders WHERE sn = ?", sn) == [(before,)]
