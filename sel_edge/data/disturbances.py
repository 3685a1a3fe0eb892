"""Disturbances of signals, under which a network is less sure of itself than on clean ones.

Strengths are this project's own, in standard deviations of a channel over the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Signals = NDArray[np.float32]
"""float32 [n, channels, length]; disturbances give as many, and do not change them."""
Disturbance = Callable[[Signals, np.random.Generator], Signals]

NOISE = 0.5
WINDOW = 1 / 16  # of the length, for smoothing
GAIN_KEPT = 0.5
GAP = 1 / 4  # of the length


def _noise(signals: Signals, rng: np.random.Generator) -> Signals:
    """White noise."""
    deviation = signals.std(axis=(0, 2), keepdims=True)
    drawn: Signals = rng.standard_normal(signals.shape, dtype=np.float32)
    noisy: Signals = signals + np.float32(NOISE) * deviation * drawn
    return noisy


def _smooth(signals: Signals, rng: np.random.Generator) -> Signals:
    """The mean of neighbours, as by a slower sensor; the ends go on as they are."""
    reach = max(1, round(signals.shape[2] * WINDOW / 2))
    padded = np.pad(signals, ((0, 0), (0, 0), (reach, reach)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=2)
    smooth: Signals = windows.mean(axis=3, dtype=np.float32)
    return smooth


def _fade(signals: Signals, rng: np.random.Generator) -> Signals:
    """Half of the amplitude, as of a loose contact; the mean of a channel stays."""
    mean = signals.mean(axis=(0, 2), keepdims=True)
    faded: Signals = mean + np.float32(GAIN_KEPT) * (signals - mean)
    return faded


def _gap(signals: Signals, rng: np.random.Generator) -> Signals:
    """A stretch of every signal that holds the mean of its channel, at a place of its own."""
    length = signals.shape[2]
    width = max(1, round(length * GAP))
    start = rng.integers(0, length - width + 1, len(signals))[:, np.newaxis, np.newaxis]
    place = np.arange(length)
    mean = signals.mean(axis=(0, 2), keepdims=True)
    return np.where((place >= start) & (place < start + width), mean, signals)


DISTURBANCES: Mapping[str, Disturbance] = MappingProxyType(
    {"noise": _noise, "smooth": _smooth, "fade": _fade, "gap": _gap}
)
