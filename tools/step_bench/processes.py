"""What only a fresh process can tell: how long it takes to start, and how much memory it needs."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools.step_bench.subject import Subject

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


def cold_starts(subject: Subject, threads: int, runs: int) -> dict[str, Any]:
    """Seconds from the start of a process to its first answer, ours and torch's in turn.

    The first run of each only fills the disk cache.
    """
    width = str(subject.bundle.manifest.model.width)
    commands = {
        "cold_start": _module("cold_ours", str(subject.bundle.path), str(threads)),
        "torch_cold_start": _module("cold_torch", str(subject.weights), width, str(threads)),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            times[name].append(_until_answer(command))
    found: dict[str, Any] = {"cold_start_n": runs}
    for name, values in times.items():
        low, median, high = statistics.quantiles(values[1:], n=4)
        found |= {f"{name}_s": median, f"{name}_iqr_s": high - low}
    return found


class PeakMemory(NamedTuple):
    """The peak resident set of a process, and the pages of files among it, in bytes.

    How many pages of a library are mapped beside those that are used depends on the size of the
    pieces in which the kernel happens to keep the file: 13 MB more in an environment that has just
    been installed. What a program itself asks for is `own_bytes`.
    """

    peak_rss_bytes: int
    files_bytes: int

    @property
    def own_bytes(self) -> int:
        """Peak memory without pages of files, which the kernel drops where memory is short."""
        return self.peak_rss_bytes - self.files_bytes


def peak_memory(subject: Subject, rung: str, steps: int, threads: int) -> PeakMemory:
    """Peak memory of a process that opens the bundle, infers, and learns for some steps."""
    command = _module("memory", str(subject.bundle.path), rung, str(steps), str(threads))
    # Linux counts the memory of the process that started it as the new one's own until then: a
    # small one in between keeps torch's out of the count.
    launched = [sys.executable, "-c", LAUNCH, *command]
    result = subprocess.run(launched, cwd=ROOT, check=True, capture_output=True, text=True)
    return PeakMemory(**json.loads(result.stdout))


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"tools.step_bench.{name}", *arguments]


def _until_answer(command: Sequence[str]) -> float:
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        answer = process.stdout.readline()
        took = time.perf_counter() - start
    if not answer or process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return took
