"""Alipay's daily bill: a URL that lives 30 s, behind it a zip of GBK CSV files (channels/01-alipay.md).

Unlike the true wallet, which writes yesterday's bill in the morning, the sandbox also gives out the current
day so far: nobody should have to wait a day to try a reconciliation.
"""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from paymux.sandbox.alipay_trades import Answer, Rejected
from paymux.sandbox.amounts import yuan
from paymux.sandbox.messages import Call, Reply
from paymux.sandbox.times import DAY_MS, beijing, dashed, read_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from paymux.sandbox.alipay_trades import Request
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.records import Movement

PATH = "/downloadBillFile.resource"
LINK_LIFE_MS = 30_000
LINKS_MAX = 100
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DETAIL_HEAD = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,"
    "订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,"
    "券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_SUMMARY_HEAD = (
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,商家优惠（元）,"
    "卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）"
)
_RULE = "-" * 41


class BillDesk:
    """Gives out links to bills, and the bills behind them."""

    def __init__(self, bank: Bank, base_url: Callable[[], str]) -> None:
        """Read the journal of `bank`."""
        self._bank = bank
        self._base_url = base_url
        self._links: dict[str, tuple[str, str, str, int]] = {}

    def locate(self, request: Request) -> Answer:
        """alipay.data.dataservice.bill.downloadurl.query: a link for one day's bill."""
        kind, day = str(request.biz.get("bill_type", "")), str(request.biz.get("bill_date", ""))
        if kind not in ("trade", "signcustomer"):
            raise Rejected("40004", "TYPE_NOT_SUPPORTED", "账单类型不支持")
        if not _DAY.fullmatch(day) or read_time(f"{day} 00:00:00", "%Y-%m-%d %H:%M:%S") is None:
            raise Rejected("40004", "INVAILID_ARGUMENTS", "入参不合法")
        if day > dashed(self._bank.now_ms())[:10]:
            raise Rejected("40004", "BILL_NOT_EXIST", "账单不存在")
        token = self._bank.nonce()
        while len(self._links) >= LINKS_MAX:
            self._links.pop(next(iter(self._links)))
        account = request.account
        self._links[token] = (account.name, account.seller_id, day, self._bank.now_ms() + LINK_LIFE_MS)
        return Answer(
            fields={
                "code": "10000",
                "bill_download_url": f"{self._base_url()}{PATH}?fileType=csv.zip&token={token}",
            }
        )

    def download(self, call: Call) -> Reply:
        """Serve the zip behind a link that is still alive."""
        token = parse_qs(call.query.decode("latin-1")).get("token", [""])[0]
        link = self._links.get(token)
        if link is None or link[3] < self._bank.now_ms():
            return Reply(
                status=403, headers={"content-type": "text/html;charset=GBK"}, body="链接已失效".encode("gbk")
            )
        account, seller_id, day, _ = link
        body = write_bill(self._bank, account=account, seller_id=seller_id, day=day)
        return Reply(headers={"content-type": "application/octet-stream"}, body=body)


def write_bill(bank: Bank, *, account: str, seller_id: str, day: str) -> bytes:
    """Return the zip with the detail and the summary of one Beijing day (`2026-01-02`)."""
    moves = [
        move
        for move in bank.ledger.journal
        if move.account == account and dashed(move.time_ms)[:10] == day and move.what != "topup"
    ]
    stem = f"{seller_id}_{day.replace('-', '')}_业务明细"
    files = {
        f"{stem}.csv": _detail(bank, moves, seller_id, day),
        f"{stem}(汇总).csv": _summary(bank, moves, seller_id, day),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in files.items():
            info = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, ("\r\n".join(lines) + "\r\n").encode("gb18030"))
    return buffer.getvalue()


def _detail(bank: Bank, moves: list[Movement], seller_id: str, day: str) -> list[str]:
    pays, backs = _split(moves)
    return [
        *_opening("业务明细", seller_id, day),
        _DETAIL_HEAD,
        *(_detail_row(bank, move) for move in moves),
        f"#{_RULE}业务明细列表结束{_RULE}",
        f"#交易合计：{len(pays)}笔，商家实收共{yuan(_sum(pays))}元，商家优惠共0.00元",
        f"#退款合计：{len(backs)}笔，商家实收退款共{yuan(-_sum(backs))}元，商家优惠退款共0.00元",
        f"#导出时间：[{_chinese_time(bank.now_ms())}]",
    ]


def _summary(bank: Bank, moves: list[Movement], seller_id: str, day: str) -> list[str]:
    pays, backs = _split(moves)
    net = yuan(_sum(pays) - _sum(backs))
    row = ["合计", "", str(len(pays)), str(len(backs)), net, net, "0.00", "0.00", "0.00", "0.00", "0.00", net]
    return [
        *_opening("业务汇总", seller_id, day),
        _SUMMARY_HEAD,
        ",".join(f"{cell}\t" for cell in row),
        f"#{_RULE}业务汇总列表结束{_RULE}",
        f"#导出时间：[{_chinese_time(bank.now_ms())}]",
    ]


def _opening(title: str, seller_id: str, day: str) -> list[str]:
    start_ms = read_time(f"{day} 00:00:00", "%Y-%m-%d %H:%M:%S") or 0
    return [
        f"#支付宝{title}查询",
        f"#账号：[{seller_id}0156]",
        f"#起始日期：[{_chinese_time(start_ms)}]   终止日期：[{_chinese_time(start_ms + DAY_MS)}]",
        f"#{_RULE}{title}列表{_RULE}",
    ]


def _detail_row(bank: Bank, move: Movement) -> str:
    trade = bank.trades[f"{move.account}/{move.out_trade_no}"]
    person = bank.people[trade.buyer]
    paid = move.what == "pay"
    amount = yuan(move.amount_fen if paid else -move.amount_fen)
    zero = "0.00"
    cells = [trade.trade_no, trade.out_trade_no, "交易" if paid else "退款", trade.subject.replace(",", "，")]
    cells += [
        dashed(trade.created_ms),
        dashed(move.time_ms),
        trade.extra.get("store_id", ""),
        "",
        "",
        "",
        person.logon,
    ]
    cells += [amount, amount, zero, zero, zero, zero, zero, "", zero, zero, move.refund_no, zero, zero, ""]
    return ",".join(f"{cell}\t" for cell in cells)


def _split(moves: list[Movement]) -> tuple[list[Movement], list[Movement]]:
    return [move for move in moves if move.what == "pay"], [move for move in moves if move.what != "pay"]


def _sum(moves: list[Movement]) -> int:
    return sum(move.amount_fen for move in moves)


def _chinese_time(time_ms: int) -> str:
    return beijing(time_ms).strftime("%Y年%m月%d日 %H:%M:%S")
