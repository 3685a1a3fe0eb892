"""A lens: frames of a domain are filtered until their spectrum is that of the training.

How much power frames have at each spatial frequency is a statistic like mean and variance, and as
cheap to compare with what the network was trained on. Noise adds power where images have little,
blur takes it away there, and a loss of contrast takes it everywhere. The filter that undoes it, as
far as a linear one can, follows from the two spectra:

- where frames have more power than the training's, the excess is taken for noise, and the ratio of
  the powers is the best gain against it (Wiener, Extrapolation, Interpolation, and Smoothing of
  Stationary Time Series, 1949);
- where they have less, the gain restores it: the square root of the ratio.

Replacing low frequencies of images to adapt to a domain is due to Yang and Soatto, "FDA: Fourier
Domain Adaptation for Semantic Segmentation", CVPR 2020 (arXiv 2004.05498); here nothing of other
images is put in, and all frequencies take part.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import LENS_RINGS, MAX_GAIN
from sel_edge.core.frames import Frames

Floats = NDArray[np.float32]

CLEARLY = math.log(1.65)
"""Root mean square of the logarithm of amplitudes by which spectra must differ: below it, as for
fog, brightness, JPEG and occlusion, a lens does harm as often as good."""
AT_ONCE = 16
"""Frames transformed at a time: all at once would take many times their memory."""
_TINY = 1e-6
"""Of the mean power, added to both spectra: where neither has any, nothing is to be restored."""


class Lens:
    """Filters frames, each channel by itself; the mean of every channel stays.

    Args:
        gains: of amplitudes at `LENS_RINGS` frequencies from none to the highest, float32, finite,
            0..MAX_GAIN; linear in between.
    """

    def __init__(self, gains: Floats) -> None:
        self._gains = gains

    def __call__(self, frames: Frames) -> Frames:
        """The frames, filtered, of the same shape and dtype; images stay within 0..255.

        Args:
            frames: images uint8 [n, H, W, C], or signals float32 [n, channels, length].
        """
        planes = _planes(frames)
        axes, size = _axes(planes), planes.shape[2:]
        mean = planes.mean(axis=axes, keepdims=True)
        spectrum = np.fft.rfftn(planes - mean, axes=axes)
        position = _radius(size) * (LENS_RINGS - 1)
        gain = np.interp(position, np.arange(LENS_RINGS), self._gains).astype(np.float32)
        found = np.fft.irfftn(spectrum * gain, s=size, axes=axes).astype(np.float32) + mean
        if frames.dtype != np.uint8:
            signals: Frames = found
            return signals
        images = np.clip(np.rint(found), 0, 255).astype(np.uint8)
        filtered: Frames = np.ascontiguousarray(np.moveaxis(images, 1, -1))
        return filtered


def lens_flops(frame_shape: tuple[int, ...]) -> int:
    """Operations of filtering one frame: a transform there and back, 5 n log2 n real ones each
    (Cooley and Tukey 1965), and the gains.

    Args:
        frame_shape: H, W, C of an image, or channels, length of a signal.
    """
    numbers = math.prod(frame_shape)
    channels = frame_shape[-1] if len(frame_shape) == 3 else frame_shape[0]
    points = numbers // channels
    return math.ceil(numbers * (10 * math.log2(max(points, 2)) + 4))


def spectrum(frames: Frames) -> NDArray[np.float64]:
    """Mean power of frames at each of `LENS_RINGS` frequencies, float64.

    Frequencies that no pixel grid of this size has are filled in from their neighbours.

    Args:
        frames: as `Lens` takes them, n >= 1.
    """
    radius = _radius(_planes(frames[:1]).shape[2:])
    power = np.zeros_like(radius)
    for start in range(0, len(frames), AT_ONCE):
        planes = _planes(frames[start : start + AT_ONCE])
        centred = planes - planes.mean(axis=_axes(planes), keepdims=True)
        squares = np.square(np.abs(np.fft.rfftn(centred, axes=_axes(planes))))
        power = power + squares.mean(axis=1).sum(axis=0) / len(frames)
    rings = np.rint(radius * (LENS_RINGS - 1)).astype(np.int64)
    inside = radius > 0
    counts = np.bincount(rings[inside], minlength=LENS_RINGS)
    sums = np.bincount(rings[inside], power[inside], LENS_RINGS)
    there = counts > 0
    if not there.any():  # a single pixel has no frequencies
        return np.zeros(LENS_RINGS)
    return np.interp(np.arange(LENS_RINGS), np.flatnonzero(there), sums[there] / counts[there])


def fit_lens(normal: NDArray[np.float64], found: NDArray[np.float64]) -> Floats | None:
    """Gains for frames with one spectrum in place of another; None if the two are much alike.

    Args:
        normal: spectrum of frames like those of the training.
        found: of the frames to be filtered.
    """
    least = _TINY * float(normal.mean()) + np.finfo(np.float64).tiny
    ratio = (normal + least) / (found + least)
    if float(np.sqrt(np.mean(np.square(np.log(ratio) / 2)))) < CLEARLY:
        return None
    gains = np.where(ratio < 1, ratio, np.sqrt(ratio))
    return np.clip(gains, 0.0, MAX_GAIN).astype(np.float32)


def _planes(frames: Frames) -> Floats:
    """Float32 [n, C, H, W] of images, [n, C, L] of signals, laid out so: it is a copy."""
    planes = np.moveaxis(frames, -1, 1) if frames.dtype == np.uint8 else frames
    return np.array(planes, np.float32, order="C")


def _axes(planes: Floats) -> tuple[int, ...]:
    return tuple(range(2, planes.ndim))


@lru_cache
def _radius(size: tuple[int, ...]) -> NDArray[np.float64]:
    """How high the frequency of each coefficient is, 0..1 of the highest there is; read-only."""
    *rest, last = size
    parts = [np.abs(np.fft.fftfreq(side)) for side in rest] + [np.fft.rfftfreq(last)]
    squares = sum(np.square(part) for part in np.meshgrid(*parts, indexing="ij"))
    radius: NDArray[np.float64] = np.sqrt(np.asarray(squares))
    radius /= max(float(radius.max()), _TINY)
    radius.flags.writeable = False
    return radius
