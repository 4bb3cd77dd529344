"""`python -m tests.failover.keeper FOLDER`: ends the rig when its owner has ended, however that was.

It waits for the end of its standard input, which the kernel brings about when the owner dies. Then it kills
what works below the folder, and removes the folder, unless it was told KEEP.
"""

import shutil
import sys
from pathlib import Path

from tests.failover import processes

KEEP = b"keep"


def main() -> None:
    """Wait, then tidy up."""
    folder = Path(sys.argv[1])
    told = sys.stdin.buffer.read()
    processes.end(folder)
    if told != KEEP:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
