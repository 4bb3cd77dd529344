"""The merchants the sandbox knows, one per flavour of each wallet: fit for a provisioning file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.keys import ClientIdentity, KeyRing, RsaPair


class AlipayAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant of Alipay; certificates are empty in plain key mode."""

    name: str
    app_id: str
    seller_id: str
    merchant: RsaPair
    alipay: RsaPair
    app_cert: str = ""
    alipay_cert: str = ""
    alipay_root_cert: str = ""

    def listing(self, base_url: str) -> dict[str, object]:
        """Return the flat dict a gateway is provisioned with."""
        row: dict[str, object] = {
            "name": self.name,
            "channel": "alipay",
            "payways": ["1", "2"],
            "base_url": f"{base_url}/gateway.do",
            "app_id": self.app_id,
            "seller_id": self.seller_id,
            "private_key": self.merchant.private,
        }
        if not self.app_cert:
            return row | {"alipay_public_key": self.alipay.public}
        certs = ("app_cert", "alipay_cert", "alipay_root_cert")
        return row | {field: getattr(self, field) for field in certs}


class WechatAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant of WeChat Pay v2."""

    name: str
    app_id: str
    mch_id: str
    api_key: str
    sign_type: str
    client: ClientIdentity
    ca_cert: str

    def listing(self, base_url: str, secure_base_url: str) -> dict[str, object]:
        """Return the flat dict a gateway is provisioned with."""
        return {
            "name": self.name,
            "channel": "wechat",
            "payways": ["3"],
            "base_url": base_url,
            "secure_base_url": secure_base_url,
            "app_id": self.app_id,
            "mch_id": self.mch_id,
            "api_key": self.api_key,
            "sign_type": self.sign_type,
            "client_cert": self.client.cert,
            "client_key": self.client.key,
            "ca_cert": self.ca_cert,
        }


def make_alipay_accounts(bank: Bank, keys: KeyRing) -> list[AlipayAccount]:
    """Make the key-mode and the certificate-mode merchant."""
    plain = AlipayAccount(
        name="alipay",
        app_id="2021" + bank.digits(12),
        seller_id="2088" + bank.digits(12),
        merchant=keys.alipay_merchant,
        alipay=keys.alipay,
    )
    certified = AlipayAccount(
        name="alipay-cert",
        app_id="2021" + bank.digits(12),
        seller_id="2088" + bank.digits(12),
        merchant=keys.alipay_certified_merchant,
        alipay=keys.alipay_certified,
        app_cert=keys.app_cert,
        alipay_cert=keys.alipay_cert,
        alipay_root_cert=keys.alipay_root_cert,
    )
    return [plain, certified]


def make_wechat_accounts(bank: Bank, keys: KeyRing) -> list[WechatAccount]:
    """Make the MD5 and the HMAC-SHA256 merchant."""
    flavours = (
        ("wechat", "MD5", keys.wechat_client),
        ("wechat-hmac", "HMAC-SHA256", keys.wechat_hmac_client),
    )
    return [
        WechatAccount(
            name=name,
            app_id="wx" + bank.digits(16),
            mch_id="1" + bank.digits(9),
            api_key=bank.nonce(32),
            sign_type=sign_type,
            client=client,
            ca_cert=keys.tls_ca_cert,
        )
        for name, sign_type, client in flavours
    ]
