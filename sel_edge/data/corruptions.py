"""Eight image corruptions with severity 1 to 5, each computed on a whole batch at once.

The kinds follow the common-corruption benchmarks (D. Hendrycks and T. Dietterich, 2019), the
strengths are this project's own. A higher severity with the same random numbers is always the same
disturbance, only stronger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.core.frames import Frames, require_images
from sel_edge.data.jpeg_codec import jpeg_round_trip

Pixels = NDArray[np.float32]
Corruption = Callable[[Pixels, int, np.random.Generator], Pixels]

NOISE_SIGMA = (0.04, 0.08, 0.12, 0.18, 0.26)  # of the full range
BLUR_SIGMA_PIXELS = (0.5, 0.8, 1.1, 1.5, 2.0)  # at a side of 32, see _blur
CONTRAST_KEPT = (0.8, 0.6, 0.45, 0.3, 0.15)
FOG_THICKNESS = (0.2, 0.35, 0.5, 0.65, 0.8)  # share of white where the fog is thickest
BRIGHTNESS_ADDED = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the full range
JPEG_QUALITY = (60, 40, 25, 15, 8)
PIXELATE_KEPT = (0.75, 0.6, 0.5, 0.375, 0.25)  # of the resolution, per side
OCCLUSION_SIDE = (0.2, 0.3, 0.4, 0.5, 0.6)  # of the image's side

MID_GRAY = 127.0


def corrupt(
    frames: Frames, kind: str, severity: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Corrupt a batch.

    Args:
        frames: images uint8 [N, H, W, C], C is 1 or 3; not changed.
        kind: a key of `CORRUPTIONS`.
        severity: 1 (slight) to 5 (heavy).
        rng: used by gaussian_noise, fog and occlusion; the other kinds draw nothing from it.

    Returns:
        A new uint8 [N, H, W, C].

    Raises:
        DataError: unknown kind or severity, or the frames are signals.
    """
    check_corruption(kind, severity)
    images = require_images(frames, f"The corruption {kind}")
    pixels = CORRUPTIONS[kind](images.astype(np.float32), severity, rng)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def check_corruption(kind: str, severity: int) -> None:
    """Raise a DataError unless `kind` and `severity` name a corruption."""
    if kind not in CORRUPTIONS or not 1 <= severity <= 5:
        raise DataError(
            f"There is no corruption {kind}:{severity}.",
            f"Corruptions are {', '.join(CORRUPTIONS)}, each with a severity from 1 to 5.",
            "Correct the name or the severity.",
        )


def _gaussian_noise(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    return images + np.float32(255 * NOISE_SIGMA[severity - 1]) * noise


def _blur(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    height, width = images.shape[1:3]
    # In proportion to the image, but tiny images have detail at the scale of a pixel at least.
    sigma = BLUR_SIGMA_PIXELS[severity - 1] * max(0.75, max(height, width) / 32)
    return _resample(images, _gaussian_matrix(height, sigma), _gaussian_matrix(width, sigma))


def _contrast(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    mean: Pixels = images.mean(axis=(1, 2), keepdims=True)
    return mean + np.float32(CONTRAST_KEPT[severity - 1]) * (images - mean)


def _fog(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    haze = np.float32(FOG_THICKNESS[severity - 1]) * _clouds(images.shape, rng)
    return images + haze * (255 - images)


def _brightness(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    return images + np.float32(255 * BRIGHTNESS_ADDED[severity - 1])


def _jpeg(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    return jpeg_round_trip(images, JPEG_QUALITY[severity - 1])


def _pixelate(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    height, width = images.shape[1:3]
    rows, columns = (
        np.arange(cells) * side // cells
        for side in (height, width)
        for cells in (max(1, round(side * PIXELATE_KEPT[severity - 1])),)
    )
    heights, widths = np.diff(rows, append=height), np.diff(columns, append=width)
    sums = np.add.reduceat(np.add.reduceat(images, rows, axis=1), columns, axis=2)
    means = sums / np.outer(heights, widths).astype(np.float32)[..., np.newaxis]
    return np.repeat(np.repeat(means, heights, axis=1), widths, axis=2)


def _occlusion(images: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    n, height, width, _ = images.shape
    at = rng.random((2, n, 1))
    inside = []
    for side, position in zip((height, width), at, strict=True):
        length = max(1, round(side * OCCLUSION_SIDE[severity - 1]))
        start = np.rint(position * (side - length))
        pixels = np.arange(side)
        inside.append((pixels >= start) & (pixels < start + length))
    hidden = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return np.where(hidden, np.float32(MID_GRAY), images)


def _gaussian_matrix(side: int, sigma: float) -> Pixels:
    """[side, side]: each output pixel as a normal-weighted mean, the border pixel repeated."""
    radius = int(np.ceil(4 * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    targets = np.arange(side)
    matrix = np.zeros((side, side))
    for offset, weight in zip(offsets, weights, strict=True):
        matrix[targets, np.clip(targets + offset, 0, side - 1)] += weight
    return matrix.astype(np.float32)


def _linear_matrix(side: int, knots: int) -> Pixels:
    """[side, knots]: linear interpolation from `knots` values to `side` pixels."""
    distances = np.abs(np.linspace(0, knots - 1, side)[:, np.newaxis] - np.arange(knots))
    weights: Pixels = np.maximum(0, 1 - distances).astype(np.float32)
    return weights


def _clouds(shape: tuple[int, ...], rng: np.random.Generator) -> Pixels:
    """[N, H, W, 1] in 0..1: random grids of doubling fineness and halving weight, added up."""
    n, height, width, _ = shape
    octaves = max(1, int(np.log2(max(height, width))))
    total = np.zeros((n, height, width, 1), dtype=np.float32)
    for octave in range(octaves):
        knots = 2**octave + 1
        grid = rng.random((n, knots, knots, 1), dtype=np.float32)
        rows, columns = _linear_matrix(height, knots), _linear_matrix(width, knots)
        total += np.float32(0.5**octave) * _resample(grid, rows, columns)
    return total / np.float32(2 - 0.5 ** (octaves - 1))


def _resample(images: Pixels, rows: Pixels, columns: Pixels) -> Pixels:
    """Apply `rows` [H', H] and `columns` [W', W] to float32 [N, H, W, C]: [N, H', W', C]."""
    n, height, width, channels = images.shape
    tall = rows @ images.reshape(n, height, width * channels)
    tall = tall.reshape(n * len(rows), width, channels)
    return (columns @ tall).reshape(n, len(rows), len(columns), channels)


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "gaussian_noise": _gaussian_noise,
        "blur": _blur,
        "contrast": _contrast,
        "fog": _fog,
        "brightness": _brightness,
        "jpeg": _jpeg,
        "pixelate": _pixelate,
        "occlusion": _occlusion,
    }
)
