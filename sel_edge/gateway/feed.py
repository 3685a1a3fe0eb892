"""Samples of a board as frames of the runtime, and frames as inputs of a board."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing, SignalPreprocessing
from sel_edge.core.errors import LinkError
from sel_edge.core.frames import Frames
from sel_edge.mcu.image import Image


class Feed:
    """Goes from what a board takes to what a bundle takes, and back.

    Args:
        image: that the board runs.
        preprocessing: of the bundle.
    """

    def __init__(self, image: Image, preprocessing: Preprocessing) -> None:
        self._image, self._preprocessing = image, preprocessing

    def frames(self, contents: Sequence[bytes]) -> Frames:
        """Frames of the inputs that a board has seen.

        Args:
            contents: each [height][width][channels] bytes, as samples hold them.

        Returns:
            uint8 [n, H, W, C], or of signals float32 [n, channels, length].

        Raises:
            LinkError: one has another size.
        """
        channels, height, width = self._image.input_shape
        size = channels * height * width
        for content in contents:
            if len(content) != size:
                raise LinkError(
                    f"The board sent a frame of {len(content)} bytes.",
                    f"Its network takes frames of {size}.",
                    "Check that the board samples frames, not features, of this bundle's image.",
                )
        values = np.frombuffer(b"".join(contents), np.uint8)
        values = values.reshape(len(contents), height, width, channels)
        if isinstance(self._preprocessing, ImagePreprocessing):
            return values
        steps = values[:, 0].transpose(0, 2, 1).astype(np.float32) - self._image.input_zero
        mean, std = _columns(self._preprocessing)
        signals: NDArray[np.float32] = steps * np.float32(self._image.input_scale) * std + mean
        return signals

    def inputs(self, frames: Frames) -> NDArray[np.uint8]:
        """What a board takes for frames, uint8 [n, height, width, channels].

        Args:
            frames: as the runtime has them.
        """
        if isinstance(self._preprocessing, ImagePreprocessing):
            return frames.astype(np.uint8, copy=False)
        mean, std = _columns(self._preprocessing)
        return self._image.quantize_signals(((frames - mean) / std).astype(np.float32))


def _columns(one: SignalPreprocessing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, std = np.array(one.mean, np.float32), np.array(one.std, np.float32)
    return mean[:, np.newaxis], std[:, np.newaxis]
