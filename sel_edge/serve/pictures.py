"""From a picture of any size to a frame of the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sel_edge.core.errors import DataError
from sel_edge.core.frames import described, noun
from sel_edge.data.convert import PIL_MODE, RESAMPLING


def fit(
    picture: NDArray[np.uint8 | np.float32], shape: tuple[int, ...]
) -> NDArray[np.uint8 | np.float32]:
    """A frame as a bundle takes it.

    An image is cropped around its centre to the frame's proportions, converted to gray or RGB and
    resized over the area, as `size=` does it for training; one that fits is left as it is. A signal
    must fit.

    Args:
        picture: uint8 [H, W, C], C = 1 or 3; or a signal float32 [channels, length].
        shape: of the bundle's frames.

    Raises:
        DataError: an image where a signal is expected, or a signal of another shape.
    """
    if picture.shape == shape:
        return picture
    if noun(shape) == "signal" or noun(picture.shape) == "signal":
        raise DataError(
            f"The source brings {described(picture.shape)}.",
            f"The bundle was made for {described(shape)}.",
            "Name a source of that kind.",
        )
    height, width, channels = shape
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    # Cut before it is resized, lest what is outside shines in at the edges.
    cut = image.crop(_centre(image.width, image.height, width / height))
    plain = cut.convert(PIL_MODE["gray" if channels == 1 else "rgb"])
    return np.asarray(plain.resize((width, height), RESAMPLING)).reshape(shape)


def _centre(width: int, height: int, ratio: float) -> tuple[int, int, int, int]:
    """The largest box of a ratio (width / height) around the centre: left, top, right, bottom."""
    wide = max(round(min(width, height * ratio)), 1)
    high = max(round(min(height, width / ratio)), 1)
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high
