"""From a frame, an image's pixels or a signal's samples, to the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.preprocessing import ImagePreprocessing, Preprocessing
from sel_edge.core.errors import DataError
from sel_edge.core.frames import Frames, described

MAX_SAMPLE = 1e30
"""Of a signal: normalized by any mean and deviation that a bundle may have, it stays a float32."""


class Preprocessor:
    """(x / 255 - mean) / std of images, channels first; (x - mean) / std of signals.

    Args:
        settings: of the bundle.
    """

    def __init__(self, settings: Preprocessing) -> None:
        self._settings = settings
        self._mean = np.array(settings.mean, np.float32)[:, np.newaxis]
        self._std = np.array(settings.std, np.float32)[:, np.newaxis]
        std, mean = np.array(settings.std), np.array(settings.mean)
        self._scale = (1.0 / (255.0 * std)).astype(np.float32)[:, np.newaxis, np.newaxis]
        self._offset = (-mean / std).astype(np.float32)[:, np.newaxis, np.newaxis]

    def check(self, frames: Frames) -> None:
        """Refuse frames that the bundle was not made for.

        Raises:
            DataError: another shape or dtype, or a signal with numbers that are not finite or
                beyond `MAX_SAMPLE`.
        """
        dtype, shape = self._settings.dtype, self._settings.frame_shape
        if frames.dtype != dtype or frames.shape[1:] != shape or frames.ndim != len(shape) + 1:
            raise DataError(
                f"The frames are {frames.dtype} {described(frames.shape[1:])}.",
                f"The bundle was made for {np.dtype(dtype)} {described(shape)}.",
                "Choose a source of that kind; ?size= and ?mode= convert folders of images.",
            )
        if dtype == np.float32 and not (np.abs(frames) <= MAX_SAMPLE).all():
            raise DataError(
                "The signals hold numbers that are not finite, or far too large.",
                f"Samples from {-MAX_SAMPLE:g} to {MAX_SAMPLE:g} are expected.",
                "Leave out signals with missing samples, or fill those in.",
            )

    def __call__(self, frames: Frames) -> NDArray[np.float32]:
        """float32 [n, C, H, W] of images uint8 [n, H, W, C]; signals keep their shape.

        Raises:
            DataError: as from `check`.
        """
        self.check(frames)
        if isinstance(self._settings, ImagePreprocessing):
            # Laid out first: numpy is slow where the innermost dimension is that of the channels.
            pixels = np.array(frames.transpose(0, 3, 1, 2), np.float32, order="C")
            pixels *= self._scale
            pixels += self._offset
            return pixels
        # The mean goes first: far from zero, a scaled signal would lose the digits that matter.
        return np.ascontiguousarray((frames - self._mean) / self._std, dtype=np.float32)
