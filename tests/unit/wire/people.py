"""Who calls in these tests."""

from paymux.domain.people import Terminal, Vendor

TILL = Terminal(
    terminal_sn="100000000000000001",
    merchant_sn="1680000000000001",
    store_sn="1580000000000001",
    device_id="till-1",
    current_key="0123456789abcdef0123456789abcdef",
    last_key="fedcba9876543210fedcba9876543210",
)
VENDOR = Vendor(vendor_sn="91800001", vendor_key="f" * 32, app_id="2024010100001")
