"""What must be seen: guards taken out of a copy of the gateway, one at a time.

`python -m tests.contention --plant claims-by-key` must end with exit code 1.
"""

from dataclasses import dataclass

from tests.contention.findings import Breach
from tests.harness.planted import Fault, run_with

CLAIMS, REFUNDS = 500, 60


@dataclass(frozen=True, kw_only=True)
class Plant(Fault):
    """A fault, which half of the run shows it, and as what it must be caught."""

    part: str
    caught_as: frozenset[Breach]


_POSTGRES_SQL, _SQL = "storage/queries.postgres.sql", "storage/queries.sql"
PLANTED = {
    # What everybody writes first: look for what is free, then take it by its key.
    "claims-by-key": Plant(
        part="claims",
        file=_POSTGRES_SQL,
        old="\n    AND d.lease_until_ms <= $3 AND d.attempts = x.attempts AND d.run_at_ms = x.run_at_ms",
        new="\n    AND $3 = $3::bigint",
        caught_as=frozenset({Breach.DOUBLED}),
    ),
    "puts-off-what-is-anothers": Plant(
        part="claims",
        file=_SQL,
        old="run_at_ms = ?, lease_until_ms = 0\n"
        "WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?\n    AND attempts = ?",
        new="run_at_ms = ?, lease_until_ms = 0\n"
        "WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?\n    AND attempts >= ?",
        caught_as=frozenset({Breach.ROBBED}),
    ),
    "drops-what-is-anothers": Plant(
        part="claims",
        file=_SQL,
        old="DELETE FROM due\n"
        "WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?\n    AND attempts = ?",
        new="DELETE FROM due\n"
        "WHERE bucket = ? AND merchant_id = ? AND ref = ? AND kind = ?\n    AND attempts >= ?",
        caught_as=frozenset({Breach.ROBBED}),
    ),
    # A read before the write instead of a guarded write: two reservations from one reading.
    "changes-unguarded": Plant(
        part="refunds",
        file=_POSTGRES_SQL,
        old="    AND o.version = n.version_before AND o.status = n.status_before\n",
        new="",
        caught_as=frozenset({Breach.DOUBLED, Breach.LOST, Breach.UNBALANCED, Breach.UNTRUE}),
    ),
    "numbers-refunds-anew": Plant(
        part="refunds",
        file="flows/refund.py",
        old="        refund_no=movement.tsn,\n        amount=movement.amount,\n        total=order.total,",
        new="        refund_no=desk.ids.sn(),\n        amount=movement.amount,\n        total=order.total,",
        caught_as=frozenset({Breach.DOUBLED, Breach.UNBALANCED}),
    ),
}
"""Name → fault."""


def run_planted(name: str, *, seed: str) -> int:
    """Run the half that shows it against a copy of the gateway with this fault; return its exit code."""
    fault = PLANTED[name]
    counts = {"claims": 0, "refunds": 0} | {fault.part: {"claims": CLAIMS, "refunds": REFUNDS}[fault.part]}
    how = ["--brisk", *(f"--{part}={count}" for part, count in counts.items())]
    return run_with(fault, "tests.contention", *how, f"--seed={seed}", "--figures=", "--folder={folder}")
