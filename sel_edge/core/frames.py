"""What a network looks at: images, or signals of one dimension."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError

Frames: TypeAlias = NDArray[np.uint8 | np.float32]
"""Images uint8 [n, H, W, C], or signals float32 [n, channels, length]."""

MIN_STD, MAX_LEVEL = 1e-6, 1e6
"""Limits of the normalization; pixels lie in 0..1."""


def noun(shape: tuple[int, ...]) -> str:
    """What a frame of this shape is: "image" (height, width, channels) or "signal"."""
    return "signal" if len(shape) == 2 else "image"


def described(shape: tuple[int, ...]) -> str:
    """Frames of this shape in words, such as "signals of channels, length [1, 140]"."""
    axes = "channels, length" if len(shape) == 2 else "height, width, channels"
    return f"{noun(shape)}s of {axes} {list(shape)}"


def channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in which a network takes frames of this shape: [C, H, W], or [channels, length]."""
    return shape if noun(shape) == "signal" else (shape[2], *shape[:2])


def require_images(frames: Frames, taker: str) -> NDArray[np.uint8]:
    """The frames, uint8 [n, H, W, C].

    Args:
        frames: of either kind.
        taker: who needs images, as the beginning of a sentence.

    Raises:
        DataError: they are signals.
    """
    shape = frames.shape[1:]
    if noun(shape) == "signal":
        raise DataError(
            f"The data are {described(shape)}.",
            f"{taker} takes images only.",
            "Name data of images (?mode=gray, if these are gray images as floats).",
        )
    return cast(NDArray[np.uint8], frames)
