"""What a network looks at: images, or signals of one dimension."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError

Frames: TypeAlias = NDArray[np.uint8 | np.float32]
"""Images uint8 [n, H, W, C], or signals float32 [n, channels, length]."""


def noun(shape: tuple[int, ...]) -> str:
    """What a frame of this shape is: "image" (height, width, channels) or "signal"."""
    return "signal" if len(shape) == 2 else "image"


def described(shape: tuple[int, ...]) -> str:
    """Frames of this shape in words, such as "signals of channels, length [1, 140]"."""
    axes = "channels, length" if len(shape) == 2 else "height, width, channels"
    return f"{noun(shape)}s of {axes} {list(shape)}"


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
            "Name data of images (?mode=gray, if these are gray images as floats); a network for "
            "signals that was trained elsewhere comes in by `sel-edge export --onnx`.",
        )
    return cast(NDArray[np.uint8], frames)
