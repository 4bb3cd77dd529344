"""Transcripts keep no secrets: proven by putting canaries everywhere and looking for them."""

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paymux.channels.contract import Channel, Pay
from paymux.domain.payways import SubPayway
from tests.harness.short import fields_of
from tests.unit.channels import makers

CANARIES = st.text(alphabet=string.ascii_letters + string.digits, min_size=16, max_size=40)
CHANNELS = pytest.mark.parametrize("channel", [makers.alipay(), makers.wechat()], ids=["alipay", "wechat"])


def _assert_scrubbed(channel: Channel, text: str, canary: str) -> None:
    scrubbed = channel.scrub(text)
    assert canary not in scrubbed
    assert channel.scrub(scrubbed) == scrubbed, "scrubbing twice must change nothing more"


@CHANNELS
@given(canary=CANARIES)
def test_no_barcode_leaves_in_a_request(channel: Channel, canary: str) -> None:
    """A pay request's transcript shows four characters of the code and no signature."""
    pay = Pay(out_trade_no="1", amount=1, auth_code=canary, subject="s", ctime_ms=0)
    text = makers.sent(channel.build(pay, now_ms=0, nonce="n")).body.decode()
    _assert_scrubbed(channel, text, canary)
    assert f"{canary[:2]}************{canary[-2:]}" in channel.scrub(text)


@CHANNELS
@given(canary=CANARIES)
def test_no_buyer_leaves_in_a_request(channel: Channel, canary: str) -> None:
    """The buyer's id goes to the wallet and nowhere else."""
    order = msgspec.structs.replace(makers.precreate(SubPayway.MINI), payer_uid=canary)
    _assert_scrubbed(channel, makers.sent(channel.build(order, now_ms=0, nonce="n")).body.decode(), canary)


@given(canary=CANARIES, name=st.sampled_from(["buyer_user_id", "buyer_open_id", "buyer_logon_id", "sign"]))
def test_no_buyer_leaves_in_alipays_words(canary: str, name: str) -> None:
    """Replies, cut replies, notifications, and JSON inside JSON."""
    fields = {**makers.ALIPAY_PAID, name: canary}
    reply = makers.alipay_reply("pay", fields).decode()
    _assert_scrubbed(makers.alipay(), reply, canary)
    _assert_scrubbed(makers.alipay(), reply[: reply.index(canary) + len(canary)], canary)
    _assert_scrubbed(makers.alipay(), msgspec.json.encode({"log": reply}).decode(), canary)
    form = makers.alipay_notification(makers.ALIPAY_NOTIFIED | {"buyer_id": canary, "buyer_logon_id": canary})
    _assert_scrubbed(makers.alipay(), form.decode(), canary)


BARCODES = ("auth_code", "dynamic_id")
BUYERS = ("buyer_id", "buyer_user_id", "buyer_open_id", "buyer_logon_id", "buyer_user_name")
ALIPAYS = (*BARCODES, *BUYERS, "sign", "open_id", "user_id", "seller_email", "app_auth_token")
SPELLED = st.sampled_from([*ALIPAYS, *map(str.upper, ALIPAYS)])
PLACES = (
    '{"a":"1","%s":"%s","b":"2"}',
    '{"%s" : "%s"}',
    r'{"log":"{\"a\":\"1\",\"%s\":\"%s\"}"}',  # JSON inside JSON text
    "biz_content=%%7B%%22a%%22%%3A%%221%%22%%2C%%22%s%%22%%3A%%22%s%%22%%7D&b=2",  # JSON inside a form
    "biz_content=%%7B%%22%s%%22+%%3a+%%22%s%%22%%7D",
    "a=1&%s=%s&b=2",
    "%s=%s",
)


@given(canary=CANARIES, name=SPELLED, place=st.sampled_from(PLACES))
def test_alipays_secrets_are_masked_wherever_they_stand(canary: str, name: str, place: str) -> None:
    """Of a barcode four characters are left, of everything else nothing; what stands around it stays."""
    masked = f"{canary[:2]}{'*' * 12}{canary[-2:]}" if name.lower() in BARCODES else "***"
    assert makers.alipay().scrub(place % (name, canary)) == place % (name, masked)


@given(canary=CANARIES, before=st.sampled_from("azAZ09_"), name=SPELLED)
def test_longer_names_are_no_secrets(canary: str, before: str, name: str) -> None:
    """`design` is not `sign`; but an encoded quote, which ends in a digit, is no part of a name."""
    text = f"{before}{name}={canary}"
    assert makers.alipay().scrub(text) == text
    assert makers.alipay().scrub(f"%22{name}={canary}") != f"%22{name}={canary}"


@given(canary=CANARIES, name=st.sampled_from(["openid", "sub_openid", "sign", "req_info"]))
def test_no_buyer_leaves_in_wechats_words(canary: str, name: str) -> None:
    """Bare or in CDATA, whole or cut."""
    for value in (canary, f"<![CDATA[{canary}]]>"):
        whole = f"<xml><a>1</a><{name}>{value}</{name}><b>2</b></xml>"
        _assert_scrubbed(makers.wechat(), whole, canary)
        assert makers.wechat().scrub(whole) == f"a=1 {name}=*** b=2"
        cut = whole[: whole.index(canary) + len(canary)]
        _assert_scrubbed(makers.wechat(), cut, canary)
        assert makers.wechat().scrub(cut) == f"<xml><a>1</a><{name}>***"


VALUES = st.text(max_size=40).filter(lambda value: not {"<", "&"} & set(value) and "]]>" not in value)
FIELDS = st.lists(st.tuples(st.sampled_from(["a", "body", "time_end", "b-1"]), VALUES), max_size=6)


@given(fields=FIELDS, wrapped=st.booleans())
def test_every_field_can_be_read_back_from_its_short_form(
    fields: list[tuple[str, str]], *, wrapped: bool
) -> None:
    """Names, values and their order: short is not less. Blanks, quotes and brackets tell nobody astray."""
    spelled = [f"<{k}>{f'<![CDATA[{v}]]>' if wrapped else v}</{k}>" for k, v in fields]
    assert fields_of(makers.wechat().scrub(f"<xml>{''.join(spelled)}</xml>")) == fields


def test_what_is_left_of_a_barcode_is_quoted_where_need_be() -> None:
    """Its first and last characters are kept, and may be anything: found by fuzzing."""
    told = makers.wechat().scrub('<xml><auth_code>"1234567890123456 </auth_code><sign>s</sign></xml>')
    assert fields_of(told) == [("auth_code", '"1************6 '), ("sign", "***")]


@pytest.mark.parametrize(
    "text",
    [
        "<xml><a>1</a><b>2</b>",  # cut
        "<xml><a>1</b></xml>",
        "<xml><a>1</a>2</xml>",
        "<xml><a><b>1</b></a></xml>",
        "<xml><a>&lt;</a></xml>",
        "<xml><a><![CDATA[<b>]]></a></xml>",
        '<xml><a b="1">2</a></xml>',
        "<html>502 Bad Gateway</html>",
        "a=1 b=2",
        "",
    ],
)
def test_what_is_no_plain_message_of_wechats_stays_as_it_came(text: str) -> None:
    """Broken and hostile replies are kept to the letter: what is odd about them is what people look for."""
    assert makers.wechat().scrub(text) == text


@CHANNELS
@given(text=st.text(max_size=200))
def test_scrubbing_takes_any_text(channel: Channel, text: str) -> None:
    """It never raises, and twice is as good as once."""
    once = channel.scrub(text)
    assert channel.scrub(once) == once


def test_our_signature_is_masked() -> None:
    """A signature in a transcript would let others check guesses at what was masked."""
    for channel, body in (
        (makers.alipay(), makers.alipay().build(makers.QUERY, now_ms=0, nonce="n")),
        (makers.wechat(), makers.wechat().build(makers.QUERY, now_ms=0, nonce="n")),
    ):
        text = channel.scrub(makers.sent(body).body.decode())
        assert makers.SN in text
        assert "sign=***" in text
