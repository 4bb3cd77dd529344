"""Payways (wallets) and sub_payways (how the buyer meets them); which barcode belongs to which wallet.

Sources: upay-v2.md §9 (seeds 000, 002, 004; payway 2 from production), channels/00-principles.md §5.
"""

import re
from enum import StrEnum

PAYWAY_NAMES = {
    "1": "支付宝",
    "2": "支付宝",
    "3": "微信",
    "4": "百度钱包",
    "5": "京东钱包",
    "6": "qq钱包",
    "7": "NFC支付",
    "8": "拉卡拉钱包",
    "9": "和包支付",
    "15": "拉卡拉微信",
    "16": "招商银行",
    "17": "银联云闪付",
    "18": "翼支付",
    "19": "Weixin-Local",
    "20": "Alipay global",
    "22": "索迪斯预付卡",
    "100": "储值支付",
    "101": "礼品卡",
}


class SubPayway(StrEnum):
    """二级支付方式 (upay-v2.md §9.2)."""

    BARCODE = "1"
    QR = "2"
    WAP = "3"
    MINI = "4"
    APP = "5"
    H5 = "6"


_BARCODES = (
    (re.compile(r"(25|26|27|28|29|30)[0-9]{14,22}", re.ASCII), "1"),
    (re.compile(r"fp\w{33}", re.ASCII), "1"),
    (re.compile(r"1[0-5][0-9]{16}", re.ASCII), "3"),
    (re.compile(r"62[0-9]{17}", re.ASCII), "17"),
    (re.compile(r"91[0-9]{16}", re.ASCII), "6"),
    (re.compile(r"51[0-9]{16}", re.ASCII), "18"),
    (re.compile(r"18[0-9]{16}", re.ASCII), "5"),
)
"""First match wins. e-CNY (01, 19) and Suning (83) codes are known but no payway of ours; Baidu's and 和包's
own codes are unconfirmed in any source, so they are routed only when the caller names the payway."""


def payway_of_barcode(dynamic_id: str) -> str | None:
    """Return the payway a barcode belongs to, or None when no rule knows it (→ INVALID_BARCODE)."""
    code = dynamic_id.strip()
    return next((payway for pattern, payway in _BARCODES if pattern.fullmatch(code)), None)
