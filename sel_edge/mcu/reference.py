"""The exact integer arithmetic of a microcontroller, in numpy and over many frames at once.

Products are summed up as floats where that is exact: every partial sum is a whole number below 2^24
in float32, and below 2^53 in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sel_edge.core.errors import DataError
from sel_edge.mcu.layer import Layer, Operation, unpack_rows
from sel_edge.mcu.running import Running
from sel_edge.mcu.standin import uncertainty

BATCH = 64
"""Frames at once: more would not fit a processor's cache."""

Tensor = NDArray[np.uint8]
"""[n, height, width, channels]."""
Wide = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a board says of some frames.

    Attributes:
        logits: int16 [n, K] in 1/256 nat.
        features: uint8 [n, F].
        labels: int64 [n], 0..K-1: the largest logit, the first of equal ones.
        uncertainty: int64 [n] in 1/65536.
        embarrassment: int64 [n] in 1/256 nat.
    """

    logits: NDArray[np.int16]
    features: NDArray[np.uint8]
    labels: NDArray[np.int64]
    uncertainty: NDArray[np.int64]
    embarrassment: NDArray[np.int64]


def infer(network: Running, frames: Tensor) -> Answers:
    """Answer for frames.

    Args:
        network: in use.
        frames: uint8 [n, height, width, channels]: pixels, or, if the image has no pixel table,
            values that are quantized already.

    Raises:
        DataError: another shape or dtype.
    """
    channels, height, width = network.image.input_shape
    if frames.dtype != np.uint8 or frames.shape[1:] != (height, width, channels):
        raise DataError(
            f"The frames are {frames.dtype} {list(frames.shape[1:])}.",
            f"The model image was made for uint8 {[height, width, channels]}.",
            "Choose a source of that kind.",
        )
    starts = range(0, max(len(frames), 1), BATCH)
    parts = [_run(network, frames[start : start + BATCH]) for start in starts]
    logits = np.concatenate([part[0] for part in parts])
    features = np.concatenate([part[1] for part in parts])
    doubt = uncertainty(logits, network.inverse)
    return Answers(
        logits.astype(np.int16),
        features,
        logits.argmax(axis=1),
        doubt,
        network.image.standin(doubt),
    )


def _run(network: Running, frames: Tensor) -> tuple[Wide, Tensor]:
    """Logits and features of one batch."""
    image = network.image
    start = frames
    if image.pixels is not None:
        start = image.pixels[np.arange(image.input_shape[0]), frames]
    tensors: dict[int, NDArray[np.uint8]] = {image.input_offset: start}
    features = start
    *body, head = range(len(image.layers))
    for number in body:
        layer = image.layers[number]
        if layer.has_weights:
            wide = _weighted(network, number, tensors[layer.source])
        else:
            wide = _PLAIN[layer.operation](layer, tensors)
        result = np.clip(wide, layer.least, layer.greatest).astype(np.uint8)
        tensors[layer.target] = result
        if number == image.features_layer:
            features = result
    logits = _weighted(network, head, tensors[image.layers[head].source])
    limited = np.clip(logits, -(2**15), 2**15 - 1)
    return limited[:, 0, 0], features[:, 0, 0]


def _weighted(network: Running, number: int, source: Tensor) -> Wide:
    """CONV and LINEAR before the clamp."""
    layer = network.image.layers[number]
    is_head = number == len(network.rows) - 1
    count = len(network.classes) if is_head else layer.out_shape[0]
    weights = unpack_rows(network.rows[number][:count], layer.row_shape)
    parameters = network.parameters[number][:count].astype(np.int64)
    shift = parameters[:, 1] & 255
    total = _products(layer, weights, source) + parameters[:, 0]
    return layer.zero_out + requantized(total, parameters[:, 1] - shift, shift)


def requantized(total: Wide, multiplier: Wide, shift: Wide) -> Wide:
    """(mulh(total, multiplier) + (1 << (shift - 1))) >> shift, all int64 and below 2^31."""
    high = (total * multiplier) >> 32
    result: Wide = (high + (1 << (shift - 1))) >> shift
    return result


def _products(layer: Layer, weights: NDArray[np.int8], source: Tensor) -> Wide:
    """The sums of a convolution, int64 [n, out height, out width, channels]."""
    count, per_group = weights.shape[:2]
    bound = 255 * 63 * weights[0].size
    exact = np.dtype(np.float32 if bound < 2**24 else np.float64)
    windows = _windows(layer, source, layer.zero_in)
    each = count // layer.groups
    results = []
    for group in range(layer.groups):
        own = windows[..., group * per_group : (group + 1) * per_group, :, :]
        patches = own.reshape(*own.shape[:3], weights[0].size).astype(exact)
        rows = weights[group * each : (group + 1) * each].reshape(each, -1).astype(exact)
        results.append(np.matmul(patches, rows.T).astype(np.int64))
    return np.concatenate(results, axis=-1)


def _windows(layer: Layer, source: Tensor, filling: int) -> Tensor:
    """What each output sees: [n, out height, out width, channels, kernel height, width]."""
    top, left, bottom, right = layer.padding
    padded = np.pad(source, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=filling)
    windows = sliding_window_view(padded, layer.kernel, axis=(1, 2))
    return windows[:, :: layer.stride[0], :: layer.stride[1]]


def _add(layer: Layer, tensors: Mapping[int, Tensor]) -> Wide:
    first, second = (tensors[at].astype(np.int64) for at in (layer.source, layer.second))
    total = first * layer.multiplier + second * layer.second_multiplier + layer.constant
    result: Wide = total >> layer.shift
    return result


def _max_pool(layer: Layer, tensors: Mapping[int, Tensor]) -> Wide:
    # Padding of 0 never wins: the stored values are not negative.
    result: Wide = _windows(layer, tensors[layer.source], 0).max(axis=(-1, -2)).astype(np.int64)
    return result


def _average_pool(layer: Layer, tensors: Mapping[int, Tensor]) -> Wide:
    windows = _windows(layer, tensors[layer.source], layer.zero_in)
    return _average(layer, windows.sum(axis=(-1, -2), dtype=np.int64))


def _global_average(layer: Layer, tensors: Mapping[int, Tensor]) -> Wide:
    sums = tensors[layer.source].sum(axis=(1, 2), dtype=np.int64)
    return _average(layer, sums[:, np.newaxis, np.newaxis])


def _average(layer: Layer, sums: Wide) -> Wide:
    total = 256 * (layer.constant + sums)
    factors = (np.array(value, np.int64) for value in (layer.multiplier, layer.shift))
    return layer.zero_out + requantized(total, *factors)


def _relu(layer: Layer, tensors: Mapping[int, Tensor]) -> Wide:
    return tensors[layer.source].astype(np.int64)


_PLAIN: Mapping[Operation, Callable[[Layer, Mapping[int, Tensor]], Wide]] = {
    Operation.ADD: _add,
    Operation.MAX_POOL: _max_pool,
    Operation.AVERAGE_POOL: _average_pool,
    Operation.GLOBAL_AVERAGE: _global_average,
    Operation.RELU: _relu,
}
