"""Puts what a provisioning file asks for into the store (DESIGN §10): idempotent, all or nothing.

`provisioning_file.py` reads the file; here its entries become records, are held against what the store
knows, and are written at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec.structs import replace

from paymux.channels.registry import CHANNELS, open_channel
from paymux.cli.provisioning_file import LATER, TABLES, Entry, entries_of
from paymux.domain.errors import ConfigurationBroken
from paymux.domain.people import Account, ActivationCode, Merchant, Store, Terminal, Vendor
from paymux.storage.contract import Store as Memory

PRODUCTION_URLS = {
    "alipay": "https://openapi.alipay.com/gateway.do",
    "wechat": "https://api.mch.weixin.qq.com",
}
"""What base_url is when a channel_account names none: the wallets' own addresses."""
USES_MAX = 1_000_000_000
"""As good as for ever; the database has no room for every number a file can hold."""
CONTRACT_KEYS = ("app_id", "mch_id", "seller_id", "sub_mch_id")
"""Who we are to the wallet; keys and certificates may be renewed, these may not."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one table's entries. `notes` is what the reader of the summary should know."""

    table: str
    new: int = 0
    changed: int = 0
    same: int = 0
    notes: tuple[str, ...] = ()


async def provision(
    memory: Memory, tables: Mapping[str, Any], *, where: str, folder: Path, reset_keys: bool = False
) -> list[Count]:
    """Bring the store to what the tables say, in one write, and return what changed.

    `where` names the file in complaints; `file:` paths are relative to `folder`. A terminal that is known
    keeps the keys it has checked in with, unless `reset_keys`. Raises `ConfigurationBroken` before anything
    is written.
    """
    entries = list(entries_of(tables, where=where))
    desk = _Desk(memory, entries, folder=folder, reset_keys=reset_keys)
    await desk.look_up()
    vendors = tuple(Vendor(**entry.values) for entry in entries if entry.table == "vendor")
    codes = tuple(desk.code(entry) for entry in entries if entry.table == "activation_code")
    terminals = [await desk.terminal(entry) for entry in entries if entry.table == "terminal"]
    accounts = [await desk.same_contract(entry) for entry in entries if entry.table == "channel_account"]
    merchants, stores = tuple(desk.new_merchants.values()), tuple(desk.new_stores.values())
    counts = [
        _count("vendor", [(one, await memory.vendor(one.vendor_sn)) for one in vendors]),
        _count("merchant", [(one, await memory.merchant(one.merchant_sn)) for one in merchants]),
        _count("store", [(one, await memory.shop(one.store_sn)) for one in stores]),
        _count("activation_code", [(one, await _as_given(memory, one)) for one in codes]),
        _count("terminal", terminals, desk.notes),
        _count("channel_account", [(one, await _account_before(memory, one)) for one in accounts]),
        *_later(tables),
    ]
    await memory.put_people(
        vendors=vendors,
        merchants=merchants,
        stores=stores,
        codes=codes,
        # a running gateway may be changing keys: what has not changed is not written over
        terminals=tuple(terminal for terminal, before in terminals if terminal != before),
        accounts=tuple(accounts),
    )
    return counts


def _later(tables: Mapping[str, Any]) -> Iterator[Count]:
    if left := len(tables.get(LATER, ())):
        text = (
            f"{left} [[app]] left alone: there is no charge API yet; provision the file again when there is"
        )
        yield Count(table=LATER, notes=(text,))


class _Desk:
    """Turns entries into records, with all merchants and stores they may name at hand."""

    def __init__(self, memory: Memory, entries: list[Entry], *, folder: Path, reset_keys: bool) -> None:
        self._memory = memory
        self._entries = entries
        self._folder = folder
        self._reset_keys = reset_keys
        self.new_merchants = {e.number: _merchant(e) for e in entries if e.table == "merchant"}
        self.new_stores = {e.number: Store(**e.values) for e in entries if e.table == "store"}
        self._merchants = dict(self.new_merchants)
        self._stores = dict(self.new_stores)
        self.notes: list[str] = []

    async def look_up(self) -> None:
        """Find every merchant and store the entries name, here or in the store; complain about others."""
        for entry in self._entries:
            store_sn, merchant_sn = entry.text("store_sn"), entry.text("merchant_sn")
            if store_sn and store_sn not in self._stores:
                found = await self._memory.shop(store_sn)
                if found is None:
                    raise entry.wrong("store_sn", f"{store_sn!r} is no store: add a [[store]] or correct it")
                self._stores[store_sn] = found
            if merchant_sn or store_sn:
                await self._look_up_merchant(entry, merchant_sn or self._stores[store_sn].merchant_sn)

    async def _look_up_merchant(self, entry: Entry, merchant_sn: str) -> None:
        if merchant_sn in self._merchants:
            return
        found = await self._memory.merchant(merchant_sn)
        if found is None:
            raise entry.wrong(
                "merchant_sn", f"{merchant_sn!r} is no merchant: add a [[merchant]] or correct it"
            )
        self._merchants[merchant_sn] = found

    def code(self, entry: Entry) -> ActivationCode:
        """An activation code: one use and for ever, unless the entry says otherwise."""
        uses = entry.values.get("uses", 1)
        if not isinstance(uses, int) or isinstance(uses, bool) or not 1 <= uses <= USES_MAX:
            raise entry.wrong("uses", f"must be a whole number from 1 to {USES_MAX}")
        store = self._stores[entry.text("store_sn")]
        zone = ZoneInfo(self._merchants[store.merchant_sn].timezone)
        expires_ms = _expires_ms(entry, zone)
        return ActivationCode(
            code=entry.number, store_sn=store.store_sn, uses_left=uses, expires_ms=expires_ms
        )

    async def terminal(self, entry: Entry) -> tuple[Terminal, Terminal | None]:
        """A terminal to be, and as it was. A known one keeps its keys (they rotate) and its merchant."""
        values = dict(entry.values)
        key = values.pop("terminal_key")
        merchant_sn = self._stores[entry.text("store_sn")].merchant_sn
        given = Terminal(**values, merchant_sn=merchant_sn, current_key=key)
        known = await self._memory.terminal(given.terminal_sn, fresh=True)
        if known is None:
            return given, None
        if known.merchant_sn != merchant_sn:
            text = f"would move the terminal from merchant {known.merchant_sn}: give it a new terminal_sn"
            raise entry.wrong("store_sn", text)
        if self._reset_keys:
            return replace(given, active=known.active), known
        if key not in (known.current_key, known.last_key):
            self.notes.append(f"{given.terminal_sn} keeps its present key (--reset-keys gives it the file's)")
        kept = replace(given, active=known.active, current_key=known.current_key, last_key=known.last_key)
        return kept, known

    async def same_contract(self, entry: Entry) -> Account:
        """The account, with the contract it had: the wallet looks for orders under it.

        Were it another one, open orders would be asked about where nobody knows them.
        """
        account = self.account(entry)
        before = await _account_before(self._memory, account)
        for key in CONTRACT_KEYS:
            old = before.credentials.get(key) if before else None
            if old and old != account.credentials.get(key):
                raise entry.wrong(key, f"is {old} for this account: give a new contract a new account name")
        return account

    def account(self, entry: Entry) -> Account:
        """A channel account whose credentials the channel itself has read."""
        channel = CHANNELS.get(entry.text("channel"))
        if channel is None:
            raise entry.wrong("channel", f"is unknown; there are {', '.join(CHANNELS)}")
        account = Account(
            name=entry.number,
            merchant_sn=entry.text("merchant_sn"),
            channel=entry.text("channel"),
            payways=_payways(entry, served=channel.capabilities.payways),
            base_url=entry.text("base_url") or PRODUCTION_URLS.get(entry.text("channel"), ""),
            credentials=_credentials(entry, self._folder),
        )
        if not account.base_url.startswith(("http://", "https://")):
            raise entry.wrong("base_url", "must be the wallet's http(s) address")
        try:
            open_channel(account)
        except ConfigurationBroken as error:
            raise entry.wrong("credentials", f"are not usable: {error}") from error
        return account


# ---------------------------------------------------------------- entries to values


def _merchant(entry: Entry) -> Merchant:
    merchant = Merchant(**entry.values)
    try:
        ZoneInfo(merchant.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        text = f'{merchant.timezone!r} is no time zone: write one like "Asia/Shanghai"'
        raise entry.wrong("timezone", text) from error
    return merchant


def _expires_ms(entry: Entry, zone: tzinfo) -> int:
    """A date means the end of that day; a time without offset is the merchant's local time; absent: never."""
    value = entry.values.get("expires", "")
    if value == "":
        return 0
    if isinstance(value, str):
        with suppress(ValueError):
            value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.max)
    if not isinstance(value, datetime):
        raise entry.wrong("expires", "must be a date or time such as 2027-12-31 or 2027-12-31T18:00:00+08:00")
    return int((value if value.tzinfo else value.replace(tzinfo=zone)).timestamp() * 1000)


def _payways(entry: Entry, *, served: tuple[str, ...]) -> tuple[str, ...]:
    value = entry.values.get("payways", list(served))
    if not isinstance(value, list) or not value:
        raise entry.wrong("payways", 'must be a list such as ["1", "2"]')
    payways = tuple(str(payway) for payway in value)
    for payway in payways:
        if payway not in served:
            raise entry.wrong("payways", f"has {payway}; this channel serves {', '.join(served)}")
    return payways


def _credentials(entry: Entry, folder: Path) -> dict[str, str]:
    required, optional = TABLES["channel_account"]
    given = {key: value for key, value in entry.values.items() if key not in required + optional}
    return {key: _content(entry, key, value, folder) for key, value in given.items()}


def _content(entry: Entry, key: str, value: str | bool, folder: Path) -> str:  # noqa: FBT001 - a TOML value
    """Return the value itself, or the text of the file it names as `file:PATH`."""
    if isinstance(value, bool):
        return str(value).lower()
    if not value.startswith("file:"):
        return value
    try:
        path = folder / Path(value.removeprefix("file:")).expanduser()
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError, RuntimeError) as error:  # no UTF-8, no file name, ~somebody nobody knows
        raise entry.wrong(key, f"names a file that cannot be read: {error}") from error


# ---------------------------------------------------------------- summary


def _count(table: str, pairs: Iterable[tuple[object, object]], notes: Iterable[str] = ()) -> Count:
    pairs = list(pairs)
    new = sum(before is None for _, before in pairs)
    same = sum(after == before for after, before in pairs)
    return Count(table=table, new=new, same=same, changed=len(pairs) - new - same, notes=tuple(notes))


async def _as_given(memory: Memory, code: ActivationCode) -> ActivationCode | None:
    """Return the stored code as a file would give it: uses already spent are no change."""
    known = await memory.activation_code(code.code)
    return known and replace(known, uses_left=code.uses_left)


async def _account_before(memory: Memory, account: Account) -> Account | None:
    known = await memory.accounts(account.merchant_sn)
    return next((one for one in known if one.name == account.name), None)
