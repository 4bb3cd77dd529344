"""CPU time and memory of a process and of all that it started, from the kernel's own books (Linux)."""

import os
import time
from contextlib import suppress
from pathlib import Path

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_TRIES = 20


def family_ns(pid: int) -> int:
    """CPU time of a process, its living descendants and its children that ended, user and system.

    The living are read to the nanosecond; who ended is in his parent's books, which count ticks of 10 ms in
    all. Who ends while we read is not lost: then it is read again.
    """
    for _ in range(_TRIES):
        before = _ended_ns(pid)
        total = before + living_ns(pid) + sum(family_ns(child) for child in children(pid))
        if _ended_ns(pid) == before:
            break
    return total


def living_ns(pid: int) -> int:
    """CPU time of one process, all threads; 0 when it is gone."""
    with suppress(OSError):
        # What clock_getcpuclockid(3) returns on Linux.
        return time.clock_gettime_ns((~pid << 3) | 2)
    return 0


def children(pid: int) -> list[int]:
    """The children of a process that are alive."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def title(pid: int) -> str:
    """What a process calls itself; "" when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def rss_mb(pid: int) -> float:
    """Memory of a process that is in RAM now, the greatest of it and its children, in MB."""
    return max([_rss_kb(pid), *map(_rss_kb, children(pid))]) / 1024


def machine_ns() -> tuple[int, int]:
    """What all processes of the machine have used, and what was taken from it (steal)."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq) * _TICK_NS, steal * _TICK_NS


def _ended_ns(pid: int) -> int:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) * _TICK_NS
    return 0


def _rss_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
