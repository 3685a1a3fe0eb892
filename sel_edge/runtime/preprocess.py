"""From the pixels of a frame to the network's input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.manifest import Preprocessing
from sel_edge.core.errors import DataError


class Preprocessor:
    """(x / 255 - mean) / std, channels first.

    Args:
        settings: of the bundle.
    """

    def __init__(self, settings: Preprocessing) -> None:
        self._shape = (settings.height, settings.width, settings.channels)
        std, mean = np.array(settings.std), np.array(settings.mean)
        self._scale = (1.0 / (255.0 * std)).astype(np.float32)
        self._offset = (-mean / std).astype(np.float32)

    def check(self, images: NDArray[np.uint8]) -> None:
        """Refuse images that the bundle was not made for.

        Raises:
            DataError: another shape or dtype.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self._shape:
            raise DataError(
                f"The images are {images.dtype} {list(images.shape[1:])}.",
                f"The bundle was made for uint8 of height, width, channels {list(self._shape)}.",
                "Choose a source of that shape; ?size= and ?mode= convert folders of images.",
            )

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 [n, C, H, W] of images uint8 [n, H, W, C].

        Raises:
            DataError: another shape or dtype.
        """
        self.check(images)
        pixels = images * self._scale + self._offset
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
