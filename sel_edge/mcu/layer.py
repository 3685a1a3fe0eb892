"""One layer of a model image, and its record of 96 bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

RECORD = struct.Struct("<BBHIIIHHHHHHBBBBBBBBHHBBBBBBHIIIiiiB23s")
UNUSED = bytes(23)
"""The end of a record."""
PARAMETER_BYTES = 8
MAX_CELLS = 32768
"""Cells that an average is taken over, so that 256 times their sum stays below 2^31."""

Shape = tuple[int, int, int]
"""Channels, height, width."""


class Operation(IntEnum):
    """What a layer computes."""

    CONV = 1
    LINEAR = 2
    ADD = 3
    MAX_POOL = 4
    AVERAGE_POOL = 5
    GLOBAL_AVERAGE = 6
    RELU = 7


WEIGHTED = (Operation.CONV, Operation.LINEAR)
POINTWISE = (Operation.ADD, Operation.RELU)
"""Whose output may have the place of an input."""
KEEPS_SCALE = (Operation.MAX_POOL, Operation.RELU)
AVERAGES = (Operation.AVERAGE_POOL, Operation.GLOBAL_AVERAGE)
FAST_CHANNELS = 512
"""Of an input with more, the fast kernel could not add up a pixel."""


def stride_of(channels: int) -> int:
    """Bytes of one cell of a tensor: its channels, rounded up to a multiple of 4."""
    return (channels + 3) & ~3


def tensor_bytes(shape: Shape) -> int:
    """Bytes of a tensor u8 [height][width][stride]."""
    channels, height, width = shape
    return height * width * stride_of(channels)


def no_rows() -> NDArray[np.uint8]:
    """The rows of an operation without weights."""
    return np.zeros((0, 0), np.uint8)


def no_parameters() -> NDArray[np.int32]:
    """The parameters of an operation without weights."""
    return np.zeros((0, 2), np.int32)


@dataclass(frozen=True, eq=False)
class Layer:
    """One operation.

    Attributes:
        operation: what it computes.
        source, second, target: offsets in the arena of its input, its second input and its output.
        in_shape, out_shape: channels, height, width. The output channels of the last layer are the
            classes that there is room for, and it has rows of the first ones.
        kernel, stride: height (down), width (right); 1..255 in cells.
        padding: top, left, bottom, right, in cells.
        groups: of CONV and LINEAR.
        zero_in, zero_second, zero_out: zero points, 0..255.
        least, greatest: what the output is clamped to, 0..255; of no meaning for the last layer.
        multiplier, second_multiplier, constant, shift: of ADD and the averages.
        scale: of the output.
        weight: name of its tensor in the bundle; "-" if it has none.
        rows: uint8 [N, row bytes], as stored: one per output channel.
        parameters: int32 [N, 2]: bias and m.
    """

    operation: Operation
    source: int
    target: int
    in_shape: Shape
    out_shape: Shape
    scale: float
    second: int = 0
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 0
    zero_in: int = 0
    zero_second: int = 0
    zero_out: int = 0
    least: int = 0
    greatest: int = 0
    multiplier: int = 0
    second_multiplier: int = 0
    constant: int = 0
    shift: int = 0
    weight: str = "-"
    rows: NDArray[np.uint8] = field(default_factory=no_rows)
    parameters: NDArray[np.int32] = field(default_factory=no_parameters)

    @property
    def has_weights(self) -> bool:
        """Whether it has rows and parameters."""
        return self.operation in WEIGHTED

    @property
    def entries(self) -> int:
        """Its entries in the channel table: its output channels, if it has weights."""
        return self.out_shape[0] if self.has_weights else 0

    @property
    def row_shape(self) -> Shape:
        """Of the weights of one output channel: channels of its group, kernel height and width."""
        return (self.in_shape[0] // self.groups, *self.kernel)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row; 0 without weights."""
        if not self.has_weights:
            return 0
        channels, height, width = self.row_shape
        return height * width * stride_of(channels)

    @property
    def scratch_bytes(self) -> int:
        """What the fast kernel packs its input into."""
        if self.operation != Operation.CONV or self.groups != 1:
            return 0
        (height, width), (down, right) = self.kernel, self.stride
        channels, (_, out_height, out_width) = self.in_shape[0], self.out_shape
        if channels > FAST_CHANNELS or out_width == 1 or (width > 1 and right > 2):
            return 0
        unit, rows = (8, height) if out_height == 1 else (4, height + down)
        block = min(32, -(-out_width // unit) * unit)
        columns = block if width == 1 else (block - 1) * right + width
        return 4 * columns * (rows * (stride_of(channels) // 2 + 1) + 2)

    @property
    def cells(self) -> int:
        """How many cells an average is taken over."""
        _, height, width = self.in_shape
        down, right = self.kernel
        return down * right if self.operation == Operation.AVERAGE_POOL else height * width


def pack_rows(weights: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Rows as they are stored.

    Args:
        weights: integers [N, C, kernel height, kernel width], each -63..63.

    Returns:
        uint8 [N, row bytes]: [kernel height][ceil(C / 4)][kernel width][4], each w + 64.
    """
    number, channels, height, width = weights.shape
    padded = np.full((number, stride_of(channels), height, width), 64, np.uint8)
    padded[:, :channels] = weights + 64
    split = padded.reshape(number, -1, 4, height, width)
    return np.ascontiguousarray(split.transpose(0, 3, 1, 4, 2)).reshape(number, -1)


def unpack_rows(rows: NDArray[np.uint8], shape: Shape) -> NDArray[np.int8]:
    """The weights of stored rows, int8 [N, C, kernel height, kernel width].

    Args:
        rows: uint8 [N, row bytes].
        shape: C, kernel height, kernel width.
    """
    whole = _by_channel(rows, shape)[:, : shape[0]]
    return (whole.astype(np.int16) - 64).astype(np.int8)


def rows_are_right(rows: NDArray[np.uint8], shape: Shape) -> bool:
    """Whether the weights are within -63..63, and 0 beyond the channels; arguments as above."""
    in_range = bool(((rows >= 1) & (rows <= 127)).all())
    return in_range and bool((_by_channel(rows, shape)[:, shape[0] :] == 64).all())


def _by_channel(rows: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Stored rows as [N, channels and filling, kernel height, kernel width]."""
    channels, height, width = shape
    split = rows.reshape(len(rows), height, stride_of(channels) // 4, width, 4)
    return split.transpose(0, 2, 4, 1, 3).reshape(len(rows), -1, height, width)
