"""The gateway in process, as the world meets it: every request gets a well-formed answer, whatever it is.

No exception, no HTTP 500, no incident; and whatever is posted to a callback's address, our books never claim
money that the wallet's books do not have.
"""

from decimal import Decimal
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from starlette.requests import Request

from paymux.domain.order import Order
from paymux.wire.pages import qr_picture
from tests.contract.upay.edge import KEY, VENDOR, checked, sign
from tests.fuzz import tokens
from tests.fuzz.gateway import Gateway
from tests.fuzz.keys import fuzz_keys, private_key
from tests.fuzz.targets import callbacks, upay
from tests.fuzz.targets.replies import wechat_sign
from tests.fuzz.trial import Dice, Pairs, Trial, edited, single_edits, spliced
from tests.harness.town import STORE, TERMINAL

CALLS = (
    "/upay/v2/pay",
    "/upay/v2/precreate",
    "/upay/v2/query",
    "/upay/v2/cancel",
    "/upay/v2/refund",
    "/terminal/activate",
    "/terminal/checkin",
    "/upay/v2/revoke",
    "/terminal/uploadLog",
)
_SPELLINGS = ("{}", "/{}//", "https://gateway.example{}?", "{}?")
_METHODS = ("POST", "POST", "POST", "POST", "POST", "POST", "GET", "PUT")

# ---------------------------------------------------------------- the nine calls


def calls() -> Trial:
    """Bytes → a call, how it is spelled and signed, and a body of edited fields or of any bytes."""
    gateway = Gateway()
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        gateway.renewed()
        count += 1
        dice = Dice(data)
        place, how = dice.below(len(CALLS)), dice.below(16)
        path = dice.pick(_SPELLINGS).format(CALLS[place]) if how == 1 else CALLS[place]
        body = dice.rest() if how == 2 else tokens.json_object(_edited(dice, place, count, gateway))
        cut = how % 4 if how > 11 else 0
        headers = _headers(body, dice, how, vendor=place == 5)
        chunks = [body[:cut], body[cut:]] if cut else [body]
        reply = gateway.call(
            dice.pick(_METHODS) if how == 3 else "POST", path, chunks=chunks, headers=headers
        )
        answer = checked(reply)
        assert answer["error_code"] != "UNKNOWN_SYSTEM_ERROR", answer

    seeds = [bytes([place, how]) + b"\x01\x02\x03" for place in range(9) for how in range(16)]
    prefixes = [bytes([place, 0]) for place in range(9)]
    seeds += single_edits(prefixes, fields=8, values=len(upay.VALUES), replaced=2)
    seeds += [bytes([place, 2]) + tokens.json_object(base) for place, base in enumerate(upay.BASES)]
    return Trial(one, tuple(seeds), words=upay.WORDS, bytes_max=600, close=gateway.close)


def _edited(dice: Dice, place: int, count: int, gateway: Gateway) -> Pairs:
    """A right request of that call, about orders that are there, and then the edits."""
    order = gateway.orders[count % len(gateway.orders)]
    ours = {
        "terminal_sn": f'"{TERMINAL}"',
        "client_sn": f'"F{count}"' if place < 2 else f'"{order.client_sn}"',
        "sn": f'"{order.sn}"',
        "refund_request_no": f'"r{count}"',
        "wosai_store_id": f'"{STORE}"',
        "app_id": f'"{VENDOR.app_id}"',
        "dynamic_id": f'"{("13", "28")[count % 2]}00000000000000{("00", "02", "03", "12")[count // 2 % 4]}"',
        "payway": f'"{("3", "1")[count % 2]}"',
    }
    base = [(name, ours.get(name, token)) for name, token in upay.BASES[min(place, 6) if place != 7 else 3]]
    return edited(dice, base, names=upay.NAMES, values=upay.VALUES, raw=tokens.as_token)


def _headers(body: bytes, dice: Dice, how: int, *, vendor: bool) -> list[tuple[bytes, bytes]]:
    sn, key = (VENDOR.vendor_sn, VENDOR.vendor_key) if vendor else (TERMINAL, KEY)
    right = f"{sn} {sign(body, key)}".encode()
    match how:
        case 4:
            return []
        case 5:
            return [(b"authorization", f"{sn} {sign(body + b' ', key)}".encode())]
        case 6:
            return [(b"authorization", dice.rest())]
        case 7:
            return [
                (b"authorization", f"{dice.rest().decode('latin-1')} {sign(body, key)}".encode("latin-1"))
            ]
        case 8:
            return [(b"authorization", right), (b"content-length", dice.some())]
        case _:
            return [(b"authorization", right)]


# ---------------------------------------------------------------- every other address


def addresses() -> Trial:
    """Bytes → method, path and query, as a server hands them over; calls of Upay are another target."""
    gateway = Gateway()

    def one(data: bytes) -> None:
        gateway.renewed()
        dice = Dice(data)
        method = dice.pick(("GET", "POST", "HEAD", "OPTIONS", "BREW"))
        target, _, body = dice.rest().partition(b"\n")
        raw_path, _, query = target.decode("latin-1").partition("?")
        path = unquote(raw_path)
        if path.rstrip("/") == "/upay/qrcode":
            return  # drawn in a thread, which virtual time knows nothing of: see qr_pictures
        reply = gateway.call(method, path, chunks=[body], headers=[], query=query.encode().decode("latin-1"))
        assert reply.status < 500, reply

    seeds = [
        b"\x00/healthz",
        b"\x00/readyz/",
        b"\x00/metrics?name=x",
        b"\x00/.well-known/paymux-notify-key.pem",
        b"\x01/callbacks/wechat/7/1680000000000001/7123456789012345\n<xml></xml>",
        b"\x01/callbacks/alipay/7/1680000000000001/7123456789012345/refunds/7123\na=b",
        b"\x01/callbacks/alipay/18446744073709551616/1680000000000001/%00%ff%E8%8C%B6",
        b"\x02//upay/v2/nothing",
        b"\x04/",
    ]
    words = (
        b"/callbacks/",
        b"/wechat/",
        b"/1680000000000001/",
        b"/refunds/",
        b"9" * 40,
        b"%2f",
        b"%00",
        b"%ff",
    )
    return Trial(one, tuple(seeds), words=words, bytes_max=8192, close=gateway.close)


# ---------------------------------------------------------------- callbacks, up to the books


def posted_callbacks() -> Trial:
    """Bytes → an order, edited fields of a callback about it, who signed them, and the address."""
    gateway = Gateway()
    alipay_key = private_key(fuzz_keys().alipay.private)

    def one(data: bytes) -> None:
        gateway.renewed()
        dice = Dice(data)
        order, how = dice.pick(gateway.orders), dice.below(6)
        pairs = _told(order, gateway.credentials[order.account], dice) if how else []
        body = _signed(pairs, order, gateway, alipay_key, style=dice.below(5), rightly=how > 2)
        if how == 0:
            body = dice.rest()
        elif how == 1:
            body = spliced(body.decode("latin-1"), dice).encode("latin-1")
        refund_tsn = order.sn if how == 5 else ""
        path = urlsplit(gateway.town.desk.callback_url(order, refund_tsn=refund_tsn)).path
        before = gateway.run(gateway.town.now(order))
        reply = gateway.call("POST", path, chunks=[body], headers=[])
        assert reply.status == 200, reply
        now = gateway.run(gateway.town.now(order))
        if now.paid > before.paid and now.paid != gateway.town.wallet_books()[order.sn][0]:
            assert how > 2, f"nobody signed this, and the order is {now.status}"
            _check_claim(dict(pairs), order)

    prefixes = [bytes([place, how, how % 5]) for place in range(6) for how in range(2, 6)]
    seeds = [bytes([place, how, 5]) + b"sign=<xml>" for place in range(6) for how in (0, 1)]
    seeds += single_edits(prefixes, fields=8, values=len(callbacks.ALIPAY_VALUES), replaced=2)
    return Trial(one, tuple(seeds), words=tokens.WALLET_WORDS, bytes_max=600, close=gateway.close)


def _told(order: Order, credentials: dict[str, str], dice: Dice) -> Pairs:
    """What the wallet would post if the order were paid, and then the edits."""
    if order.channel == "wechat":
        pairs = [
            ("return_code", "SUCCESS"),
            ("appid", credentials["app_id"]),
            ("mch_id", credentials["mch_id"]),
            ("result_code", "SUCCESS"),
            ("out_trade_no", order.sn),
            ("total_fee", str(order.total)),
            ("transaction_id", "42000001"),
            ("time_end", "20260921221320"),
        ]
        names, values = tokens.WECHAT_NAMES, tokens.WECHAT_VALUES
    else:
        pairs = [
            ("app_id", credentials["app_id"]),
            ("seller_id", credentials["seller_id"]),
            ("out_trade_no", order.sn),
            ("total_amount", f"{order.total // 100}.{order.total % 100:02d}"),
            ("trade_no", "2026092122001"),
            ("trade_status", "TRADE_SUCCESS"),
        ]
        names, values = callbacks.ALIPAY_NAMES, callbacks.ALIPAY_VALUES
    return edited(dice, pairs, names=names, values=values, raw=tokens.as_text)


def _signed(
    pairs: Pairs, order: Order, gateway: Gateway, alipay_key: RSAPrivateKey, *, style: int, rightly: bool
) -> bytes:
    if order.channel == "wechat":
        right = gateway.credentials[order.account]["api_key"]
        sign = wechat_sign(dict(pairs), right if rightly else right[::-1], "MD5")
        return tokens.xml_document([*pairs, ("sign", sign)], style)
    sign = callbacks.rsa_sign(alipay_key, pairs, "utf-8") if rightly else "AAAA"
    return tokens.form_body([*pairs, ("sign_type", "RSA2"), ("sign", sign)], "utf-8")


def _check_claim(fields: dict[str, str], order: Order) -> None:
    """The order is paid only because the wallet signed so: about this order, and over its amount."""
    assert fields["out_trade_no"] == order.sn
    if order.channel == "wechat":
        assert fields["return_code"] == fields["result_code"] == "SUCCESS"
        assert fields["total_fee"] == str(order.total)
    else:
        assert fields["trade_status"] in {"TRADE_SUCCESS", "TRADE_FINISHED"}
        assert Decimal(fields["total_amount"]) * 100 == order.total


# ---------------------------------------------------------------- QR codes as pictures


def qr_pictures() -> Trial:
    """Bytes → the query of /upay/qrcode."""

    def one(data: bytes) -> None:
        scope = {"type": "http", "method": "GET", "path": "/upay/qrcode", "headers": [], "query_string": data}
        assert qr_picture(Request(scope)).status_code in {200, 400}

    seeds = (
        b"content=https%3A%2F%2Fqr.alipay.com%2Fbax1",
        b"content=%E8%8C%B6&format=svg",
        b"content=0123",
        b"",
    )
    return Trial(one, seeds, words=(b"content=", b"&format=svg", b"%00", b"%ff", b"%ED%A0%80"), bytes_max=128)
