"""How evenly unequal merchants fill the 64 buckets, and buckets the servers: `python -m bench.buckets`.

Nothing is measured here: made-up merchants are placed by the rule that places real ones, and the tables of
docs/scaling.md are printed. The volume of the merchant with rank r is proportional to 1 / r^s (Zipf's law):
s = 0 are equals, s = 1 is what sizes of cities and companies look like. Names come from a seed, and each
figure is the median over the seeds, with the worst one behind it.
"""

import heapq
import random
import statistics
from collections.abc import Callable, Iterator, Sequence

import click

from paymux.domain.people import BUCKETS, bucket_of
from paymux.storage.citus_schema import SHARDS

Loads = list[float]
"""A share of the volume for each bucket, shard or server; together 1."""

EXPONENTS = (0.0, 0.8, 1.0)
COUNTS = (100, 10_000, 1_000_000)
SERVERS = (2, 4, 8, 16, 32, 64)
GIANTS = (0.01, 0.05, 0.2)
_AMONG = 10_000
"""How many others a giant is among; their volumes follow s = 0.8."""


# -- merchants


def zipf(count: int, exponent: float) -> Loads:
    """Return the volume of each merchant, the largest first; together 1."""
    volumes = [rank**-exponent for rank in range(1, count + 1)]
    total = sum(volumes)
    return [volume / total for volume in volumes]


def merchants(count: int, seed: int) -> Iterator[str]:
    """Yield merchant numbers as vendors give them: 13 digits, here and there in a range."""
    dice = random.Random(seed)
    return (f"168{dice.randrange(10**10):010d}" for _ in range(count))


# -- buckets


def hashed(names: Iterator[str]) -> list[int]:
    """Return the bucket of each merchant by paymux's own rule."""
    return [bucket_of(name) for name in names]


def filled(volumes: Sequence[float], places: Sequence[int], size: int = BUCKETS) -> Loads:
    """Return what each place holds."""
    loads = [0.0] * size
    for volume, place in zip(volumes, places, strict=True):
        loads[place] += volume
    return loads


def emptiest_first(volumes: Sequence[float], seed: int) -> Loads:
    """Fill buckets in another way: merchants come in any order, each goes where least volume is by then."""
    arriving = random.Random(seed).sample(volumes, len(volumes))
    heap = [(0.0, bucket) for bucket in range(BUCKETS)]
    for volume in arriving:
        load, bucket = heap[0]
        heapq.heapreplace(heap, (load + volume, bucket))
    return [load for load, _ in sorted(heap, key=lambda pair: pair[1])]


# -- servers


def in_turn(loads: Loads, servers: int) -> Loads:
    """Give each server as many as any other, whatever they hold."""
    return filled(loads, [number % servers for number in range(len(loads))], servers)


def packed(loads: Loads, servers: int) -> Loads:
    """Give the largest first, each to the server that has least: what one does who knows the loads."""
    heap = [0.0] * servers
    for load in sorted(loads, reverse=True):
        heapq.heapreplace(heap, heap[0] + load)
    return heap


def uneven(loads: Loads) -> float:
    """Return the fullest over the mean: 1 is even; servers beyond count / uneven are bought in vain."""
    return max(loads) * len(loads) / sum(loads)


# -- Citus


def shard_of(bucket: int, shards: int = SHARDS) -> int:
    """Return which shard Citus keeps a bucket in: equal ranges of PostgreSQL's `hashint4`."""
    signed = (hash_of(bucket) + (1 << 31)) % (1 << 32)
    return min(signed // ((1 << 32) // shards), shards - 1)


def hash_of(number: int) -> int:
    """Return PostgreSQL's hash of a small integer, unsigned: what Jenkins' lookup3 ends with."""
    seed = 0x9E3779B9 + 4 + 3923095
    x, y, z = seed, seed, seed + number
    for turn in (14, 11, 25, 16, 4, 14, 24):
        x = ((x ^ y) - (y << turn | y >> (32 - turn))) % (1 << 32)
        x, y, z = z, x, y
    return y


def shards_filled() -> Loads:
    """Return how many buckets each of Citus's shards holds."""
    return filled([1.0] * BUCKETS, [shard_of(bucket) for bucket in range(BUCKETS)], SHARDS)


# -- tables


def table_of_merchants(seeds: int) -> Iterator[str]:
    """Yield the unevenness of buckets and of servers, for merchants of each number and skew."""
    servers = " | ".join(f"{count} servers" for count in SERVERS[:-1])
    yield f"| merchants | s | largest merchant | fullest bucket | emptiest first | {servers} |"
    yield "|" + "---|" * (5 + len(SERVERS) - 1)
    for count in COUNTS:
        places = [hashed(merchants(count, seed)) for seed in range(seeds)]
        for exponent in EXPONENTS:
            volumes = zipf(count, exponent)
            found = [filled(volumes, place) for place in places]
            cells = [_typical([uneven(loads) for loads in found])]
            cells.append(_typical([uneven(emptiest_first(volumes, seed)) for seed in range(seeds)]))
            cells += [_both(found, server) for server in SERVERS[:-1]]
            yield f"| {count:,} | {exponent:g} | {volumes[0]:.2%} | {' | '.join(cells)} |"


def table_of_giants(seeds: int) -> Iterator[str]:
    """Yield the unevenness of servers when one merchant has so much of the whole volume."""
    yield "| the giant's share | " + " | ".join(f"{count} servers" for count in SERVERS) + " |"
    yield "|" + "---|" * (1 + len(SERVERS))
    others = zipf(_AMONG, 0.8)
    places = [hashed(merchants(_AMONG + 1, seed)) for seed in range(seeds)]
    for share in GIANTS:
        volumes = [share, *((1 - share) * volume for volume in others)]
        found = [filled(volumes, place) for place in places]
        cells = [_both(found, server) for server in SERVERS]
        yield f"| {share:.0%} | {' | '.join(cells)} |"


def table_of_shards() -> Iterator[str]:
    """Yield how Citus's own hash spreads 64 buckets that hold the same."""
    shards = shards_filled()
    used = sum(load > 0 for load in shards)
    yield f"{BUCKETS} buckets lie in {used} of {SHARDS} shards; the fullest holds {max(shards):.0f}."
    yield ""
    yield "| workers | shards in turn | packed |"
    yield "|---|---|---|"
    for servers in SERVERS:
        ways = [f"{uneven(way(shards, servers)):.2f}" for way in (in_turn, packed)]
        yield f"| {servers} | {' | '.join(ways)} |"


def _typical(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.2f} ({max(found):.2f})"


def _both(found: Sequence[Loads], servers: int) -> str:
    """Buckets in turn, then packed."""
    ways: tuple[Callable[[Loads, int], Loads], ...] = (in_turn, packed)
    return " → ".join(f"{statistics.median(uneven(way(one, servers)) for one in found):.2f}" for way in ways)


@click.command(context_settings={"show_default": True})
@click.option("--seeds", type=click.IntRange(1), default=20, help="How often merchants are made up anew.")
def main(seeds: int) -> None:
    """Print the tables of docs/scaling.md."""
    for table in (table_of_merchants(seeds), table_of_giants(seeds), table_of_shards()):
        click.echo("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
