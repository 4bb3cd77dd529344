"""One target under libFuzzer, in a process of its own: `python -m tests.fuzz.fuzzer NAME FOLDER RUNS SEED`.

Only paymux is instrumented, so coverage is ours. FOLDER gets the seeds, what was found worth keeping, and the
input that broke a promise (`crash-…`), never ended (`timeout-…`) or ate the memory (`oom-…`). libFuzzer ends
the process then.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris

from tests.fuzz.trial import Trial

HANG_S = 1
"""CPU time one input may take; wall time would be the busy machine's fault."""
_ENDLESS_S = 10
"""What libFuzzer waits, by the wall clock, before it says that an input never ends."""
_MEMORY_MB = 1024


class Hung(Exception):
    """An input took longer than it may."""


def main(name: str, folder: Path, runs: int, seed: int) -> None:
    """Fuzz; does not return."""
    with atheris.instrument_imports(include=["paymux"]):
        from tests.fuzz.table import TARGETS  # noqa: PLC0415 - what is imported here is instrumented
    trial = TARGETS[name].make()
    options = {
        "runs": runs,
        "seed": seed,
        "max_len": trial.bytes_max,
        "timeout": _ENDLESS_S,
        "rss_limit_mb": _MEMORY_MB,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
    }
    if trial.words:
        options["dict"] = str(_write_words(trial, folder))
    corpus = _write_seeds(trial, folder)
    atheris.Setup(
        [name, *(f"-{key}={value}" for key, value in options.items()), str(corpus)], _watched(trial.one)
    )
    (folder / "began").write_text(str(time.process_time()))
    atheris.Fuzz()


def _watched(one: Callable[[bytes], None]) -> Callable[[bytes], None]:
    clock = time.thread_time_ns

    def watched(data: bytes) -> None:
        began_ns = clock()
        one(data)
        if clock() - began_ns > HANG_S * 1_000_000_000:
            message = f"{(clock() - began_ns) // 1_000_000} ms of CPU time"
            raise Hung(message)

    return watched


def _write_seeds(trial: Trial, folder: Path) -> Path:
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(trial.seeds):
        (corpus / f"seed-{number:04d}").write_bytes(seed[: trial.bytes_max])
    return corpus


def _write_words(trial: Trial, folder: Path) -> Path:
    """Write the dictionary as libFuzzer reads it: one quoted word a line, odd bytes in hex."""
    path = folder / "words"
    lines = ("".join(f"\\x{byte:02x}" for byte in word[:64]) for word in trial.words)
    path.write_text("".join(f'"{line}"\n' for line in lines))
    return path


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
