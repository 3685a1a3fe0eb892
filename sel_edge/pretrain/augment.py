"""Images cropped and mirrored and signals shifted, a batch at a time, on the device that trains.

The numbers are drawn on the host: every device, and every number of processes, sees the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sel_edge.core.frames import noun
from sel_edge.pretrain.recipe import Recipe

# A signal is shifted by at most a sixteenth of its length: a short one must stay what it is.
LENGTH_PER_SHIFT = 16


class Moves(NamedTuple):
    """What becomes of frames.

    Attributes:
        offsets: int64 [2, n], vertical and horizontal, or [1, n] in time; each in -most..most.
        mirrored: bool [n], None if nothing ever is.
        most: largest offset in each direction.
        reflects: whether what comes into an image from outside is its own reflection, or zero.
    """

    offsets: Tensor
    mirrored: Tensor | None
    most: int
    reflects: bool = False

    def of(self, part: slice) -> Moves:
        """The moves of a part of the frames."""
        mirrored = None if self.mirrored is None else self.mirrored[part]
        return self._replace(offsets=self.offsets[:, part], mirrored=mirrored)


def draw_moves(
    recipe: Recipe,
    frame_shape: tuple[int, ...],
    count: int,
    rng: np.random.Generator,
    device: torch.device,
) -> Moves:
    """What a recipe does to `count` frames of a shape, for a device.

    A signal is never mirrored: time has a direction.
    """
    most, sides, mirrored = recipe.crop_padding, 2, None
    if noun(frame_shape) == "signal":
        most, sides = min(most, frame_shape[1] // LENGTH_PER_SHIFT), 1
    elif recipe.flip:
        mirrored = torch.from_numpy(rng.random(count) < 0.5).to(device)
    offsets = torch.from_numpy(rng.integers(-most, most + 1, size=(sides, count)))
    return Moves(offsets.to(device), mirrored, most, recipe.padding == "reflect")


def moved(frames: Tensor, moves: Moves) -> Tensor:
    """Frames after their moves: images uint8 [n, C, H, W] or signals float32 [n, channels, length].

    What comes into an image from outside is zero, or its reflection. What comes into a signal
    repeats the signal's own end: zero may lie far from its values.
    """
    if not moves.most and moves.mirrored is None:
        return frames
    if frames.ndim == 3:
        return _shifted(frames, moves.offsets[0])
    return _cropped_and_mirrored(frames, moves)


def _cropped_and_mirrored(images: Tensor, moves: Moves) -> Tensor:
    """All at once: every pixel is fetched from where it was."""
    height, width = images.shape[2:]
    rows, columns = _places(height, moves.offsets[0]), _places(width, moves.offsets[1])
    if moves.reflects:
        rows, columns = _reflected(rows, height), _reflected(columns, width)
    elif moves.most:
        images = pad(images, (moves.most,) * 4)
        rows, columns = rows + moves.most, columns + moves.most
    if moves.mirrored is not None:
        columns = torch.where(moves.mirrored[:, None], columns.flip(1), columns)
    every = torch.arange(len(images), device=images.device)
    pixels = images.permute(0, 2, 3, 1)
    fetched = pixels[every[:, None, None], rows[:, :, None], columns[:, None, :]]
    return fetched.permute(0, 3, 1, 2)


def _places(side: int, offsets: Tensor) -> Tensor:
    """Where what is shifted comes from along a side, int64 [n, side]; also from outside."""
    return torch.arange(side, device=offsets.device) + offsets[:, None]


def _reflected(places: Tensor, side: int) -> Tensor:
    """The same between two mirrors at the first and the last place."""
    there_and_back = max(1, 2 * (side - 1))
    places = places % there_and_back
    return torch.minimum(places, there_and_back - places)


def _shifted(signals: Tensor, offsets: Tensor) -> Tensor:
    length = signals.shape[2]
    places = _places(length, offsets).clamp(0, length - 1)
    return signals.gather(2, places[:, None].expand_as(signals))
