"""`python -m tests.reliability`: take in the figures of the last runs, and write docs/reliability.md anew.

Long runs leave their figures in `.results/`; what is there replaces what `docs/reliability.json` says of that
run. The page is made from that file alone, so that a reader's checkout can make it, too.
"""

import json
import sys
from typing import Any

from tests.reliability.page import FIGURES, PAGE, ROOT, RUNS, page


def main() -> int:
    """Merge and write."""
    known = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    for run in RUNS:
        path = ROOT / ".results" / f"{run}.json"
        if path.exists():
            known[run] = merged(known.get(run, {}), json.loads(path.read_text("utf-8")))
    FIGURES.write_text(json.dumps(known, ensure_ascii=False, indent=2, sort_keys=True) + "\n", "utf-8")
    PAGE.write_text(page(known), "utf-8")
    return 0


def merged(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new run; a fuzzing run that left parsers out does not make us forget theirs."""
    if "targets" not in known or " TARGET=" not in new["command"]:
        return new
    targets = {one["name"]: one for one in [*known["targets"], *new["targets"]]}
    return known | {"targets": list(targets.values())}


if __name__ == "__main__":
    sys.exit(main())
