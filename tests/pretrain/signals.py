"""Small signals whose frequency tells the class, far from zero and in two scales."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sel_edge.pretrain.describe import RunOptions
from sel_edge.pretrain.recipe import Recipe, load_recipe

NAMES = ("hum", "rattle", "still")
CHANNELS, LENGTH, PER_CLASS = 2, 64, 100
OFFSET, SCALE = (1013.0, -0.5), (5.0, 0.01)
CYCLES = (3.0, 8.0, 0.0)
"""Of each class, in a signal's length."""


def waves(per_class: int, seed: int, length: int = LENGTH) -> tuple[np.ndarray, np.ndarray]:
    """Signals float32 [n, CHANNELS, length] under noise, class by class, and their labels int64."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(NAMES)), per_class)
    phases = rng.uniform(0, 2 * np.pi, (len(labels), CHANNELS, 1))
    time = np.arange(length) / length
    pure = np.sin(2 * np.pi * np.array(CYCLES)[labels, None, None] * time + phases)
    noisy = pure + 0.5 * rng.standard_normal(pure.shape)
    scaled = noisy * np.array(SCALE)[:, None] + np.array(OFFSET)[:, None]
    return scaled.astype(np.float32), labels.astype(np.int64)


def write_waves(folder: Path, per_class: int = PER_CLASS) -> str:
    """Write waves as an .npz; its SPEC."""
    frames, labels = waves(per_class, 0)
    np.savez(folder / "waves.npz", x=frames, y=np.array(NAMES)[labels])
    return f"npz:{folder / 'waves.npz'}"


def signal_recipe(name: str = "dense", epochs_scale: float = 0.2, *overrides: str) -> Recipe:
    """A built-in recipe as it is, but for its length and what a test changes."""
    return load_recipe(name, overrides).scaled(epochs_scale)


def signal_options(data: str, recipe: Recipe, **changes: object) -> RunOptions:
    """Width 8, fp32 on the CPU."""
    plain = {"width": 8, "device": "cpu", "precision": "fp32", "holdout": 5} | changes
    return RunOptions(data=data, recipe=recipe, **plain)
