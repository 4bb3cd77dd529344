"""The sandbox's own readers: others point their SDKs and their fuzzers at it, so it must survive them, too.

Requests are signed as a merchant would sign them, or not; the wallets' books stay balanced whatever comes.
"""

import base64
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from paymux.sandbox.messages import Call, Reply
from paymux.sandbox.records import Kind, Order
from paymux.sandbox.world import World
from tests.fuzz import tokens
from tests.fuzz.genuine import AMOUNT, NOW_MS
from tests.fuzz.keys import fuzz_keys, private_key
from tests.fuzz.targets.replies import wechat_sign
from tests.fuzz.trial import Dice, Pairs, Trial, edited, single_edits
from tests.harness.counterfeit import account_of

_LIFE = 500
"""How many inputs one world lives through."""
_LOOK = 25
"""How often the wallets' books are added up."""


class Place:
    """A world with some orders in it, made anew from time to time."""

    def __init__(self) -> None:
        self._asked = _LIFE + 1

    def renew(self) -> None:
        """Make it anew when it is time."""
        self._asked += 1
        if self._asked <= _LIFE:
            if self._asked % _LOOK == 0:
                self._check_books()
            return
        self._asked, self.now_ms = 0, NOW_MS
        self.world = World(7, lambda: self.now_ms, keys=fuzz_keys())
        self.credentials = {
            str(row["name"]): account_of(row, "m").credentials for row in self.world.accounts()
        }
        for wallet, number in (("alipay", "A0"), ("wechat", "W0")):
            order = Order(
                wallet=wallet,
                account=wallet,
                out_trade_no=number,
                amount_fen=AMOUNT,
                subject="tea",
                kind=Kind.DIRECT,
                extra={"trade_type": "JSAPI"},
            )
            self.world.bank.prepare(order, trade_no=f"42{number}")

    def ask(self, call: Call) -> Reply:
        """Call, and let time pass."""
        reply = self.world.handle(call)
        assert reply.status in {200, 303, 400, 403, 404, 409, 500}, reply
        self.now_ms += 100
        for callback in self.world.run_due():
            self.world.callback_answered(callback.id, 200, b"success")
        return reply

    def _check_books(self) -> None:
        """What each seller holds is what its orders were paid and not given back: no order was forgotten."""
        ledger, sums = self.world.bank.ledger, dict.fromkeys(self.world.account_names(), 0)
        for trade in self.world.bank.trades.values():
            sums[trade.account] += trade.paid_fen - (trade.refunded_fen if trade.paid_fen else 0)
        assert sums == {name: ledger.sellers.get(name, 0) for name in sums}


# ---------------------------------------------------------------- Alipay

_METHODS = (
    "alipay.trade.pay",
    "alipay.trade.precreate",
    "alipay.trade.create",
    "alipay.trade.query",
    "alipay.trade.cancel",
    "alipay.trade.close",
    "alipay.trade.refund",
    "alipay.trade.fastpay.refund.query",
    "alipay.data.dataservice.bill.downloadurl.query",
    "alipay.trade.wap.pay",
    "alipay.trade.app.pay",
)
_BIZ = [
    ("out_trade_no", '"A1"'),
    ("total_amount", '"12.34"'),
    ("auth_code", '"280000000000000000"'),
    ("scene", '"bar_code"'),
    ("subject", '"tea"'),
    ("buyer_id", '"2088"'),
    ("refund_amount", '"2.34"'),
    ("out_request_no", '"R1"'),
    ("bill_type", '"trade"'),
    ("bill_date", '"2026-09-21"'),
    ("timeout_express", '"90m"'),
]
_BIZ_NAMES = (*(name for name, _ in _BIZ), "trade_no", "time_expire", "qr_code_timeout_express", "body")
_BIZ_VALUES = (
    *tokens.ODD_TOKENS,
    '"A2"',
    '"1c"',
    '"99999d"',
    '"0m"',
    '"9999-12-31 23:59:59"',
    '"0001-01-01 00:00:00"',
    '"280000000000000010"',
    '"280000000000000017"',
    '"0.01"',
    '"100000000.00"',
    '"signcustomer"',
    "12.34",
    "280000000000000000",
)
_COMMON = (
    "charset",
    "sign_type",
    "timestamp",
    "version",
    "format",
    "app_id",
    "encrypt_type",
    "notify_url",
    "x",
)
_COMMON_VALUES = (
    "gbk",
    "UTF-8",
    "utf-7",
    "RSA",
    "2.0",
    "XML",
    "",
    "0000-00-00 00:00:00",
    "茶",
    "\x00",
    "a&b=c",
)


def alipay() -> Trial:
    """Bytes → a call of gateway.do: signed, with edited parameters, or any bytes at all."""
    place = Place()
    keys = fuzz_keys()
    signer = private_key(keys.alipay_merchant.private)

    def one(data: bytes) -> None:
        place.renew()
        dice = Dice(data)
        how = dice.below(6)
        if how == 0:
            query, _, body = dice.rest().partition(b"\n")
        else:
            fields = _alipay_fields(place, dice)
            text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
            charset = "gbk" if fields.get("charset") == "gbk" else "utf-8"
            signature = signer.sign(text.encode(charset, "replace"), padding.PKCS1v15(), hashes.SHA256())
            fields["sign"] = base64.b64encode(signature).decode() if how > 1 else "AAAA"
            query, body = b"", urlencode(fields, encoding=charset, errors="replace").encode()
        known = len(place.world.bank.trades)
        place.ask(Call(method="POST", path="/gateway.do", query=query, body=body))
        assert how > 1 or len(place.world.bank.trades) == known, "nobody signed this, and an order was made"

    prefixes = [bytes([how, method, 0]) for method in range(len(_METHODS)) for how in (2, 1)]
    seeds = list(single_edits(prefixes, fields=len(_BIZ), values=len(_BIZ_VALUES), replaced=1))
    seeds += [b"\x00method=alipay.trade.pay&charset=gbk\napp_id=%C3%D5&biz_content={}", b"\x00\n" + b"a&" * 9]
    return Trial(
        one, tuple(seeds), words=(b"method=", b"&charset=gbk", b"%", b"&app_id=", b"\xc3\xd5"), bytes_max=300
    )


def _alipay_fields(place: Place, dice: Dice) -> dict[str, str]:
    method = dice.pick(_METHODS)
    common = [
        ("app_id", place.credentials["alipay"]["app_id"]),
        ("method", method),
        ("charset", "utf-8"),
        ("sign_type", "RSA2"),
        ("timestamp", "2026-09-21 22:13:20"),
        ("version", "1.0"),
        ("notify_url", "http://127.0.0.1:9/n"),
    ]
    edits = dice.below(3)
    biz = edited(dice, _BIZ, names=_BIZ_NAMES, values=_BIZ_VALUES, raw=tokens.as_token)
    common = edited(dice, common, names=_COMMON, values=_COMMON_VALUES, raw=tokens.as_text, edits_max=edits)
    content = tokens.json_object(biz).decode(errors="replace")
    deep = '{"a":' * 2000 if edits == 2 and dice.below(9) == 1 else ""
    return dict(common) | {"biz_content": deep + content}


# ---------------------------------------------------------------- WeChat

_PATHS = (
    "/pay/micropay",
    "/pay/unifiedorder",
    "/pay/orderquery",
    "/pay/closeorder",
    "/secapi/pay/reverse",
    "/secapi/pay/refund",
    "/pay/refundquery",
    "/pay/downloadbill",
)
_SENT = [
    ("out_trade_no", "W1"),
    ("total_fee", str(AMOUNT)),
    ("auth_code", "130000000000000000"),
    ("body", "tea"),
    ("spbill_create_ip", "127.0.0.1"),
    ("trade_type", "NATIVE"),
    ("notify_url", "http://127.0.0.1:9/n"),
    ("out_refund_no", "R1"),
    ("refund_fee", "234"),
    ("bill_date", "20260921"),
    ("bill_type", "ALL"),
]
_SENT_NAMES = (
    *(name for name, _ in _SENT),
    "appid",
    "mch_id",
    "nonce_str",
    "sign_type",
    "time_expire",
    "transaction_id",
    "refund_id",
    "openid",
    "attach",
    "tar_type",
)
_SENT_VALUES = (*tokens.WECHAT_VALUES, "W2", "130000000000000010", "MWEB", "JSAPI", "GZIP", "99991231235959")


def wechat() -> Trial:
    """Bytes → a call of one of the paths: signed, with edited fields, or any bytes at all."""
    place = Place()

    def one(data: bytes) -> None:
        place.renew()
        dice = Dice(data)
        how, path, style = dice.below(6), dice.pick(_PATHS), dice.below(5)
        body = dice.rest() if how == 0 else _wechat_body(place, dice, style, rightly=how > 1)
        known = len(place.world.bank.trades)
        place.ask(Call(method="POST", path=path, body=body, client_cert=True))
        assert how > 1 or len(place.world.bank.trades) == known, "nobody signed this, and an order was made"

    prefixes = [bytes([how, path, path % 5]) for path in range(len(_PATHS)) for how in (2, 1)]
    seeds = list(single_edits(prefixes, fields=len(_SENT) + 3, values=len(_SENT_VALUES), replaced=2))
    seeds += [b"\x00\x00\x00" + tokens.xml_document(_SENT, style) for style in range(5)]
    return Trial(one, tuple(seeds), words=(*tokens.WALLET_WORDS, b"<!DOCTYPE x>", b"<?xml "), bytes_max=1200)


def _wechat_body(place: Place, dice: Dice, style: int, *, rightly: bool) -> bytes:
    account = place.credentials["wechat"]
    pairs: Pairs = [("appid", account["app_id"]), ("mch_id", account["mch_id"]), ("nonce_str", "n"), *_SENT]
    pairs = edited(dice, pairs, names=_SENT_NAMES, values=_SENT_VALUES, raw=tokens.as_text)
    fields = dict(pairs)
    sign_type = fields.get("sign_type", "MD5")
    sign = wechat_sign(fields, account["api_key"] if rightly else "x", sign_type)
    return tokens.xml_document([*pairs, ("sign", sign)], style)


# ---------------------------------------------------------------- its own API, and the pages for people

_CONTROLS = (
    ("POST", "/_sandbox/faults", '{"fault":"lost_reply","operation":"pay","times":1,"slow_ms":5}'),
    ("POST", "/_sandbox/buyers", '{"name":"new","balance":100,"wallet":"alipay"}'),
    ("POST", "/_sandbox/time", '{"advance_ms":1000,"rate":2}'),
    ("POST", "/_sandbox/scan", '{"out_trade_no":"W0","buyer":"wechat-A","action":"pay"}'),
    ("PUT", "/_sandbox/scripts/07", '{"script":"05"}'),
    ("PATCH", "/_sandbox/accounts/wechat", '{"amount_scripts":true}'),
    ("POST", "/_sandbox/reset", "{}"),
    ("GET", "/_sandbox/buyers", ""),
    ("GET", "/_sandbox/faults", ""),
    ("GET", "/_sandbox/transcript", ""),
    ("GET", "/_sandbox/%00/%ff", ""),
    ("POST", "/phone", "key=wechat%2FW0&buyer=wechat-A&action=pay"),
    ("POST", "/cashier", "key=alipay%2FA0&action=refuse"),
    ("GET", "/cashier", "key=alipay%2FA0"),
    ("GET", "http://x/cgi-bin/mmpayweb-bin/checkmweb", "prepay_id=wx1"),
    ("GET", "/downloadBillFile.resource", "token=x"),
)


def control() -> Trial:
    """Bytes → one of the sandbox's own addresses, and what is sent there."""
    place = Place()

    def one(data: bytes) -> None:
        place.renew()
        dice = Dice(data)
        method, path, _ = dice.pick(_CONTROLS)
        body = dice.rest()
        reply = place.ask(Call(method=method, path=path, query=body, body=body))
        if path.startswith("/_sandbox/"):
            msgspec.json.decode(reply.body)
            for shown in ("books", "buyers", "faults", "time", "scripts"):
                assert place.ask(Call(method="GET", path=f"/_sandbox/{shown}")).status == 200

    seeds = [bytes([place]) + body.encode() for place, (_, _, body) in enumerate(_CONTROLS)]
    words = (
        b'"balance":',
        b'"times":',
        b'"rate":',
        b"1e-320",
        b"9" * 30,
        b"-1",
        b"\\ud800",
        b"%00",
        b'{"a":' * 99,
    )
    return Trial(one, tuple(seeds), words=words, bytes_max=600)
