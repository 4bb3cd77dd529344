"""What is kept of requests, replies and callbacks: whatever stands around a secret, the secret is masked.

Strangers write callbacks and tills write subjects, so what surrounds a signature or a barcode may be made to
lead the masking astray. What is told in short has lost nothing but secrets.
"""

import json
from urllib.parse import quote_plus

from paymux.channels.contract import Channel
from paymux.channels.wechat.xml import XmlRefused, read_xml
from tests.fuzz import tokens
from tests.fuzz.genuine import lived
from tests.fuzz.targets.callbacks import ALIPAY_NAMES, ALIPAY_VALUES
from tests.fuzz.trial import Dice, Pairs, Trial, edited
from tests.harness.short import fields_of

_CHARS_MAX = 8_000
"""As much as a flow keeps of one message (flows/call.py)."""
_SECRET = "S3cretS3cretS3cretS3cret"
_ALIPAY_SECRETS = ("sign", "auth_code", "buyer_id", "buyer_logon_id", "app_auth_token", "buyer_open_id")
_WECHAT_SECRETS = ("sign", "auth_code", "openid", "sub_openid", "req_info")
_SNARES = (
    '"sign":"',
    'sign\\":\\"',
    "%22sign%22%3A%22",
    "sign=",
    "<sign>",
    "</sign>",
    "<![CDATA[",
    "]]>",
    "\\",
    '\\"',
    '"',
    "%22",
    "&",
    "<sign ",
    "sign",
)
_BASE: Pairs = [("subject", "tea"), ("out_trade_no", "71"), ("body", "a cup"), ("total", "12.34")]


def transcripts() -> Trial:
    """Bytes → a wallet, a way to write, edited fields, and where among them the secret stands."""
    alipay, wechat = lived("alipay")[0].channel, lived("wechat")[0].channel
    names, values = (*ALIPAY_NAMES, *_ALIPAY_SECRETS), (*_SNARES, *ALIPAY_VALUES)

    def one(data: bytes) -> None:
        dice = Dice(data)
        how, style, at = dice.below(6), dice.below(5), dice.below(5)
        secret = dice.pick(_WECHAT_SECRETS if how == 0 else _ALIPAY_SECRETS)
        if how == 5:
            _scrubbed(alipay if style % 2 else wechat, dice.rest())
            return
        pairs = edited(dice, _BASE, names=names, values=values, raw=tokens.as_text)
        if how == 0:
            pairs = [(name, value) for name, value in pairs if name.isidentifier()]
        pairs.insert(min(at, len(pairs)), (secret, _SECRET))
        body = _written(pairs, how, style)
        told = _scrubbed(wechat if how == 0 else alipay, body)
        assert _SECRET not in told, told
        if how == 0:
            _assert_whole(told, body)

    seeds = [
        bytes([how, style, at, secret, *edits])
        for how in range(6)
        for style in range(0, 5, 2)
        for at in (0, 4)
        for secret in (0, 1)
        for edits in (b"", b"\x00\x01\x00", b"\x02\x01\x09", b'\x03\x07\x02\x01\x02\\"')
    ]
    return Trial(one, tuple(seeds), words=tuple(snare.encode() for snare in _SNARES), bytes_max=600)


def _scrubbed(channel: Channel, body: bytes) -> str:
    return channel.scrub(body[:_CHARS_MAX].decode(errors="replace"))


def _assert_whole(told: str, body: bytes) -> None:
    """What is told in short is the message, field by field; secrets aside."""
    if "<xml>" in told:
        return
    try:
        fields = read_xml(body)
    except XmlRefused:
        return  # a name stands there twice
    masked = {*_WECHAT_SECRETS, "dynamic_id"}
    kept = [(name, value) for name, value in fields_of(told) if value and name not in masked]
    assert kept == [(name, value) for name, value in fields.items() if name not in masked], told


def _written(pairs: Pairs, how: int, style: int) -> bytes:
    """Write the fields as WeChat's XML, a reply, a form, the business part of one, or JSON text in JSON."""
    spelled = [(name, tokens.as_token(value.encode("latin-1", "replace"))) for name, value in pairs]
    match how:
        case 0:
            return tokens.xml_document(pairs, style)
        case 1:
            return b'{"alipay_trade_pay_response":%s,"sign":"AAAA"}' % tokens.json_object(spelled)
        case 2:
            return tokens.form_body(pairs, "utf-8")
        case 3:
            return b"method=x&biz_content=" + quote_plus(tokens.json_object(spelled)).encode() + b"&sign=AAAA"
        case _:
            return tokens.json_object([("passback", json.dumps(tokens.json_object(spelled).decode()))])
