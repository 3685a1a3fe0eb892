"""The rule by which float rows become integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import BundleError
from sel_edge.mcu.layer import stride_of
from sel_edge.mcu.quantized import Scales, quantize_rows
from tests.mcu.networks import normal

SCALES = Scales(source=0.02, zero=3, target=0.03)
SEEDS = st.integers(0, 2**32 - 1)
FACTORS = st.floats(0.01, 20.0).flatmap(lambda value: st.sampled_from([value, -value]))


def floats(integers: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights and biases that integers stand for."""
    shift = parameters[:, 1].astype(np.int64) & 255
    ratio = (parameters[:, 1] - shift) / 2.0 ** (32 + shift)
    step = ratio * SCALES.target / SCALES.source
    sums = integers.reshape(len(integers), -1).sum(axis=1, dtype=np.int64)
    bias = (parameters[:, 0] + SCALES.zero * sums) * SCALES.source * step
    return integers * step[:, np.newaxis, np.newaxis, np.newaxis], bias


@given(SEEDS, st.floats(1e-3, 20.0))
def test_a_row_is_kept_within_half_a_step(seed: int, size: float):
    draw = np.random.default_rng(seed)
    weight, bias = size * normal(draw, 4, 5, 3, 3), normal(draw, 4)
    found = floats(*quantize_rows(weight, bias, SCALES))
    step = np.abs(weight).max(axis=(1, 2, 3)) / 63
    limit = 0.25 * SCALES.target / SCALES.source
    whole = step < limit  # beyond, the largest weights are cut off
    error = np.abs(found[0] - weight).max(axis=(1, 2, 3))
    assert (error[whole] <= 0.5001 * step[whole]).all()
    assert (np.abs(found[1] - bias) <= SCALES.source * np.minimum(step, limit) + 1e-6).all()


@given(SEEDS, st.lists(FACTORS, min_size=4, max_size=4))
def test_a_row_times_a_factor_keeps_its_integers(seed: int, factors: list[float]):
    draw = np.random.default_rng(seed)
    weight, bias = normal(draw, 4, 5, 3, 3), normal(draw, 4)
    integers, _ = quantize_rows(weight, bias, SCALES)
    scale = np.array(factors, np.float32)
    scaled = weight * scale[:, np.newaxis, np.newaxis, np.newaxis]
    shifted = bias * scale + 1
    again, parameters = quantize_rows(scaled, shifted, SCALES, like=integers)
    limit = 63 * 0.25 * SCALES.target / SCALES.source
    whole = np.abs(scaled).max(axis=(1, 2, 3)) < limit
    assert np.array_equal(again[whole], integers[whole])
    found = floats(again, parameters)
    assert np.allclose(found[1], shifted, atol=0.5)
    step = np.abs(scaled).max(axis=(1, 2, 3), keepdims=True) / 63
    assert (np.abs(found[0] - scaled)[whole] <= (0.502 * step)[whole]).all()


@given(SEEDS)
def test_other_rows_do_not_keep_them(seed: int):
    draw = np.random.default_rng(seed)
    weight, bias = normal(draw, 4, 5, 3, 3), normal(draw, 4)
    before, _ = quantize_rows(weight, bias, SCALES)
    other = normal(draw, 4, 5, 3, 3)
    found = quantize_rows(other, bias, SCALES, like=before)
    expected = quantize_rows(other, bias, SCALES)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@given(SEEDS, st.floats(0.0, 1e4), st.floats(0.0, 1e5))
def test_no_sum_reaches_32_bits(seed: int, size: float, bias_size: float):
    draw = np.random.default_rng(seed)
    weight, bias = size * normal(draw, 3, 6, 3, 3), bias_size * normal(draw, 3)
    integers, parameters = quantize_rows(weight, bias, SCALES)
    row_bytes = 9 * stride_of(6)
    assert np.abs(integers).max() <= 63
    assert (np.abs(parameters[:, 0].astype(np.int64)) + 255 * 64 * row_bytes < 2**31).all()
    shift = parameters[:, 1] & 255
    assert ((shift >= 1) & (shift <= 30)).all()


def test_a_row_of_zeros_keeps_its_bias():
    weight, bias = np.zeros((1, 3, 1, 1), np.float32), np.array([1.5], np.float32)
    integers, parameters = quantize_rows(weight, bias, SCALES)
    assert not integers.any()
    shift = int(parameters[0, 1]) & 255
    out = ((int(parameters[0, 0]) * (int(parameters[0, 1]) - shift)) >> 32) / 2**shift
    assert abs(out * SCALES.target - 1.5) < SCALES.target


def test_a_row_of_zeros_stays_as_it_is():
    weight, bias = np.zeros((1, 3, 1, 1), np.float32), np.array([1.5], np.float32)
    integers, parameters = quantize_rows(weight, bias, SCALES)
    again = quantize_rows(weight, bias, SCALES, like=integers)
    assert np.array_equal(again[0], integers) and np.array_equal(again[1], parameters)


def test_what_cannot_be_shown_is_refused():
    one = np.ones((1, 3, 1, 1), np.float32)
    with pytest.raises(BundleError, match="bias"):
        quantize_rows(one, np.array([1e9], np.float32), SCALES)
    with pytest.raises(BundleError, match="32 bits"):
        quantize_rows(np.ones((1, 70_000, 1, 1), np.float32), np.zeros(1, np.float32), SCALES)
