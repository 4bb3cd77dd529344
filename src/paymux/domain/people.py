"""Who may ask: vendors, merchants, stores, terminals and their keys; and the merchants' channel accounts.

Reference data: written rarely, read through a cache (DESIGN §7). Keys are plain here and sealed at rest.
"""

import zlib

import msgspec

BUCKETS = 64
"""Fixed for ever: `bucket` is the first part of every money key and the shard unit (DESIGN §7)."""


def bucket_of(merchant_id: str) -> int:
    """Return the merchant's bucket, 0 to 63: CRC-32 of its UTF-8 name, the same on every machine."""
    return zlib.crc32(merchant_id.encode()) % BUCKETS


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """Who ships till software (服务商): signs activations with vendor_sn and vendor_key."""

    vendor_sn: str
    vendor_key: str
    app_id: str


class Merchant(msgspec.Struct, frozen=True, kw_only=True):
    """Whose money it is. `timezone` decides what "the same day" means for cancels."""

    merchant_sn: str
    name: str
    timezone: str = "Asia/Shanghai"


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """One shop of a merchant."""

    store_sn: str
    merchant_sn: str
    name: str


class ActivationCode(msgspec.Struct, frozen=True, kw_only=True):
    """Lets a device become a terminal of `store_sn`; `uses_left` counts down, `expires_ms` 0 = never."""

    code: str
    store_sn: str
    uses_left: int
    expires_ms: int = 0


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """One till. The current key and the last one are both accepted (upay-v2.md §3.2, §13 no. 3)."""

    terminal_sn: str
    merchant_sn: str
    store_sn: str
    app_id: str = ""
    device_id: str = ""
    client_sn: str = ""
    name: str = ""
    active: bool = True
    current_key: str
    last_key: str = ""

    @property
    def bucket(self) -> int:
        """The bucket its merchant's orders live in."""
        return bucket_of(self.merchant_sn)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's contract and credentials at one provider: `channel` names our adapter for it."""

    name: str
    merchant_sn: str
    channel: str
    payways: tuple[str, ...]
    base_url: str
    credentials: dict[str, str]
