"""Samples of a board as inputs of its network, and as frames of the runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing
from sel_edge.core.errors import LinkError
from sel_edge.core.frames import Frames
from sel_edge.mcu.image import Image


class Feed:
    """Goes from what a board takes to what a bundle takes.

    Args:
        image: that the board runs.
        preprocessing: of the bundle.
    """

    def __init__(self, image: Image, preprocessing: Preprocessing) -> None:
        self._image, self._preprocessing = image, preprocessing

    def inputs(self, contents: Sequence[bytes]) -> NDArray[np.uint8]:
        """Inputs that a board has seen, uint8 [n, height, width, channels].

        Args:
            contents: each [height][width][channels] bytes, as samples hold them.

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
                    "Check that firmware and program are of the same release.",
                )
        values = np.frombuffer(b"".join(contents), np.uint8)
        return values.reshape(len(contents), height, width, channels)

    def frames(self, inputs: NDArray[np.uint8]) -> Frames:
        """Inputs as the runtime has them: uint8 [n, H, W, C], or float32 [n, channels, length].

        Args:
            inputs: uint8 [n, height, width, channels].
        """
        view = self._preprocessing
        if isinstance(view, ImagePreprocessing):
            return inputs
        steps = inputs[:, 0].transpose(0, 2, 1).astype(np.float32) - self._image.input_zero
        mean, std = (np.array(one, np.float32)[:, np.newaxis] for one in (view.mean, view.std))
        signals: NDArray[np.float32] = steps * np.float32(self._image.input_scale) * std + mean
        return signals
