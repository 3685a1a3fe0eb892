"""What is true of every layer of an image and every channel of an overlay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import BundleError
from sel_edge.mcu.layer import (
    AVERAGES,
    KEEPS_SCALE,
    MAX_CELLS,
    Layer,
    Operation,
    rows_are_right,
)

MOST = 2**31
"""No sum of a microcontroller reaches this."""
LEAST_SHIFT, MOST_SHIFT = 1, 30


def require(condition: bool, detail: str) -> None:
    """Refuse an image unless `condition` holds.

    Raises:
        BundleError: it does not; `detail` says what is wrong, beginning with "it" or a part.
    """
    if not condition:
        raise BundleError(
            f"A model image cannot be used: {detail}.",
            "The bytes of an image as `sel-edge export --target mcu` writes them are expected.",
            "Copy it again, or export the network again.",
        )


def check_layer(layer: Layer, number: int, is_last: bool, room: int) -> None:
    """Refuse a layer whose shapes, clamps or constants a microcontroller cannot compute with.

    Args:
        layer: its rows and parameters are looked at elsewhere.
        number: its place in the image.
        is_last: whether it makes the logits.
        room: classes that there is room for.

    Raises:
        BundleError: it breaks a rule.
    """
    name = f"layer {number} ({layer.operation.name})"
    positive = all(1 <= size <= 65535 for size in (*layer.in_shape, *layer.out_shape))
    require(positive, f"{name} has a tensor without size")
    if is_last:
        is_head = layer.operation == Operation.LINEAR and layer.out_shape == (room, 1, 1)
        require(is_head and not layer.zero_out, f"{name} is the last and does not make logits")
    else:
        require(layer.least <= layer.greatest, f"{name} clamps to nothing")
    require(_shapes_fit(layer), f"{name} has shapes that do not fit")
    kept = layer.operation not in KEEPS_SCALE or layer.zero_in == layer.zero_out
    require(kept, f"{name} changes the zero point")
    if layer.operation == Operation.ADD or layer.operation in AVERAGES:
        require(LEAST_SHIFT <= layer.shift <= MOST_SHIFT, f"{name} shifts by {layer.shift}")
        require(_sums_fit(layer), f"{name} has sums beyond 32 bits")


def require_channels(layer: Layer, rows: NDArray[np.uint8], parameters: NDArray[np.int32]) -> None:
    """Refuse rows and parameters that would lead beyond 32 bits.

    Args:
        layer: that they are for.
        rows: uint8 [N, row bytes].
        parameters: int32 [N, 2].

    Raises:
        BundleError: a weight, bias or shift is out of its range.
    """
    require(rows_are_right(rows, layer.row_shape), f"{layer.weight} has weights beyond 7 bits")
    require_parameters(layer, parameters)


def require_parameters(layer: Layer, parameters: NDArray[np.int32]) -> None:
    """Refuse parameters that would lead beyond 32 bits; arguments as of `require_channels`.

    Raises:
        BundleError: a bias or shift is out of its range.
    """
    shifts = parameters[:, 1] & 255
    right = bool(((shifts >= LEAST_SHIFT) & (shifts <= MOST_SHIFT)).all())
    require(right, f"{layer.weight} has a shift out of 1..30")
    largest = np.abs(parameters[:, 0].astype(np.int64)).max(initial=0)
    require(
        int(largest) + 255 * 64 * layer.row_bytes < MOST, f"{layer.weight} has a bias out of range"
    )


def _shapes_fit(layer: Layer) -> bool:
    channels, height, width = layer.in_shape
    if layer.operation in (Operation.ADD, Operation.RELU):
        return layer.out_shape == layer.in_shape
    if layer.operation == Operation.GLOBAL_AVERAGE:
        return layer.out_shape == (channels, 1, 1) and layer.cells <= MAX_CELLS
    if layer.operation == Operation.LINEAR:
        plain = (layer.kernel, layer.stride, layer.padding, layer.groups)
        one = (height, width) == (1, 1) and plain == ((1, 1), (1, 1), (0, 0, 0, 0), 1)
        return one and layer.out_shape[1:] == (1, 1)
    if layer.operation == Operation.CONV:
        groups = layer.groups
        if groups < 1 or channels % groups or layer.out_shape[0] % groups:
            return False
    elif layer.out_shape[0] != channels:
        return False
    if layer.operation == Operation.AVERAGE_POOL and layer.cells > MAX_CELLS:
        return False
    if layer.operation == Operation.MAX_POOL and not all(
        pad < size for pad, size in zip(layer.padding, layer.kernel * 2, strict=True)
    ):
        return False
    return all(
        _slides(*sizes)
        for sizes in zip(
            layer.in_shape[1:],
            layer.out_shape[1:],
            layer.kernel,
            layer.stride,
            layer.padding[:2],
            layer.padding[2:],
            strict=True,
        )
    )


def _slides(size: int, out: int, kernel: int, stride: int, before: int, after: int) -> bool:
    """Whether a kernel makes that many outputs."""
    room = size + before + after - kernel
    return kernel >= 1 and stride >= 1 and room >= 0 and out == room // stride + 1


def _sums_fit(layer: Layer) -> bool:
    """Whether no sum of an ADD or an average reaches 2^31."""
    if layer.operation == Operation.ADD:
        factors = (layer.multiplier, layer.second_multiplier)
        low = layer.constant + sum(min(0, 255 * factor) for factor in factors)
        high = layer.constant + sum(max(0, 255 * factor) for factor in factors)
    else:
        low = 256 * layer.constant
        high = 256 * (layer.constant + 255 * layer.cells)
    return low > -MOST and high < MOST
