"""The counterfeit WeChat Pay v2 API: XML over `/pay/*` and, behind a client certificate, `/secapi/pay/*`.

This file reads and verifies requests and signs replies and callbacks; what the operations do is in
`wechat_trades.py` (channels/03-wechat.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paymux.sandbox import wechat_signing as signing
from paymux.sandbox.faults import Trouble, spoil
from paymux.sandbox.messages import Callback, Reply
from paymux.sandbox.records import Kind, State
from paymux.sandbox.scripts import Fault
from paymux.sandbox.times import dashed
from paymux.sandbox.wechat_bill import NoBill, write_bill
from paymux.sandbox.wechat_trades import Answer, Failed, Refused, Request, WechatTrades, pay_fields
from paymux.sandbox.xmltext import XmlError, read_xml, write_xml

if TYPE_CHECKING:
    from collections.abc import Callable

    from paymux.sandbox.accounts import WechatAccount
    from paymux.sandbox.bank import Bank
    from paymux.sandbox.messages import Call
    from paymux.sandbox.records import Notice, Refund, Trade

_OPERATIONS = {
    "/pay/micropay": "pay",
    "/pay/unifiedorder": "prepare",
    "/pay/orderquery": "query",
    "/pay/closeorder": "close",
    "/secapi/pay/reverse": "cancel",
    "/secapi/pay/refund": "refund",
    "/pay/refundquery": "refund_query",
    "/pay/downloadbill": "bill",
}
_NO_CERTIFICATE = (
    b"<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n<body>\r\n"
    b"<center><h1>400 Bad Request</h1></center>\r\n<center>No required SSL certificate was sent</center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_SUCCESS = {"return_code": "SUCCESS", "return_msg": "OK"}
_ECHOED = ("sub_appid", "sub_mch_id", "device_info")


class Wechat:
    """The API for every WeChat merchant of the sandbox."""

    def __init__(self, bank: Bank, accounts: list[WechatAccount], base_url: Callable[[], str]) -> None:
        """Serve `accounts`; `base_url()` says where the sandbox itself can be reached."""
        self._bank = bank
        self.accounts = {account.name: account for account in accounts}
        self._by_mch_id = {account.mch_id: account for account in accounts}
        trades = WechatTrades(bank, base_url)
        self._methods: dict[str, Callable[[Request], Answer]] = {
            "pay": trades.micropay,
            "prepare": trades.unifiedorder,
            "query": trades.orderquery,
            "close": trades.closeorder,
            "cancel": trades.reverse,
            "refund": trades.refund,
            "refund_query": trades.refundquery,
        }

    def serves(self, path: str) -> bool:
        """Say whether the path is one of ours."""
        return path in _OPERATIONS

    def handle(self, call: Call) -> Reply:
        """Answer one call."""
        path = call.bare_path()
        if path.startswith("/secapi/") and not call.client_cert:
            return Reply(status=400, headers={"content-type": "text/html"}, body=_NO_CERTIFICATE)
        try:
            request = self._verified(call)
        except Refused as error:
            return _xml({"return_code": "FAIL", "return_msg": str(error)})
        return self._perform(_OPERATIONS[path], request)

    def notice_fields(self, trade: Trade, note: str) -> dict[str, str] | None:
        """Return a callback's fields, unsigned; barcode payments have none unless they succeed too late."""
        script = self._bank.script(trade)
        what, _, number = note.partition(":")
        if what == "refund":
            refund = trade.refund_named(number)
            return self._refund_notice(trade, refund) if refund else None
        if not trade.notify_url or (script.undo_failures and trade.state is not State.PAID):
            return None
        if trade.kind is Kind.BARCODE and not trade.late_paid:
            return None
        more_fen = 1 if script.callback_amount_wrong else 0
        account = self.accounts[trade.account]
        return (
            self._outer(account, trade)
            | {"result_code": "SUCCESS"}
            | pay_fields(self._bank, trade, more_fen=more_fen)
        )

    def render(self, notice: Notice) -> Callback:
        """Sign a callback for sending; it carries the sign type of the order's request."""
        account = self.accounts[notice.account]
        fields = {name: value for name, value in notice.fields.items() if value}
        sign_type = fields.get("sign_type", signing.MD5)
        if "req_info" not in fields:
            fields["sign"] = signing.sign(fields, account.api_key, sign_type)
        headers = {"content-type": "text/xml; charset=utf-8"}
        return Callback(id=notice.id, url=notice.url, headers=headers, body=write_xml(fields), ack="xml")

    # --- reading ---

    def _verified(self, call: Call) -> Request:
        if call.method != "POST":
            raise Refused("请使用post方法")
        try:
            fields = read_xml(call.body)
        except XmlError:
            raise Refused("XML格式错误") from None
        for name in ("appid", "mch_id", "nonce_str", "sign"):
            if not fields.get(name):
                raise Refused(f"缺少参数{name}")
        account = self._by_mch_id.get(fields["mch_id"])
        if account is None:
            raise Refused("商户号mch_id或sub_mch_id不存在")
        if fields["appid"] != account.app_id:
            raise Refused("appid和mch_id不匹配")
        sign_type = fields.get("sign_type") or signing.MD5
        if sign_type not in signing.SIGN_TYPES or not signing.verifies(fields, account.api_key, sign_type):
            raise Refused("签名错误")
        return Request(account=account, fields=fields, sign_type=sign_type)

    # --- doing and answering ---

    def _perform(self, operation: str, request: Request) -> Reply:
        armed = self._bank.faults.take(operation, request.fields.get("out_trade_no", ""))
        if armed and armed.fault in (Fault.LOST_REQUEST, Fault.HTTP_500):
            return spoil(Reply(), armed)
        if operation == "bill":
            return spoil(self._bill(request), armed)
        try:
            answer = self._methods[operation](request)
        except Failed as error:
            answer = Answer(fields=error.fields())
        trouble = armed or answer.trouble
        fields = _with_trouble(answer.fields, trouble)
        forged = trouble is not None and trouble.fault is Fault.BAD_SIGN
        return spoil(self._seal(request, fields, forged=forged), trouble)

    def _seal(self, request: Request, fields: dict[str, str], *, forged: bool) -> Reply:
        """Sign the reply; a forged one is signed with somebody else's key."""
        account = request.account
        echoed = {name: request.fields[name] for name in _ECHOED if request.fields.get(name)}
        outer = {"appid": account.app_id, "mch_id": account.mch_id, "nonce_str": self._bank.nonce()}
        whole = _SUCCESS | outer | echoed | {"result_code": "SUCCESS"} | fields
        whole = {name: value for name, value in whole.items() if value}
        key = account.api_key[::-1] if forged else account.api_key
        return _xml(whole | {"sign": signing.sign(whole, key, request.sign_type)})

    def _bill(self, request: Request) -> Reply:
        """downloadbill: text as it is, or gzip; refusals are XML without a signature."""
        try:
            return Reply(body=write_bill(self._bank, request))
        except NoBill as error:
            return _xml({"return_code": "FAIL", "return_msg": str(error), "error_code": error.code})

    def _outer(self, account: WechatAccount, trade: Trade) -> dict[str, str]:
        sign_type = trade.extra.get("sign_type", signing.MD5)
        fields = {
            "return_code": "SUCCESS",
            "appid": account.app_id,
            "mch_id": account.mch_id,
            "nonce_str": self._bank.nonce(),
            "sub_appid": trade.extra.get("sub_appid", ""),
            "sub_mch_id": trade.extra.get("sub_mch_id", ""),
        }
        return fields | ({"sign_type": sign_type} if sign_type != signing.MD5 else {})

    def _refund_notice(self, trade: Trade, refund: Refund) -> dict[str, str]:
        """Return the refund callback: only the sealed `req_info` tells anything."""
        account = self.accounts[trade.account]
        secret = {
            "out_refund_no": refund.out_refund_no,
            "out_trade_no": trade.out_trade_no,
            "refund_account": "REFUND_SOURCE_RECHARGE_FUNDS",
            "refund_fee": str(refund.amount_fen),
            "refund_id": refund.refund_no,
            "refund_recv_accout": "支付用户零钱",
            "refund_request_source": "API",
            "refund_status": "SUCCESS",
            "settlement_refund_fee": str(refund.amount_fen),
            "settlement_total_fee": str(trade.amount_fen),
            "success_time": dashed(refund.done_ms),
            "total_fee": str(trade.amount_fen),
            "transaction_id": trade.trade_no,
        }
        text = write_xml(secret).replace(b"<xml>", b"<root>").replace(b"</xml>", b"</root>")
        outer = self._outer(account, trade)
        outer.pop("sign_type", None)
        return outer | {"req_info": signing.seal(text, signing.sealing_key(account.api_key))}


def _with_trouble(fields: dict[str, str], trouble: Trouble | None) -> dict[str, str]:
    """Return the answer as the wallet's own confusion changes it."""
    match trouble.fault if trouble else None:
        case Fault.SYSTEM_ERROR:
            return Failed("SYSTEMERROR", "系统错误").fields()
        case Fault.UNKNOWN_CODE:
            return Failed("SANDBOX_UNHEARD_OF", "未知的错误码").fields()
        case Fault.WRONG_AMOUNT:
            money = ("total_fee", "cash_fee")
            return {name: str(int(value) + 1) if name in money else value for name, value in fields.items()}
        case _:
            return fields


def _xml(fields: dict[str, str]) -> Reply:
    return Reply(headers={"content-type": "text/plain"}, body=write_xml(fields))
