"""Two processes train one network; one of them may die. Slow: every process loads torch."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sel_edge.core.runlog import read_run
from sel_edge.pretrain.checkpoint import MODEL_FILE

pytestmark = pytest.mark.proof

RECIPE = (
    "dense-strong",
    "crop_padding = 1",
    "flip = false",
    "batch_size = 64",
    "learning_rate = 0.05",
    "steps_min = 0",
    "recall = 0.5",
    "part_size = 16",
    "stages = [{name = 'All', start = 0.0, end = 1.0, epochs = 8, spare = 0.5},"
    " {name = 'Frozen', start = 0.0, end = 1.0, epochs = 3, frozen = 3, views = 2}]",
)
SMALL = ("--width", "8", "--precision", "fp32", "--device", "cpu")
SECONDS_MAX = 180
FILE_KIB = 200
"""A run log is smaller, a checkpoint larger."""


def command(out: Path, *more: str, data: str = "digits") -> list[str]:
    """Arguments of a small run that leaves work out."""
    name, *overrides = RECIPE
    fixed = ["pretrain", "--data", data, *SMALL, "--recipe", name, *changed(*overrides)]
    return [*fixed, *more, "--out", str(out)]


def changed(*overrides: str) -> list[str]:
    """Options that change keys of a recipe."""
    return [part for override in overrides for part in ("--set", override)]


def own(arguments: list[str]) -> list[str]:
    """A run by one process."""
    return [sys.executable, "-m", "sel_edge", *arguments]


def torchrun(arguments: list[str], *options: str) -> list[str]:
    """The same by two processes on this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", "2", *options, "-m", "sel_edge", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def run(
    arguments: list[str], more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env=environment() | (more or {}),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )


def by_one_and_by_two(folder: Path, arguments: list[str]) -> list[Path]:
    """The directories of two runs, by one process and by two; the last --out counts."""
    outs = [folder / "one", folder / "two"]
    for out, launched in zip(outs, (own, torchrun), strict=True):
        done = run(launched([*arguments, "--out", str(out)]))
        assert done.returncode == 0, done.stderr
    return outs


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    done = run(own(command(out)))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("together") / "run"
    done = run(torchrun(command(out, "--json")))
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_two_processes_reach_what_one_reaches(alone: Path, together: tuple[Path, str]) -> None:
    out, said = together
    (line,) = said.splitlines()  # one of them speaks
    one, two = read_run(alone), read_run(out)
    assert json.loads(line)["test_full_acc"] == two.info["totals"]["test_full_acc"]
    reached = [run.info["totals"]["test_full_acc"] for run in (one, two)]
    assert min(reached) > 0.9 and abs(reached[0] - reached[1]) < 0.03
    # What is left out depends on the losses, and those on rounding.
    images = [run.info["totals"]["images"] for run in (one, two)]
    assert images[0] == pytest.approx(images[1], rel=0.05)
    for name in ("train_acc", "train_loss"):
        assert one.history[0][name] == pytest.approx(two.history[0][name], rel=0.2), name


def test_both_see_the_same_first_epoch(alone: Path, together: tuple[Path, str]) -> None:
    first = [read_run(path).history[0] for path in (alone, together[0])]
    assert first[0]["images"] == first[1]["images"]
    assert first[0]["executed_flops_T"] == pytest.approx(first[1]["executed_flops_T"])


def test_a_group_whose_member_was_killed_goes_on_from_the_last_epoch(
    together: tuple[Path, str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    group = subprocess.Popen(
        torchrun(command(out), "--max-restarts", "2"),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        victim = _second_process(group.pid, out)
        os.kill(victim, signal.SIGKILL)
        _, said = group.communicate(timeout=SECONDS_MAX)
    finally:
        group.kill()
    assert group.returncode == 0, said
    whole, cut = (load_file(path / MODEL_FILE) for path in (together[0], out))
    assert all((whole[name] == cut[name]).all() for name in whole)
    assert read_run(out).info["finished"]


def test_a_group_that_starts_again_does_not_go_on_with_another_run(
    alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(alone, out)
    done = run(torchrun(command(out, "--seed", "1"), "--max-restarts", "1"))
    assert done.returncode != 0 and "already holds a run" in " ".join(done.stderr.split())
    assert read_run(out).info["totals"] == read_run(alone).info["totals"]


def test_a_group_that_starts_again_finds_its_run_finished(alone: Path, tmp_path: Path) -> None:
    """A process that dies after the last line was written must not undo it."""
    out = tmp_path / "run"
    shutil.copytree(alone, out)
    begun_again = {"TORCHELASTIC_RESTART_COUNT": "1"}
    done = run(own(command(out, "--json")), begun_again)
    assert done.returncode == 0, done.stderr
    reached = read_run(alone).info["totals"]["test_full_acc"]
    assert json.loads(done.stdout)["test_full_acc"] == reached
    other = own([*command(out), "--precision", "bf16"])
    assert run(other, begun_again).returncode != 0


def test_the_default_recipe_reaches_the_same_by_two_processes(tmp_path: Path) -> None:
    """Small images, orthogonal moves, and parts."""
    changes = changed("crop_padding = 1", "flip = false", "part_size = 16", "steps_min = 0")
    asked = ["pretrain", "--data", "digits", *SMALL, "--epochs-scale", "0.5", *changes]
    outs = by_one_and_by_two(tmp_path, asked)
    reached = [read_run(out).info["totals"]["test_full_acc"] for out in outs]
    assert min(reached) > 0.9 and abs(reached[0] - reached[1]) < 0.03


def test_two_processes_take_the_step_that_one_takes(tmp_path: Path) -> None:
    """Of a network that is frozen but for its classifier, a step does not depend on who takes it:
    statistics are fixed, and the gradient is the mean over all frames."""
    stages = "stages = [{name = 'All', start = 0.0, end = 1.0, epochs = 2, frozen = 9}]"
    asked = command(tmp_path, *changed(stages, "recall = 0.0"))
    one, two = (load_file(out / MODEL_FILE) for out in by_one_and_by_two(tmp_path, asked))
    for name in ("fc.weight", "fc.bias"):
        torch.testing.assert_close(one[name], two[name])


def test_the_published_method_masks_alike_in_both(tmp_path: Path) -> None:
    """Its curriculum, threshold and rate come from numbers that both must have."""
    changes = changed("crop_padding = 1", "flip = false", "gate = 'none'")
    asked = ["pretrain", "--data", "digits", *SMALL, "--recipe", "sel-paper", *changes]
    outs = by_one_and_by_two(tmp_path, [*asked, "--epochs-scale", "0.2"])
    one, two = (read_run(out) for out in outs)
    assert one.info["totals"]["gamma_0"] == pytest.approx(two.info["totals"]["gamma_0"], rel=1e-4)
    assert [row["images"] for row in one.history] == [row["images"] for row in two.history]
    for row, other in zip(one.history, two.history, strict=True):
        assert row["sparsity"] == pytest.approx(other["sparsity"], abs=0.02)


def test_a_disk_on_which_the_leader_cannot_write_ends_both_in_one_clear_paragraph(
    tmp_path: Path,
) -> None:
    limited = ["bash", "-c", f'ulimit -f {FILE_KIB}; exec "$@"', "bash"]
    done = run([*limited, *torchrun(command(tmp_path / "run"))])
    said = " ".join(done.stderr.split())
    assert done.returncode != 0
    assert "File too large" in said and "could not go on" in said
    assert "Connection closed" not in said


def test_steps_too_small_to_be_shared_are_refused(tmp_path: Path) -> None:
    done = run(torchrun(command(tmp_path / "run", "--set", "batch_size = 3")))
    assert done.returncode != 0 and "Set batch_size to 4 or more" in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


def _second_process(parent: int, out: Path) -> int:
    """The process of rank 1, once the run has an epoch behind it."""
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        if (out / "history.csv").exists() and len(read_run(out).history) >= 2:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            for child in map(int, children):
                if b"RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
                    return child
        time.sleep(0.05)
    raise AssertionError("the run did not get as far as its second epoch")
