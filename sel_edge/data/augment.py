"""Random crop and flip of a whole batch of images, as published, and random shift of signals."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


def random_crop(
    images: NDArray[np.uint8], padding: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Shift every image by its own random offset; what comes in from outside is zero.

    Args:
        images: uint8 [N, H, W, C].
        padding: largest shift in pixels in each direction, >= 0.
        rng: draws N vertical, then N horizontal offsets, uniform over 0..2*padding.

    Returns:
        A new uint8 [N, H, W, C].
    """
    n, height, width, channels = images.shape
    offsets = rng.integers(0, 2 * padding + 1, size=(2, n))
    padded = np.zeros((n, height + 2 * padding, (width + 2 * padding) * channels), dtype=np.uint8)
    inner = padded.reshape(n, height + 2 * padding, width + 2 * padding, channels)
    inner[:, padding : padding + height, padding : padding + width] = images
    # Pixels and channels as one axis: every window row is one contiguous run of bytes.
    windows = sliding_window_view(padded, (height, width * channels), axis=(1, 2))
    rows, columns = offsets
    cropped: NDArray[np.uint8] = windows[np.arange(n), rows, columns * channels]
    return cropped.reshape(images.shape)


def random_flip(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror each image left to right with probability one half.

    Args:
        images: uint8 [N, H, W, C].
        rng: draws N uniform numbers.

    Returns:
        A new uint8 [N, H, W, C].
    """
    mirrored = rng.random(len(images)) < 0.5
    flipped = images.copy()
    flipped[mirrored] = images[mirrored, :, ::-1]
    return flipped


def random_shift(
    signals: NDArray[np.float32], most: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Shift every signal in time by its own random offset, the same in all of its channels.

    What comes in from outside repeats the signal's own end: zero may lie far from its values.

    Args:
        signals: float32 [N, channels, length].
        most: largest shift in samples in each direction, >= 0.
        rng: draws N offsets, uniform over -most..most.

    Returns:
        A new float32 [N, channels, length].
    """
    n, _, length = signals.shape
    offsets = rng.integers(-most, most + 1, size=(n, 1))
    places = np.clip(np.arange(length) + offsets, 0, length - 1)
    shifted: NDArray[np.float32] = np.take_along_axis(signals, places[:, np.newaxis], axis=2)
    return shifted
