"""kill -9 at random instants loses nothing; and a job that does lose something is found out."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sel_edge.runtime import loop
from sel_edge.runtime.samples.records import SampleSettings
from tools.powercut import RUNTIME_JOB, kill_runs
from tools.powercut_runtime import RuntimeJob

COUNTER = "tests.powercut.test_kills:CarelessCounter"


class CarelessCounter:
    """Counts upwards in a file that it writes in place, in two pieces."""

    longest_s = 0.06

    def __init__(self, directory: Path) -> None:
        self._file = directory / "count"
        self._file.write_text("0")

    def work(self, seed: int, tell: Callable[[str], None]) -> None:
        for number in itertools.count(seed):
            with self._file.open("w", buffering=1) as file:
                for part in (str(number), "\n" * 1000, "end"):
                    file.write(part)
                    file.flush()
            tell(str(number))

    def check(self, told: list[str]) -> list[str]:
        content = self._file.read_text()
        return [] if content.endswith("end") or not told else ["The file is torn."]


class Quitter:
    """Ends by itself."""

    longest_s = 0.06

    def __init__(self, directory: Path) -> None:
        pass

    def work(self, seed: int, tell: Callable[[str], None]) -> None:
        tell("start")

    def check(self, told: list[str]) -> list[str]:
        return []


class CutError(Exception):
    """Ends the work where a kill would."""


class CutRuntime(RuntimeJob):
    """Is cut off right after a word; what it had written by then is all that is left."""

    def cut(self, when: Callable[[list[str]], bool]) -> list[str]:
        """What it told until then."""
        told: list[str] = []
        left = self._directory.with_name("left")

        def tell(line: str) -> None:
            told.append(line)
            if when(told):
                shutil.copytree(self._directory, left)
                raise CutError

        with pytest.raises(CutError):
            self.work(0, tell)
        shutil.rmtree(self._directory)
        left.rename(self._directory)
        return told

    def network(self) -> str:
        """The hash of what a start would use."""
        with self._runtime() as runtime:
            return runtime.network.hash


class HastyRuntime(RuntimeJob):
    """Tells of labels that are not written yet."""

    settings = SampleSettings(flush_s=1e6)


def test_slots_lose_nothing() -> None:
    assert kill_runs(40, seed=1) == {"kills": 40, "lost": 0}


@pytest.mark.proof
def test_slots_lose_nothing_in_a_thousand_kills() -> None:
    assert kill_runs(1000, seed=2) == {"kills": 1000, "lost": 0}


def test_a_runtime_loses_nothing_that_it_told_of() -> None:
    assert kill_runs(20, seed=1, job=RUNTIME_JOB) == {"kills": 20, "lost": 0}


def test_a_start_killed_before_it_says_what_it_uses_was_the_last_of_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SampleStore", loop.SampleStore)  # the job puts another in its place
    job = CutRuntime(tmp_path)

    def is_left_pending(told: list[str]) -> bool:
        kinds = [line.partition(" ")[0] for line in told[-2:]]
        return kinds == ["commit", "tick"] and len(told) % 5 == 4

    told = job.cut(is_left_pending)
    assert job.check(told) == []
    waits = job.network()
    assert f"commit {waits}" in told
    told = job.cut(lambda told: told == ["start"])
    assert job.network() != waits
    assert job.check(told) == []


def test_a_runtime_that_tells_too_early_is_found_out() -> None:
    assert kill_runs(20, seed=1, job="tests.powercut.test_kills:HastyRuntime")["lost"] > 0


@pytest.mark.proof
def test_a_runtime_loses_nothing_in_hundreds_of_kills() -> None:
    assert kill_runs(400, seed=2, job=RUNTIME_JOB) == {"kills": 400, "lost": 0}


def test_a_job_that_writes_carelessly_is_found_out() -> None:
    found = kill_runs(40, seed=1, job=COUNTER)
    assert found["kills"] == 40 and found["lost"] > 0


def test_a_job_that_ends_by_itself_is_no_proof() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        kill_runs(3, seed=1, job="tests.powercut.test_kills:Quitter")
