"""Numbers of our own: sn and tsn (16 digits), event ids, nonces, keys. Seedable, so a story can be replayed.

sn = '7' + 15 digits made from 49 bits: 31 bits of seconds, 8 of node, 10 of sequence (DESIGN §7): 1,024
numbers a second and node, sorted by time, unique across nodes without asking a database.
"""

import os
import random

from paymux.domain.errors import StorageFailed
from paymux.kit.clock import Clock

_EPOCH_S = 1_700_000_000
"""14 November 2023; 31 bits of seconds last until 2091."""
_SEQUENCE_BITS = 10
_NODE_BITS = 8
NODES = 1 << _NODE_BITS
NODES_A_BLOCK = 16
"""What one gateway takes: 16 blocks, each good for 16,384 numbers a second."""


class Ids:
    """Makes numbers for a block of nodes; never steps back in time, borrows from the next second when full.

    A process may own several node numbers: their sequences are used as one. Its numbers begin in the second
    after its birth; a process that may be the successor of another one waits for that (`settle`), so that no
    restart, however quick, repeats a number.
    """

    def __init__(
        self, clock: Clock, *, nodes: range = range(NODES), after_ms: int = 0, seed: int | None = None
    ) -> None:
        """`after_ms`: when the last holder's numbers end; ours begin after it, ahead of time if need be."""
        if not nodes or nodes.start < 0 or nodes.stop > NODES or nodes.step != 1:
            message = f"nodes must be a block within 0 to {NODES - 1}, not {nodes}"
            raise ValueError(message)
        self._clock = clock
        self._first = nodes.start << _SEQUENCE_BITS
        self._room = len(nodes) << _SEQUENCE_BITS
        self._last_s: int | None = None
        self._random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - a seed is given by tests and simulations only
        self._pool = random.Random(self._random.getrandbits(128))  # noqa: S311 - nonces are no secrets
        self._second = max(clock.now_ms(), after_ms) // 1000 - _EPOCH_S + 1
        self._oldest = self._second << _NODE_BITS + _SEQUENCE_BITS
        self._used = 0
        self._event_ms = 0
        self._events = 0

    async def settle(self) -> None:
        """Wait until the second of our first number has begun: whoever died before used earlier ones only.

        Borrowed nodes need no waiting: the lease says where the last holder's numbers end.
        """
        if self._last_s is None:
            await self._clock.sleep((self._second + _EPOCH_S) * 1000 - self._clock.now_ms())

    def sn(self) -> str:
        """A new 16-digit number starting with 7."""
        second = self._clock.now_ms() // 1000 - _EPOCH_S
        if second > self._second:
            self._second, self._used = second, 0
        elif self._used == self._room:
            self._second, self._used = self._second + 1, 0
        if self._last_s is not None and self._second > self._last_s:
            raise StorageFailed("the right to make numbers has run out, and the database did not renew it")
        bits = (self._second << _NODE_BITS + _SEQUENCE_BITS) + self._first + self._used
        self._used += 1
        return f"7{bits:015d}"

    def lease(self, *, until_ms: int, nodes: range | None = None, after_ms: int = 0) -> None:
        """Bound the numbers of borrowed nodes: none of a second that is not over by then.

        `nodes`: other ones than before; their numbers begin in the next second after `after_ms`.
        """
        self._last_s = until_ms // 1000 - _EPOCH_S - 1
        if nodes is not None:
            self._first = nodes.start << _SEQUENCE_BITS
            begin_s = max(self._clock.now_ms(), after_ms) // 1000 - _EPOCH_S
            self._second = max(self._second, begin_s) + 1
            self._oldest = self._second << _NODE_BITS + _SEQUENCE_BITS
            self._used = 0

    @property
    def used_until_ms(self) -> int:
        """The end of the newest second that numbers were taken from."""
        return (self._second + _EPOCH_S + 1) * 1000

    def made(self, sn: str) -> bool:
        """Whether a number is one of this very process."""
        bits = int(sn[1:])
        place = bits & ((1 << _NODE_BITS + _SEQUENCE_BITS) - 1)
        return self._first <= place < self._first + self._room and bits >= self._oldest

    def event_id(self) -> str:
        """A new id, 24 hex digits, sorted by when it was made: milliseconds, a count within them, chance."""
        now_ms = self._clock.now_ms()
        if now_ms > self._event_ms:
            self._event_ms, self._events = now_ms, 0
        else:
            self._events += 1
        return f"{self._event_ms:012x}{self._events:04x}{self._pool.getrandbits(32):08x}"

    def nonce(self) -> str:
        """16 hex digits for signed requests; unpredictable enough, not secret."""
        return f"{self._pool.getrandbits(64):016x}"

    def key(self) -> str:
        """A new secret: 32 lower hex digits from the system's randomness (upay-v2.md §3.1)."""
        return f"{self._random.getrandbits(128):032x}"


def fresh_bytes(count: int) -> bytes:
    """Secret random bytes from the operating system."""
    return os.urandom(count)
