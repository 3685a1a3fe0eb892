"""Small real runs on handwritten digits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.loop import Observer
from sel_edge.pretrain.recipe import Recipe, load_recipe
from sel_edge.pretrain.run import start_run

FOUR_DIGITS = "digits?classes=0,1,2,3"


class Quiet:
    """An observer that remembers what it was told about gates."""

    def __init__(self) -> None:
        self.gates: list[tuple[str, bool]] = []

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
    """A built-in recipe that suits 8x8 digits."""
    return load_recipe(name, ["crop_padding = 1", "flip = false", *overrides]).scaled(epochs_scale)


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
