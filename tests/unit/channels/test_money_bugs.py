"""Ways in which other gateways lost or doubled money in their channel code, and that ours does not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl

import msgspec
import pytest

from paymux.channels.alipay.signing import is_signed as alipay_signed
from paymux.channels.alipay.signing import string_to_sign
from paymux.channels.contract import Channel, HttpResponse
from paymux.channels.wechat.signing import is_signed as wechat_signed
from paymux.channels.wechat.xml import read_xml
from paymux.domain.outcome import InProgress, Took, Unknown
from tests.unit.channels import makers


@pytest.mark.parametrize("code", ["20000", "40004"])
def test_b2_a_system_error_of_alipay_is_no_failure(code: str) -> None:
    """20000 and ACQ.SYSTEM_ERROR mean "result unknown": the money may have been taken."""
    body = makers.alipay_reply("pay", {"code": code, "sub_code": "ACQ.SYSTEM_ERROR", "sub_msg": "系统繁忙"})
    assert isinstance(makers.alipay().read(makers.PAY, makers.ok(body)), Unknown)


@pytest.mark.parametrize("channel", [makers.alipay(), makers.wechat()], ids=["alipay", "wechat"])
@pytest.mark.parametrize("status", [200, 502])
def test_b3_an_empty_reply_is_no_failure(channel: Channel, status: int) -> None:
    """Silence after the request went out proves nothing."""
    reply = HttpResponse(status=status, headers={}, body=b"")
    assert isinstance(channel.read(makers.PAY, reply), Unknown)


def test_b3_a_buyer_who_types_is_waited_for() -> None:
    """Alipay's 10003 and WeChat's USERPAYING are asked about soon: they are no failure and no doubt."""
    body = makers.alipay_reply("pay", {"code": "10003", "msg": "order success pay inprocess"})
    assert isinstance(makers.alipay().read(makers.PAY, makers.ok(body)), InProgress)
    body = makers.wechat_reply({"result_code": "FAIL", "err_code": "USERPAYING"})
    assert isinstance(makers.wechat().read(makers.PAY, makers.ok(body)), InProgress)


def test_b25_alipay_signatures_hold_under_concurrency() -> None:
    """Many payments share one key object, and every signature is right, both ways."""
    reply = makers.ok(makers.alipay_reply("pay", makers.ALIPAY_PAID))

    def one(number: int) -> bool:
        pay = msgspec.structs.replace(makers.PAY, out_trade_no=f"7{number:015d}")
        request = makers.sent(makers.alipay().build(pay, now_ms=makers.NOW_MS, nonce="n"))
        params = dict(parse_qsl(request.body.decode()))
        signature, key = params.pop("sign"), makers.rsa_key("us").public_key()
        signed = alipay_signed(key, string_to_sign(params).encode(), signature=signature)
        return signed and isinstance(makers.alipay().read(makers.PAY, reply), Took)

    assert _all_at_once(one)


def test_b25_wechat_signatures_hold_under_concurrency() -> None:
    """The parser and the digest are made anew for every payment: nothing is shared."""
    reply = makers.ok(makers.wechat_reply(makers.WECHAT_PAID))

    def one(number: int) -> bool:
        pay = msgspec.structs.replace(makers.PAY, out_trade_no=f"7{number:015d}")
        fields = read_xml(makers.sent(makers.wechat().build(pay, now_ms=0, nonce=str(number))).body)
        signed = wechat_signed(fields, api_key=makers.API_KEY, sign_type="MD5")
        return signed and isinstance(makers.wechat().read(makers.PAY, reply), Took)

    assert _all_at_once(one)


def _all_at_once(one: Callable[[int], bool]) -> bool:
    with ThreadPoolExecutor(8) as threads:
        return all(threads.map(one, range(200)))
