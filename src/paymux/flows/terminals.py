"""Terminals come and stay: activation by a vendor, and check-in, which rotates the key (upay-v2.md §3).

The current and the last key are both accepted. Who checks in with the last key never got the answer to his
last check-in: he rotates again, and the key that was never delivered dies (§13 no. 3).
"""

import msgspec

from paymux.domain.errors import RequestRefused
from paymux.domain.people import ActivationCode, Terminal, Vendor
from paymux.flows.desk import Desk

_TERMINAL_SN_PREFIX = "10"
"""Two digits before one of our 16-digit numbers: 18, as long as real ones, and never taken for an order's."""


class ActivationRefused(RequestRefused):
    """The activation code does not let this device in; the text says why."""

    error_code = "ACTIVATE_FAIL"


class DeviceChanged(RequestRefused):
    """Another device than the activated one wants the terminal's new key."""

    error_code = "INVALID_TERMINAL"

    def __init__(self) -> None:
        super().__init__("device_id与激活时不一致，更换设备请使用新的激活码")


class KeyOvertaken(RequestRefused):
    """While the check-in was on its way, the key that signed it was rotated out."""

    error_code = "ILLEGAL_SIGN"

    def __init__(self) -> None:
        super().__init__("签名错误: 密钥已失效")


class ActivateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a device asks for (§3.1). `client_sn` is the vendor's own number for the terminal."""

    code: str
    device_id: str
    client_sn: str = ""
    name: str = ""


async def activate(desk: Desk, vendor: Vendor, request: ActivateRequest) -> Terminal:
    """Spend one use of the code and return the new terminal with its first key.

    The same device may be activated again: it becomes another terminal, unless the desk's `device_once`
    says otherwise (§13 no. 23). Raises `ActivationRefused` for a code that is unknown, spent or expired, and
    for a client_sn or device in use.
    """
    now_ms = desk.clock.now_ms()
    code = await desk.store.activation_code(request.code)
    if code is None:
        raise ActivationRefused("激活码不存在")
    _check_code(code, now_ms)
    shop = await desk.store.shop(code.store_sn)
    if shop is None:
        raise ActivationRefused("激活码的门店不存在")
    terminal = Terminal(
        terminal_sn=_TERMINAL_SN_PREFIX + desk.ids.sn(),
        merchant_sn=shop.merchant_sn,
        store_sn=shop.store_sn,
        app_id=vendor.app_id,
        device_id=request.device_id,
        client_sn=request.client_sn,
        name=request.name,
        current_key=desk.ids.key(),
    )
    once = desk.device_once
    if not await desk.store.activate(request.code, terminal, now_ms=now_ms, device_once=once):
        _check_code(await desk.store.activation_code(request.code) or code, now_ms)
        if once and await desk.store.knows_device(shop.merchant_sn, request.device_id):
            raise ActivationRefused("device_id已经被其他终端使用")
        raise ActivationRefused(f"client_sn {request.client_sn} 已经被其他终端使用")
    return terminal


async def checkin(desk: Desk, terminal: Terminal, *, device_id: str, signed_with: str) -> Terminal:
    """Give the terminal a new key; the one that signed the check-in stays valid as its last.

    Raises `DeviceChanged` when the terminal was activated on another device, `KeyOvertaken` when other
    check-ins have meanwhile replaced the signing key.
    """
    if terminal.device_id and terminal.device_id != device_id:
        raise DeviceChanged
    new_key = desk.ids.key()
    if not await desk.store.rotate_key(terminal, signed_with=signed_with, new_key=new_key):
        raise KeyOvertaken
    return msgspec.structs.replace(terminal, current_key=new_key, last_key=signed_with)


def _check_code(code: ActivationCode, now_ms: int) -> None:
    if code.expires_ms and code.expires_ms <= now_ms:
        raise ActivationRefused("激活码已过期")
    if code.uses_left <= 0:
        raise ActivationRefused("激活码已被使用")
