"""Bad input over real sockets: a clear answer that names field and rule, and nothing written (M9, M10).

Bytes go out as they stand here, without a client library that would mend them. The gateway has accounts and
shops of its own, and at the end its log and its files are searched for every secret it was given.
"""

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator

import pytest

from tests.harness.live import (
    VENDOR_KEY,
    Gateway,
    Json,
    SandboxChild,
    Till,
    Wallets,
    barcode,
    open_http,
    shop,
    sign,
    tables,
)
from tests.harness.raw import Wire
from tests.harness.raw import request as signed_request

HERE, THERE = shop(11), shop(12)
"""Two merchants of one gateway."""
SALE = {
    "terminal_sn": HERE.terminal_sn,
    "client_sn": "B1",
    "total_amount": "100",
    "dynamic_id": barcode("wechat", 42_424_242, "00"),
    "subject": "tea",
    "operator": "ann",
}
MEGABYTES = b'{"client_sn":"' + b"9" * 10_000_000 + b'"}'
TOO_LONG = "请求体长度不超过262144字节"
AMOUNT = "total_amount金额为整数，长度不超过10位，以分为单位"


# ---------------------------------------------------------------- the wire


def request(
    content: bytes, *, path: str = "/upay/v2/pay", method: str = "POST", **headers: str | None
) -> bytes:
    """A whole request, signed by the terminal HERE; a header given as None is left out."""
    return signed_request(content, HERE, path=path, method=method, **headers)


def ask(gateway: Gateway, *parts: bytes, but: str = "") -> Json:
    """Send the parts over a new connection; return the answer after checking that nothing was written.

    `but`: the table that may have changed.
    """
    before = contents(gateway)
    with Wire(gateway) as line:
        sending = threading.Thread(target=line.send, args=parts)
        sending.start()
        answer = line.answer()
        sending.join()
    after = contents(gateway)
    assert {name for name in before if after[name] != before[name]} <= {but}
    return answer


def refusal(answer: Json) -> tuple[str, str]:
    """Code and words of a call that was not taken."""
    assert "biz_response" not in answer
    return answer["error_code"], answer["error_message"]


def contents(gateway: Gateway) -> dict[str, list[tuple[object, ...]]]:
    """Everything that is in the database."""
    names = [name for (name,) in gateway.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: gateway.rows(f"SELECT * FROM {name}") for name in names}  # noqa: S608 - our own table names


def body(fields: Json, **change: object) -> bytes:
    """A request's JSON."""
    return json.dumps(fields | change).encode()


# ---------------------------------------------------------------- who is there


@pytest.fixture(scope="module")
def target(sandbox: SandboxChild, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with two merchants and one paid order; afterwards it lives, and no secret has leaked."""

    async def begin(gateway: Gateway) -> list[str]:
        async with open_http() as http:
            wallets = Wallets(http, sandbox.url)
            accounts = await wallets.accounts("wechat-hmac")
            keys = await wallets.accounts("alipay")  # provisioned for its private key only
            await gateway.provision(tables({HERE: accounts + keys, THERE: accounts}))
            await gateway.start()
            till = Till(http, gateway.url, sn=HERE.terminal_sn, key=HERE.terminal_key)
            assert (await till.pay(SALE["dynamic_id"], "SOLD"))["result_code"] == "PAY_SUCCESS"
            await gateway.settled()
            return secrets_of(accounts + keys)

    with Gateway(tmp_path_factory.mktemp("target") / "data") as running:
        canaries = asyncio.run(begin(running))
        yield running
        assert running.process.exit_code is None
        assert_no_canary(running, canaries)
        assert "call.failed" not in running.log.read_text()


def secrets_of(accounts: list[Json]) -> list[str]:
    """What no log and no file may hold: keys, the middles of private keys, barcodes, signs we expected."""
    keys = [one.terminal_key for one in (HERE, THERE)]
    pems = [str(row[name]) for row in accounts for name in ("private_key", "client_key") if name in row]
    middles = [pem.splitlines()[1] for pem in pems]
    assert len(middles) == 2
    api_keys = [str(row["api_key"]) for row in accounts if "api_key" in row]
    signs = [sign(body(SALE), key) for key in (*keys, VENDOR_KEY)]
    return [*keys, VENDOR_KEY, *middles, *api_keys, *signs, SALE["dynamic_id"]]


def assert_no_canary(gateway: Gateway, canaries: list[str]) -> None:
    """Search the log and every file of the data directory but the keys' own."""
    own = {"master.key", "notify_key.pem"}
    files = [gateway.log, *(file for file in gateway.data.iterdir() if file.name not in own)]
    assert {"paymux.db", "paymux.db-wal"} <= {file.name for file in files}
    texts = {file.name: file.read_bytes() for file in files}
    assert any(b"SOLD" in text for text in texts.values()), "the search would find what is there"
    assert [(name, one) for name, text in texts.items() for one in canaries if one.encode() in text] == []


# ---------------------------------------------------------------- bodies

BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "请求体不是合法的JSON"),
    "no JSON": (b"a=1&b=2", "请求体不是合法的JSON"),
    "cut off": (body(SALE)[:-9], "请求体不是合法的JSON"),
    "an array": (b"[]", "请求体必须为JSON对象"),
    "NaN": (body(SALE, total_amount=float("nan")), "请求体不是合法的JSON"),
    "infinity": (b'{"total_amount":1e999}', "terminal_sn不可以为空"),
    "a lone surrogate": (b'{"subject":"\\ud800 tea"}', "请求体不是合法的JSON"),
    "half a pair in UTF-8": (b'{"subject":"\xed\xa0\x80"}', "请求体不是合法的"),
    "GBK": ('{"subject":"茶"}'.encode("gbk"), "请求体不是合法的"),
    "deep": (b"[" * 200_000, "请求体"),
    "deep objects": (b'{"x":' * 17 + b"1" + b"}" * 17, "请求体嵌套不超过16层"),
    "a key twice": (body(SALE)[:-1] + b',"total_amount":"1"}', "total_amount重复出现"),
    "gzip": (gzip.compress(body(SALE)), "请求体不是合法的"),
    "no amount": (body(SALE, total_amount=None), "total_amount不可以为空"),
    "a negative amount": (body(SALE, total_amount="-1"), "total_amount不可以为负数"),
    "zero": (body(SALE, total_amount="0"), "total_amount必须大于0"),
    "11 digits": (body(SALE, total_amount="12345678901"), AMOUNT),
    "an underscore": (body(SALE, total_amount="1_0"), AMOUNT),
    "full-width digits": (body(SALE, total_amount="１００"), AMOUNT),
    "a fraction": (body(SALE, total_amount=1.0), AMOUNT),
    "true": (body(SALE, total_amount=True), AMOUNT),
    "a list for a text": (body(SALE, client_sn=["B1"]), "client_sn必须为字符串"),
    "an object for a text": (body(SALE, subject={"a": 1}), "subject必须为字符串"),
    "a NUL": (body(SALE, client_sn="B\0"), "client_sn不可以包含空字符"),
    "a long client_sn": (body(SALE, client_sn="号" * 22), "client_sn长度不超过64字节"),
    "two faults": (body(SALE, client_sn="", subject=""), "client_sn不可以为空; subject不可以为空"),
}


@pytest.mark.parametrize("kind", BODIES)
def test_bodies(target: Gateway, kind: str) -> None:
    """INVALID_PARAMS that says which field broke which rule."""
    content, text = BODIES[kind]
    code, words = refusal(ask(target, request(content)))
    assert code == "INVALID_PARAMS"
    assert words.startswith(text)


def test_a_gzip_body_is_not_unpacked(target: Gateway) -> None:
    """Whatever Content-Encoding says: the bytes are what was signed, and they are no JSON."""
    packed = request(gzip.compress(body(SALE)), Content_Encoding="gzip")
    assert refusal(ask(target, packed))[0] == "INVALID_PARAMS"


@pytest.mark.parametrize("way", ["announced", "chunked"])
def test_ten_megabytes(target: Gateway, way: str) -> None:
    """The answer comes although the body is not read to its end, whether its length was announced or not."""
    parts = [request(MEGABYTES)]
    if way == "chunked":
        piece = MEGABYTES[:100_000]
        chunk = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        parts = [request(b"", Content_Length=None, Transfer_Encoding="chunked"), *[chunk] * 100]
    assert refusal(ask(target, *parts)) == ("INVALID_PARAMS", TOO_LONG)


# ---------------------------------------------------------------- headers, methods, paths


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        ("", False),
        ("x", False),
        (HERE.terminal_sn, False),
        ("a b c", False),
        (f"{HERE.terminal_sn} zz", True),
        (f"{HERE.terminal_sn} {'0' * 32}", True),
        (f"{HERE.terminal_sn} {sign(body(SALE), THERE.terminal_key)}", True),
    ],
)
def test_bad_signatures(target: Gateway, header: str | None, *, known: bool) -> None:
    """ILLEGAL_SIGN; the log says what was tried, and holds neither a key nor the sign we expected."""
    content = body(SALE, client_sn="unsigned")
    heard = len(target.events("sign.refused"))
    assert refusal(ask(target, request(content, Authorization=header)))[0] == "ILLEGAL_SIGN"
    *_, event = events = target.events("sign.refused")
    assert len(events) == heard + 1
    assert (event["body_bytes"], event["body_md5"]) == (len(content), sign(content, ""))
    assert event["tried"] == (["current"] if known else [])
    text = json.dumps(event)
    for key in (HERE.terminal_key, THERE.terminal_key, VENDOR_KEY):
        assert key not in text
        assert sign(content, key) not in text


def test_a_mistaken_key_is_named_not_shown(target: Gateway) -> None:
    """A till that signs with the vendor's key, or over other bytes, finds the reason in the gateway's log."""
    content = body(SALE, client_sn="mistaken")
    spaced = json.dumps(json.loads(content), separators=(",", ":")).encode()
    wrong = f"{HERE.terminal_sn} {sign(spaced, HERE.terminal_key)}"
    assert refusal(ask(target, request(content, Authorization=wrong)))[0] == "ILLEGAL_SIGN"
    event = target.events("sign.refused")[-1]
    assert event["would_match"].startswith("the current key over another body: compact")


def test_unknown_terminals(target: Gateway) -> None:
    """TERMINAL_NOT_EXISTS for who nobody knows."""
    content = body(SALE, terminal_sn="999")
    header = f"999 {sign(content, HERE.terminal_key)}"
    assert refusal(ask(target, request(content, Authorization=header)))[0] == "TERMINAL_NOT_EXISTS"


def test_speaking_for_another_terminal(target: Gateway) -> None:
    """A body that names another terminal than its signer is INVALID_TERMINAL."""
    assert refusal(ask(target, request(body(SALE, terminal_sn=THERE.terminal_sn))))[0] == "INVALID_TERMINAL"


@pytest.mark.parametrize("name", ["query", "cancel", "revoke", "refund"])
@pytest.mark.parametrize("by", ["sn", "client_sn", "trade_no"])
def test_another_merchants_order(target: Gateway, name: str, by: str) -> None:
    """It does not exist, whatever it is named by."""
    [(sn, client_sn, trade_no)] = target.rows("SELECT sn, client_sn, trade_no FROM orders")
    ref = {"sn": {"sn": sn}, "client_sn": {"client_sn": client_sn}, "trade_no": {"sn": trade_no}}[by]
    wish = {"terminal_sn": THERE.terminal_sn, "refund_request_no": "R1", "refund_amount": "1", **ref}
    header = f"{THERE.terminal_sn} {sign(body(wish), THERE.terminal_key)}"
    answer = ask(target, request(body(wish), path=f"/upay/v2/{name}", Authorization=header))
    assert answer["biz_response"]["error_code"] == "UPAY_ORDER_NOT_EXISTS"
    assert "data" not in answer["biz_response"]


def test_a_replayed_pay(target: Gateway) -> None:
    """A paid sale sent again: a conflict, with the order; only its history has one more line."""
    answer = ask(target, request(body(SALE, client_sn="SOLD")), but="events")
    assert answer["biz_response"]["error_code"] == "CLIENT_SN_CONFLICT"
    assert answer["biz_response"]["data"]["order_status"] == "PAID"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods(target: Gateway, method: str) -> None:
    """Told to use POST."""
    code, words = refusal(ask(target, request(b"", method=method)))
    assert (code, words) == ("INVALID_PARAMS", "pay请使用POST方式请求")


@pytest.mark.parametrize("left_out", ["Content_Type", "Host"])
def test_missing_headers(target: Gateway, left_out: str) -> None:
    """Without type or host the call is understood all the same."""
    headers: dict[str, str | None] = {left_out: None}
    answer = ask(target, request(body(SALE, client_sn=""), path="/upay/v2/pay", method="POST", **headers))
    assert refusal(answer) == ("INVALID_PARAMS", "client_sn不可以为空")


def test_a_body_without_a_length_is_empty(target: Gateway) -> None:
    """Neither Content-Length nor chunks: the signature was made for bytes that are not there."""
    header = f"{HERE.terminal_sn} {sign(body(SALE), HERE.terminal_key)}"
    answer = ask(target, request(b"", Content_Length=None, Authorization=header))
    assert refusal(answer)[0] == "ILLEGAL_SIGN"


PATHS = ["//upay/v2/query?", "/Upay/v2/query", "/upay/v2/query/", "/UPAY/V2/QUERY", "http://x/upay/v2/query"]


@pytest.mark.parametrize("path", PATHS)
def test_path_variants(target: Gateway, path: str) -> None:
    """What clients in the field send finds its way."""
    content = body({"terminal_sn": HERE.terminal_sn, "client_sn": "SOLD"})
    answer = ask(target, request(content, path=path))
    assert answer["biz_response"]["data"]["order_status"] == "PAID"


def test_upper_case_hex_and_many_blanks(target: Gateway) -> None:
    """The signature may be written in capitals, with a run of blanks before it."""
    content = body({"terminal_sn": HERE.terminal_sn, "client_sn": "SOLD"})
    header = f"{HERE.terminal_sn}   {sign(content, HERE.terminal_key).upper()}"
    answer = ask(target, request(content, path="/upay/v2/query", Authorization=header))
    assert answer["result_code"] == "200"


# ---------------------------------------------------------------- connections


@pytest.mark.parametrize("content", [body(SALE, client_sn=""), MEGABYTES], ids=["small", "huge"])
def test_expect_100_continue(target: Gateway, content: bytes) -> None:
    """Who asks first is told to go on, or at once that it is too much."""
    before = contents(target)
    whole = request(content, Expect="100-continue")
    with Wire(target) as line:
        line.send(whole[: -len(content)])
        status, _, reply = line.reply()
        line.send(content if status == 100 else b"")
        answer = line.answer() if status == 100 else json.loads(reply)
    assert contents(target) == before
    huge = content is MEGABYTES
    assert status == (200 if huge else 100)
    assert refusal(answer)[1] == (TOO_LONG if huge else "client_sn不可以为空")


def test_pipelined_calls_are_answered_in_order(target: Gateway) -> None:
    """Three calls in one write, good and bad mixed, on one connection: three answers in their order."""
    asked = {"terminal_sn": HERE.terminal_sn, "client_sn": "SOLD"}
    calls = [
        request(body(asked), path="/upay/v2/query"),
        request(body(SALE, subject="")),
        request(body(asked), path="/upay/v2/query"),
    ]

    with Wire(target) as line:
        line.send(b"".join(calls))
        answers = [line.answer() for _ in calls]
    assert [answer["result_code"] for answer in answers] == ["200", "400", "200"]


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GARBAGE\r\n\r\n", b"\r\n"]
)
def test_noise_on_the_port(target: Gateway, noise: bytes) -> None:
    """A TLS greeting, garbage, half a request, a hang-up: the next caller is served."""
    before = contents(target)
    for part in (noise, request(body(SALE))[:60]):
        with Wire(target) as line:
            line.send(part)
    assert contents(target) == before
    assert ask(target, request(body(SALE, subject="")))["error_message"] == "subject不可以为空"
