"""WeChat's daily bill: UTF-8 with BOM, cells behind back-ticks, two summary rows (channels/03-wechat.md).

Like Alipay's in this sandbox it is also given out for the current day so far.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

from paymux.sandbox.amounts import yuan
from paymux.sandbox.times import COMPACT, compact, dashed, read_time

if TYPE_CHECKING:
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.records import Movement, Trade
    from paymux.sandbox.wechat_trades import Request

_DAY = re.compile(r"\d{8}", re.ASCII)
_PAY_COLUMNS = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,"
    "应结订单金额,代金券金额"
)
_REFUND_TIMES = ",退款申请时间,退款成功时间"
_REFUND_COLUMNS = ",微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态"
_LAST_COLUMNS = ",商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
_HEADS = {
    "ALL": _PAY_COLUMNS + _REFUND_COLUMNS + _LAST_COLUMNS,
    "SUCCESS": _PAY_COLUMNS + ",商品名称,商户数据包,手续费,费率,订单金额,费率备注",
    "REFUND": _PAY_COLUMNS + _REFUND_TIMES + _REFUND_COLUMNS + _LAST_COLUMNS,
}
_SUMMARY = "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
_ZERO = "0.00"


class NoBill(Exception):
    """There is no such bill; `code` is the error_code of the reply."""

    def __init__(self, words: str, code: str) -> None:
        """Remember the wire's words."""
        super().__init__(words)
        self.code = code


def write_bill(bank: Bank, request: Request) -> bytes:
    """Return the body of /pay/downloadbill; raises NoBill."""
    day, kind = request.fields.get("bill_date", ""), request.fields.get("bill_type") or "ALL"
    if not _DAY.fullmatch(day) or read_time(f"{day}000000", COMPACT) is None:
        raise NoBill("invalid bill_date", "20001")
    if kind not in _HEADS:
        raise NoBill("invalid bill_type", "20001")
    tar_type = request.fields.get("tar_type", "")
    if tar_type not in ("", "GZIP"):
        raise NoBill("invalid tar_type", "20001")
    moves = [
        move
        for move in bank.ledger.journal
        if move.account == request.account.name and _belongs(move, day, kind)
    ]
    if not moves:
        raise NoBill("No Bill Exist", "20002")
    rows = [_row(_cells(bank, request, move, kind)) for move in moves]
    text = "\r\n".join([_HEADS[kind], *rows, _SUMMARY, _row(_sums(moves))]) + "\r\n"
    body = b"\xef\xbb\xbf" + text.encode()
    return gzip.compress(body, mtime=0) if tar_type else body


def _belongs(move: Movement, day: str, kind: str) -> bool:
    wanted = {"SUCCESS": ("pay",), "REFUND": ("refund", "reverse"), "ALL": ("pay", "refund", "reverse")}[kind]
    return compact(move.time_ms)[:8] == day and move.what in wanted


def _cells(bank: Bank, request: Request, move: Movement, kind: str) -> list[str]:
    trade = bank.trades[f"{move.account}/{move.out_trade_no}"]
    paid = move.what == "pay"
    state = {"pay": "SUCCESS", "refund": "REFUND", "reverse": "REVOKED"}[move.what]
    amount = yuan(move.amount_fen)
    cells = [dashed(move.time_ms), request.account.app_id, request.account.mch_id]
    cells += [trade.extra.get(name, "") for name in ("sub_mch_id", "device_info")]
    cells += [
        trade.trade_no,
        trade.out_trade_no,
        bank.people[trade.buyer].user_id,
        trade.extra["trade_type"],
        state,
    ]
    cells += ["OTHERS", "CNY", amount if paid else _ZERO, _ZERO]
    if kind == "REFUND":
        cells += [dashed(move.time_ms), dashed(move.time_ms)]
    if kind != "SUCCESS":
        cells += _refund_cells(trade, move)
    last = [
        trade.subject.replace(",", "，"),
        trade.extra.get("attach", "").replace(",", "，"),
        "0.00000",
        "0.00%",
    ]
    last += [amount if paid else _ZERO]
    return cells + last + ([""] if kind == "SUCCESS" else [_ZERO if paid else amount, ""])


def _refund_cells(trade: Trade, move: Movement) -> list[str]:
    if move.what == "pay":
        return ["0", "0", _ZERO, _ZERO, "", ""]
    refund = trade.refund_named(move.refund_no)
    numbers = [refund.refund_no, refund.out_refund_no] if refund else [trade.trade_no, trade.out_trade_no]
    return [*numbers, yuan(move.amount_fen), _ZERO, "ORIGINAL", "SUCCESS"]


def _sums(moves: list[Movement]) -> list[str]:
    pays = sum(move.amount_fen for move in moves if move.what == "pay")
    backs = sum(move.amount_fen for move in moves if move.what != "pay")
    return [str(len(moves)), yuan(pays), yuan(backs), _ZERO, "0.00000", yuan(pays), yuan(backs)]


def _row(cells: list[str]) -> str:
    return ",".join(f"`{cell}" for cell in cells)
