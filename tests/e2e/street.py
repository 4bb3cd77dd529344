"""A street of sandboxes in one process, each with its own books: `python street.py COUNT`.

Prints their URLs as one line of JSON when all of them serve; ended by a signal. Gateways that work at the same
time must not share wallet accounts, and one process for all of them starts sooner than one for each.
"""

import asyncio
import json
import sys

from paymux.sandbox.keys import make_keys
from paymux.sandbox.server import Sandbox


async def serve(count: int) -> None:
    """Open the street and keep it open."""
    keys = make_keys()
    street = [Sandbox(seed=number, keys=keys) for number in range(1, count + 1)]
    for sandbox in street:
        await sandbox.start()
    sys.stdout.write(json.dumps([sandbox.base_url for sandbox in street]) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
