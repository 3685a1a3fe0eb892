"""A network that does not fit into memory: the error names a batch size that does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sel_edge.core.errors import ConfigError
from sel_edge.core.runlog import RUN_FILE, read_run
from sel_edge.pretrain import describe
from sel_edge.pretrain.initialize import build_model
from sel_edge.pretrain.memory import memory_errors, trial_pass
from sel_edge.pretrain.precision import Arithmetic
from tests.pretrain.conftest import small_recipe, train

LIMITED = """
import resource, sys
from pathlib import Path
import torch
from sel_edge.cli.main import run
torch.set_num_threads(1)
# What torch loads when it first trains is not what the run asks for.
assert run([*sys.argv[3:], "--set", "batch_size = 8", "--out", sys.argv[2] + "-first"]) == 0
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[1]) * 2**20,) * 2)
sys.exit(run([*sys.argv[3:], "--out", sys.argv[2]]))
"""
FREE_MIB = 600
ATTEMPTS = 4
"""A library that does not expect malloc to fail may end the process by a signal, now and then."""


def pretrain(data: Path, out: Path, batch_size: int) -> subprocess.CompletedProcess[str]:
    """`sel-edge pretrain` in a process that may ask for so much more memory."""
    options = ["--width", "8", "--precision", "fp32", "--device", "cpu", "--recipe", "dense-strong"]
    command = ["pretrain", "--data", f"npz:{data}", *options, "--epochs-scale", "0.01"]
    changed = ["--set", f"batch_size = {batch_size}"]
    for attempt in range(ATTEMPTS):
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(FREE_MIB), f"{out}-{attempt}", *command, *changed],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode >= 0:
            break
    return done


@pytest.mark.proof
def test_memory_that_runs_out_ends_in_a_batch_size_that_fits(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(1000) % 2
    data = tmp_path / "images.npz"
    np.savez(data, x=images, y=labels)
    failed = pretrain(data, tmp_path / "large", 800)
    assert failed.returncode > 1 and "Traceback" not in failed.stderr
    assert "Memory ran out in training with steps of 800 frames" in failed.stderr
    said = " ".join(failed.stderr.split())
    fitting = re.search(r"--set batch_size=(\d+)", said)
    assert fitting, said
    done = pretrain(data, tmp_path / "small", int(fitting[1]))
    assert done.returncode == 0, done.stderr
    assert any(read_run(out).info["finished"] for out in tmp_path.glob("small-?"))


def exhausted(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nAnd more.")


def test_where_nothing_fits_the_network_is_too_large():
    with pytest.raises(ConfigError, match="--width"), memory_errors(64, exhausted):
        exhausted(64)


def test_advice_is_for_the_step_of_all_processes():
    def trial(batch_size: int, held: int) -> None:
        if batch_size > 16:
            exhausted(batch_size)

    found = pytest.raises(ConfigError, match="batch_size=48,")
    with found, memory_errors(64, trial, processes=3):
        exhausted(64)


@pytest.mark.parametrize(
    ("batch_size", "part_size", "fits", "said"),
    [(64, 16, 8, "part_size=4."), (64, 16, 15, "part_size=8."), (20, 64, 19, "part_size=8.")],
)
def test_what_passes_in_parts_gets_advice_on_the_parts(batch_size, part_size, fits, said):
    """A part may have almost twice as many frames as its size, and a step fewer."""

    def trial(frames: int, held: int) -> None:
        if frames > fits:
            exhausted(frames)

    found = pytest.raises(ConfigError, match=re.escape(said))
    with found, memory_errors(batch_size, trial, part_size=part_size):
        exhausted(batch_size)


def test_what_lies_in_memory_while_a_part_passes_is_tried_too():
    model = build_model(2, 8, 1, "scratch", 0)
    trial = trial_pass(lambda: model, (1, 8, 8), Arithmetic(torch.device("cpu"), "fp32"))
    for step, said in ((64, "part_size=8"), (10**15, "--width")):
        with pytest.raises(ConfigError, match=said), memory_errors(step, trial, part_size=16):
            exhausted()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_it_is_known_by_whatever_says_so(error):
    with pytest.raises(ConfigError, match="Memory ran out"), memory_errors(64, exhausted):
        raise error


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_the_first_pass_of_all_may_be_too_large_already(tmp_path, monkeypatch, precision):
    monkeypatch.setattr(describe, "torch_training_flops", exhausted)
    with pytest.raises(ConfigError, match="Memory ran out"):
        train(tmp_path / "run", small_recipe("dense", 0.01), precision=precision)
    assert not (tmp_path / "run" / RUN_FILE).exists()


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(64, exhausted):
        raise RuntimeError("shapes")
