"""`sel-edge pretrain`, killed again and again, ends as if nothing had happened. Slow."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from sel_edge.core.runlog import RUN_FILE, read_run
from tests.pretrain.conftest import assert_same_bits

pytestmark = pytest.mark.proof

CHANGES = ("flip = false", "steps_min = 0")
KILLS, SECONDS_MAX = 6, 240


def command(out: Path) -> list[str]:
    """Begin the run, or go on with it."""
    program = [sys.executable, "-m", "sel_edge", "pretrain", "--out", str(out)]
    if (out / RUN_FILE).is_file():
        return [*program, "--resume"]
    changes = [part for change in CHANGES for part in ("--set", change)]
    fixed = ("--data", "digits", "--width", "8", "--precision", "fp32", "--epochs-scale", "2")
    return [*program, *fixed, *changes]


def run(out: Path, killed_after_s: float | None = None) -> None:
    """Until it ends by itself, or is killed."""
    process = subprocess.Popen(
        command(out),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        _, said = process.communicate(timeout=killed_after_s or SECONDS_MAX)
        assert process.returncode == 0, said.decode()
    process.kill()
    process.communicate()


@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    moments = Random(seed)  # noqa: S311
    run(tmp_path / "whole")
    for _ in range(KILLS):
        if (tmp_path / "cut" / RUN_FILE).is_file() and read_run(tmp_path / "cut").info["finished"]:
            break
        run(tmp_path / "cut", moments.uniform(1.0, 14.0))
    else:
        run(tmp_path / "cut")
    assert_same_bits(tmp_path / "whole", tmp_path / "cut")
    one, other = (read_run(tmp_path / name) for name in ("whole", "cut"))
    assert len(one.history) == len(other.history) == one.info["totals"]["epochs"]
    for name in ("images", "executed_flops", "paper_flops", "test_full_acc"):
        assert one.info["totals"][name] == other.info["totals"][name], name
