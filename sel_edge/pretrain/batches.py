"""Frames as training batches: one array in memory, augmented a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.core.errors import DataError
from sel_edge.core.frames import MAX_LEVEL, MIN_STD, Frames, channels_first, noun
from sel_edge.core.rng import generator
from sel_edge.data.augment import random_crop, random_flip, random_shift
from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.recipe import Recipe

# Images of one evaluation step at 32x32; fewer where images are larger, to bound the memory.
EVALUATION_PIXELS = 500 * 32 * 32

# A signal is shifted by at most a sixteenth of its length: a short one must stay what it is.
LENGTH_PER_SHIFT = 16


class Batch(NamedTuple):
    """Frames of a step: images uint8 [n, H, W, C] or signals float32 [n, channels, length], labels
    int64 [n], and which they are, int64 [n]."""

    frames: Frames
    labels: NDArray[np.int64]
    chosen: NDArray[np.int64]


@dataclass(frozen=True)
class Normalization:
    """Per channel: (x / 255 - mean) / std of images, (x - mean) / std of signals."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, frames: Frames, device: torch.device) -> Tensor:
        """Map images uint8 [N, H, W, C] to float32 [N, C, H, W] on `device`.

        Signals float32 [N, channels, length] keep their shape.
        """
        if noun(frames.shape[1:]) == "signal":
            x = torch.from_numpy(frames).to(device)
        else:
            channels = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
            x = torch.from_numpy(channels).to(device).float() / 255.0
        per_channel = (1, -1, *[1] * (x.ndim - 2))
        mean = torch.tensor(self.mean, device=device).view(per_channel)
        std = torch.tensor(self.std, device=device).view(per_channel)
        return (x - mean) / std


def fit_normalization(data: Dataset) -> Normalization:
    """Mean and standard deviation of every channel over a whole training split.

    Raises:
        DataError: those of signals lie beyond what a device takes.
    """
    if noun(data.frames.shape[1:]) == "signal":
        return _fit_signals(data.frames)
    counts = [np.bincount(c.ravel(), minlength=256) for c in np.moveaxis(data.images, 3, 0)]
    levels = np.arange(256) / 255.0
    means = [float(np.average(levels, weights=count)) for count in counts]
    variances = [
        float(np.average((levels - mean) ** 2, weights=count))
        for mean, count in zip(means, counts, strict=True)
    ]
    return Normalization(tuple(means), tuple(max(v, 1e-6) ** 0.5 for v in variances))


def _fit_signals(signals: Frames) -> Normalization:
    means, deviations = list[float](), list[float]()
    for number in range(signals.shape[1]):
        samples = signals[:, number].astype(np.float64)
        # A channel that never changes tells nothing: it becomes zeros.
        mean, std = float(samples.mean()), float(samples.std()) if np.ptp(samples) else 1.0
        if not (abs(mean) <= MAX_LEVEL and MIN_STD <= std <= MAX_LEVEL):
            raise DataError(
                f"Channel {number + 1} of the signals has the mean {mean:g} and the standard "
                f"deviation {std:g}.",
                f"A mean from {-MAX_LEVEL:g} to {MAX_LEVEL:g} and a standard deviation from "
                f"{MIN_STD:g} to {MAX_LEVEL:g} are expected.",
                "Give the signals in another unit, without samples that are no measurements.",
            )
        means.append(mean)
        deviations.append(std)
    return Normalization(tuple(means), tuple(deviations))


def training_batches(
    data: Dataset, pool: NDArray[np.int64], recipe: Recipe, seed: int, epoch: int, first: int
) -> Iterator[Batch]:
    """Shuffled, augmented batches of one epoch, from step `first` on.

    Every step has random numbers of its own, so that an epoch can be entered at any step. A last
    batch of a single image is left out: batch normalization cannot train on it.
    """
    order = generator(seed, "order", epoch).permutation(pool)
    for step in range(first, steps_per_epoch(len(pool), recipe.batch_size)):
        chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        rng = generator(seed, "augment", epoch, step)
        yield Batch(_augmented(data.frames[chosen], recipe, rng), data.labels[chosen], chosen)


def _augmented(frames: Frames, recipe: Recipe, rng: np.random.Generator) -> Frames:
    """Images cropped and mirrored; signals shifted, never mirrored: time has a direction."""
    if noun(frames.shape[1:]) == "signal":
        most = min(recipe.crop_padding, frames.shape[2] // LENGTH_PER_SHIFT)
        return random_shift(cast(NDArray[np.float32], frames), most, rng) if most else frames
    images = cast(NDArray[np.uint8], frames)
    if recipe.crop_padding:
        images = random_crop(images, recipe.crop_padding, rng)
    return random_flip(images, rng) if recipe.flip else images


def evaluation_batch(frames: Frames) -> int:
    """How many images [N, H, W, C] or signals [N, channels, length] to evaluate at once, >= 1."""
    return max(1, EVALUATION_PIXELS // math.prod(channels_first(frames.shape[1:])[1:]))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps of an epoch over `images` images."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1)
