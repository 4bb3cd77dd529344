"""Links to PostgreSQL: whom they reach, and that none goes on over another connection than it began on."""

import asyncio
import socket
from collections.abc import Iterator
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pytest

from paymux.domain.errors import ConfigurationBroken
from paymux.storage.link import Link, Links, Lost, Term, connect, facts_of, is_away
from tests.harness.postgres import drop_schema, new_schema, server

_PID = "SELECT pg_backend_pid()"


@pytest.fixture
def dsn() -> Iterator[str]:
    """An empty schema of a server."""
    made = new_schema(server())
    yield made
    drop_schema(made)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port whose owner takes calls and never says a word, as a machine does that stands still."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        yield place.getsockname()[1]


def beside(silent_port: int, dsn: str, **more: str) -> str:
    """An address of two hosts, of which the first stands still."""
    parts = urlsplit(dsn)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    home, schema = asked.pop("host"), asked.pop("search_path")
    told = {"search_path": schema, "sslmode": "disable"} | more
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in told.items())
    return f"postgresql://paymux@127.0.0.1:{silent_port},{quote(home, safe='')}:5432/postgres?{query}"


async def end_session(dsn: str, pid: int) -> None:
    """End somebody's session, as a leader does that steps down."""
    other = await asyncpg.connect(dsn)
    await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    await other.close()
    await asyncio.sleep(0.1)  # until the end of the socket is heard of


def test_a_host_that_stands_still_hides_no_other(dsn: str, silent: int) -> None:
    """The first host of the address takes the call and never answers; the second one is found at once."""

    async def story() -> None:
        async with asyncio.timeout(1.5):
            connection = await connect(beside(silent, dsn, target_session_attrs="read-write"))
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()

    asyncio.run(story())


def test_no_leader_yet_is_tried_again(dsn: str) -> None:
    """While every host answers and none takes writes, a write waits; and at the start it is told in words."""
    nobody = f"{dsn}&target_session_attrs=standby"

    async def story() -> None:
        with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as caught:
            await connect(nobody)
        assert is_away(caught.value)
        with pytest.raises(ConfigurationBroken):
            await facts_of(nobody)

    asyncio.run(story())


def test_a_transaction_never_goes_on_over_another_connection(dsn: str) -> None:
    """Its first half is gone with its connection: the second must not be committed as if it were all."""

    async def story() -> None:
        link = Link(dsn)
        await link.execute("CREATE TABLE halves (half INTEGER)")

        async def work(link: Link) -> None:
            await link.fetch("INSERT INTO halves VALUES (1)")
            await end_session(dsn, (await link.fetch(_PID))[0][0])
            await link.fetch("INSERT INTO halves VALUES (2)")

        with pytest.raises(Lost):
            await link.transact(work)
        assert await link.fetch("SELECT half FROM halves") == []
        await link.close()

    asyncio.run(story())


def test_who_loses_a_link_trusts_none(dsn: str) -> None:
    """The others lead to the same server, which may lead no longer: they are opened anew, once."""

    async def story() -> None:
        term = Term()
        writer, readers = Link(dsn, term), Links(dsn, 1, term)
        before = (await readers.fetch(_PID, ()))[0][0]
        pid = (await writer.fetch(_PID))[0][0]
        losing = asyncio.create_task(writer.fetch("SELECT pg_sleep(5)"))
        await asyncio.sleep(0.1)  # until the statement runs
        await end_session(dsn, pid)
        with pytest.raises(Lost):
            await losing
        assert (await readers.fetch(_PID, ()))[0][0] != before
        assert (await readers.fetch(_PID, ()))[0][0] == (await readers.fetch(_PID, ()))[0][0]
        await writer.close()
        await readers.close()

    asyncio.run(story())
