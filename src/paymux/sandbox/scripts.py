"""The scripts: what a buyer and a wallet do with an order, chosen by two digits (DESIGN §9).

For a barcode payment the last two digits of the barcode choose, for an order the buyer scans the last two
digits of the amount in fen. One row of `SCRIPTS` says everything about a script; the wallets read the columns
and know no digits.
"""

from __future__ import annotations

import enum

import msgspec


class Fault(enum.StrEnum):
    """What can go wrong with one request or its reply."""

    LOST_REQUEST = "lost_request"
    LOST_REPLY = "lost_reply"
    HTTP_500 = "http_500"
    GARBAGE = "garbage"
    BAD_SIGN = "bad_sign"
    SLOW = "slow_ms"
    SYSTEM_ERROR = "system_error"
    UNKNOWN_CODE = "unknown_code"
    WRONG_AMOUNT = "wrong_amount"


#: With these the wallet's books never hear of the request.
WITHOUT_EFFECT = (Fault.LOST_REQUEST, Fault.HTTP_500, Fault.UNKNOWN_CODE)


class Buyer(enum.StrEnum):
    """What the buyer does once the order is in front of them."""

    PAYS = "pays"
    TYPES = "types the password after 3 s"
    POOR = "has not enough money"
    ABSENT = "shows an expired barcode, or scans nothing"
    SILENT = "never answers"
    LATE = "pays 2 s after the shop's undo was answered"


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One script; `fault` hits a barcode payment's reply, `prepare_fault` the first reply to a QR order."""

    digits: str
    name: str
    meaning: str
    buyer: Buyer = Buyer.PAYS
    fault: Fault | None = None
    prepare_fault: Fault | None = None
    hidden_ms: int = 0  # query says "not found" for so long after the request
    undo_failures: int = 0  # so many cancel/reverse/close calls fail; until one works query is blind too
    repeats_callbacks: bool = False
    refund_stumbles: bool = False  # the first refund is done but answered "system error"
    refund_refused: bool = False
    callback_amount_wrong: bool = False  # only where the callback is the first word of success (QR orders)


def _both(digits: str, name: str, meaning: str, fault: Fault) -> Script:
    """Return a script whose fault hits barcode payments and QR orders alike."""
    return Script(digits=digits, name=name, meaning=meaning, fault=fault, prepare_fault=fault)


_TABLE = (
    Script(digits="00", name="paid", meaning="立即支付成功 · paid at once"),
    Script(
        digits="01",
        name="password",
        meaning="买家输入密码，3 秒后成功 · buyer types the password for 3 s, then paid",
        buyer=Buyer.TYPES,
    ),
    Script(
        digits="02",
        name="insufficient_funds",
        meaning="余额不足 · not enough money",
        buyer=Buyer.POOR,
    ),
    Script(
        digits="03",
        name="expired_barcode",
        meaning="付款码过期（扫码单：无人扫码）· barcode expired (QR: nobody scans)",
        buyer=Buyer.ABSENT,
    ),
    _both("04", "request_lost", "请求丢失：无应答，无效果 · request lost, no effect", Fault.LOST_REQUEST),
    _both("05", "reply_lost", "应答丢失，钱已扣 · reply lost, money taken", Fault.LOST_REPLY),
    _both("06", "garbage", "应答乱码，钱已扣 · garbage reply, money taken", Fault.GARBAGE),
    _both("07", "bad_sign", "应答签名错误，钱已扣 · wrong signature, money taken", Fault.BAD_SIGN),
    _both("08", "http_500", "HTTP 500，无效果 · HTTP 500, no effect", Fault.HTTP_500),
    _both("09", "system_error", "系统错误，钱已扣 · system error, money taken", Fault.SYSTEM_ERROR),
    Script(
        digits="10",
        name="never_answers",
        meaning="买家一直不付 · buyer never answers",
        buyer=Buyer.SILENT,
    ),
    _both("11", "slow", "8 秒后才应答，钱已扣 · reply after 8 s, money taken", Fault.SLOW),
    _both("12", "unknown_code", "未知错误码，无效果 · unknown code, no effect", Fault.UNKNOWN_CODE),
    Script(
        digits="13",
        name="hidden",
        meaning="已付，但前 10 秒查无此单 · paid, but not found for the first 10 s",
        fault=Fault.LOST_REPLY,
        hidden_ms=10_000,
    ),
    Script(
        digits="14",
        name="late_success",
        meaning="撤销应答成功后 2 秒才扣款 · paid after our undo was answered",
        buyer=Buyer.LATE,
        fault=Fault.LOST_REPLY,
    ),
    Script(
        digits="15",
        name="undo_fails_twice",
        meaning="已扣款，撤销前两次失败 · money taken, undo fails twice",
        fault=Fault.LOST_REPLY,
        undo_failures=2,
    ),
    Script(
        digits="16",
        name="callbacks_repeat",
        meaning="回调重复且乱序 · callbacks repeated and out of order",
        repeats_callbacks=True,
    ),
    Script(
        digits="17",
        name="refund_stumbles",
        meaning="首次退款答系统错误，实已退 · refund done but answered system error",
        refund_stumbles=True,
    ),
    Script(
        digits="18",
        name="refund_refused",
        meaning="退款被拒：商户余额不足 · refund refused, seller balance",
        refund_refused=True,
    ),
    Script(
        digits="19",
        name="wrong_amount",
        meaning="成功应答金额多一分 · success reply one fen too high",
        fault=Fault.WRONG_AMOUNT,
        callback_amount_wrong=True,
    ),
)

SCRIPTS: dict[str, Script] = {script.digits: script for script in _TABLE}


class ScriptBook:
    """Digits → script, with the remaps a tester asked for."""

    def __init__(self) -> None:
        """Start with the printed table."""
        self.remaps: dict[str, str] = {}

    def of(self, text: str) -> Script:
        """Return the script the last two digits of `text` stand for; unlisted ones are paid at once."""
        digits = text[-2:].zfill(2)
        return SCRIPTS.get(self.remaps.get(digits, digits), SCRIPTS["00"])
