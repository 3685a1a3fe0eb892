"""Small real runs on handwritten digits."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sel_edge.core.runlog import read_run
from sel_edge.data.bad_images import BadImages
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.checkpoint import CHECKPOINT_FILE, MODEL_FILE
from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.loop import Observer, RunInterruptedError
from sel_edge.pretrain.recipe import Recipe, load_recipe
from sel_edge.pretrain.run import resume_run, start_run

NEVER = 10**9
FOUR_DIGITS = "digits?classes=0,1,2,3"


class Quiet:
    """An observer that remembers what it was told about gates and bad images."""

    def __init__(self) -> None:
        self.gates: list[tuple[str, bool]] = []
        self.skipped = BadImages()

    def run_started(self, recipe):
        pass

    def images_skipped(self, skipped):
        self.skipped = skipped

    def stage_started(self, index, stage, images):
        pass

    def step_done(self, position, steps, sums):
        pass

    def epoch_done(self, row):
        pass

    def gate_checked(self, stage, first_100, passed):
        self.gates.append((stage.name, passed))


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are fastest on one thread, above all beside other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_recipe(name: str, epochs_scale: float = 0.1, *overrides: str) -> Recipe:
    """A built-in recipe that suits 8x8 digits, with no more epochs than it names."""
    plain = ["crop_padding = 1", "flip = false", "steps_min = 0"]
    return load_recipe(name, [*plain, *overrides]).scaled(epochs_scale)


def small_options(recipe: Recipe, **changes: object) -> RunOptions:
    """Four digits, width 8, fp32 on the CPU."""
    plain = {"width": 8, "device": "cpu", "precision": "fp32", "holdout": 5} | changes
    return RunOptions(data=FOUR_DIGITS, recipe=recipe, **plain)


def never() -> bool:
    """Nobody presses Ctrl-C."""
    return False


def after(steps: int) -> Callable[[], bool]:
    """Somebody presses Ctrl-C after so many steps."""
    count = itertools.count(1)
    return lambda: next(count) >= steps


def train(out: Path, recipe: Recipe, observer: Observer | None = None, **changes: object):
    """A whole run."""
    options = small_options(recipe, **changes)
    return start_run(out, options, open_meter(), observer or Quiet(), never)


def train_in_pieces(out: Path, options: RunOptions, stops: list[int]) -> None:
    """A whole run that is interrupted after so many steps of each piece, and resumed."""
    begin, go_on = functools.partial(start_run, out, options), functools.partial(resume_run, out)
    for attempt, steps in zip([begin, *[go_on] * len(stops)], [*stops, NEVER], strict=True):
        try:
            attempt(open_meter(), Quiet(), after(steps))
            break
        except RunInterruptedError:
            assert not read_run(out).info["finished"]


def assert_same_bits(whole: Path, cut: Path) -> None:
    """Two runs ended with the same network, and with the same state beside it."""
    assert (whole / MODEL_FILE).read_bytes() == (cut / MODEL_FILE).read_bytes()
    one, other = (load_file(path / CHECKPOINT_FILE) for path in (whole, cut))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
