"""The signature covers the bytes: however a client writes its JSON, it verifies and means the same (§1.1)."""

import hashlib
import json
from collections.abc import Awaitable, Callable

import pytest

from paymux.wire.server import build_app
from tests.contract.upay.edge import KEY, Till, biz, refusal, sign
from tests.harness.town import TERMINAL, Town, in_town

SUBJECT = "达美乐 A&B/c"
FIELDS = {
    "terminal_sn": TERMINAL,
    "client_sn": "C1",
    "total_amount": "100",
    "dynamic_id": "130000000000000000",
    "subject": SUBJECT,
    "operator": "刘侃",
}

STYLES = {
    "compact": json.dumps(FIELDS, ensure_ascii=False, separators=(",", ":")),
    "blanks after commas and colons": json.dumps(FIELDS, ensure_ascii=False),
    "indented": json.dumps(FIELDS, ensure_ascii=False, indent=4) + "\r\n",
    "raw UTF-8": json.dumps(FIELDS, ensure_ascii=False, separators=(", ", ":")),
    "escaped characters": json.dumps(FIELDS, ensure_ascii=True, separators=(",", ":")),
    "escaped ampersands": json.dumps(FIELDS, ensure_ascii=False).replace("&", "\\u0026"),
    "escaped slashes": json.dumps(FIELDS, ensure_ascii=False).replace("/", "\\/"),
    "integers": json.dumps({**FIELDS, "total_amount": 100, "terminal_sn": int(TERMINAL)}, ensure_ascii=False),
    "nulls": json.dumps(
        {
            **FIELDS,
            "payway": None,
            "description": None,
            "extended": None,
            "goods_details": None,
            "reflect": None,
        }
    ),
    "empty texts": json.dumps({**FIELDS, "payway": "", "extended": "", "longitude": "", "latitude": ""}),
    "unknown fields": json.dumps({**FIELDS, "type": "2", "refund_reason": "x", "nested": {"deep": [1.5]}}),
    "keys that only look repeated": json.dumps({**FIELDS, "description": '"subject":"x","subject":"y"'}),
}


def tell(story: Callable[[Town, Till], Awaitable[None]]) -> None:
    """Give the story a town and a till of it."""

    async def told(town: Town) -> None:
        await story(town, Till(build_app(town.desk)))

    in_town(told)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_verifies(style: str) -> None:
    """The call is taken, and the subject comes back as it was meant."""

    async def story(_: Town, till: Till) -> None:
        answer = await till.post_bytes("/upay/v2/pay", STYLES[style].encode())
        data = biz(answer)["data"]
        assert (data["order_status"], data["subject"], data["operator"]) == ("PAID", SUBJECT, "刘侃")

    tell(story)


HEADERS = {
    "lower case": "{sn} {lower}",
    "upper case": "{sn} {upper}",
    "many blanks": "  {sn}   \t{lower} ",
}


@pytest.mark.parametrize("form", HEADERS)
def test_lenient_headers(form: str) -> None:
    """Hex in either case, any run of blanks."""

    async def story(_: Town, till: Till) -> None:
        body = STYLES["compact"].encode()
        lower = sign(body, KEY)
        header = HEADERS[form].format(sn=TERMINAL, lower=lower, upper=lower.upper())
        assert biz(await till.post_bytes("/upay/v2/pay", body, authorization=header))

    tell(story)


BAD_HEADERS = [
    "",
    "x",
    f"{TERMINAL}",
    f"{TERMINAL} zz",
    "a b c",
    f"{TERMINAL} {'0' * 32}",
    f"Bearer {TERMINAL}",
    "ÿ ÿ",
]


@pytest.mark.parametrize("header", BAD_HEADERS)
def test_bad_headers(header: str) -> None:
    """Anything else is ILLEGAL_SIGN, and nothing happened."""

    async def story(town: Town, till: Till) -> None:
        answer = await till.post_bytes("/upay/v2/pay", STYLES["compact"].encode(), authorization=header)
        assert refusal(answer) == ("400", "ILLEGAL_SIGN")
        assert answer["error_message"] == "签名错误"
        assert await town.store.orders(status=None, after=None, limit=1) == []

    tell(story)


def test_one_changed_byte() -> None:
    """A body changed on the way, even by a blank that means nothing, is refused."""

    async def story(_: Town, till: Till) -> None:
        body = STYLES["compact"].encode()
        header = f"{TERMINAL} {sign(body, KEY)}"
        assert refusal(await till.post_bytes("/upay/v2/pay", body + b" ", authorization=header))

    tell(story)


def test_an_empty_key_opens_nothing() -> None:
    """A terminal that has no last key is not opened by the empty one."""

    async def story(_: Town, till: Till) -> None:
        body = STYLES["compact"].encode()
        header = f"{TERMINAL} {hashlib.md5(body).hexdigest()}"  # noqa: S324 - what an attacker would send
        assert refusal(await till.post_bytes("/upay/v2/pay", body, authorization=header))

    tell(story)


def test_an_unknown_terminal() -> None:
    """TERMINAL_NOT_EXISTS, as the printed example has it."""

    async def story(_: Town, till: Till) -> None:
        till.sn = "999"
        answer = await till.post_bytes("/upay/v2/pay", STYLES["compact"].encode())
        assert refusal(answer) == ("400", "TERMINAL_NOT_EXISTS")

    tell(story)


def test_a_terminal_speaks_for_itself_only() -> None:
    """A body that names another terminal than its signer is INVALID_TERMINAL."""

    async def story(_: Town, till: Till) -> None:
        for name in ("pay", "precreate", "query", "refund", "cancel", "revoke"):
            answer = await till.call(name, terminal_sn="999", client_sn="C1")
            assert refusal(answer) == ("400", "INVALID_TERMINAL"), name

    tell(story)


def test_an_old_query_names_the_store() -> None:
    """The oldest edition has wosai_store_id for terminal_sn in a query; it must be the signer's."""

    async def story(_: Town, till: Till) -> None:
        assert biz(await till.post_bytes("/upay/v2/pay", STYLES["compact"].encode()))
        asked = {"client_sn": "C1", "wosai_store_id": "1580000000000001"}
        assert biz(await till.post("/upay/v2/query", asked))["data"]["order_status"] == "PAID"
        wrong = await till.post("/upay/v2/query", {**asked, "wosai_store_id": "2"})
        assert refusal(wrong) == ("400", "INVALID_TERMINAL")
        neither = await till.post("/upay/v2/query", {"client_sn": "C1"})
        assert neither["error_message"] == "terminal_sn与wosai_store_id不能同时为空"

    tell(story)
