"""Wallets' callbacks: what a stranger posts is refused, and what the wallet signed says no more than that.

Alipay joins its fields to `k=v&k=v` before it signs, so fields can be run together under one signature, and
WeChat encrypts what it says of refunds without signing it. Both are the wallets' own ways: so what decides
about money is compared: number, amount and kind of news; and a refund's callback is never more than a hint.
"""

import base64
import hashlib
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from paymux.channels.contract import Callback, CallbackFact, CallbackForged, Channel
from paymux.domain.outcome import Refused, Took, Unknown
from tests.fuzz import tokens
from tests.fuzz.genuine import ACCOUNTS, lived
from tests.fuzz.keys import fuzz_keys, private_key
from tests.fuzz.targets.replies import wechat_sign
from tests.fuzz.trial import Dice, Pairs, Trial, edited, single_edits, spliced

_HEADERS = {"content-type": "application/x-www-form-urlencoded; charset=gbk"}


def mutants_of(channel: str) -> Trial:
    """Bytes → an account, and what is posted to it; seeds are the genuine callbacks."""
    accounts = ACCOUNTS[channel]
    bodies = {name: _bodies(name) for name in accounts}
    told = {
        name: {_news(lived(name)[0].channel.verify(_post(body))) for body in bodies[name]}
        for name in accounts
    }

    def one(data: bytes) -> None:
        dice = Dice(data)
        name = dice.pick(accounts)
        fact = heard(lived(name)[0].channel, dice.rest())
        if fact is not None and not isinstance(fact.outcome, Unknown):
            assert _news(fact) in told[name], f"nobody signed this: {fact}"

    seeds = [
        bytes([place]) + body
        for place, name in enumerate(accounts)
        for genuine in bodies[name]
        for body in (genuine, tokens.unsigned(genuine))
    ]
    return Trial(one, tuple(seeds), words=tokens.WALLET_WORDS, bytes_max=2048)


def heard(channel: Channel, body: bytes) -> CallbackFact | None:
    """Return what the channel believes, None when it refuses. Nothing but `CallbackForged` may be raised."""
    with suppress(CallbackForged):
        return channel.verify(_post(body))
    return None


def _post(body: bytes) -> Callback:
    return Callback(method="POST", query="", headers=_HEADERS, body=body)


def _bodies(account: str) -> list[bytes]:
    """One genuine callback of each kind; every order's would only make the seeds many."""
    wallet = lived(account)[0]
    kept: dict[tuple[object, ...], bytes] = {}
    for one in wallet.callbacks:
        fact = wallet.channel.verify(_post(one.body))
        kept.setdefault((type(fact.outcome), bool(fact.refund_no), len(one.body) // 64), one.body)
    return list(kept.values())


def _news(fact: CallbackFact) -> tuple[object, ...]:
    return fact.out_trade_no, fact.refund_no, fact.amount, type(fact.outcome)


# ---------------------------------------------------------------- Alipay, made anew

ALIPAY_NAMES = (
    "app_id",
    "seller_id",
    "out_trade_no",
    "trade_no",
    "total_amount",
    "trade_status",
    "gmt_payment",
    "gmt_refund",
    "refund_fee",
    "out_biz_no",
    "fund_bill_list",
    "buyer_id",
    "charset",
    "sign_type",
    "subject",
)
ALIPAY_VALUES = (
    *tokens.ALIPAY_STATUSES,
    "12.34",
    "2.34",
    "1234",
    "1_2.34",
    "１２.３４",
    "-1",
    "0",
    "1e3",
    "",
    "7100000000000001",
    '[{"amount":"12.34","fundChannel":"PCREDIT"}]',
    '[{"amount":NaN}]',
    "[" * 200,
    "2026-09-21 22:13:20",
    "茶",
    "a=b&c=d",
    "\x00",
    "gbk",
    "RSA2",
)


def alipay_made() -> Trial:
    """Bytes → edited fields of a notification, their charset, and who signed them."""
    wallets = [lived(name)[0] for name in ACCOUNTS["alipay"]]
    keys = fuzz_keys()
    signers = [private_key(keys.alipay.private), private_key(keys.alipay_certified.private)]
    forms = [
        [pair for pair in parse_qsl(_bodies(wallet.name)[0].decode()) if pair[0] not in {"sign", "sign_type"}]
        for wallet in wallets
    ]

    genuine = [_news(wallet.channel.verify(_post(_bodies(wallet.name)[0]))) for wallet in wallets]
    # To sign is dear; what must not verify anyway is signed once.
    wrong = [
        {
            _OTHERS: rsa_sign(signers[1 - place], form, "utf-8"),
            _UNSIGNED: "",
            _TORN: rsa_sign(signers[place], form, "utf-8"),
        }
        for place, form in enumerate(forms)
    ]

    def one(data: bytes) -> None:
        dice = Dice(data)
        place, how = dice.below(2), dice.below(5)
        charset = dice.pick(("utf-8", "gbk", "utf-8", "gb18030"))
        pairs = edited(dice, forms[place], names=ALIPAY_NAMES, values=ALIPAY_VALUES, raw=tokens.as_text)
        pairs = [(_sendable(name, charset), _sendable(value, charset)) for name, value in pairs]
        covered = [*pairs, ("sign_type", "RSA2")] if how == _WITH_TYPE else pairs
        signature = rsa_sign(signers[place], covered, charset) if how in _RIGHTLY else wrong[place][how]
        body = tokens.form_body([*pairs, ("sign_type", "RSA2"), ("sign", signature)], charset)
        if how == _TORN:
            body = spliced(body.decode(), dice).encode(errors="replace")
        fact = heard(wallets[place].channel, body)
        if fact is not None and how in _RIGHTLY:
            _check_alipay(dict(pairs), wallets[place].account.credentials, fact)
        elif fact is not None and not isinstance(fact.outcome, Unknown):
            assert _news(fact) == genuine[place], f"nobody signed this: {fact}"

    prefixes = [bytes([place, how, charset]) for place in (0, 1) for how in range(5) for charset in (0, 1)]
    seeds = single_edits(prefixes, fields=len(forms[0]), values=len(ALIPAY_VALUES))
    return Trial(one, tuple(seeds), bytes_max=96)


_PLAINLY, _WITH_TYPE, _OTHERS, _UNSIGNED, _TORN = range(5)
_RIGHTLY = (_PLAINLY, _WITH_TYPE)
"""Signed by Alipay over these fields, `sign_type` left out or in."""


def _sendable(text: str, charset: str) -> str:
    """What arrives of a text: a charset cannot say everything, and UTF-8 is what we read."""
    return text if text.isascii() else text.encode(charset, errors="replace").decode(charset)


def rsa_sign(key: RSAPrivateKey, pairs: Pairs, charset: str) -> str:
    """Sign a notification as Alipay does (channels/01-alipay.md), with code of our own."""
    text = "&".join(f"{name}={value}" for name, value in sorted(dict(pairs).items()) if value)
    return base64.b64encode(key.sign(text.encode(charset), padding.PKCS1v15(), hashes.SHA256())).decode()


def _check_alipay(fields: dict[str, str], credentials: dict[str, str], fact: CallbackFact) -> None:
    assert fields["app_id"] == credentials["app_id"]
    assert fields["seller_id"] == credentials["seller_id"]
    assert fact.out_trade_no == fields["out_trade_no"] != ""
    if isinstance(fact.outcome, Took):
        assert fields["trade_status"] in {"TRADE_SUCCESS", "TRADE_FINISHED"}
        assert not fields.get("refund_fee")
        assert fact.amount == fact.outcome.amount == _fen(fields["total_amount"])
    if isinstance(fact.outcome, Refused):
        assert fields["trade_status"] == "TRADE_CLOSED"
    if fact.refund_no:
        assert isinstance(fact.outcome, Unknown)


def _fen(text: str) -> Decimal:
    try:
        return Decimal(text) * 100
    except InvalidOperation:
        return Decimal(-1)


# ---------------------------------------------------------------- WeChat, made anew


def wechat_made() -> Trial:
    """Bytes → a payment's or a refund's callback, edited, and who signed or sealed it."""
    wallets = [lived(name)[0] for name in ACCOUNTS["wechat"]]
    paid = [_paid(wallet.name) for wallet in wallets]

    def one(data: bytes) -> None:
        dice = Dice(data)
        place, how, style = dice.below(2), dice.below(4), dice.below(5)
        credentials = wallets[place].account.credentials
        refund = dice.below(2) == 1
        pairs = edited(
            dice,
            _REFUND if refund else paid[place],
            names=tokens.WECHAT_NAMES,
            values=tokens.WECHAT_VALUES,
            raw=tokens.as_text,
        )
        key = credentials["api_key"][::-1] if how == 1 else credentials["api_key"]
        if refund:
            inner = (
                tokens.xml_document(pairs, style).replace(b"<xml>", b"<root>").replace(b"</xml>", b"</root>")
            )
            pairs = [*paid[place][:4], ("req_info", _sealed(inner if how != 2 else inner + b"x", key))]
        elif how != 2:
            sign_type = credentials["sign_type"] if how != 3 else "MD5"
            pairs = [*pairs, ("sign", wechat_sign(dict(pairs), key, sign_type))]
        fact = heard(wallets[place].channel, tokens.xml_document(pairs, style))
        if fact is None:
            return
        fits = how == 0 or (how == 3 and (refund or credentials["sign_type"] == "MD5"))
        assert fits, f"nobody signed this: {fact}"
        told = {name: value for name, value in pairs if value}  # the rest is not signed, and says nothing
        _check_wechat(told, credentials, fact, refund=refund)

    prefixes = [bytes([place, how, how, refund]) for place in (0, 1) for how in range(4) for refund in (0, 1)]
    seeds = single_edits(prefixes, fields=len(paid[0]), values=len(tokens.WECHAT_VALUES), replaced=5)
    return Trial(one, tuple(seeds), bytes_max=96)


_REFUND = [
    ("out_trade_no", "7100000000000001"),
    ("out_refund_no", "7100000000000002"),
    ("refund_fee", "234"),
    ("total_fee", "1234"),
    ("refund_status", "SUCCESS"),
]


def _paid(account: str) -> Pairs:
    wallet = lived(account)[0]
    bodies = [one.body for one in wallet.callbacks if b"<sign>" in one.body]
    return [pair for pair in tokens.xml_pairs(bodies[0]) if pair[0] != "sign"]


def _sealed(inner: bytes, api_key: str) -> str:
    """AES-256-ECB under MD5(api_key), as channels/03-wechat.md has it, with code of our own."""
    padder = PKCS7(128).padder()
    padded = padder.update(inner) + padder.finalize()
    key = hashlib.md5(api_key.encode()).hexdigest().encode()  # noqa: S324 - the wallet's choice
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - as above
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def _check_wechat(
    fields: dict[str, str], credentials: dict[str, str], fact: CallbackFact, *, refund: bool
) -> None:
    assert fields["appid"] == credentials["app_id"]
    assert fields["mch_id"] == credentials["mch_id"]
    assert isinstance(fact.outcome, Took | Unknown)
    if refund or "req_info" in fields:
        assert fact.refund_no
        assert isinstance(fact.outcome, Unknown), "encrypted is not signed"
        return
    assert fact.out_trade_no == fields["out_trade_no"] != ""
    if isinstance(fact.outcome, Took):
        assert fields["return_code"] == fields["result_code"] == "SUCCESS"
        assert fields["total_fee"].isascii()
        assert fact.amount == fact.outcome.amount == int(fields["total_fee"])
