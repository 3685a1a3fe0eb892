"""Images as training batches: one uint8 array in memory, augmented a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.core.rng import generator
from sel_edge.data.augment import random_crop, random_flip
from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.recipe import Recipe

# Images of one evaluation step at 32x32; fewer where images are larger, to bound the memory.
EVALUATION_PIXELS = 500 * 32 * 32


@dataclass(frozen=True)
class Normalization:
    """Per channel: (x / 255 - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: NDArray[np.uint8], device: torch.device) -> Tensor:
        """Map uint8 [N, H, W, C] to float32 [N, C, H, W] on `device`."""
        x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device)
        mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, -1, 1, 1)
        return (x.float() / 255.0 - mean) / std


def fit_normalization(data: Dataset) -> Normalization:
    """Mean and standard deviation of every channel over a whole training split."""
    counts = [np.bincount(c.ravel(), minlength=256) for c in np.moveaxis(data.images, 3, 0)]
    levels = np.arange(256) / 255.0
    means = [float(np.average(levels, weights=count)) for count in counts]
    variances = [
        float(np.average((levels - mean) ** 2, weights=count))
        for mean, count in zip(means, counts, strict=True)
    ]
    return Normalization(tuple(means), tuple(max(v, 1e-6) ** 0.5 for v in variances))


def training_batches(
    data: Dataset, pool: NDArray[np.int64], recipe: Recipe, seed: int, epoch: int, first: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Shuffled, augmented batches of one epoch, from step `first` on.

    Every step has random numbers of its own, so that an epoch can be entered at any step. A last
    batch of a single image is left out: batch normalization cannot train on it.

    Yields:
        images uint8 [n, H, W, C] and labels int64 [n].
    """
    order = generator(seed, "order", epoch).permutation(pool)
    for step in range(first, steps_per_epoch(len(pool), recipe.batch_size)):
        chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        rng = generator(seed, "augment", epoch, step)
        images = data.images[chosen]
        if recipe.crop_padding:
            images = random_crop(images, recipe.crop_padding, rng)
        if recipe.flip:
            images = random_flip(images, rng)
        yield images, data.labels[chosen]


def evaluation_batch(images: NDArray[np.uint8]) -> int:
    """How many of uint8 [N, H, W, C] to evaluate at once, at least 1."""
    height, width = images.shape[1:3]
    return max(1, EVALUATION_PIXELS // (int(height) * int(width)))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Steps of an epoch over `images` images."""
    full, rest = divmod(images, batch_size)
    return full + (rest > 1)
