"""The edge on emulated 64-bit Arm boards, and the tools that compare them with this machine."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.bundle.bundle import open_bundle
from tests.tools_needed import missing_tool
from tools import agree
from tools.arm64_probe import Attempt, passed

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "arm64.sh"
BUNDLE = ROOT / "tests" / "frozen" / "bundle-v1"
TIMEOUT_S = 1800
MISSING_DEPENDENCY = 7


def arm64(*arguments: str) -> list[str]:
    """The lines that the script prints, once it has all it needs."""
    done = subprocess.run(
        [SCRIPT, *arguments],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if done.returncode == MISSING_DEPENDENCY:
        missing_tool(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.proof
def test_a_board_agrees_with_this_machine_and_passes_its_tests():
    lines = arm64("--quick")
    verdicts = [json.loads(line) for line in lines if line.startswith("{")]
    assert verdicts and all(verdict["largest"] <= agree.WITHIN for verdict in verdicts)
    assert lines[-1].startswith("cortex-a53: agree with")


@pytest.mark.proof
def test_the_oldest_onnxruntime_that_is_allowed_runs_on_every_board():
    asked = next(line for line in metadata.requires("sel-edge") if line.startswith("onnxruntime"))
    oldest = re.search(r">=([\d.]+)", asked)[1]
    record = json.loads(arm64("--probe", oldest)[-1])
    assert record["passed"]["board"] == [oldest]
    boards = {attempt["board"] for attempt in record["attempts"]}
    assert boards == {"cortex-a53", "cortex-a72"}


def test_a_missing_emulator_is_one_paragraph_that_names_the_package(tmp_path):
    (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
    done = subprocess.run(
        [shutil.which("bash"), SCRIPT, "--quick"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == MISSING_DEPENDENCY
    assert done.stderr.startswith("Error (missing dependency): ")
    assert "qemu-user-static" in done.stderr and done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def outputs() -> agree.Outputs:
    return agree.run(open_bundle(BUNDLE), seed=0)


def compared(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.agree", "compare", *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_machine_agrees_with_itself(outputs, tmp_path):
    command = [sys.executable, "-m", "tools.agree", "run", str(BUNDLE)]
    file = tmp_path / "outputs.npz"
    subprocess.run([*command, "--out", str(file)], cwd=ROOT, check=True, timeout=120)
    assert agree.read(file).keys() == outputs.keys()
    done = compared(file, file)
    assert done.returncode == 0
    assert json.loads(done.stdout)["largest"] == 0


@pytest.mark.parametrize("change", [2e-4, np.nan, np.inf])
def test_one_number_that_is_off_is_found(outputs, tmp_path, change):
    moved = outputs["forward/logits"].copy()
    moved[np.unravel_index(np.abs(moved).argmin(), moved.shape)] += change
    files = [tmp_path / "ours.npz", tmp_path / "theirs.npz"]
    np.savez(files[0], **outputs)
    np.savez(files[1], **outputs | {"forward/logits": moved})
    done = compared(*files)
    assert done.returncode == 1
    verdict = json.loads(done.stdout)
    assert not verdict["agree"]
    assert verdict["outputs"]["forward/features"] == 0


def test_only_the_same_can_be_compared(outputs):
    without = {name: value for name, value in outputs.items() if name != "forward/logits"}
    with pytest.raises(ValueError, match="forward/logits"):
        agree.compare(outputs, without)
    for what in (agree.SEED, agree.BUNDLE):
        with pytest.raises(ValueError, match=what):
            agree.compare(outputs, outputs | {what: np.array("another")})


@given(st.floats(-1e6, 1e6), st.floats(-1e-3, 1e-3))
def test_differences_are_absolute_for_small_values_and_relative_for_large_ones(value, error):
    ours, theirs = np.array([0.0, value]), np.array([0.0, value + error])
    expected = abs(error) / max(1.0, abs(value))
    assert agree.difference(ours, theirs) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_what_cannot_be_subtracted_differs_without_limit():
    values = np.zeros((2, 3), dtype=np.float32)
    assert agree.difference(values, values.T) == np.inf
    assert agree.difference(values, values.astype(np.float64)) == np.inf


def test_a_version_has_passed_if_it_was_ok_on_every_board():
    attempts = [
        Attempt("1.0", "a", "board", "ok", 0.0),
        Attempt("1.0", "a", "host", "ok", 0.0),
        Attempt("1.0", "b", "board", "ok", 0.0),
        Attempt("1.0", "b", "host", "import: SIGSEGV"),
        Attempt("2.0", "a", "board", "compare: differs", 1.0),
        Attempt("2.0", "a", "host", "ok", 0.0),
    ]
    assert passed(attempts) == {"board": ["1.0"], "host": ["2.0"]}
