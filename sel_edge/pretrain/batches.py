"""Frames as training batches: one tensor where the network is, augmented a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sel_edge.core.errors import DataError
from sel_edge.core.frames import MAX_LEVEL, MIN_STD, Frames, channels_first, noun
from sel_edge.core.rng import generator
from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.augment import Moves, draw_moves, moved
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.ranks import ALONE, Ranks
from sel_edge.pretrain.recipe import Recipe

# Images of one evaluation step at 32x32; fewer where images are larger, to bound the memory.
EVALUATION_PIXELS = 500 * 32 * 32

# What is looked at as a whole at once, of data that may fill half of the memory.
SLICE_VALUES = 2**22

# Of a GPU's free memory, what the frames may take; the rest is for the network and its activations.
RESIDENT_SHARE = 0.5


@dataclass(frozen=True)
class Normalization:
    """Per channel: (x / 255 - mean) / std of images, (x - mean) / std of signals."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def tensors(self, ndim: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, to be kept where many frames are normalized."""
        per_channel = (1, -1, *[1] * (ndim - 2))
        mean = torch.tensor(self.mean, device=device).view(per_channel)
        return mean, torch.tensor(self.std, device=device).view(per_channel)

    @staticmethod
    def apply(frames: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Float32 frames of images uint8 [n, C, H, W] or signals float32 [n, channels, length].

        `mean` and `std` are what `tensors` gave.
        """
        x = frames.float() / 255.0 if frames.dtype == torch.uint8 else frames
        return (x - mean) / std

    def of_arrays(self, frames: Frames) -> Tensor:
        """The same of frames as data hold them, on the CPU."""
        x = channels_first_tensor(frames)
        return self.apply(x, *self.tensors(x.ndim, x.device)).contiguous()


def channels_first_tensor(frames: Frames) -> Tensor:
    """The same memory as a tensor [n, C, H, W] or [n, channels, length]."""
    tensor = torch.from_numpy(frames)
    return tensor if noun(frames.shape[1:]) == "signal" else tensor.permute(0, 3, 1, 2)


class Resident:
    """A split where the network is: its frames stay in the device's memory if they fit.

    Attributes:
        data: the split.
        labels: int64 [N], on the device.
    """

    def __init__(self, data: Dataset, normalization: Normalization, arithmetic: Arithmetic) -> None:
        self.data, self._arithmetic = data, arithmetic
        frames, self.device = channels_first_tensor(data.frames), arithmetic.device
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if frames.nbytes <= RESIDENT_SHARE * free:
                frames = frames.to(self.device)
        self._frames = frames
        self.labels = torch.from_numpy(data.labels).to(self.device)
        self._normal = normalization.tensors(frames.ndim, self.device)

    def __len__(self) -> int:
        return len(self.data)

    def frames(self, chosen: Tensor | slice, moves: Moves | None = None) -> Tensor:
        """Normalized frames float32 [n, C, ...] on the device, moved if there are moves.

        Args:
            chosen: which, int64 [n] on the device, or a slice.
            moves: what becomes of each, on the device.
        """
        at = chosen if isinstance(chosen, slice) else chosen.to(self._frames.device)
        picked = self._frames[at].to(self.device)
        if moves is not None:
            picked = moved(picked, moves)
        return self._arithmetic.placed(Normalization.apply(picked, *self._normal))


FramesOf: TypeAlias = Callable[[Tensor, Moves], Tensor]
"""From indices of frames, and what becomes of them, to what goes into a network."""


class Batch(NamedTuple):
    """What this process computes of a step.

    Attributes:
        x: normalized frames, float32 [n, C, H, W] or [n, channels, length]; or what frozen parts
            of the network made of them.
        labels: int64 [n].
        chosen: which of the split they are, int64 [n].
        images: how many all processes compute in this step together.
    """

    x: Tensor
    labels: Tensor
    chosen: Tensor
    images: int

    def parts(self, size: int) -> list[Batch]:
        """The same in parts of equal size, of `size` frames at least; in one piece if that is 0."""
        count = parts_of(len(self.labels), size)
        split = (torch.tensor_split(tensor, count) for tensor in (self.x, self.labels, self.chosen))
        return [
            Batch(x, labels, chosen, self.images) for x, labels, chosen in zip(*split, strict=True)
        ]


def fit_normalization(data: Dataset) -> Normalization:
    """Mean and standard deviation of every channel over a whole training split.

    Raises:
        DataError: those of signals lie beyond what a device takes.
    """
    if noun(data.frames.shape[1:]) == "signal":
        return _fit_signals(data.frames)
    counts = np.zeros((data.images.shape[3], 256), dtype=np.int64)
    for images in _slices(data.images):
        for count, channel in zip(counts, np.moveaxis(images, 3, 0), strict=True):
            count += np.bincount(channel.ravel(), minlength=256)
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
        channel = signals[:, number]
        mean = sum(float(part.sum(dtype=np.float64)) for part in _slices(channel)) / channel.size
        squares = sum(
            float(np.square(part.astype(np.float64) - mean).sum()) for part in _slices(channel)
        )
        # A channel that never changes tells nothing: it becomes zeros.
        std = math.sqrt(squares / channel.size) if channel.min() < channel.max() else 1.0
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


def _slices(frames: Frames) -> Iterator[Frames]:
    """Frames after frames, a few million values each."""
    size = max(1, SLICE_VALUES // math.prod(frames.shape[1:]))
    for start in range(0, len(frames), size):
        yield frames[start : start + size]


class Order:
    """In which order one epoch shows the images of a pool, what becomes of each, and who sees it.

    Everything is drawn at once, for all processes, so that an epoch can be entered at any step and
    no step waits for numbers from the host.

    Args:
        split: that the pool is of.
        pool: int64 indices of the images.
        recipe: its batch size and augmentation.
        seed: of the run.
        epoch: number of the epoch.
        ranks: the processes that take every step together.
        full: whether to leave out a last batch that is smaller than others.
    """

    def __init__(
        self,
        split: Resident,
        pool: NDArray[np.int64],
        recipe: Recipe,
        seed: int,
        epoch: int,
        ranks: Ranks = ALONE,
        full: bool = False,
    ) -> None:
        self.steps = steps_per_epoch(len(pool), recipe.batch_size, ranks.world, full)
        self._split, self._size, self._ranks = split, recipe.batch_size, ranks
        order = generator(seed, "order", epoch).permutation(pool)
        self._order = torch.from_numpy(order).to(split.device)
        rng = generator(seed, "augment", epoch)
        self._moves = moves_of(split, order, recipe, seed, epoch, rng)

    def batches(self, first: int, frames: FramesOf | None = None) -> Iterator[Batch]:
        """Batches from step `first` on.

        Args:
            first: step to begin with.
            frames: makes what goes into the network of indices and moves; by default the split.
        """
        for step in range(first, self.steps):
            start, stop = step * self._size, min((step + 1) * self._size, len(self._order))
            mine = slice(start + self._ranks.rank, stop, self._ranks.world)
            chosen = self._order[mine]
            x = (frames or self._split.frames)(chosen, self._moves.of(mine))
            yield Batch(x, self._split.labels[chosen], chosen, stop - start)


def moves_of(
    split: Resident,
    chosen: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    turn: int,
    rng: np.random.Generator,
) -> Moves:
    """What a recipe does to some frames of a split, on its device.

    Args:
        split: of the frames.
        chosen: which, int64 [n].
        recipe: its augmentation.
        seed: of the run.
        turn: of two in a row, each shows the mirror images of what the other shows.
        rng: for what is left to chance.
    """
    moves = draw_moves(recipe, split.data.frames.shape[1:], len(chosen), rng, split.device)
    if not recipe.flip_in_turn or moves.mirrored is None:
        return moves
    first = generator(seed, "flip").random(len(split)) < 0.5
    mirrored = torch.from_numpy(first[chosen] ^ bool(turn % 2))
    return moves._replace(mirrored=mirrored.to(split.device))


def parts_of(frames: int, size: int) -> int:
    """Into how many parts of `size` frames at least a process divides its share of a step."""
    return max(1, frames // size) if size else 1


def largest_part(frames: int, size: int) -> int:
    """How many frames the largest of these parts has."""
    return math.ceil(frames / parts_of(frames, size))


def share_of(images: int, batch_size: int, world: int) -> int:
    """How many frames the first of so many processes takes of a step over a pool of `images`; no
    other takes more."""
    return math.ceil(min(batch_size, images) / world)


def evaluation_batch(frames: Frames) -> int:
    """How many images [N, H, W, C] or signals [N, channels, length] to evaluate at once, >= 1."""
    return max(1, EVALUATION_PIXELS // math.prod(channels_first(frames.shape[1:])[1:]))


def steps_per_epoch(images: int, batch_size: int, world: int = 1, full: bool = False) -> int:
    """Steps of an epoch over `images` images by `world` processes.

    A last batch that would leave a process a single image is left out: batch normalization cannot
    train on it. `full` leaves out any that is smaller than others, if there are others.
    """
    steps, rest = divmod(images, batch_size)
    return steps + (rest >= 2 * world and not (full and steps))
