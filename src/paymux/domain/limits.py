"""Every tunable bound and time, with its unit, default and reason; relations are checked when it is made.

Read from the `[limits]` table of the settings file or `PAYMUX_LIMITS_…` (see `paymux.config`).
"""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds, sizes are bytes."""

    pay_wait_s: int = 35
    """How long a pay call waits for the wallet: what the official diagrams show (upay-v2.md §4.2)."""
    precreate_wait_s: int = 15
    """How long a precreate call tries to get its QR code: a till shows nothing meanwhile."""
    cancel_wait_s: int = 30
    """How long a cancel call waits for the reversal; WeChat may not be reversed in its first 15 s."""
    refund_wait_s: int = 20
    """How long a refund call waits for the wallet before it answers REFUND_IN_PROGRESS."""
    precreate_life_s: int = 240
    """Life of a QR order: "about 4 minutes" in the newest pages (upay-v2.md §13 no. 6)."""
    precreate_gaps_s: tuple[int, ...] = (5, 10, 20, 30)
    """Gaps between looks at an unpaid QR order (the last repeats); callbacks are the quick way."""
    query_min_gap_s: int = 3
    """A query asks the channel at most once per gap and order, however often tills poll (DESIGN §5)."""
    undo_budget_s: int = 180
    """Quick attempts to reverse or cancel; then PAY_ERROR or CANCEL_ERROR, an alarm and slow attempts."""
    refund_budget_s: int = 180
    """Quick attempts to refund; then REFUND_ERROR, an alarm and slow attempts."""
    doubt_s: int = 60
    """How long a request whose reply was lost may still be on its way to the wallet: until then another
    attempt's refusal decides nothing."""
    slow_gap_s: int = 60
    """Gap of the slow attempts in the first day: a wallet that comes back is asked within a minute or so."""
    grave_gap_s: int = 3600
    """Gap of the slow attempts after the first day: `*_ERROR` are not graves (DESIGN §4)."""
    late_watch_s: tuple[int, ...] = (60, 600, 3600)
    """After a reversal: when to ask once more whether the wallet took the money after all (script 14)."""
    notify_gaps_s: tuple[int, ...] = (1, 5, 30, 600)
    """Waits before a notification is repeated (upay-v2.md §11); then every `notify_slow_gap_s`."""
    notify_slow_gap_s: int = 3600
    """Official retries end after 10 minutes; merchants' outages do not (PAINS 23)."""
    notify_life_s: int = 86_400
    """A notification is given up, visibly, after a day; it can be sent again by hand."""
    notify_timeout_s: int = 10
    """How long a merchant's server may take to answer a notification."""
    per_account_at_once: int = 32
    """Pieces of due work under way at once for one channel account: a frozen wallet holds up only itself."""
    per_merchant_at_once: int = 8
    """Notifications under way at once to one merchant's servers, for the same reason."""
    lease_s: int = 60
    """How long a claimed piece of work is left alone; only saves work, never decides about money."""
    worker_gap_s: int = 1
    """How often the table of due work is looked at when nothing wakes the worker."""
    transport_per_account: int = 512
    """Calls at once per channel account: a frozen wallet must not starve the others (bulkhead)."""
    body_bytes_max: int = 262_144
    """Largest request body of a protocol call; goods_details of a big basket fit many times."""
    log_bytes_max: int = 5_242_880
    """Largest uploadLog body (upay-v2.md §3.3: cap the size)."""

    def __post_init__(self) -> None:
        """Check the relations between the bounds; raises `ValueError` naming both."""
        if self.lease_s <= self.notify_timeout_s:
            message = "lease_s must be longer than notify_timeout_s, or a slow delivery is done twice"
            raise ValueError(message)
        if self.slow_gap_s > self.grave_gap_s:
            message = "slow_gap_s must not exceed grave_gap_s: attempts get rarer, not denser"
            raise ValueError(message)
