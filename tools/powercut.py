"""Kill a process that writes at random instants, and see whether anything is lost.

A child does random work and tells beforehand what it is about to do and afterwards what it has
done; the parent kills it with SIGKILL, opens what it left, and holds that against what it told.
All kills of a run go to the same directory, so that what they leave adds up.

    python -m tools.powercut [--kills 1000] [--seed 0] [--job MODULE:NAME] [--json]

Jobs: `tools.powercut_slots:SlotsJob`, updates of a network alone, and
`tools.powercut_runtime:RuntimeJob`, a whole device.

The last line is one JSON object with `kills` and `lost`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

SLOTS_JOB = "tools.powercut_slots:SlotsJob"
RUNTIME_JOB = "tools.powercut_runtime:RuntimeJob"
ROOT = Path(__file__).resolve().parents[1]
SHORTEST_S = 0.0002
"""Between the child's first word and its death, at least; every scale is as likely."""


class Job(Protocol):
    """What is done and what must hold. Made once per run, in the parent, of the directory.

    Attributes:
        longest_s: between the child's first word and its death, at most.
    """

    longest_s: float

    def work(self, seed: int, tell: Callable[[str], None]) -> None:
        """Do random work for ever, in a child. `tell` takes one line and returns when it is out of
        the child's hands."""
        ...

    def check(self, told: list[str]) -> list[str]:
        """Open what a killed child left, and say in full sentences what is wrong.

        Args:
            told: what the child told, in order.
        """
        ...


def kill_runs(kills: int, seed: int, job: str = SLOTS_JOB) -> dict[str, int]:
    """Kill a process at random instants.

    Runs in a process of its own, which has one thread and so can safely fork.

    Args:
        kills: how many times.
        seed: of the work and of the instants.
        job: "module:name" of what makes a `Job` of an empty directory.

    Returns:
        `kills`, and `lost`: after how many of them something was wrong.

    Raises:
        subprocess.CalledProcessError: the run itself failed.
    """
    options = ["--kills", str(kills), "--seed", str(seed), "--job", job, "--json"]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-m", "tools.powercut", *options],
        cwd=ROOT,
        env={**os.environ, **threads},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(kills: int, seed: int, job: Job, say: Callable[[str], None]) -> dict[str, int]:
    """Kill children of this process, which must have one thread; see `kill_runs`."""
    rng, lost = random.Random(seed), 0  # noqa: S311 - no secret
    for number in range(kills):
        wait_s = SHORTEST_S * (job.longest_s / SHORTEST_S) ** rng.random()
        problems = job.check(_killed(job, rng.getrandbits(32), wait_s))
        lost += bool(problems)
        for problem in problems:
            say(f"kill {number}: {problem}")
    return {"kills": kills, "lost": lost}


def _killed(job: Job, seed: int, wait_s: float) -> list[str]:
    """What a child told before it was killed, `wait_s` seconds after its first word."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            job.work(seed, lambda line: _write(writing, line))
        except Exception:
            traceback.print_exc()
            raise
        finally:
            os._exit(1)  # a job that ends has failed; the parent finds out by what is left
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        first = stream.readline()
        time.sleep(wait_s)
        os.kill(child, signal.SIGKILL)
        rest = stream.read()
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the child ended by itself")
    return (first + rest).decode().splitlines()


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


def make_job(name: str, directory: Path) -> Job:
    """The job that "module:name" makes of a directory."""
    module, _, attribute = name.partition(":")
    made: Job = getattr(importlib.import_module(module), attribute)(directory)
    return made


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", default=SLOTS_JOB)
    parser.add_argument("--json", action="store_true", help="print nothing but the result")
    options: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(options.job, Path(folder))
        found = run(
            options.kills,
            options.seed,
            job,
            lambda line: print(line, file=sys.stderr),
        )
    if not options.json:
        print(f"{found['lost']} of {found['kills']} kills lost something")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
