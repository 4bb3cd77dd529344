"""What a merchant does with python-alipay-sdk: pay, query, refund, cancel, precreate, verify a callback.

Runs inside the SDK's own environment. Reads the sandbox's accounts from standard input, writes what the SDK
said (after it verified every reply) as one JSON object.
"""

import json
import sys
from urllib.parse import parse_qsl

from alipay import AliPay, DCAliPay
from alipay.exceptions import AliPayValidationError
from listener import Listener


def main() -> None:
    """Play with both kinds of merchant."""
    accounts = {row["name"]: row for row in json.load(sys.stdin)}
    facts = {name: story(client(accounts[name]), name) for name in ("alipay", "alipay-cert")}
    json.dump(facts, sys.stdout)


def client(row: dict) -> AliPay:
    """Make the SDK's client; its gateway address is a plain attribute."""
    if "app_cert" in row:
        made = DCAliPay(
            appid=row["app_id"],
            app_private_key_string=row["private_key"],
            app_public_key_cert_string=row["app_cert"],
            alipay_public_key_cert_string=row["alipay_cert"],
            alipay_root_cert_string=row["alipay_root_cert"],
        )
    else:
        made = AliPay(
            appid=row["app_id"],
            app_private_key_string=row["private_key"],
            alipay_public_key_string=row["alipay_public_key"],
        )
    made._gateway = row["base_url"]  # the SDK offers no other way
    return made


def story(merchant: AliPay, name: str) -> dict:
    """Do what a shop does in a day."""
    number = f"sdk-{name}"
    listener = Listener(b"success")
    paid = merchant.api_alipay_trade_pay(
        out_trade_no=number,
        scene="bar_code",
        auth_code="281234567890123400",
        subject="咖啡 coffee/牛奶",
        total_amount="88.88",
        notify_url=listener.url,
    )
    callback = dict(parse_qsl(listener.hear().decode()))
    signature = callback.pop("sign")
    repeated = merchant.api_alipay_trade_pay(
        number, "bar_code", "281234567890123400", "咖啡 coffee/牛奶", total_amount="88.88"
    )
    queried = merchant.api_alipay_trade_query(out_trade_no=number)
    refunded = merchant.api_alipay_trade_refund("8.88", out_trade_no=number, out_request_no="r1")
    refund = merchant.api_alipay_trade_fastpay_refund_query("r1", out_trade_no=number)
    ordered = merchant.api_alipay_trade_precreate("tea", f"{number}-qr", "1.10")
    cancelled = merchant.api_alipay_trade_cancel(out_trade_no=f"{number}-qr")
    unknown = merchant.api_alipay_trade_query(out_trade_no="never heard of")
    return {
        "paid": [paid["code"], paid["total_amount"]],
        "callback": [callback["trade_status"], merchant.verify(callback, signature)],
        "repeated": repeated["sub_code"],
        "queried": queried["trade_status"],
        "refunded": [refunded["fund_change"], refunded["refund_fee"]],
        "refund": refund["refund_status"],
        "ordered": ordered["qr_code"][:25],
        "cancelled": [cancelled["code"], cancelled["retry_flag"]],
        "unknown": unknown["sub_code"],
        "forged": forged(merchant, f"{number}-forged"),
        "page": merchant.api_alipay_trade_wap_pay("tea", f"{number}-wap", "5.00"),
    }


def forged(merchant: AliPay, number: str) -> str:
    """Return what the SDK says to a reply with a wrong signature: script 07."""
    try:
        merchant.api_alipay_trade_pay(number, "bar_code", "281234567890123407", "tea", total_amount="1.00")
    except AliPayValidationError:
        return "caught"
    return "believed"


if __name__ == "__main__":
    main()
