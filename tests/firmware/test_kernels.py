"""Plain and fast kernels compute, bit for bit, what docs/SPEC.md says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.mcu.layer import Layer, Operation, pack_rows, unpack_rows
from sel_edge.mcu.payload import difference
from sel_edge.mcu.running import running
from tests.firmware.nets import FAST, PLAIN, infer, network

SEEDS = st.integers(0, 2**32 - 1)


def rescaled(total: NDArray[np.int64], multiplier: int, shift: int) -> NDArray[np.int64]:
    upper = total * multiplier // 2**32
    return (upper + 2 ** (shift - 1)) // 2**shift


def expected(layer: Layer, frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A CONV, one output value after the other, int64 [height, width, channels]."""
    top, left, bottom, right = layer.padding
    margins = ((top, bottom), (left, right), (0, 0))
    padded = np.pad(frame, margins, constant_values=layer.zero_in).astype(np.int64)
    weights = unpack_rows(layer.rows, layer.row_shape).astype(np.int64)
    each_in, each_out = (shape[0] // layer.groups for shape in (layer.in_shape, layer.out_shape))
    result = np.zeros((*layer.out_shape[1:], layer.out_shape[0]), np.int64)
    for y, x, n in np.ndindex(result.shape):
        down, along, group = y * layer.stride[0], x * layer.stride[1], n // each_out * each_in
        seen = padded[down : down + layer.kernel[0], along : along + layer.kernel[1]]
        own = seen[:, :, group : group + each_in].transpose(2, 0, 1)
        bias, m = (int(value) for value in layer.parameters[n])
        total = bias + (own * weights[n]).sum()
        result[y, x, n] = layer.zero_out + rescaled(total, m - m % 256, m % 256)
    return np.clip(result, layer.least, layer.greatest)


def random_parameters(draw: np.random.Generator, number: int) -> NDArray[np.int32]:
    """Biases and scales that leave few outputs at the ends of 0..255."""
    factors = draw.integers(1 << 29, (1 << 31) - 256, number) // 256 * 256
    biases = draw.integers(-50_000, 50_000, number)
    return np.stack([biases, factors + draw.integers(6, 10, number)], 1).astype(np.int32)


def random_rows(draw: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Weights, now and then all at their greatest, which fills the lanes of a product."""
    weights = draw.integers(-63, 64, shape)
    return pack_rows(np.full(shape, 63) if draw.random() < 0.1 else weights)


@st.composite
def convolutions(draw_from: st.DrawFn) -> tuple[Layer, np.random.Generator]:
    """A small CONV with random weights."""
    draw = np.random.default_rng(draw_from(SEEDS))
    kernel = draw_from(st.sampled_from([(1, 1), (3, 3), (1, 3), (3, 1), (2, 3), (5, 5), (2, 2)]))
    stride = draw_from(st.sampled_from([(1, 1), (2, 2), (1, 2), (2, 1), (3, 3)]))
    padding = tuple(draw_from(st.integers(0, size - 1)) for size in (*kernel, *kernel))
    groups = draw_from(st.sampled_from([1, 1, 1, 1, 2, 3]))
    channels = groups * draw_from(st.integers(1, 6)), groups * draw_from(st.integers(1, 5))
    sizes = [draw_from(st.integers(size, size + 12)) for size in kernel]
    if draw_from(st.booleans()):
        sizes[1] += 60  # more than one strip
    out = [(sizes[i] + padding[i] + padding[i + 2] - kernel[i]) // stride[i] + 1 for i in range(2)]
    least = draw_from(st.integers(0, 100))
    layer = Layer(
        *(Operation.CONV, 0, 0, (channels[0], *sizes), (channels[1], *out), 0.1),
        kernel=kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        zero_in=draw_from(st.integers(0, 255)),
        zero_out=draw_from(st.integers(0, 255)),
        least=least,
        greatest=draw_from(st.integers(least, 255)),
        weight="conv.weight",
        rows=random_rows(draw, (channels[1], channels[0] // groups, *kernel)),
        parameters=random_parameters(draw, channels[1]),
    )
    return layer, draw


def random_frame(draw: np.random.Generator, layer: Layer) -> NDArray[np.uint8]:
    """A frame [height, width, channels]; now and then all 255, which fills the lanes."""
    channels, height, width = layer.in_shape
    frame = draw.integers(0, 256, (height, width, channels)).astype(np.uint8)
    return np.full_like(frame, 255) if draw.random() < 0.1 else frame


@given(convolutions())
@settings(max_examples=300)
def test_both_convolutions_compute_what_is_written(
    case: tuple[Layer, np.random.Generator],
) -> None:
    layer, draw = case
    frame = random_frame(draw, layer)
    image = network(layer, draw=draw)
    right = expected(layer, frame)
    for kernels, filling in ((PLAIN, 0x00), (FAST, 0xA5), (FAST, 0xFF)):
        found = infer(image, frame, kernels, filling=filling)
        assert (found.tensor(image.layers[0]) == right).all(), kernels


@given(convolutions(), st.data())
@settings(max_examples=60)
def test_channels_of_an_overlay_are_read_where_they_lie(
    case: tuple[Layer, np.random.Generator], data: st.DataObject
) -> None:
    layer, draw = case
    image = network(layer, draw=draw)
    before = running(image)
    rows, parameters = (values.copy() for values in (before.rows[0], before.parameters[0]))
    channels = st.sets(st.integers(0, layer.out_shape[0] - 1))
    whole, scaled = sorted(data.draw(channels)), sorted(data.draw(channels))
    if whole:
        rows[whole] = random_rows(draw, (len(whole), *layer.row_shape))
    parameters[scaled, 0] += 1000
    after = replace(
        before,
        rows=(rows, *before.rows[1:]),
        parameters=(parameters, *before.parameters[1:]),
    )
    frame = random_frame(draw, layer)
    right = expected(replace(layer, rows=rows, parameters=parameters), frame)
    for kernels in (PLAIN, FAST):
        found = infer(image, frame, kernels, difference(before, after))
        assert (found.tensor(image.layers[0]) == right).all(), kernels


@given(SEEDS, st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))
def test_an_addition_is_what_is_written(seed: int, channels: int, height: int, width: int) -> None:
    draw = np.random.default_rng(seed)
    shape = (channels, height, width)
    factors = [int(value) for value in draw.integers(-(2**21), 2**21, 3)]
    sizes = {"least": int(draw.integers(0, 50)), "greatest": int(draw.integers(50, 256))}
    constants = {"multiplier": factors[0], "second_multiplier": factors[1], "constant": factors[2]}
    relu = Layer(Operation.RELU, 0, 0, shape, shape, 0.1, least=20, greatest=200)
    layer = Layer(Operation.ADD, 0, 0, shape, shape, 0.1, shift=21, **sizes, **constants)
    image = network(relu, layer, draw=draw)
    frame = random_frame(draw, layer)
    found = infer(image, frame, FAST)
    clamped = np.clip(frame.astype(np.int64), 20, 200)
    assert (found.tensor(image.layers[0]) == clamped).all()
    total = (clamped * factors[0] + frame.astype(np.int64) * factors[1] + factors[2]) // 2**21
    right = np.clip(total, sizes["least"], sizes["greatest"])
    assert (found.tensor(image.layers[1]) == right).all()


@st.composite
def pools(draw_from: st.DrawFn) -> Layer:
    """A small MAX_POOL or AVERAGE_POOL."""
    kernel = tuple(draw_from(st.integers(1, 4)) for _ in range(2))
    padding = tuple(draw_from(st.integers(0, size - 1)) for size in (*kernel, *kernel))
    stride = tuple(draw_from(st.integers(1, 3)) for _ in range(2))
    sizes = [draw_from(st.integers(size, size + 6)) for size in kernel]
    out = [(sizes[i] + padding[i] + padding[i + 2] - kernel[i]) // stride[i] + 1 for i in range(2)]
    channels, zero = draw_from(st.integers(1, 6)), draw_from(st.integers(0, 255))
    return Layer(
        draw_from(st.sampled_from([Operation.MAX_POOL, Operation.AVERAGE_POOL])),
        *(0, 0, (channels, *sizes), (channels, *out), 0.1),
        kernel=kernel,
        stride=stride,
        padding=padding,
        zero_in=zero,
        zero_out=zero,
        greatest=255,
        shift=draw_from(st.integers(6, 9)),
        multiplier=draw_from(st.integers(1 << 29, (1 << 31) - 1)),
        constant=draw_from(st.integers(-3000, 0)),
    )


@given(pools(), SEEDS)
def test_pools_compute_what_is_written(layer: Layer, seed: int) -> None:
    draw = np.random.default_rng(seed)
    image, frame = network(layer, draw=draw), random_frame(draw, layer)
    is_average = layer.operation == Operation.AVERAGE_POOL
    top, left, bottom, right = layer.padding
    filling = layer.zero_in if is_average else 0
    padded = np.pad(frame, ((top, bottom), (left, right), (0, 0)), constant_values=filling).astype(
        np.int64
    )
    found = infer(image, frame, FAST).tensor(image.layers[0])
    for y, x in np.ndindex(found.shape[:2]):
        down, along = y * layer.stride[0], x * layer.stride[1]
        seen = padded[down : down + layer.kernel[0], along : along + layer.kernel[1]]
        value = seen.max(axis=(0, 1))
        if is_average:
            total = 256 * (layer.constant + seen.sum(axis=(0, 1)))
            value = layer.zero_out + rescaled(total, layer.multiplier, layer.shift)
        assert (found[y, x] == np.clip(value, 0, 255)).all()


@given(convolutions())
@settings(max_examples=40)
def test_average_and_logits_are_what_is_written(case: tuple[Layer, np.random.Generator]) -> None:
    layer, draw = case
    image = network(layer, draw=draw)
    found = infer(image, random_frame(draw, layer), FAST)
    _, average, head = image.layers
    sums = found.tensor(image.layers[0]).astype(np.int64).sum(axis=(0, 1))
    mean = np.clip(rescaled(256 * sums, average.multiplier, average.shift), 0, 255)
    assert (found.tensor(average) == mean).all()
    weights = unpack_rows(head.rows, head.row_shape).reshape(3, -1).astype(np.int64)
    total = weights @ mean + head.parameters[:, 0]
    logits = np.clip(rescaled(total, 1 << 30, 3), -(2**15), 2**15 - 1)
    assert (found.logits == logits).all()
    assert found.answer.label == logits.argmax()
