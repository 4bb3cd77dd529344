"""Merchants for the tests: they sign and verify with code of their own, as any stranger's SDK would."""

import base64
import functools
import hashlib
import hmac
import html
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from paymux.sandbox.messages import Call, Callback, Reply
from paymux.sandbox.world import World

NOON_MS = 1_767_240_000_000  # 2026-01-01 12:00:00 in Beijing
NOTIFY_URL = "http://127.0.0.1:9/callbacks"


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now_ms = NOON_MS

    def __call__(self) -> int:
        """Return the time in ms."""
        return self.now_ms


class Town:
    """A world, its clock, and every callback it sent; callbacks are acknowledged unless told otherwise."""

    def __init__(self, world: World, clock: Clock) -> None:
        self.world, self.clock = world, clock
        self.callbacks: list[Callback] = []
        self.acknowledges = True
        self.alipay = AlipayMerchant(world, "alipay")
        self.alipay_cert = AlipayMerchant(world, "alipay-cert")
        self.wechat = WechatMerchant(world, "wechat")
        self.wechat_hmac = WechatMerchant(world, "wechat-hmac")

    def wait(self, ms: int) -> None:
        """Let time pass, stopping at everything that happens by itself."""
        end_ms = self.clock.now_ms + ms
        self._settle()
        while (next_ms := self.world.next_event_ms()) is not None and next_ms <= end_ms:
            self.clock.now_ms = max(next_ms, self.clock.now_ms)
            self._settle()
        self.clock.now_ms = end_ms
        self._settle()

    def _settle(self) -> None:
        for callback in self.world.run_due():
            self.callbacks.append(callback)
            good = {
                "success": b"success",
                "xml": b"<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>",
            }
            status, body = (200, good[callback.ack]) if self.acknowledges else (500, b"")
            self.world.callback_answered(callback.id, status, body)

    def control(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON can say
        """Use the sandbox's own API; returns the parsed answer."""
        data = json.dumps(body).encode() if body is not None else b""
        return json.loads(self.world.handle(Call(method=method, path=f"/_sandbox/{path}", body=data)).body)

    def book(self, out_trade_no: str) -> dict[str, Any]:
        """Return the books' row for an order, or nothing."""
        rows = [row for row in self.control("GET", "books") if row["out_trade_no"] == out_trade_no]
        return rows[0] if rows else {}

    def balance(self) -> int:
        """Return all the money there is: buyers' and sellers'."""
        return self.world.bank.ledger.total_fen()


class Lost(Exception):
    """No reply came."""


class AlipayMerchant:
    """A merchant of Alipay."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        row: dict[str, Any] = next(row for row in world.accounts() if row["name"] == name)
        self.row = row
        self._key: Any = _private_key(row["private_key"])
        self._alipay: Any = world.alipay.accounts[name].alipay.public
        self._certs: dict[str, str] = {}

    def __call__(self, method: str, biz: Mapping[str, object], **common: str) -> dict[str, Any]:
        """Call `alipay.<method>` and return the verified inner object."""
        return self.read(self.send(method, biz, **common), method)

    def fields(self, method: str, biz: Mapping[str, object], **common: str) -> dict[str, str]:
        """Return the signed request."""
        fields = {
            "app_id": self.row["app_id"],
            "method": f"alipay.{method}",
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": "RSA2",
            "timestamp": "2026-01-01 12:00:00",
            "version": "1.0",
            "biz_content": json.dumps(biz, ensure_ascii=False),
            **self._certs,
            **common,
        }
        return {**fields, "sign": self._sign(fields)}

    def send(self, method: str, biz: Mapping[str, object], **common: str) -> Reply:
        """Call and return the raw reply."""
        body = urlencode(self.fields(method, biz, **common)).encode()
        return self._world.handle(Call(method="POST", path="/gateway.do", body=body))

    def read(self, reply: Reply, method: str) -> dict[str, Any]:
        """Verify a reply over the raw substring and return its inner object."""
        if reply.lost:
            raise Lost
        assert reply.status == 200
        key = f"alipay.{method}".replace(".", "_") + "_response"
        match = re.fullmatch(
            rb'\{"' + key.encode() + rb'":(\{.*\}),(?:"alipay_cert_sn":"\w+",)?"sign":"([\w+/=]+)"\}',
            reply.body,
        )
        assert match, reply.body
        self.verify(match[1], match[2].decode())
        inner: dict[str, Any] = json.loads(match[1])
        return inner

    def read_callback(self, callback: Callback) -> dict[str, str]:
        """Verify a callback and return its fields."""
        fields = dict(parse_qsl(callback.body.decode(), strict_parsing=True))
        signed = {name: value for name, value in fields.items() if name not in ("sign", "sign_type")}
        self.verify(_joined(signed).encode(), fields["sign"])
        return fields

    def verify(self, text: bytes, signature: str) -> None:
        """Raise unless the wallet signed `text`."""
        _public_key(self._alipay).verify(
            base64.b64decode(signature), text, padding.PKCS1v15(), hashes.SHA256()
        )

    def use_certificates(self, app_cert_sn: str, root_cert_sn: str) -> None:
        """Send these serial numbers from now on."""
        self._certs = {"app_cert_sn": app_cert_sn, "alipay_root_cert_sn": root_cert_sn}

    def _sign(self, fields: Mapping[str, str]) -> str:
        text = _joined(fields).encode(fields["charset"])
        return base64.b64encode(self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()

    # the usual requests

    def pay(self, number: str, script: str = "00", *, amount: str = "1.00", **more: str) -> dict[str, Any]:
        """Take money for a barcode playing `script`."""
        return self("trade.pay", pay_biz(number, script, amount), **more)

    def precreate(self, number: str, amount: str, **more: str) -> dict[str, Any]:
        """Make a QR order."""
        biz = {"out_trade_no": number, "total_amount": amount, "subject": "coffee"}
        return self("trade.precreate", biz, notify_url=NOTIFY_URL, **more)

    def query(self, number: str) -> dict[str, Any]:
        """Ask for an order."""
        return self("trade.query", {"out_trade_no": number})

    def status(self, number: str) -> str:
        """Return the trade_status, or the sub_code."""
        answer = self.query(number)
        return str(answer.get("trade_status") or answer["sub_code"])

    def cancel(self, number: str) -> dict[str, Any]:
        """Cancel an order."""
        return self("trade.cancel", {"out_trade_no": number})

    def refund(self, number: str, amount: str, request: str = "r1") -> dict[str, Any]:
        """Give money back."""
        biz = {"out_trade_no": number, "refund_amount": amount, "out_request_no": request}
        return self("trade.refund", biz)


class WechatMerchant:
    """A merchant of WeChat Pay v2."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.row: dict[str, Any] = next(row for row in world.accounts() if row["name"] == name)

    def __call__(self, path: str, fields: Mapping[str, str]) -> dict[str, str]:
        """Call a path and return the verified fields."""
        return self.read(self.send(path, fields))

    def body(self, fields: Mapping[str, str]) -> bytes:
        """Return the signed XML, in the plain style some SDKs use."""
        whole = {"appid": self.row["app_id"], "mch_id": self.row["mch_id"], "nonce_str": "n0nce", **fields}
        if self.row["sign_type"] != "MD5":
            whole["sign_type"] = self.row["sign_type"]
        whole["sign"] = self.sign(whole)
        rows = "".join(f"<{name}>{html.escape(value, quote=False)}</{name}>" for name, value in whole.items())
        return f"<xml>{rows}</xml>".encode()

    def send(self, path: str, fields: Mapping[str, str], *, client_cert: bool = True) -> Reply:
        """Call and return the raw reply."""
        call = Call(method="POST", path=path, body=self.body(fields), client_cert=client_cert)
        return self._world.handle(call)

    def read(self, reply: Reply) -> dict[str, str]:
        """Verify a reply and return its fields; refusals (return_code FAIL) carry no signature."""
        if reply.lost:
            raise Lost
        assert reply.status == 200
        fields = read_flat_xml(reply.body)
        if fields["return_code"] == "SUCCESS":
            assert fields["sign"] == self.sign(fields)
        return fields

    def read_callback(self, callback: Callback) -> dict[str, str]:
        """Verify a callback and return its fields."""
        fields = read_flat_xml(callback.body)
        assert fields["sign"] == self.sign(fields)
        return fields

    def sign(self, fields: Mapping[str, str]) -> str:
        """Return the signature of this merchant's kind."""
        kept = {name: value for name, value in fields.items() if name != "sign"}
        text = f"{_joined(kept)}&key={self.row['api_key']}".encode()
        if self.row["sign_type"] == "MD5":
            return hashlib.md5(text).hexdigest().upper()  # noqa: S324 - the wallet's choice
        return hmac.new(self.row["api_key"].encode(), text, hashlib.sha256).hexdigest().upper()

    # the usual requests

    def pay(self, number: str, script: str = "00", *, amount: int = 100, **more: str) -> dict[str, str]:
        """Take money for a barcode playing `script`."""
        return self("/pay/micropay", micropay(number, script, amount) | more)

    def order(self, number: str, amount: int, trade_type: str = "NATIVE", **more: str) -> dict[str, str]:
        """Make an order for the buyer to scan."""
        fields = {
            "body": "coffee",
            "out_trade_no": number,
            "total_fee": str(amount),
            "spbill_create_ip": "127.0.0.1",
            "notify_url": NOTIFY_URL,
            "trade_type": trade_type,
        }
        return self("/pay/unifiedorder", fields | more)

    def query(self, number: str) -> dict[str, str]:
        """Ask for an order."""
        return self("/pay/orderquery", {"out_trade_no": number})

    def status(self, number: str) -> str:
        """Return the trade_state, or the err_code."""
        answer = self.query(number)
        return answer.get("trade_state") or answer["err_code"]

    def reverse(self, number: str) -> dict[str, str]:
        """Reverse a barcode payment."""
        return self("/secapi/pay/reverse", {"out_trade_no": number})

    def close(self, number: str) -> dict[str, str]:
        """Close an order."""
        return self("/pay/closeorder", {"out_trade_no": number})

    def refund(
        self, number: str, total: int, amount: int, request: str = "r1", **more: str
    ) -> dict[str, str]:
        """Give money back."""
        terms = {"out_refund_no": request, "total_fee": str(total), "refund_fee": str(amount)}
        return self("/secapi/pay/refund", {"out_trade_no": number} | terms | more)


def pay_biz(number: str, script: str, amount: str) -> dict[str, str]:
    """Return the business parameters of alipay.trade.pay."""
    return {
        "out_trade_no": number,
        "scene": "bar_code",
        "auth_code": f"2812345678901234{script}",
        "subject": "coffee",
        "total_amount": amount,
    }


def micropay(number: str, script: str, amount: int) -> dict[str, str]:
    """Return the fields of /pay/micropay."""
    return {
        "body": "coffee",
        "out_trade_no": number,
        "total_fee": str(amount),
        "spbill_create_ip": "127.0.0.1",
        "auth_code": f"1312345678901234{script}",
    }


def read_flat_xml(body: bytes) -> dict[str, str]:
    """Read the wallet's XML with nothing but a pattern."""
    return dict(re.findall(r"<(\w+)><!\[CDATA\[(.*?)\]\]></\1>", body.decode(), re.DOTALL))


@functools.cache
def _private_key(pem: str) -> Any:  # noqa: ANN401 - cryptography's union of all key kinds says no more
    return serialization.load_pem_private_key(pem.encode(), None)


@functools.cache
def _public_key(pem: str) -> Any:  # noqa: ANN401 - as above
    return serialization.load_pem_public_key(pem.encode())


def _joined(fields: Mapping[str, str]) -> str:
    return "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
