"""Disturbances of signals do what their names say, and leave the signals alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.data.disturbances import DISTURBANCES, GAIN_KEPT, GAP, NOISE


def drawn(count: int = 30, channels: int = 2, length: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    scale, offset = np.array([[1.0], [50.0]])[:channels], np.array([[0.0], [300.0]])[:channels]
    return (rng.standard_normal((count, channels, length)) * scale + offset).astype(np.float32)


@pytest.mark.parametrize("name", DISTURBANCES)
@given(count=st.integers(1, 4), channels=st.integers(1, 2), length=st.integers(1, 40))
def test_shape_and_dtype_stay_and_a_seed_repeats(
    name: str, count: int, channels: int, length: int
) -> None:
    signals = drawn(count, channels, length)
    before = signals.copy()
    first, again = (DISTURBANCES[name](signals, np.random.default_rng(3)) for _ in range(2))
    assert (first.shape, first.dtype) == (signals.shape, np.float32)
    assert np.array_equal(first, again)
    assert np.array_equal(signals, before)
    assert np.isfinite(first).all()


def test_noise_is_in_proportion_to_each_channel() -> None:
    signals = drawn(200)
    added = DISTURBANCES["noise"](signals, np.random.default_rng(1)) - signals
    expected = NOISE * signals.std(axis=(0, 2))
    np.testing.assert_allclose(added.std(axis=(0, 2)), expected, rtol=0.05)


def test_smoothing_keeps_what_is_flat_and_takes_from_what_is_not() -> None:
    flat = np.full((2, 1, 30), 7.0, np.float32)
    np.testing.assert_allclose(DISTURBANCES["smooth"](flat, np.random.default_rng(0)), flat)
    signals = drawn()
    smooth = DISTURBANCES["smooth"](signals, np.random.default_rng(0))
    assert (smooth.std(axis=2) < signals.std(axis=2)).all()


def test_fading_keeps_the_mean_and_half_of_the_amplitude() -> None:
    signals = drawn()
    faded = DISTURBANCES["fade"](signals, np.random.default_rng(0))
    np.testing.assert_allclose(faded.std(axis=(0, 2)), GAIN_KEPT * signals.std(axis=(0, 2)), 1e-4)
    np.testing.assert_allclose(faded.mean(axis=(0, 2)), signals.mean(axis=(0, 2)), atol=1e-2)


def test_a_gap_is_one_stretch_of_every_signal() -> None:
    signals = drawn()
    changed = DISTURBANCES["gap"](signals, np.random.default_rng(0)) != signals
    assert (changed.sum(axis=2) == GAP * signals.shape[2]).all()
    starts = changed.argmax(axis=2)
    ends = changed.shape[2] - changed[:, :, ::-1].argmax(axis=2)
    assert (ends - starts == changed.sum(axis=2)).all()
    assert len(np.unique(starts)) > 5
