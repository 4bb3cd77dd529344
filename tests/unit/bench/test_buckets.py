"""The rules by which bench/buckets.py places merchants; the figures themselves are the program's to print."""

import asyncio

import asyncpg
import pytest

from bench import buckets
from paymux.domain.people import BUCKETS, bucket_of
from paymux.storage.citus_schema import SHARDS
from tests.harness.postgres import server


def test_volumes_follow_the_law() -> None:
    """Rank 1 has 2^s times what rank 2 has, equals have the same, and all of it is everything."""
    for exponent in buckets.EXPONENTS:
        volumes = buckets.zipf(1_000, exponent)
        assert sum(volumes) == pytest.approx(1)
        assert volumes[0] / volumes[1] == pytest.approx(2**exponent)
        assert volumes == sorted(volumes, reverse=True)


def test_merchants_come_from_a_seed_and_lie_where_paymux_puts_them() -> None:
    """A run can be repeated, another seed is another town."""
    names = list(buckets.merchants(500, 7))
    assert names == list(buckets.merchants(500, 7)) != list(buckets.merchants(500, 8))
    assert buckets.hashed(iter(names)) == [bucket_of(name) for name in names]


def test_nothing_is_lost_on_the_way() -> None:
    """Whatever the rule: what the merchants had, the buckets hold, and the servers hold that."""
    volumes = buckets.zipf(3_000, 0.8)
    ways = (
        buckets.filled(volumes, buckets.hashed(buckets.merchants(3_000, 1))),
        buckets.emptiest_first(volumes, 1),
    )
    for loads in ways:
        assert len(loads) == BUCKETS
        for servers in buckets.SERVERS:
            for way in (buckets.in_turn, buckets.packed):
                assert len(way(loads, servers)) == servers
                assert sum(way(loads, servers)) == pytest.approx(1)


def test_unevenness_has_its_bounds() -> None:
    """Even is 1, all on one server is their number, and no server can have less than the largest bucket."""
    assert buckets.uneven([2.0] * 5) == 1
    assert buckets.uneven([0.0, 1.0, 0.0, 0.0]) == 4
    loads = buckets.filled(buckets.zipf(2_000, 1), buckets.hashed(buckets.merchants(2_000, 3)))
    for servers in buckets.SERVERS:
        packed, least = buckets.uneven(buckets.packed(loads, servers)), max(loads) * servers
        assert max(least, 1) <= packed + 1e-9
        assert packed <= buckets.uneven(buckets.in_turn(loads, servers)) + 1e-9
    assert buckets.uneven(buckets.packed(loads, BUCKETS)) == pytest.approx(buckets.uneven(loads))


def test_who_goes_to_the_emptiest_bucket_evens_out_equals_only() -> None:
    """A giant is as large wherever it goes."""
    assert buckets.uneven(buckets.emptiest_first([1.0] * (BUCKETS * 10), 0)) == 1
    giant = [64.0] + [1.0] * (BUCKETS - 1)
    assert max(buckets.emptiest_first(giant, 0)) >= 64


def test_the_hash_is_postgresqls() -> None:
    """Citus places a shard by what `hashint4` says of the bucket, in equal ranges of 32 bits."""

    async def hashes() -> list[int]:
        connection = await asyncpg.connect(server().dsn)
        try:
            found = await connection.fetch(
                "SELECT hashint4(bucket) FROM generate_series(0, $1) AS bucket ORDER BY bucket", BUCKETS - 1
            )
            return [row[0] for row in found]
        finally:
            await connection.close()

    for bucket, theirs in enumerate(asyncio.run(hashes())):
        assert buckets.hash_of(bucket) == theirs % (1 << 32)
        width = (1 << 32) // SHARDS
        low = -(1 << 31) + buckets.shard_of(bucket) * width
        assert low <= theirs < low + width
    assert sum(buckets.shards_filled()) == BUCKETS


def test_the_tables_have_a_cell_for_each_heading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is Markdown that can be pasted."""
    monkeypatch.setattr(buckets, "COUNTS", (50, 100))
    for table in (buckets.table_of_merchants(2), buckets.table_of_giants(1), buckets.table_of_shards()):
        lines = [line for line in table if line.startswith("|")]
        assert len(lines) >= 2 + len(buckets.GIANTS)
        assert len({line.count("|") for line in lines}) == 1
