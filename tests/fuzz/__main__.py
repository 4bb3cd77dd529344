"""`make fuzz`: run targets under libFuzzer, one after the other, and say what they came to.

Each target is a process of its own, bounded in inputs, time per input and memory. What it printed and what it
found stays in `.results/fuzz/NAME/`, the numbers of the run in `.results/fuzz.json`.
"""

import contextlib
import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import msgspec

from tests.fuzz.table import TARGETS
from tests.harness.results import started_at, write_results

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / ".results"
_LIBFUZZER_TIMEOUT = 70
_STATUS = re.compile(r"^#\d+\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one target came to. `per_second` is of CPU time, so of one core that does nothing else.

    `coverage` counts places in paymux that were reached, `corpus` the inputs worth keeping.
    """

    name: str
    executions: int
    crashes: int
    hangs: int
    per_second: int
    coverage: int
    corpus: int


@click.command(context_settings={"show_default": True})
@click.option("--target", "names", multiple=True, type=click.Choice(["all", *TARGETS]), help="Default: all.")
@click.option("--runs", type=click.IntRange(1), default=1_000_000, help="Inputs per target.")
@click.option("--seed", type=click.IntRange(1, 2**31), default=1, help="Same seed, same inputs.")
@click.option("--input", "file", type=click.Path(path_type=Path, exists=True), help="Try this file, once.")
def main(names: tuple[str, ...], runs: int, seed: int, file: Path | None) -> None:
    """Fuzz the targets; exit 1 when an input broke a promise or hung."""
    chosen = list(TARGETS) if not names or "all" in names else list(dict.fromkeys(names))
    if file is not None:
        for name in chosen:
            with contextlib.closing(TARGETS[name].make()) as trial:
                trial.one(file.read_bytes())
        return
    if importlib.util.find_spec("atheris") is None:
        sys.exit(
            "atheris is not installed here: `make fuzz` brings it; `make test` tries the targets without"
        )
    only = f" TARGET='{' '.join(chosen)}'" if len(chosen) < len(TARGETS) else ""
    command = f"make fuzz RUNS={runs}{only} SEED={seed}"
    began_s, started = time.monotonic(), started_at()
    results: list[Result] = []
    for name in chosen:
        results.append(_fuzzed(name, runs=max(1, runs // TARGETS[name].cost), seed=seed))
        figures: dict[str, object] = {
            "command": command,
            "started": started,
            "seconds": round(time.monotonic() - began_s),
            "targets": [msgspec.structs.asdict(one) for one in results],
        }
        write_results(RESULTS / "fuzz.json", figures)  # also of a run that is broken off later
    click.echo(_table(results))
    sys.exit(any(one.crashes or one.hangs for one in results))


def _fuzzed(name: str, *, runs: int, seed: int) -> Result:
    """Run one target to its end and read what libFuzzer printed."""
    folder = RESULTS / "fuzz" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    click.echo(f"{name}: {runs} inputs", err=True)
    arguments = [sys.executable, "-m", "tests.fuzz.fuzzer", name, str(folder), str(runs), str(seed)]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PAYMUX_")}
    before_s = _children_s()
    with (folder / "log").open("wb") as log:
        code = subprocess.run(
            arguments, cwd=ROOT, env=environ, stdout=log, stderr=log, check=False
        ).returncode
    took_s = _children_s() - before_s
    text = (folder / "log").read_text(errors="replace")
    executed, status = _EXECUTED.findall(text), _STATUS.findall(text)
    if not executed or not (folder / "began").exists():
        sys.exit(f"{name} did not run: exit code {code}\n{text[-3000:]}")
    executions = int(executed[-1])
    hung = code == _LIBFUZZER_TIMEOUT or (code != 0 and "Hung: " in text)
    if code:
        click.echo(f"{name}: exit code {code}, see {folder.relative_to(ROOT)}/log", err=True)
    return Result(
        name=name,
        executions=executions,
        crashes=int(code != 0 and not hung),
        hangs=int(hung),
        per_second=round(executions / max(took_s - float((folder / "began").read_text()), 0.001)),
        coverage=int(status[-1][0]) if status else 0,
        corpus=int(status[-1][2]) if status else 0,
    )


def _children_s() -> float:
    """CPU time of all children that have ended: what else the machine does must not change the figures."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _table(results: list[Result]) -> str:
    head = ("target", "executions", "exec/s", "crashes", "hangs", "coverage", "corpus")
    rows = [
        (one.name, one.executions, one.per_second, one.crashes, one.hangs, one.coverage, one.corpus)
        for one in results
    ]
    return "\n".join(
        f"{name:<24}" + "".join(f"{cell:>12}" for cell in cells) for name, *cells in (head, *rows)
    )


if __name__ == "__main__":
    main()
