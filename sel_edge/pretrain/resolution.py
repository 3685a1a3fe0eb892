"""Small images first: what is coarse is learned for a fraction of the work.

Progressive resizing, as in Tan and Le 2021 (EfficientNetV2, arXiv:2104.00298).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

STEP = 4
"""Sides are multiples of so many pixels: few shapes, and no half pixels after strides."""


def side_of(side: int, share: float) -> int:
    """A share (0 < share <= 1) of a side in pixels: all of it, or a multiple of `STEP`."""
    return side if share == 1 else min(side, max(STEP, STEP * round(share * side / STEP)))


def resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Float [N, C, ...] with its sides at a size, each new value the mean of what it stands for.

    The same tensor if it has that size.
    """
    return x if x.shape[2:] == size else interpolate(x, size, mode="area")
