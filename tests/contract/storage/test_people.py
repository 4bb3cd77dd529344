"""Reference data: read through a short memory, written through it, and secret at rest."""

import asyncio

import pytest
from msgspec.structs import replace

from paymux.domain.errors import ConfigurationBroken, StorageFailed
from paymux.domain.people import Account, ActivationCode, Merchant, Terminal, Vendor
from paymux.domain.people import Store as Shop
from paymux.kit.seal import Sealer
from paymux.storage.contract import Store
from paymux.storage.kept import LIFE_MS
from tests.contract.storage.conftest import Engine
from tests.contract.storage.makers import NOW_MS
from tests.harness.postgres import everything

VENDOR = Vendor(vendor_sn="v1", vendor_key="canary-vendor-key", app_id="a1")
MERCHANT = Merchant(merchant_sn="m1", name="咖啡馆", timezone="Asia/Tokyo")
SHOP = Shop(store_sn="s1", merchant_sn="m1", name="店")
CODE = ActivationCode(code="11112222", store_sn="s1", uses_left=2, expires_ms=NOW_MS + 10)
TILL = Terminal(
    terminal_sn="t1",
    merchant_sn="m1",
    store_sn="s1",
    app_id="a1",
    device_id="d1",
    client_sn="till-1",
    name="front",
    current_key="canary-current-key",
    last_key="canary-last-key",
)
ACCOUNT = Account(
    name="main",
    merchant_sn="m1",
    channel="alipay",
    payways=("1", "2"),
    base_url="https://wallet.example",
    credentials={"private_key": "canary-credential", "app_id": "2088"},
)


async def everybody(store: Store) -> None:
    """Put one of each."""
    await store.put_people(
        vendors=(VENDOR,),
        merchants=(MERCHANT,),
        stores=(SHOP,),
        codes=(CODE,),
        terminals=(TILL,),
        accounts=(ACCOUNT,),
    )


async def assert_everybody(store: Store) -> None:
    """One of each is there."""
    assert await store.vendor("v1") == VENDOR
    assert await store.merchant("m1") == MERCHANT
    assert await store.shop("s1") == SHOP
    assert await store.activation_code("11112222") == CODE
    assert await store.terminal("t1") == TILL
    assert await store.accounts("m1") == [ACCOUNT]


def test_people_come_back_as_they_were_given(engine: Engine) -> None:
    """Every field, also after a restart; strangers are None."""

    async def first(store: Store) -> None:
        await everybody(store)
        await everybody(store)
        await assert_everybody(store)
        assert await store.vendor("x") is None
        assert await store.merchant("x") is None
        assert await store.shop("x") is None
        assert await store.activation_code("x") is None
        assert await store.terminal("x") is None
        assert await store.accounts("x") == []

    engine.run(first)
    engine.run(assert_everybody)


def test_secrets_are_nowhere_in_the_files(engine: Engine) -> None:
    """A stolen database, its log included, holds no key and no credential (promise M9)."""

    async def story(store: Store) -> bytes:
        await everybody(store)
        assert await store.rotate_key(TILL, signed_with=TILL.current_key, new_key="canary-new-key")
        bought = replace(TILL, terminal_sn="t2", client_sn="", current_key="canary-activated-key")
        assert await store.activate(CODE.code, bought, now_ms=NOW_MS)
        return _files(engine)

    during = engine.run(story)
    assert b"till-1" in during
    for files in (during, _files(engine)):
        assert b"canary" not in files


def _files(engine: Engine) -> bytes:
    """All that is stored: the files, or what a server has in the tables."""
    if not engine.is_file:
        return everything(engine.dsn)
    return b"".join(file.read_bytes() for file in engine.path.parent.iterdir())


def test_errors_quote_no_secret(engine: Engine) -> None:
    """A write that fails tells which rule was broken, not what was in it."""

    async def story(store: Store) -> None:
        await everybody(store)
        with pytest.raises(StorageFailed) as failed:
            await store.put_people(terminals=(replace(TILL, terminal_sn="t2"),))
        assert "canary" not in repr(failed.value) + repr(failed.value.__cause__)
        assert await store.terminal("t2") is None

    engine.run(story)


def test_people_are_put_all_or_none(engine: Engine) -> None:
    """One bad record of a provisioning, and none of it is there."""

    async def story(store: Store) -> None:
        with pytest.raises(StorageFailed):
            await store.put_people(merchants=(MERCHANT,), terminals=(TILL, replace(TILL, terminal_sn="t2")))
        assert await store.merchant("m1") is None
        assert await store.terminal("t1") is None

    engine.run(story)


def test_a_wrong_master_key_is_told_at_the_door(engine: Engine) -> None:
    """The database does not open, and the text says what to do."""
    engine.run(everybody)
    with pytest.raises(ConfigurationBroken, match="master key"):
        asyncio.run(engine.open(Sealer(b"x" * 32)))
    engine.run(assert_everybody)


def test_what_one_process_writes_another_sees_in_time(engine: Engine) -> None:
    """At once by `fresh`, after two seconds by itself; the writer sees it at once."""

    async def story(store: Store) -> None:
        other = await engine.open()
        await everybody(store)
        assert await other.terminal("t1") == TILL
        renamed = replace(TILL, name="back")
        await store.put_people(terminals=(renamed,))
        assert await store.terminal("t1") == renamed
        assert await other.terminal("t1") == TILL
        assert await other.terminal("t1", fresh=True) == renamed
        assert await other.terminal("t1") == renamed
        await store.put_people(terminals=(TILL,))
        engine.clock.ms += LIFE_MS - 1
        assert await other.terminal("t1") == renamed
        engine.clock.ms += 1
        assert await other.terminal("t1") == TILL
        await other.close()

    engine.run(story)


def test_an_unchanged_record_stays_the_same_object(engine: Engine) -> None:
    """What others derive from an account (parsed keys) may be kept as long as the account is the same one."""

    async def story(store: Store) -> None:
        await everybody(store)
        (before,) = await store.accounts("m1")
        engine.clock.ms += 10 * LIFE_MS
        (after,) = await store.accounts("m1")
        assert after is before
        await store.put_people(accounts=(replace(ACCOUNT, base_url="https://other.example"),))
        (changed,) = await store.accounts("m1")
        assert changed.base_url == "https://other.example"

    engine.run(story)


def test_a_new_record_is_seen_at_once(engine: Engine) -> None:
    """Nobody remembers that somebody was not there."""

    async def story(store: Store) -> None:
        assert await store.terminal("t1") is None
        await everybody(store)
        assert await store.terminal("t1") == TILL

    engine.run(story)


def test_accounts_keep_the_order_they_were_given_in(engine: Engine) -> None:
    """A file with two swapped swaps them; one put alone stays in its place; new ones come last."""
    a, b, c = (replace(ACCOUNT, name=name) for name in "abc")

    async def names(store: Store) -> str:
        return "".join(account.name for account in await store.accounts("m1"))

    async def story(store: Store) -> None:
        await store.put_people(accounts=(b, a))
        assert await names(store) == "ba"
        await store.put_people(accounts=(b, a, c))
        assert await names(store) == "bac"
        await store.put_people(accounts=(replace(a, base_url="https://new.example"),))
        assert await names(store) == "bac"
        await store.put_people(accounts=(a, b, c, replace(a, merchant_sn="m2")))
        assert await names(store) == "abc"
        await store.put_people(accounts=(a, a))
        assert await names(store) == "abc"

    engine.run(story)


def test_a_code_activates_as_often_as_it_says(engine: Engine) -> None:
    """Ten devices share a code of two uses at once: two become terminals."""

    async def story(store: Store) -> None:
        await everybody(store)
        tills = [replace(TILL, terminal_sn=f"n{n}", client_sn=f"n{n}") for n in range(10)]
        done = await asyncio.gather(*(store.activate(CODE.code, till, now_ms=NOW_MS) for till in tills))
        assert done.count(True) == 2
        there = [await store.terminal(till.terminal_sn) is not None for till in tills]
        assert there == done
        code = await store.activation_code(CODE.code)
        assert code == replace(CODE, uses_left=0)

    engine.run(story)


def test_spent_uses_stay_spent(engine: Engine) -> None:
    """Provisioning the code again does not give its uses back; giving more gives the difference."""

    async def left(store: Store) -> int:
        code = await store.activation_code(CODE.code)
        assert code is not None
        return code.uses_left

    async def story(store: Store) -> None:
        await everybody(store)
        assert await store.activate(CODE.code, replace(TILL, terminal_sn="n", client_sn=""), now_ms=NOW_MS)
        await everybody(store)
        assert await left(store) == 1
        await store.put_people(codes=(replace(CODE, uses_left=5),))
        assert await left(store) == 4
        await store.put_people(codes=(replace(CODE, uses_left=0),))
        assert await left(store) == 0

    engine.run(story)


def test_an_activation_that_fails_spends_nothing(engine: Engine) -> None:
    """Expired, unknown, or the client_sn taken under the app: no terminal, no use gone."""
    new = replace(TILL, terminal_sn="new", client_sn="new")

    async def story(store: Store) -> None:
        await everybody(store)
        assert not await store.activate(CODE.code, new, now_ms=CODE.expires_ms)
        assert not await store.activate("unknown", new, now_ms=NOW_MS)
        assert not await store.activate(CODE.code, replace(new, client_sn=TILL.client_sn), now_ms=NOW_MS)
        assert await store.terminal("new") is None
        assert await store.activation_code(CODE.code) == CODE
        other_app = replace(new, client_sn=TILL.client_sn, app_id="a2")
        assert await store.activate(CODE.code, other_app, now_ms=NOW_MS)

    engine.run(story)


def test_a_code_without_end_never_expires(engine: Engine) -> None:
    """expires_ms 0 means never, and many terminals may have no client_sn."""

    async def story(store: Store) -> None:
        await store.put_people(codes=(replace(CODE, expires_ms=0),))
        for sn in ("n1", "n2"):
            assert await store.activate(
                CODE.code, replace(TILL, terminal_sn=sn, client_sn=""), now_ms=NOW_MS * 9
            )

    engine.run(story)


def test_check_in_rotates_keys(engine: Engine) -> None:
    """The key it was signed with becomes the last one: by either key, seen at once, and by no other key."""

    async def keys(store: Store) -> tuple[str, str]:
        till = await store.terminal("t1")
        assert till is not None
        return till.current_key, till.last_key

    async def story(store: Store) -> None:
        await everybody(store)
        assert await store.rotate_key(TILL, signed_with="canary-current-key", new_key="k2")
        assert await keys(store) == ("k2", "canary-current-key")
        assert await store.rotate_key(TILL, signed_with="canary-current-key", new_key="k3")
        assert await keys(store) == ("k3", "canary-current-key")
        assert not await store.rotate_key(TILL, signed_with="k2", new_key="k4")
        assert not await store.rotate_key(TILL, signed_with="", new_key="k4")
        assert await keys(store) == ("k3", "canary-current-key")
        nobody = replace(TILL, terminal_sn="nobody")
        assert not await store.rotate_key(nobody, signed_with=TILL.current_key, new_key="k4")

    engine.run(story)


def test_a_terminal_is_never_locked_out_by_check_ins_at_once(engine: Engine) -> None:
    """Eight check-ins with one key at once: all are answered, and that key stays good as the last."""

    async def story(store: Store) -> None:
        await everybody(store)
        done = await asyncio.gather(
            *(store.rotate_key(TILL, signed_with=TILL.current_key, new_key=f"k{n}") for n in range(8))
        )
        assert done == [True] * 8
        till = await store.terminal("t1")
        assert till is not None
        assert till.last_key == TILL.current_key
        assert till.current_key in {f"k{n}" for n in range(8)}

    engine.run(story)
