"""PostgreSQL in virtual time: the server's own time is real, and stands still for everybody else."""

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from paymux.kit.clock import Clock
from paymux.kit.seal import Sealer
from paymux.storage.contract import Store
from paymux.storage.link import Link
from paymux.storage.opener import open_store
from tests.harness.virtual_time import real_time

if TYPE_CHECKING:
    import pytest  # the fuzzer's environment has none, and uses the town as well

Result = TypeVar("Result")


def stop_the_clock(patch: "pytest.MonkeyPatch") -> None:
    """While a link waits for its server no virtual time goes by."""
    plain = Link._patiently

    @functools.wraps(plain)
    async def patiently(link: Link, run: Callable[..., Awaitable[Result]], *given: object) -> Result:
        with real_time():
            return await plain(link, run, *given)

    patch.setattr(Link, "_patiently", patiently)


async def open_virtually(dsn: str, *, sealer: Sealer, clock: Clock) -> Store:
    """Open a store from within virtual time."""
    with real_time():
        return await open_store(dsn, sealer=sealer, clock=clock)
