"""Disks that fill up, turn read-only or refuse to be written; what root may do is done if we are root."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SMALL_MB = 40
_CHUNK = 65_536


class NoMount(Exception):
    """This user may not mount; the text says why."""


class SmallDisk:
    """A file system in memory with room for an era: some thousand orders and the longest log of SQLite."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def fill(self, *, leave_bytes: int) -> None:
        """Take all the room but the last bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            while (free := self._free()) > leave_bytes:
                try:
                    file.write(bytes(min(_CHUNK, free - leave_bytes)))
                except OSError:
                    return

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def read_only(self, *, read_only: bool) -> None:
        """Come back read-only, as a damaged disk does after a crash, or mended."""
        _run("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(self.place))

    def _free(self) -> int:
        stat = os.statvfs(self.place)
        return stat.f_bavail * stat.f_frsize


@contextmanager
def small_disk(place: Path) -> Iterator[SmallDisk]:
    """Mount one, and let go of it at the end whatever happens. Raises `NoMount`."""
    place.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m,mode=700", "tmpfs", str(place))
    try:
        yield SmallDisk(place)
    finally:
        _run("umount", "-l", str(place))


def why_no_mount(folder: Path) -> str:
    """Try it; "" when it works, else the reason."""
    place = folder / "try-to-mount"
    try:
        with small_disk(place):
            return ""
    except NoMount as error:
        return str(error)
    finally:
        place.rmdir()


def limit_files(pid: int, size: int | None) -> None:
    """Let a process write no file beyond so many bytes: then each write fails. None: no limit any more."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoMount(str(error)) from error
    if done.returncode:
        raise NoMount(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
