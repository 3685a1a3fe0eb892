"""Small images first: what is coarse is learned for a fraction of the work.

Progressive resizing, as in Tan and Le 2021 (EfficientNetV2, arXiv:2104.00298).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

STEP = 4
"""Sides are multiples of so many pixels: few shapes, and no half pixels after strides."""


def side_at(side: int, first: float, whole_from: float, done: float) -> int:
    """The side of images at some moment of a run, in pixels.

    It grows linearly from `first` of the whole side to all of it.

    Args:
        side: of a whole image.
        first: share of it at the beginning, 0 < first <= 1.
        whole_from: share of the run from which on images are whole, 0..1.
        done: share of the run that is over, 0..1.
    """
    if done >= whole_from:
        return side
    share = first + (1 - first) * done / whole_from
    return min(side, max(STEP, STEP * round(share * side / STEP)))


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Float [N, C, ...] with its sides at a size, each new value the mean of what it stands for.

    The same tensor if it has that size.
    """
    return x if x.shape[2:] == size else interpolate(x, size, mode="area")
