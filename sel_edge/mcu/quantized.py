"""How float parameters become integers: the one rule of the exporter and of whoever makes deltas.

A row of weights gets the step max|w| / 63, so that its largest weight uses the 7 bits. The step is
wider where the bias would not fit 32 bits, or the multiplier would lose its digits; it is narrower,
and the largest weights are cut off, where the multiplier would exceed what a channel can hold (then
one weight of 63 moves the output by 15 steps for one step of the input).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import BundleError
from sel_edge.mcu.layer import stride_of

MOST_WEIGHT = 63
_MOST_MULTIPLIER = 2**31 - 256
_LEAST_RATIO = 2.0**-24
_MOST_RATIO = 0.25 * (1 - 2.0**-22)
"""Of a step of the accumulator to one of the output: what multiplier / 2^(32 + shift) can be."""
_SLACK = 1e-3
"""Of a step of the weights: how far beyond the half a row may be from integers that stay."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scales:
    """What a layer's rows are quantized for.

    Attributes:
        source: scale of the input.
        zero: its zero point.
        target: scale of the output.
    """

    source: float
    zero: int
    target: float


def quantize_rows(
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    scales: Scales,
    like: NDArray[np.int8] | None = None,
) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    """Integers of some output channels of one layer.

    Args:
        weight: float [N, C, kernel height, kernel width], finite.
        bias: float [N], finite.
        scales: of the layer's input and output.
        like: int8 of weight's shape; a row keeps these integers if it is a multiple of them within
            rounding, as after a new normalization: then only its parameters change. A negative
            multiple gives a negative multiplier.

    Returns:
        Weights int8 of the same shape, -63..63, and parameters int32 [N, 2]: bias and m.

    Raises:
        BundleError: a bias is beyond all that the output could show.
    """
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    step = _steps(flat, bias.astype(np.float64), scales, _bias_room(weight.shape))
    ratio = flat / step[:, np.newaxis]
    integers = np.clip(np.rint(ratio), -MOST_WEIGHT, MOST_WEIGHT)
    sign = np.ones(len(flat))
    if like is not None:
        known = like.reshape(len(like), -1).astype(np.float64)
        for direction in (-1.0, 1.0):  # a row of zeros fits both, and is not to change
            fits = (np.abs(direction * ratio - known) <= 0.5 + _SLACK).all(axis=1)
            integers[fits], sign[fits] = known[fits], direction
    parameters = _parameters(integers, sign * step, bias.astype(np.float64), scales)
    return integers.astype(np.int8).reshape(weight.shape), parameters


def _bias_room(shape: tuple[int, ...]) -> float:
    """How large a bias may be, in steps of the accumulator, before the zero point is taken off."""
    _, channels, height, width = shape
    room = 2**31 - 1 - 255 * (64 + MOST_WEIGHT) * height * width * stride_of(channels)
    if room < 2**28:
        raise BundleError(
            f"A layer has {channels} x {height} x {width} weights for one output.",
            "Their sum has to fit 32 bits on a microcontroller.",
            "Pool its input first, or divide the layer in two.",
        )
    return float(room)


def _steps(weight: Floats, bias: Floats, scales: Scales, room: float) -> Floats:
    """The step of each row."""
    unit = scales.target / scales.source
    least = np.maximum(np.abs(bias) / (scales.source * room), unit * _LEAST_RATIO)
    if (least > unit * _MOST_RATIO).any():
        raise BundleError(
            f"A bias of {np.abs(bias).max():g} is far beyond what its layer gives, which has a "
            f"range of {255 * scales.target:g}.",
            "Biases of the size of the layer's output are expected.",
            "Check the network, or give calibration frames that are like those of the device.",
        )
    widest = np.abs(weight).max(axis=1) / MOST_WEIGHT
    found: Floats = np.clip(widest, least, unit * _MOST_RATIO)
    return found


def _parameters(integers: Floats, step: Floats, bias: Floats, scales: Scales) -> NDArray[np.int32]:
    """Bias and m of each row; a negative step is that of negated integers."""
    ratio = np.abs(step) * scales.source / scales.target
    fraction, exponent = np.frexp(ratio)
    multiplier = np.minimum(np.rint(fraction * 2.0**23) * 256, _MOST_MULTIPLIER) * np.sign(step)
    shift = -1 - exponent
    offset = np.rint(bias / (scales.source * step)) - scales.zero * integers.sum(axis=1)
    m = multiplier.astype(np.int64) | shift.astype(np.int64)
    return np.stack([offset.astype(np.int64), m], axis=1).astype(np.int32)
