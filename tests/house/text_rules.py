"""Rules about words: what the project must not say, where links lead, how SQL introduces itself."""

import re
from collections.abc import Iterator
from pathlib import Path

_ADDRESSES = re.compile(
    r"(?<![\w./-])/(?:work|root|mnt|Users)/\w+"  # somebody's machine
    r"|registry\.(?:npmjs|yarnpkg)\.\w+|registry\.npmmirror\.\w+"
    r"|files\.pythonhosted\.\w+|pypi\.org/simple|pypi\.(?:tuna|douban|mirrors)\S*"
    r"|https?://\S+\.(?:whl|tar\.gz|tgz)\b"
)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_QUERY_HEAD = re.compile(r"^-- (?:name|part): [a-z][a-z0-9_]*$")


def addresses(text: str) -> list[str]:
    """Return each path of one machine and each download address in the text."""
    return _ADDRESSES.findall(text)


def broken_links(path: Path, text: str) -> Iterator[str]:
    """Yield each relative link of a Markdown file that leads to no file, or to no heading of it."""
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        file, _, anchor = target.partition("#")
        goal = (path.parent / file) if file else path
        if not goal.exists() or (anchor and anchor not in _anchors(goal.read_text() if file else text)):
            yield target


def make_targets_named(text: str) -> set[str]:
    """Return each word the code in a Markdown text passes to make."""
    code = [*_FENCE.finditer(text), *_CODE.finditer(_FENCE.sub("", text))]
    command = re.compile(r"(?:^|[`$;&]\s*)make ([a-z][a-z0-9-]*)", re.MULTILINE)
    return {target for match in code for target in command.findall(match.group())}


def unnamed_queries(text: str) -> Iterator[str]:
    """Yield the first line of each SQL statement without `-- name: x`, or `-- part: x`, or description.

    The name comes first, the description in comments below it, then exactly one statement.
    """
    introduction: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("--") and (not inside or _QUERY_HEAD.match(line)):
            introduction = [*introduction, line] if not inside else [line]
            inside = False
        elif line.strip() and not line.startswith("--"):
            if not inside:
                yield from _complaint(introduction, line)
                introduction = []
            inside = not line.rstrip().endswith(";")


def _complaint(introduction: list[str], statement: str) -> Iterator[str]:
    heads = [number for number, line in enumerate(introduction) if _QUERY_HEAD.match(line)]
    if not heads:
        yield f"no name: {statement}"
    elif not any(re.search(r"\w+ \w+", line) for line in introduction[heads[-1] + 1 :]):
        yield f"no description: {statement}"


def _anchors(text: str) -> set[str]:
    """Return the heading anchors as the usual renderers make them."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
