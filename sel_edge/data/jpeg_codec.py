"""What JPEG does to pixels, without its lossless half: block DCT, quantization and back.

Source: ITU-T T.81 (DCT A.3.3, quantization A.3.4, tables Annex K) and T.871 (YCbCr conversion).
Chroma is not subsampled (4:4:4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.data.jpeg_tables import CHROMINANCE, LUMINANCE, scaled_table

_TO_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ],
    dtype=np.float32,
)
_FROM_YCBCR = np.linalg.inv(_TO_YCBCR).astype(np.float32)
_CENTER = np.float32(128)
_FREQUENCY, _POSITION = np.mgrid[:8, :8]
_DCT = np.cos((2 * _POSITION + 1) * _FREQUENCY * np.pi / 16) / 2
_DCT[0] /= np.sqrt(2)
_DCT = _DCT.astype(np.float32)


def jpeg_round_trip(images: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    """Encode and decode in the sense of JPEG.

    Args:
        images: float32 [N, H, W, C] with whole values in 0..255, C is 1 (luminance) or 3 (RGB).
        quality: 1 to 100.

    Returns:
        float32 [N, H, W, C] with whole values for gray; color may leave 0..255 slightly.
    """
    luminance = scaled_table(LUMINANCE, quality).astype(np.float32)
    if images.shape[-1] == 1:
        return _quantized(images - _CENTER, luminance[np.newaxis]) + _CENTER
    chrominance = scaled_table(CHROMINANCE, quality).astype(np.float32)
    shift = np.array([_CENTER, 0, 0], dtype=np.float32)
    planes = np.rint(images @ _TO_YCBCR.T) - shift
    decoded: NDArray[np.float32] = (
        _quantized(planes, np.stack([luminance, chrominance, chrominance])) + shift
    )
    colors: NDArray[np.float32] = np.matmul(decoded, _FROM_YCBCR.T, dtype=np.float32)
    return colors


def _quantized(planes: NDArray[np.float32], tables: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quantize the DCT of every 8x8 block with the channel's table.

    Args:
        planes: float32 [N, H, W, C], whole values in -128..127.
        tables: float32 [C, 8, 8].

    Returns:
        float32 [N, H, W, C], whole values in -128..127.
    """
    n, height, width, channels = planes.shape
    margin = ((0, 0), (0, -height % 8), (0, -width % 8), (0, 0))
    padded = np.pad(planes, margin, mode="edge")
    rows, columns = padded.shape[1] // 8, padded.shape[2] // 8
    blocks = padded.reshape(n, rows, 8, columns, 8, channels).transpose(0, 1, 3, 5, 2, 4)
    steps = _DCT @ blocks @ _DCT.T / tables
    coefficients = np.trunc(steps + np.copysign(0.5, steps)) * tables  # ties go away from zero
    restored: NDArray[np.float32] = (_DCT.T @ coefficients @ _DCT).transpose(0, 1, 4, 2, 5, 3)
    levels = np.clip(np.rint(restored), -128, 127)
    return levels.reshape(padded.shape)[:, :height, :width]
