"""The quantization tables of JPEG and their usual scaling by a quality of 1..100.

Source: ITU-T T.81, Annex K, tables K.1 and K.2; the scaling is that of the Independent JPEG
Group's library, which nearly every encoder follows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LUMINANCE: NDArray[np.int64] = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMINANCE: NDArray[np.int64] = np.full((8, 8), 99)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def scaled_table(table: NDArray[np.int64], quality: int) -> NDArray[np.int64]:
    """The 8x8 table for a quality of 1..100, each step in 1..255 (baseline JPEG)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * percent + 50) // 100, 1, 255)
