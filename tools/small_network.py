"""Networks so small that a board answers in microseconds, as images; and changes of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from sel_edge.mcu.image import Image
from sel_edge.mcu.layer import Layer, Operation, pack_rows, tensor_bytes
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import Running, running
from sel_edge.mcu.standin import Curve

CHANNELS, SIDE = 3, 8
INPUT = (CHANNELS, SIDE, SIDE)
INPUT_BYTES = CHANNELS * SIDE * SIDE
CLASSES, ROOM = ("cat", "dog", "owl"), 5
_AT = tensor_bytes(INPUT)
"""Where the first layer's output is in the arena."""


def small_image(seed: int = 0, width: int = 4) -> Image:
    """A convolution, a global average and a classifier, with random weights.

    Args:
        seed: of the weights.
        width: channels of the convolution, a multiple of 4.
    """
    draw = np.random.default_rng(seed)
    cells, averages = (width, SIDE, SIDE), _AT + SIDE * SIDE * width
    return _image(
        _convolution(draw, width, groups=1),
        _average(Operation.GLOBAL_AVERAGE, _AT, averages, cells, (width, 1, 1)),
        _classifier(draw, averages, width),
    )


def varied_image(seed: int = 0) -> Image:
    """One layer of each operation, one after the other; the convolution is depthwise."""
    draw = np.random.default_rng(seed)
    half, quarter = ((CHANNELS, side, side) for side in (SIDE // 2, SIDE // 4))
    at = [_AT, 512, 576, 592]
    add = Layer(
        *(Operation.ADD, 0, _AT, INPUT, INPUT, 0.05),
        second=_AT,
        zero_in=128,
        greatest=255,
        multiplier=100,
        second_multiplier=60,
        constant=-5000,
        shift=7,
    )
    relu = Layer(*(Operation.RELU, _AT, _AT, INPUT, INPUT, 0.05), least=20, greatest=255)
    pool = Layer(
        *(Operation.MAX_POOL, at[0], at[1], INPUT, half, 0.05),
        greatest=255,
        kernel=(2, 2),
        stride=(2, 2),
    )
    return _image(
        _convolution(draw, CHANNELS, groups=CHANNELS),
        add,
        relu,
        pool,
        _average(Operation.AVERAGE_POOL, at[1], at[2], half, quarter),
        _average(Operation.GLOBAL_AVERAGE, at[2], at[3], quarter, (CHANNELS, 1, 1)),
        _classifier(draw, at[3], CHANNELS),
    )


def changed(network: Running, seed: int, layers: tuple[int, ...] = (0, 2)) -> Running:
    """The network with other weights in some of its layers."""
    draw = np.random.default_rng(seed)
    rows, parameters = list(network.rows), list(network.parameters)
    for number in layers:
        known = network.rows[number][:, 0] > 0
        shape = (int(known.sum()), *network.image.layers[number].row_shape)
        rows[number] = rows[number].copy()
        rows[number][known] = pack_rows(draw.integers(-63, 64, shape))
        parameters[number] = parameters[number].copy()
        parameters[number][known, 0] += draw.integers(-50, 51, shape[0], np.int32)
    return dataclasses.replace(network, rows=tuple(rows), parameters=tuple(parameters))


def grown(network: Running, seed: int) -> Running:
    """The network with one class more."""
    draw = np.random.default_rng(seed)
    last, count = network.image.layers[-1], len(network.classes)
    rows, parameters = list(network.rows), list(network.parameters)
    rows[-1], parameters[-1] = rows[-1].copy(), parameters[-1].copy()
    rows[-1][count] = pack_rows(draw.integers(-63, 64, (1, *last.row_shape)))[0]
    parameters[-1][count] = parameters[-1][0]
    names = (*network.classes, f"class {count}")
    return dataclasses.replace(
        network, classes=names, rows=tuple(rows), parameters=tuple(parameters)
    )


def small_delta(image: Image, seed: int = 1) -> bytes:
    """The payload of a delta on an image alone."""
    network = running(image)
    return difference(network, changed(network, seed))


def _image(*layers: Layer) -> Image:
    logits = layers[-1].target
    scratch = max(layer.scratch_bytes for layer in layers[:-1])
    return Image(
        weights_sha256="00" * 32,
        arena_bytes=logits + 4 * ROOM + scratch,
        scratch_bytes=scratch,
        input_shape=INPUT,
        input_offset=0,
        input_scale=1 / 128,
        pixels=np.tile(np.arange(256, dtype=np.uint8), (CHANNELS, 1)),
        classes=CLASSES,
        most_classes=ROOM,
        features=layers[-1].in_shape[0],
        features_layer=len(layers) - 2,
        standin=Curve((0, 30_000, 65_535), (0, 300, 900)),
        layers=layers,
    )


def _convolution(draw: np.random.Generator, width: int, groups: int) -> Layer:
    weights = draw.integers(-63, 64, (width, CHANNELS // groups, 3, 3))
    return Layer(
        *(Operation.CONV, 0, _AT, INPUT, (width, SIDE, SIDE), 0.05),
        kernel=(3, 3),
        stride=(1, 1),
        padding=(1, 1, 1, 1),
        groups=groups,
        zero_in=128,
        greatest=255,
        weight="conv.weight",
        rows=pack_rows(weights),
        parameters=_parameters(draw.integers(50_000, 100_000, width), 7),
    )


def _average(
    operation: Operation,
    source: int,
    target: int,
    in_shape: tuple[int, int, int],
    out_shape: tuple[int, int, int],
) -> Layer:
    """The mean of all cells or of pools of 2 x 2: a sum * 256 * 2^30 / 2^32 / 2^shift."""
    pool = (2, 2) if operation == Operation.AVERAGE_POOL else (0, 0)
    cells = in_shape[1] * in_shape[2] // (out_shape[1] * out_shape[2])
    return Layer(
        *(operation, source, target, in_shape, out_shape, 0.05),
        kernel=pool,
        stride=pool,
        greatest=255,
        multiplier=1 << 30,
        shift=6 + cells.bit_length() - 1,
    )


def _classifier(draw: np.random.Generator, source: int, width: int) -> Layer:
    """Its logits come after its input."""
    return Layer(
        *(Operation.LINEAR, source, source + (width + 3) // 4 * 4, (width, 1, 1), (ROOM, 1, 1)),
        scale=1 / 256,
        kernel=(1, 1),
        stride=(1, 1),
        groups=1,
        greatest=255,
        weight="fc.weight",
        rows=pack_rows(draw.integers(-63, 64, (len(CLASSES), width, 1, 1))),
        parameters=_parameters(draw.integers(-500, 500, len(CLASSES)), 3),
    )


def _parameters(bias: NDArray[np.int64], shift: int) -> NDArray[np.int32]:
    factor = np.full(len(bias), (1 << 30) | shift)
    return np.stack([bias, factor], 1).astype(np.int32)
