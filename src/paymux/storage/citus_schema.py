"""Which tables Citus spreads over its workers, and the script that has it do so (docs/scaling.md).

What carries a bucket is distributed by it, all of it alike, so that a bucket lies on one server as a whole.
Whatever else there is stays on the coordinator: nothing joins it, and a process needs it to start and to
stay, whichever worker is away. Only a fence is written on every node, for it has to tell of each of them.
"""

SHARDS = 64
"""As many as buckets. Citus hashes: some shards hold several buckets, some none (docs/scaling.md)."""

DISTRIBUTED = ("orders", "transactions", "events", "due", "notifications")
"""What carries a bucket; all else is laid beside the first."""
REFERENCE = ("fences",)
"""Kept on every node."""
ON_COORDINATOR = (
    "accounts",
    "activation_codes",
    "merchants",
    "migrations",
    "nodes",
    "seals",
    "stores",
    "terminals",
    "vendors",
)

_HEAD = """\
-- Spreads paymux's orders over the workers of a Citus cluster. Run it once, on the coordinator, as the
-- owner of the tables, after a first start has made them and while no gateway runs:
--     paymux admin citus | psql -v ON_ERROR_STOP=1 postgresql://paymux@coordinator/paymux
"""


def distribution() -> str:
    """Return the SQL script, for a person to read and psql to run."""
    first, *others = DISTRIBUTED
    lines = [
        _HEAD,
        "-- What carries a bucket lies with it, in as many shards as there are buckets.",
        _call("distributed", first, "bucket", colocate_with="'none'", shard_count=str(SHARDS)),
        *(_call("distributed", one, "bucket", colocate_with=f"'{first}'") for one in others),
        "",
        "-- Written on every node, for it tells that each of them still has what it committed.",
        *(_call("reference", one) for one in REFERENCE),
        "",
        "-- On the coordinator, as they are: " + ", ".join(ON_COORDINATOR) + ".",
    ]
    return "\n".join(lines) + "\n"


def _call(kind: str, *names: str, **options: str) -> str:
    given = [f"'{name}'" for name in names] + [f"{name} => {value}" for name, value in options.items()]
    return f"SELECT create_{kind}_table({', '.join(given)});"
