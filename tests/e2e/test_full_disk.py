"""A disk that fills up while a run writes its checkpoint costs nothing that was there before."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DATA
from tests.tools_needed import missing_tool

PROGRAM = [sys.executable, "-c", "from sel_edge.cli.main import main; main()"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 6 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True
    )
    if done.returncode != 0:
        missing_tool("this test mounts a small tmpfs: run it as root where mounting is allowed")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.proof
def test_a_full_disk_is_one_paragraph_and_the_run_can_be_resumed(small_disk):
    out = small_disk / "run"
    arguments = ["pretrain", "--data", DATA, "--width", "8", "--precision", "fp32"]
    arguments += ["--recipe", "sel-paper", "--epochs-scale", "0.1", "--out", str(out)]
    # Room for one checkpoint of 2.2 MB, not for the second one beside it.
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2_500_000))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    full = subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, env=environment, timeout=120
    )
    assert full.returncode == 8, full.stderr
    assert "Error (storage)" in full.stderr and "Traceback" not in full.stderr
    assert not list(out.glob(".*.*")), "half-written files are left"
    filler.unlink()
    resumed = subprocess.run(
        [*PROGRAM, "pretrain", "--resume", "--out", str(out)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert resumed.returncode == 0, resumed.stderr
