"""WeChat Pay v2 over httpx: a signed micropay out, its verified reply back."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from xml.etree import ElementTree as ET

import httpx

_BEIJING = timezone(timedelta(hours=8))


class WalletFailed(Exception):
    """The reply is no proof that the money was taken."""


@dataclass(frozen=True)
class Paid:
    """A payment the wallet has taken, and the two messages about it."""

    trade_no: str
    payer_uid: str
    bank_type: str
    paid_at_ms: int
    request: str
    response: str


class WeChat:
    """One merchant's account at WeChat Pay."""

    def __init__(self, client: httpx.AsyncClient, *, app_id: str, mch_id: str, api_key: str) -> None:
        self._client = client
        self._app_id = app_id
        self._mch_id = mch_id
        self._api_key = api_key

    async def micropay(
        self, *, out_trade_no: str, total_fen: int, auth_code: str, subject: str, device_info: str
    ) -> Paid:
        """Charge a barcode; raises `WalletFailed` or `httpx.HTTPError`."""
        params = {
            "appid": self._app_id,
            "mch_id": self._mch_id,
            "nonce_str": secrets.token_hex(16),
            "sign_type": "MD5",
            "body": subject,
            "out_trade_no": out_trade_no,
            "total_fee": str(total_fen),
            "spbill_create_ip": "127.0.0.1",
            "auth_code": auth_code,
            "device_info": device_info,
        }
        params["sign"] = self._sign(params)
        request = _to_xml(params)
        response = await self._client.post(
            "/pay/micropay", content=request, headers={"Content-Type": "text/xml; charset=utf-8"}
        )
        response.raise_for_status()
        reply = self._verified(response.content)
        if reply.get("out_trade_no") != out_trade_no or reply.get("total_fee") != str(total_fen):
            raise WalletFailed("the reply is about another payment")
        return Paid(
            trade_no=reply["transaction_id"],
            payer_uid=reply["openid"],
            bank_type=reply["bank_type"],
            paid_at_ms=_ms_of(reply["time_end"]),
            request=request.decode(),
            response=response.text,
        )

    def _verified(self, content: bytes) -> dict[str, str]:
        reply = {child.tag: child.text or "" for child in ET.fromstring(content)}  # noqa: S314 - the stub wallet is ours
        if not hmac.compare_digest(reply.get("sign", "").encode(), self._sign(reply).encode()):
            raise WalletFailed("the reply's signature does not verify")
        if reply.get("return_code") != "SUCCESS" or reply.get("result_code") != "SUCCESS":
            raise WalletFailed(reply.get("err_code", "FAIL"))
        if reply.get("appid") != self._app_id or reply.get("mch_id") != self._mch_id:
            raise WalletFailed("the reply is for another account")
        return reply

    def _sign(self, params: dict[str, str]) -> str:
        text = "&".join(
            f"{name}={value}" for name, value in sorted(params.items()) if value and name != "sign"
        )
        return hashlib.md5(f"{text}&key={self._api_key}".encode(), usedforsecurity=False).hexdigest().upper()


def _to_xml(params: dict[str, str]) -> bytes:
    root = ET.Element("xml")
    for name, value in params.items():
        ET.SubElement(root, name).text = value
    text: bytes = ET.tostring(root, encoding="utf-8")
    return text


def _ms_of(time_end: str) -> int:
    moment = datetime.strptime(time_end, "%Y%m%d%H%M%S").replace(tzinfo=_BEIJING)
    return int(moment.astimezone(UTC).timestamp() * 1000)
