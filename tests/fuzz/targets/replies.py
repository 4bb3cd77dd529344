"""Wallets' replies: bytes nobody signed prove nothing, and signed ones prove only what they say about us.

Two ways per channel. Mutants of genuine bytes: whatever is believed must be what a genuine reply to that very
operation proves. Replies made anew from edited fields, signed rightly or not: what is believed must follow
from the fields, as an oracle reads them that shares no line with the channel.
"""

import base64
import hashlib
import hmac
import json
from decimal import Decimal, InvalidOperation
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from paymux.channels.contract import (
    Channel,
    Close,
    HttpResponse,
    Operation,
    Pay,
    Precreate,
    Query,
    Refund,
    RefundQuery,
    Reverse,
)
from paymux.domain.outcome import (
    GaveBack,
    InProgress,
    Misconfigured,
    Outcome,
    Prepared,
    Refused,
    Took,
    Unknown,
)
from tests.fuzz import tokens
from tests.fuzz.genuine import Exchange, exchanges, lived
from tests.fuzz.keys import fuzz_keys, private_key
from tests.fuzz.trial import Dice, Pairs, Trial, edited, single_edits

_STATUSES = (200, 200, 200, 200, 200, 200, 200, 500, 302, 404)
_DOOR_CODES = {"40001", "40002", "40003", "40006"}
"""What Alipay's gateway may say without a signature: it refused at the door (channels/01-alipay.md)."""

# ---------------------------------------------------------------- mutants of genuine bytes


def mutants_of(channel: str) -> Trial:
    """Bytes → an operation, and any reply to it; seeds are the genuine ones."""
    said = exchanges(channel)
    believable = [_believable(one, said) for one in said]

    def one(data: bytes) -> None:
        dice = Dice(data)
        place = dice.below(len(said))
        asked, status, body = said[place], dice.pick(_STATUSES), dice.rest()
        response = HttpResponse(status=status, headers={}, body=body)
        outcome = _channel_of(asked).read(asked.operation, response)
        if isinstance(outcome, Unknown):
            return
        assert status == 200, f"HTTP {status} was believed: {outcome}"
        if channel == "alipay" and isinstance(outcome, Misconfigured):
            assert any(code.encode() in body for code in _DOOR_CODES), outcome
            return
        assert outcome in believable[place], f"nobody signed this: {outcome}"

    seeds = [
        bytes([place, 0]) + body
        for place, asked in enumerate(said)
        for body in (asked.response.body, tokens.unsigned(asked.response.body))
    ]
    return Trial(one, tuple(seeds), words=tokens.WALLET_WORDS, bytes_max=2048)


def _channel_of(exchange: Exchange) -> Channel:
    return lived(exchange.account)[0].channel


def _believable(asked: Exchange, said: tuple[Exchange, ...]) -> list[Outcome]:
    """What the genuine replies to this account prove about this operation."""
    channel = _channel_of(asked)
    read = [channel.read(asked.operation, one.response) for one in said if one.account == asked.account]
    return [outcome for outcome in read if not isinstance(outcome, Unknown)]


# ---------------------------------------------------------------- Alipay, made anew

_ENVELOPES = {
    Pay: b"alipay_trade_pay_response",
    Query: b"alipay_trade_query_response",
    Reverse: b"alipay_trade_cancel_response",
    Close: b"alipay_trade_close_response",
    Refund: b"alipay_trade_refund_response",
    RefundQuery: b"alipay_trade_fastpay_refund_query_response",
}
_RIGHT, _OTHER_KEY, _UNSIGNED, _OF_ANOTHER, _OF_MORE = range(5)
_SIGNING = (_RIGHT, _RIGHT, _RIGHT, _OTHER_KEY, _UNSIGNED, _OF_ANOTHER, _OF_MORE)


def alipay_made() -> Trial:
    """Bytes → an operation, edited fields, and who signed them."""
    said = [one for one in exchanges("alipay") if b'"sign"' in one.response.body]
    contents = [_content(one) for one in said]
    keys = fuzz_keys()
    signers = {
        "alipay": private_key(keys.alipay.private),
        "alipay-cert": private_key(keys.alipay_certified.private),
        "": private_key(keys.alipay_merchant.private),
    }

    def signed(owner: str, content: bytes) -> bytes:
        return base64.b64encode(signers[owner].sign(content, padding.PKCS1v15(), hashes.SHA256()))

    # To sign is dear; what must not verify anyway is signed once.
    genuine = [tokens.json_object(pairs) for pairs in contents]
    wrong = [
        {
            _OTHER_KEY: signed("", text),
            _UNSIGNED: b"",
            _OF_ANOTHER: signed(one.account, genuine[place - 1]),
            _OF_MORE: signed(one.account, text + b" "),
        }
        for place, (one, text) in enumerate(zip(said, genuine, strict=True))
    ]

    def one(data: bytes) -> None:
        dice = Dice(data)
        place = dice.below(len(said))
        asked, how, shape = said[place], dice.pick(_SIGNING), dice.below(8)
        pairs = edited(
            dice, contents[place], names=tokens.ALIPAY_NAMES, values=tokens.ALIPAY_VALUES, raw=tokens.as_token
        )
        content = tokens.json_object(pairs)
        signature = signed(asked.account, content) if how == _RIGHT else wrong[place][how]
        body = _alipay_body(asked, content, signature, shape, dice)
        outcome = _channel_of(asked).read(asked.operation, HttpResponse(status=200, headers={}, body=body))
        if isinstance(outcome, Unknown) or (how == _UNSIGNED and isinstance(outcome, Misconfigured)):
            return
        assert how == _RIGHT or (how == _OF_ANOTHER and content == genuine[place - 1]), (
            f"nobody signed this: {outcome}"
        )
        _check_alipay(asked.operation, json.loads(content), outcome)

    prefixes = [bytes([place, how, place % 8]) for place in range(len(said)) for how in (0, 3, 4)]
    seeds = single_edits(
        prefixes, fields=max(map(len, contents)), values=len(tokens.ALIPAY_VALUES), replaced=1
    )
    return Trial(one, tuple(seeds), bytes_max=96)


def _content(exchange: Exchange) -> Pairs:
    """The signed object of a genuine reply, its values as JSON tokens."""
    envelope = json.loads(exchange.response.body)
    fields = next(iter(envelope.values()))
    return [(name, json.dumps(value, ensure_ascii=False)) for name, value in fields.items()]


def _alipay_body(asked: Exchange, content: bytes, signature: bytes, shape: int, dice: Dice) -> bytes:
    """Write the envelope in one of the shapes Alipay, or somebody who plays it, may give it."""
    name = _ENVELOPES.get(type(asked.operation)) or (
        b"alipay_trade_create_response"
        if "MINI" in str(asked.operation)
        else b"alipay_trade_precreate_response"
    )
    sign = b',"sign":"%s"' % signature if signature else b""
    certificate = b',"alipay_cert_sn":"%s"' % dice.pick((b"", b"0" * 32, b"\\ud800", b"x" * 99))
    match shape:
        case 1:
            return b'{"%s":%s%s}' % (b"error_response", content, sign)
        case 2:
            return b'{"%s":{"code":"10000"},"%s":%s%s}' % (name, name, content, sign)
        case 3:
            return b'{"%s":%s%s,"sign":"AAAA"}' % (name, content, sign)
        case 4:
            return b' {\n"x":[1e999],"%s" : %s\t%s , "y":null} ' % (name, content, sign)
        case 5:
            return b'{"%s":%s%s%s}' % (name, content, certificate, sign)
        case 6:
            return b'{"error_response":{"code":"40004"},"%s":%s%s}' % (name, content, sign)
        case _:
            return b'{"%s":%s%s}' % (name, content, sign)


def _check_alipay(asked: Operation, fields: dict[str, Any], outcome: Outcome) -> None:
    named = fields.get("out_trade_no") == asked.out_trade_no
    ok = fields.get("code") == "10000"
    match outcome:
        case Took():
            assert isinstance(asked, Pay | Query), outcome
            assert ok
            assert named
            assert _fen(fields.get("total_amount")) == asked.amount == outcome.amount
        case GaveBack(had_taken=had_taken):
            _check_alipay_back(asked, fields, named=named, ok=ok, had_taken=had_taken)
        case Refused() if ok:
            assert isinstance(asked, Query)
            assert named
            assert fields.get("trade_status") == "TRADE_CLOSED"
        case Refused():
            assert fields.get("code") == "40004"
            assert outcome.provider_code == fields.get("sub_code")
        case Prepared():
            assert isinstance(asked, Precreate)
            assert ok
            assert named
        case InProgress():
            assert isinstance(asked, Pay | Query | Refund)
        case _:
            assert not ok, outcome
    assert fields.get("out_trade_no") == asked.out_trade_no or not _is_name(fields.get("out_trade_no")), (
        outcome
    )


def _check_alipay_back(
    asked: Operation, fields: dict[str, Any], *, named: bool, ok: bool, had_taken: bool | None
) -> None:
    match asked:
        case Refund():
            assert ok
            assert named
            assert fields.get("fund_change") == "Y"
            assert _fen(fields.get("refund_fee")) >= asked.amount
        case RefundQuery():
            assert ok
            assert named
            assert fields.get("out_request_no") == asked.refund_no
            assert _fen(fields.get("refund_amount")) == asked.amount
            assert fields.get("refund_status") == "REFUND_SUCCESS"
        case Reverse():
            assert ok
            assert named
            assert fields.get("retry_flag") == "N"
        case Close():
            assert (ok and named) or fields.get("sub_code") == "ACQ.TRADE_NOT_EXIST"
            assert had_taken is False
        case _:
            raise AssertionError("this operation gives nothing back")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _fen(text: object) -> Decimal | int:
    """Yuan text as fen, by Decimal; -1 for what is no text."""
    try:
        return Decimal(text) * 100 if isinstance(text, str) else -1
    except InvalidOperation:
        return -1


# ---------------------------------------------------------------- WeChat, made anew


def wechat_made() -> Trial:
    """Bytes → an operation, edited fields, how they are written, and who signed them."""
    said = [one for one in exchanges("wechat") if b"<sign>" in one.response.body]
    fields_of = [tokens.xml_pairs(one.response.body) for one in said]

    def one(data: bytes) -> None:
        dice = Dice(data)
        place = dice.below(len(said))
        asked, how, style = said[place], dice.pick(_SIGNING), dice.below(5)
        bare = [(name, value) for name, value in fields_of[place] if name != "sign"]
        pairs = edited(dice, bare, names=tokens.WECHAT_NAMES, values=tokens.WECHAT_VALUES, raw=tokens.as_text)
        wallet = lived(asked.account)[0]
        signature = _wechat_signature(pairs, how, wallet.account.credentials, other=bare)
        body = tokens.xml_document([*pairs, ("sign", signature)] if signature else pairs, style)
        outcome = wallet.channel.read(asked.operation, HttpResponse(status=200, headers={}, body=body))
        if isinstance(outcome, Unknown):
            return
        same = _signed(pairs) == _signed(bare)
        assert how == _RIGHT or (how == _OF_ANOTHER and same), f"nobody signed this: {outcome}"
        _check_wechat(asked.operation, _signed(pairs), wallet.account.credentials, outcome)

    prefixes = [bytes([place, how, place % 5]) for place in range(len(said)) for how in (0, 4)]
    seeds = single_edits(
        prefixes, fields=max(map(len, fields_of)), values=len(tokens.WECHAT_VALUES), replaced=1
    )
    return Trial(one, tuple(seeds), bytes_max=96)


def _signed(pairs: Pairs) -> dict[str, str]:
    """What a signature of WeChat's covers: it leaves empty fields out, so they say nothing."""
    return {name: value for name, value in pairs if value}


def _wechat_signature(pairs: Pairs, how: int, credentials: dict[str, str], *, other: Pairs) -> str:
    if how == _UNSIGNED:
        return ""
    key = credentials["api_key"][::-1] if how == _OTHER_KEY else credentials["api_key"]
    of = {_OF_ANOTHER: other, _OF_MORE: [*pairs, ("zz", "1")]}.get(how, pairs)
    return wechat_sign(dict(of), key, credentials["sign_type"])


def wechat_sign(fields: dict[str, str], key: str, sign_type: str) -> str:
    """Sign as the wallet does (channels/03-wechat.md), with code of our own."""
    kept = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
    text = f"{kept}&key={key}".encode()
    if sign_type == "MD5":
        return hashlib.md5(text).hexdigest().upper()  # noqa: S324 - the wallet's choice
    return hmac.new(key.encode(), text, hashlib.sha256).hexdigest().upper()


def _check_wechat(
    asked: Operation, fields: dict[str, str], credentials: dict[str, str], outcome: Outcome
) -> None:
    assert fields.get("return_code") == "SUCCESS"
    assert fields.get("appid") == credentials["app_id"]
    assert fields.get("mch_id") == credentials["mch_id"]
    assert fields.get("out_trade_no", asked.out_trade_no) == asked.out_trade_no
    done = fields.get("result_code") == "SUCCESS"
    match outcome:
        case Took():
            assert isinstance(asked, Pay | Query)
            assert done
            assert fields["out_trade_no"] == asked.out_trade_no
            assert fields["total_fee"] == str(asked.amount)
            assert outcome.amount == asked.amount
        case GaveBack():
            _check_wechat_back(asked, fields, done=done)
        case Refused() if done:
            assert isinstance(asked, Query | RefundQuery)
            assert fields["out_trade_no"] == asked.out_trade_no
        case Refused():
            assert fields.get("result_code") == "FAIL"
            assert fields.get("recall") != "Y"
            assert outcome.provider_code == fields.get("err_code")
        case Prepared():
            assert isinstance(asked, Precreate)
            assert done
        case _:
            assert done or fields.get("result_code") == "FAIL"


def _check_wechat_back(asked: Operation, fields: dict[str, str], *, done: bool) -> None:
    match asked:
        case Reverse():
            assert done
            assert fields["recall"] == "N"
        case Close():
            assert done or fields["err_code"] in {"ORDERCLOSED", "ORDERNOTEXIST"}
        case RefundQuery():
            (n,) = [n for n in range(50) if fields.get(f"out_refund_no_{n}") == asked.refund_no][:1]
            assert done
            assert fields["out_trade_no"] == asked.out_trade_no
            assert fields[f"refund_fee_{n}"] == str(asked.amount)
            assert fields[f"refund_status_{n}"] == "SUCCESS"
        case _:
            raise AssertionError("this operation gives nothing back")
