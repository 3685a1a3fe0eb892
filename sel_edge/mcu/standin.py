"""The stand-in for embarrassment in integers, exactly as a microcontroller computes it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_KNOTS = 32
_FARTHEST = 4095
_LN_2 = 68139
"""Of 2, in units of 1/98304 nat."""
_COARSE = np.rint(65536 * np.exp(-np.arange(64) / 6)).astype(np.int64)
_FINE = np.rint(65536 * np.exp(-np.arange(64) / 384)).astype(np.int64)
_LN = np.rint(98304 * np.log1p(np.arange(65) / 64)).astype(np.int64)


@dataclass(frozen=True)
class Curve:
    """From uncertainty to expected embarrassment, linear between 2 to 32 knots.

    Attributes:
        uncertainty: at the knots, in 1/65536, 0..65535, rising.
        nats: there, in 1/256 nat, 0..65535, not falling.
    """

    uncertainty: tuple[int, ...]
    nats: tuple[int, ...]

    def pack(self, inverse: int) -> bytes:
        """The bytes of the stand-in in an image."""
        number = len(self.uncertainty)
        return struct.pack(f"<IHH{2 * number}H", inverse, number, 0, *self.uncertainty, *self.nats)

    def __call__(self, uncertainty: NDArray[np.int64]) -> NDArray[np.int64]:
        """Embarrassment, int64 [n] in 1/256 nat, of uncertainties int64 [n] in 1/65536."""
        x, y = (np.array(values, np.int64) for values in (self.uncertainty, self.nats))
        inside = np.clip(uncertainty, x[0], x[-1])
        left = np.clip(np.searchsorted(x, inside, "right") - 1, 0, len(x) - 2)
        run, rise = x[left + 1] - x[left], y[left + 1] - y[left]
        result: NDArray[np.int64] = y[left] + rise * (inside - x[left]) // run
        return result


def curve_of(knots: tuple[float, ...], expected: tuple[float, ...]) -> Curve:
    """A bundle's curve in integers.

    Args:
        knots: uncertainty 0..1, not falling.
        expected: nats there, not falling; as many.

    Returns:
        A curve of at most 32 knots; of knots that fall together, the last counts.
    """
    steps = np.clip(np.rint(np.array(knots) * 65536), 0, 65535).astype(int)
    nats = np.clip(np.rint(np.array(expected) * 256), 0, 65535).astype(int)
    if len(steps) > MOST_KNOTS:
        kept = np.linspace(0, len(steps) - 1, MOST_KNOTS).round().astype(int)
        steps, nats = steps[kept], nats[kept]
    points = dict(zip(steps.tolist(), nats.tolist(), strict=True))
    if len(points) == 1:
        (only,) = points.values()
        points = {0: only, 65535: only}
    return Curve(tuple(points), tuple(points.values()))


def uncertainty(logits: NDArray[np.integer], inverse: int) -> NDArray[np.int64]:
    """Entropy of softmax(logits / 1.5) over log K, int64 [n] in 1/65536, 0..65535.

    Args:
        logits: integers [n, K] in 1/256 nat.
        inverse: as `inverse_of` gives it for K.
    """
    wide = logits.astype(np.int64)
    below = wide.max(axis=1, keepdims=True) - wide
    near = np.minimum(below, _FARTHEST)
    weight = np.where(below > _FARTHEST, 0, (_COARSE[near >> 6] * _FINE[near & 63]) >> 16)
    total, moment = weight.sum(axis=1), (weight * below).sum(axis=1)
    entropy = 256 * moment // total + _ln(total)
    result: NDArray[np.int64] = np.minimum(65535, (np.maximum(entropy, 0) * inverse) >> 16)
    return result


def _ln(total: NDArray[np.int64]) -> NDArray[np.int64]:
    """98304 ln(total / 65536) of integers of at least 65536 and below 2^25."""
    exponent = np.frexp(total.astype(np.float64))[1].astype(np.int64) - 1
    fraction = (total >> (exponent - 16)) - 65536
    place, rest = fraction >> 10, fraction & 1023
    between = (_LN[place + 1] - _LN[place]) * rest >> 10
    result: NDArray[np.int64] = (exponent - 16) * _LN_2 + _LN[place] + between
    return result
