"""Frames that say which one they are, so that none can be answered twice unnoticed."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 32
_SHIFTS = np.arange(BITS, dtype=np.int64)


def mark(frame: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A copy of a frame with a number in its first row.

    Args:
        frame: uint8 [H, W, C] with W * C >= 32.
        number: 0 to 2^32 - 1.
    """
    marked = frame.copy()
    marked[0].reshape(-1)[:BITS] = 255 * (number >> _SHIFTS & 1)
    return marked


def number_of(frame: NDArray[np.uint8]) -> int:
    """The number in a frame's first row."""
    bits = frame[0].reshape(-1)[:BITS] > 127
    return int((bits << _SHIFTS).sum())


class Pngs:
    """Marked frames as PNG, which is lossless.

    Args:
        frames: uint8 [n, H, W, 3].
    """

    media_type = "image/png"

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self._frames = frames

    def __call__(self, number: int) -> bytes:
        """The body of a request: a frame, marked with its number."""
        frame = mark(self._frames[number % len(self._frames)], number)
        return encoded(frame, "PNG", compress_level=1)


class Jpegs:
    """Unmarked frames as JPEG, as cameras send them, encoded beforehand.

    Args:
        frames: uint8 [n, H, W, 3].
    """

    media_type = "image/jpeg"

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        self._bodies = [encoded(frame, "JPEG") for frame in frames]

    def __call__(self, number: int) -> bytes:
        """The body of a request."""
        return self._bodies[number % len(self._bodies)]


def encoded(frame: NDArray[np.uint8], form: str, **options: int) -> bytes:
    """A frame, uint8 [H, W, 3], as a file of a format, with options of it, in Pillow's words."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, form, **options)
    return file.getvalue()
