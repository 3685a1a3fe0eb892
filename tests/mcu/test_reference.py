"""The integer reference, against Python's own integers and against floats."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import DataError
from sel_edge.core.standin import uncertainty as uncertainty_in_floats
from sel_edge.mcu.image import LOGIT_SCALE, Image, inverse_of
from sel_edge.mcu.layer import Layer, unpack_rows
from sel_edge.mcu.reference import infer, requantized
from sel_edge.mcu.running import running
from sel_edge.mcu.standin import Curve, uncertainty
from tests.mcu.networks import BIASES, base

FRAMES = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


def mulh(a: int, b: int) -> int:
    return (a * b) >> 32


@given(
    st.integers(-(2**31) + 1, 2**31 - 1),
    st.integers(-(2**23), 2**23 - 1).map(lambda value: value * 256),
    st.integers(1, 30),
)
def test_requantization_is_the_rule(total: int, multiplier: int, shift: int):
    found = requantized(*(np.array(value, np.int64) for value in (total, multiplier, shift)))
    assert int(found) == (mulh(total, multiplier) + (1 << (shift - 1))) >> shift


def sums(layer: Layer, frame: np.ndarray, channel: int, y: int, x: int) -> int:
    """What one output of a convolution adds up, cell by cell."""
    weights = unpack_rows(layer.rows, layer.row_shape)[channel].tolist()
    total = int(layer.parameters[channel, 0])
    for c, ky, kx in itertools.product(*map(range, layer.row_shape)):
        at = (y * layer.stride[0] + ky - layer.padding[0], x + kx - layer.padding[1])
        inside = 0 <= at[0] < frame.shape[0] and 0 <= at[1] < frame.shape[1]
        total += weights[c][ky][kx] * (int(frame[(*at, c)]) if inside else layer.zero_in)
    return total


def by_hand(image: Image, frame: np.ndarray) -> list[int]:
    """The logits of the small network, in Python's integers."""
    conv, average, head = image.layers
    features = []
    for channel in range(conv.out_shape[0]):
        m = int(conv.parameters[channel, 1])
        shift, multiplier = m & 255, m - (m & 255)
        cells = [
            (mulh(sums(conv, frame, channel, y, x), multiplier) + (1 << (shift - 1))) >> shift
            for y, x in itertools.product(range(8), repeat=2)
        ]
        total = 256 * (average.constant + sum(min(max(cell, 0), 255) for cell in cells))
        mean = (mulh(total, average.multiplier) + (1 << (average.shift - 1))) >> average.shift
        features.append(min(max(mean, 0), 255))
    found = []
    weights = unpack_rows(head.rows, head.row_shape)[..., 0, 0].tolist()
    for row, (bias, m) in zip(weights, head.parameters.tolist(), strict=True):
        total = bias + sum(q * w for q, w in zip(features, row, strict=True))
        shift = m & 255
        found.append((mulh(total, m - shift) + (1 << (shift - 1))) >> shift)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_network_is_exact(seed: int):
    image = base(seed)[0]
    answers = infer(running(image), FRAMES[:2])
    assert answers.logits.tolist() == [by_hand(image, frame) for frame in FRAMES[:2]]


def test_a_batch_is_its_frames():
    network = running(base()[0])
    many = np.concatenate([FRAMES] * 20)
    whole = infer(network, many)
    for number, frame in enumerate(FRAMES):
        one = infer(network, frame[np.newaxis])
        assert np.array_equal(one.logits[0], whole.logits[number + 5 * 13])
        assert one.embarrassment[0] == whole.embarrassment[number]
    assert infer(network, FRAMES[:0]).logits.shape == (0, 3)


def test_integers_are_near_the_floats():
    """Within what a step of the features and of the weights can do to a logit."""
    image, parameters = base()
    answers = infer(running(image), FRAMES)
    conv, average, head = image.layers
    x = np.pad((FRAMES - 128.0) * image.input_scale, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    rows = parameters["conv.weight"].reshape(-1, 3, 3, 3)
    out = np.einsum("nyxcij,ocij->nyxo", windows, rows) + parameters[BIASES["conv.weight"]]
    out = np.clip(out, 0, 255 * conv.scale)
    # The average's multiplier is the small network's own, not that of an exporter.
    ratio = average.multiplier * 2.0 ** -(32 + average.shift) * 256
    features = np.clip(out.sum(axis=(1, 2)) / conv.scale * ratio, 0, 255) * average.scale
    logits = features @ parameters["fc.weight"].T + parameters["fc.bias"]
    steps = np.abs(features).max() * np.abs(parameters["fc.weight"]).max() / 63
    error = np.abs(answers.logits * LOGIT_SCALE - logits).max()
    assert error < head.in_shape[0] * (average.scale + steps) + 2 * LOGIT_SCALE


def test_frames_of_another_kind_are_refused():
    network = running(base()[0])
    for frames in (FRAMES[:, :, :7], FRAMES.astype(np.float32)):
        with pytest.raises(DataError, match="8, 8, 3"):
            infer(network, frames)


@given(
    st.integers(2, 256).flatmap(
        lambda classes: st.lists(
            st.integers(-(2**15), 2**15 - 1), min_size=classes, max_size=classes
        )
    )
)
def test_the_stand_in_is_near_the_floats(logits: list[int]):
    found = uncertainty(np.array([logits]), inverse_of(len(logits)))
    expected = uncertainty_in_floats(np.array([logits]) / 256)
    assert abs(float(found[0]) / 65536 - float(expected[0])) < 2e-3
    assert 0 <= int(found[0]) <= 65535


def test_equal_logits_are_the_most_uncertain():
    for classes in (2, 10, 256):
        found = uncertainty(np.zeros((1, classes), np.int16), inverse_of(classes))
        assert int(found[0]) > 65000


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_a_curve_goes_through_its_knots(places: list[int]):
    curve = Curve((1000, 30_000, 60_000), (5, 300, 900))
    found = curve(np.array(places)).tolist()
    expected = np.interp(places, curve.uncertainty, curve.nats)
    assert found == [math.floor(value + 1e-9) for value in expected]
