"""The trainer takes any images: gray or not, of any size, few classes or many, even or not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sel_edge.core.runlog import RunLog
from sel_edge.energy.meter import open_meter
from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.run import start_run
from sel_edge.pretrain.trained import load_trained
from tests.pretrain.conftest import Quiet, never


def train(tmp_path: Path, images: np.ndarray, labels: np.ndarray, scale: float = 0.4) -> RunLog:
    """Every stage of `sel` at width 8, on images that tell their class by their brightness."""
    np.savez(tmp_path / "data.npz", x=images, y=labels)
    spec = f"npz:{tmp_path / 'data.npz'}" + ("?mode=gray" if images.ndim == 3 else "")
    overrides = ["batch_size = 32", "crop_padding = 1", "learning_rate = 0.05"]
    options = RunOptions(
        data=spec,
        recipe=load_recipe("sel", overrides).scaled(scale),
        width=8,
        device="cpu",
        precision="fp32",
    )
    return start_run(tmp_path / "run", options, open_meter(), Quiet(), never)


def bright(labels: np.ndarray, classes: int, *shape: int) -> np.ndarray:
    """Noise around a level of gray for every class, uint8 [n, *shape]."""
    rng = np.random.default_rng(0)
    levels = np.linspace(40, 215, classes)[labels].reshape(-1, *[1] * len(shape))
    noise = rng.normal(0, 30 / classes, (len(labels), *shape))
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "shape",
    [(12, 12), (20, 28, 3), (33, 9, 3), (5, 5, 3), (64, 64, 1)],
    ids=["gray 12x12", "20x28", "33x9", "5x5", "one channel 64x64"],
)
def test_images_of_any_size_are_learned(tmp_path, shape):
    labels = np.arange(240) % 2
    run = train(tmp_path, bright(labels, 2, *shape), labels)
    assert run.info["totals"]["test_full_acc"] > 0.8
    assert load_trained(run.path).model.conv1.in_channels == run.info["model"]["channels"]


def test_a_thousand_classes_are_taken(tmp_path):
    labels = np.arange(4000) % 1000
    run = train(tmp_path, bright(labels, 1000, 8, 8, 3), labels, 0.01)
    assert len(run.classes) == 1000
    assert load_trained(run.path).model.fc.out_features == 1000


def test_a_rare_class_is_learned_beside_a_frequent_one(tmp_path):
    labels = np.r_[np.zeros(800, dtype=np.int64), np.ones(40, dtype=np.int64)]
    run = train(tmp_path, bright(labels, 2, 8, 8, 3), labels, 1.0)
    last = run.history[-1]
    assert min(last["acc_0"], last["acc_1"]) > 0.7
