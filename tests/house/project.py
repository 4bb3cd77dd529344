"""The project's own files: what git tracks or would track, never what tools left lying about."""

import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

_NOT_OURS = re.compile(
    r"\.git|\.venv|\.tools|\..*_cache|\.hypothesis|__pycache__|node_modules|build|dist|data"
)


@cache
def files() -> tuple[Path, ...]:
    """Return every file of the project, sorted; works in a plain copy without git, too."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git is where PATH says
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in ROOT.rglob("*") if not any(map(_NOT_OURS.fullmatch, name(path).split("/")))]
    return tuple(sorted(path for path in paths if path.is_file()))


def matching(*patterns: str) -> list[Path]:
    """Return the project's files whose path from the root matches one of the glob patterns."""
    return [path for path in files() if any(_matches(path, pattern) for pattern in patterns)]


def name(path: Path) -> str:
    """Return the path as people write it, from the project's root."""
    return path.relative_to(ROOT).as_posix()


def _matches(path: Path, pattern: str) -> bool:
    """Match from the right when the pattern has no folder ("*.md"), else below the folder it names."""
    folder, _, last = pattern.rpartition("/")
    return path.match(last) and (not folder or name(path).startswith(f"{folder}/"))
