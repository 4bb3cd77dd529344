"""Terminals: activation, check-in, which keys live on, and logs that are uploaded (upay-v2.md §3)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from paymux.wire.server import build_app
from tests.contract.upay.edge import CODE, VENDOR, Till, biz, open_vendor, refusal
from tests.harness.town import MERCHANT, STORE, Town, in_town

Story = Callable[[Town, Till], Awaitable[None]]
DEVICE = "till-1"


def tell(story: Story, *, uses: int = 9, expires_ms: int = 0) -> None:
    """Give the story a town and its vendor."""

    async def told(town: Town) -> None:
        await open_vendor(town, uses=uses, expires_ms=expires_ms)
        await story(town, Till(build_app(town.desk), sn=VENDOR.vendor_sn, key=VENDOR.vendor_key))

    in_town(told)


async def activate(vendor: Till, **fields: object) -> dict[str, Any]:
    """Activate with the usual fields, or these."""
    usual: dict[str, object] = {"app_id": VENDOR.app_id, "code": CODE, "device_id": DEVICE}
    return await vendor.post("/terminal/activate", usual | fields)


async def activated(vendor: Till, **fields: object) -> Till:
    """A till fresh from activation."""
    terminal = biz(await activate(vendor, **fields))
    return Till(vendor.app, sn=terminal["terminal_sn"], key=terminal["terminal_key"])


async def checkin(till: Till, *, key: str = "", device_id: str = DEVICE) -> dict[str, Any]:
    """Check in, signed with the till's key or another one."""
    signer = Till(till.app, sn=till.sn, key=key or till.key)
    return await signer.post("/terminal/checkin", {"terminal_sn": till.sn, "device_id": device_id})


async def works(till: Till, key: str) -> bool:
    """Tell whether a call signed with this key is taken."""
    signer = Till(till.app, sn=till.sn, key=key)
    return bool((await signer.call("query", client_sn="none"))["result_code"] == "200")


def test_activation_gives_a_terminal_that_works() -> None:
    """Flat fields for old clients, nested ones for new ones; the key opens calls at once."""

    async def story(_: Town, vendor: Till) -> None:
        found = biz(await activate(vendor, client_sn="POS1", name="front", os_info="x" * 99, type="2"))
        assert found["result_code"] == "ACTIVATE_SUCCESS"
        fields = {name: found[name] for name in found["data"]}
        assert fields == found["data"]
        assert (fields["merchant_sn"], fields["store_sn"]) == (MERCHANT, STORE)
        assert (fields["merchant_name"], fields["store_name"]) == ("tea house", "first")
        assert len(fields["terminal_sn"]) == 18
        assert fields["terminal_sn"].isdecimal()
        assert len(fields["terminal_key"]) == 32
        assert set(fields["terminal_key"]) <= set("0123456789abcdef")
        assert await works(Till(vendor.app, sn=fields["terminal_sn"]), fields["terminal_key"])

    tell(story)


def test_the_same_device_may_come_again() -> None:
    """Each activation is a new terminal; the first one lives on (§13 no. 23)."""

    async def story(_: Town, vendor: Till) -> None:
        first, second = await activated(vendor), await activated(vendor, app_id="")
        assert first.sn != second.sn
        assert await works(first, first.key)
        assert await works(second, second.key)

    tell(story)


def test_the_same_device_may_be_refused() -> None:
    """With refuse_same_device a device becomes a terminal once, even when two ask at once."""

    async def story(town: Town, vendor: Till) -> None:
        object.__setattr__(town.desk, "device_once", True)
        answers = await asyncio.gather(*(activate(vendor) for _ in range(3)))
        texts = sorted(answer["error_message"] for answer in answers)
        assert texts == ["", "device_id已经被其他终端使用", "device_id已经被其他终端使用"]
        assert biz(await activate(vendor, device_id="till-2"))["result_code"] == "ACTIVATE_SUCCESS"

    tell(story, uses=2)


def test_a_spent_code() -> None:
    """A code of two uses makes two terminals, even when three ask at once."""

    async def story(_: Town, vendor: Till) -> None:
        answers = await asyncio.gather(*(activate(vendor) for _ in range(3)))
        codes = sorted(answer["error_code"] for answer in answers)
        assert codes == ["", "", "ACTIVATE_FAIL"]
        assert (await activate(vendor))["error_message"] == "激活码已被使用"

    tell(story, uses=2)


def test_an_expired_and_an_unknown_code() -> None:
    """400 ACTIVATE_FAIL with the reason."""

    async def story(_: Town, vendor: Till) -> None:
        expired, unknown = await activate(vendor), await activate(vendor, code="0")
        assert refusal(expired) == refusal(unknown) == ("400", "ACTIVATE_FAIL")
        assert (expired["error_message"], unknown["error_message"]) == ("激活码已过期", "激活码不存在")

    tell(story, expires_ms=1)


def test_a_client_sn_in_use() -> None:
    """The vendor's own number for a terminal is unique under its app; the use is not spent."""

    async def story(town: Town, vendor: Till) -> None:
        await activated(vendor, client_sn="POS1")
        assert refusal(await activate(vendor, client_sn="POS1")) == ("400", "ACTIVATE_FAIL")
        code = await town.store.activation_code(CODE)
        assert code is not None
        assert code.uses_left == 8

    tell(story)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"code": ""}, "code不可以为空"),
        ({"device_id": None}, "device_id不可以为空"),
        ({"app_id": "other"}, "app_id不属于签名的服务商"),
        ({"device_id": "d" * 129}, "device_id长度不超过128字节"),
        ({"client_sn": "c" * 51}, "client_sn长度不超过50字节"),
    ],
)
def test_bad_activations(fields: dict[str, Any], text: str) -> None:
    """INVALID_PARAMS names field and rule."""

    async def story(_: Town, vendor: Till) -> None:
        answer = await activate(vendor, **fields)
        assert (refusal(answer), answer["error_message"]) == (("400", "INVALID_PARAMS"), text)

    tell(story)


def test_strangers_activate_nothing() -> None:
    """An unknown vendor, a wrong key and a terminal's key are all ILLEGAL_SIGN."""

    async def story(_: Town, vendor: Till) -> None:
        till = await activated(vendor)
        for sn, key in (("1", VENDOR.vendor_key), (VENDOR.vendor_sn, "1" * 32), (till.sn, till.key)):
            assert refusal(await activate(Till(vendor.app, sn=sn, key=key))) == ("400", "ILLEGAL_SIGN")

    tell(story)


def test_checkin_rotates_the_key() -> None:
    """The new key works, and so does the one that signed; the one before is dead (§3.2, §13 no. 3)."""

    async def story(_: Town, vendor: Till) -> None:
        till = await activated(vendor)
        k1 = till.key
        found = biz(await checkin(till))
        k2 = found["terminal_key"]
        assert found["result_code"] == "TERMINAL_CHECKIN_SUCCESS"
        assert found["data"]["terminal_key"] == k2
        assert found["terminal_sn"] == till.sn
        assert k2 != k1
        assert [await works(till, key) for key in (k1, k2)] == [True, True]
        k3 = biz(await checkin(till, key=k2))["terminal_key"]
        assert [await works(till, key) for key in (k1, k2, k3)] == [False, True, True]
        assert refusal(await checkin(till, key=k1)) == ("400", "ILLEGAL_SIGN")

    tell(story)


def test_a_lost_checkin_answer() -> None:
    """Checking in again with the last key works, twice too; the keys nobody received are dead (PAINS 6)."""

    async def story(_: Town, vendor: Till) -> None:
        till = await activated(vendor)
        k1 = till.key
        lost = [biz(await checkin(till))["terminal_key"] for _ in range(2)]
        got = biz(await checkin(till))["terminal_key"]
        assert [await works(till, key) for key in (k1, *lost, got)] == [True, False, False, True]

    tell(story)


def test_tills_that_check_in_at_once() -> None:
    """Every one of them holds a key chain that still opens: the last answer's key, and the shared old one."""

    async def story(_: Town, vendor: Till) -> None:
        till = await activated(vendor)
        keys = [biz(one)["terminal_key"] for one in await asyncio.gather(*(checkin(till) for _ in range(4)))]
        assert sum([await works(till, key) for key in keys]) == 1
        assert await works(till, till.key)

    tell(story)


def test_another_device_does_not_get_the_key() -> None:
    """400 INVALID_TERMINAL, and the key stays (§3.2)."""

    async def story(_: Town, vendor: Till) -> None:
        till = await activated(vendor)
        assert refusal(await checkin(till, device_id="other")) == ("400", "INVALID_TERMINAL")
        assert await works(till, till.key)

    tell(story)


def test_a_terminal_that_was_switched_off() -> None:
    """INVALID_TERMINAL for every call, though the signature is right."""

    async def story(town: Town, vendor: Till) -> None:
        till = await activated(vendor)
        terminal = await town.store.terminal(till.sn)
        assert terminal is not None
        await town.store.put_people(terminals=(replace(terminal, active=False),))
        assert refusal(await till.call("query", client_sn="C1")) == ("400", "INVALID_TERMINAL")
        assert refusal(await checkin(till)) == ("400", "INVALID_TERMINAL")

    tell(story)


def test_uploaded_logs_are_any_bytes() -> None:
    """Signed bytes of any kind are taken; the answer says SUCCESS in error_code, as this call alone does."""

    async def story(_: Town, vendor: Till) -> None:
        till = await activated(vendor)
        ok = {"result_code": "200", "error_code": "SUCCESS", "error_message": "ok"}
        for body in (b"\x1f\x8b\x00\xff", b"", b'{"a":1}', bytes(1_000_000)):
            assert await till.post_bytes("/terminal/uploadLog", body) == ok
        bad = await till.post_bytes("/terminal/uploadLog", b"x", authorization=f"{till.sn} {'0' * 32}")
        assert refusal(bad) == ("400", "ILLEGAL_SIGN")
        huge = await till.post_bytes("/terminal/uploadLog", bytes(5_242_881))
        assert huge["error_message"] == "请求体长度不超过5242880字节"

    tell(story)
