"""`size=` and `mode=` for sources that are arrays; image files are converted on decoding."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sel_edge.data import limits
from sel_edge.data.dataset import Dataset, Splits
from sel_edge.data.spec import Mode

PIL_MODE: dict[Mode, str] = {"rgb": "RGB", "gray": "L"}
RESAMPLING = Image.Resampling.BILINEAR


def convert_splits(splits: Splits, size: int | None, mode: Mode | None) -> Splits:
    """The same images with sides of `size` pixels and in colour mode `mode`; None keeps each.

    Raises:
        DataError: the converted images would take more memory than this machine can give.
    """
    if size is None and mode is None:
        return splits
    n_bytes = sum(_bytes(data, size, mode) for data in (splits.train, splits.test))
    limits.check_decoded_bytes(splits.source, n_bytes, "Choose a smaller size=.")
    return replace(
        splits,
        train=_converted(splits.train, size, mode),
        test=_converted(splits.test, size, mode),
    )


def _converted(data: Dataset, size: int | None, mode: Mode | None) -> Dataset:
    shape = _shape(data, size, mode)
    images = np.empty((len(data), *shape), dtype=np.uint8)
    for number, pixels in enumerate(data.images):
        images[number] = _convert(pixels, shape, PIL_MODE["gray" if shape[2] == 1 else "rgb"])
    return replace(data, frames=images)


def _shape(data: Dataset, size: int | None, mode: Mode | None) -> tuple[int, int, int]:
    """Height, width and channels of each converted image."""
    height, width, channels = data.images.shape[1:]
    kept = "gray" if channels == 1 else "rgb"
    return size or height, size or width, 1 if (mode or kept) == "gray" else 3


def _bytes(data: Dataset, size: int | None, mode: Mode | None) -> int:
    return len(data) * math.prod(_shape(data, size, mode))


def _convert(
    pixels: NDArray[np.uint8], shape: tuple[int, int, int], pil_mode: str
) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert(pil_mode)
    return np.asarray(image.resize((shape[1], shape[0]), RESAMPLING)).reshape(shape)
