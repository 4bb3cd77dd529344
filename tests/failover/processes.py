"""Processes of the rig: started as a user whom PostgreSQL accepts, found by the folder they work in, ended.

Every process of the rig works in a folder of its own below the rig's private one. That finds what others
started for us, too: PostgreSQL's processes are no children of ours.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.harness import postgres

_END_S = 20
_LOOK_S = 0.05


def start(
    command: Sequence[str],
    *,
    folder: Path,
    name: str,
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a folder, where its log is written, too; never as root, whom PostgreSQL refuses."""
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*unprivileged(), *command],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if not name.startswith("PG")}
            | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for the rig, which ends them in order
        )


def unprivileged() -> list[str]:
    """The words before a command that make root somebody else; none when we are not root.

    The other user keeps one right of root's, to reach files wherever they lie: root's interpreter and
    checkout may stand where nobody else can enter, and PostgreSQL only minds the name.
    """
    user = postgres._user()
    if not user:
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv, "as root the rig needs setpriv, of the package util-linux"
    right = "+dac_override"
    who = [f"--reuid={user['user']}", f"--regid={user['group']}", "--clear-groups"]
    return [setpriv, *who, f"--inh-caps={right}", f"--ambient-caps={right}"]


def give(folder: Path) -> None:
    """Let a folder belong to the user the programs run as."""
    if user := postgres._user():
        os.chown(folder, user["user"], user["group"])


def below(folder: Path, word: str = "") -> list[psutil.Process]:
    """Every process that works in this folder or below, oldest first; `word` is in how it calls itself."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            place = Path(process.cwd())
            if (place == folder or folder in place.parents) and word in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda process: (process.create_time(), process.pid))


def send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each that still lives; a number that was given to another process is left alone."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def end(folder: Path) -> None:
    """Kill whatever works below a folder, until nothing is left."""
    deadline_s = time.monotonic() + _END_S
    while (left := [one for one in below(folder) if one.status() != psutil.STATUS_ZOMBIE]) and (
        time.monotonic() < deadline_s
    ):
        send(left, signal.SIGKILL)
        time.sleep(_LOOK_S)
