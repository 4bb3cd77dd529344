"""What a merchant does with wechatpy: pay, query, reverse, refund, make QR orders, verify callbacks.

Runs inside the SDK's own environment. Reads the sandbox's accounts from standard input, writes what the SDK
said as one JSON object. The first argument is a folder for the client certificate's files.
"""

import json
import os
import sys
from pathlib import Path

from listener import Listener
from wechatpy.exceptions import WeChatPayException
from wechatpy.pay import WeChatPay

ACKNOWLEDGEMENT = b"<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>"


def main() -> None:
    """Play with the MD5 merchant: wechatpy knows no other by itself."""
    row = next(row for row in json.load(sys.stdin) if row["name"] == "wechat")
    folder = Path(sys.argv[1])
    for name in ("client_cert", "client_key", "ca_cert"):
        (folder / f"{name}.pem").write_text(row[name])
    os.environ["REQUESTS_CA_BUNDLE"] = str(folder / "ca_cert.pem")
    json.dump(story(row, folder), sys.stdout)


def client(row: dict, folder: Path, base_url: str) -> WeChatPay:
    """Make the SDK's client; its host is a class attribute meant to be changed."""
    made = WeChatPay(
        row["app_id"],
        row["api_key"],
        row["mch_id"],
        mch_cert=str(folder / "client_cert.pem"),
        mch_key=str(folder / "client_key.pem"),
        timeout=10,
    )
    made.API_BASE_URL = f"{base_url}/"
    return made


def story(row: dict, folder: Path) -> dict:
    """Do what a shop does in a day."""
    plain, secure = (client(row, folder, row[name]) for name in ("base_url", "secure_base_url"))
    listener = Listener(ACKNOWLEDGEMENT)
    paid = plain.micropay.create(
        "咖啡", 8888, "134567890123456700", client_ip="127.0.0.1", out_trade_no="wxpy1"
    )
    refunded = secure.refund.apply(8888, 888, "r1", out_trade_no="wxpy1", notify_url=listener.url)
    refund_callback = plain.parse_refund_notify_result(listener.hear())
    ordered = plain.order.create(
        "NATIVE", "茶", 100, listener.url, client_ip="127.0.0.1", out_trade_no="wxpy2"
    )
    callback = plain.parse_payment_result(listener.hear())
    plain.micropay.create("水", 100, "134567890123456700", client_ip="127.0.0.1", out_trade_no="wxpy3")
    reversed_ = secure.order.reverse(out_trade_no="wxpy3")
    return {
        "paid": [paid["result_code"], paid["total_fee"], plain.check_signature(dict(paid))],
        "queried": plain.order.query(out_trade_no="wxpy1")["trade_state"],
        "refunded": refunded["refund_fee"],
        "refund": plain.refund.query(out_refund_no="r1")["refund_status_0"],
        "refund_callback": [refund_callback["refund_status"], refund_callback["refund_fee"]],
        "ordered": ordered["code_url"][:33],
        "callback": [callback["result_code"], callback["total_fee"]],
        "reversed": [reversed_["result_code"], reversed_["recall"]],
        "insufficient": refusal(plain),
    }


def refusal(merchant: WeChatPay) -> str:
    """Return the code of a payment that cannot be."""
    try:
        merchant.micropay.create("金", 100, "134567890123456702", client_ip="127.0.0.1", out_trade_no="wxpy4")
    except WeChatPayException as error:
        return error.errcode
    return "paid?"


if __name__ == "__main__":
    main()
