"""A town with two wallets, for every test anew; the keys are made once."""

import pytest

from paymux.sandbox.keys import KeyRing, make_keys
from paymux.sandbox.world import World
from tests.sandbox.merchants import Clock, Town


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    """Make keys once: RSA takes its time."""
    return make_keys()


@pytest.fixture
def town(keys: KeyRing) -> Town:
    """Open a fresh sandbox at noon."""
    clock = Clock()
    return Town(World(7, clock, keys=keys), clock)
