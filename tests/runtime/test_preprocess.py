"""From frames to the network's input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from sel_edge.bundle.preprocessing import ImagePreprocessing, SignalPreprocessing
from sel_edge.core.errors import DataError
from sel_edge.runtime.preprocess import MAX_SAMPLE, Preprocessor

SIGNAL = SignalPreprocessing(2, 5, (0.5, -300.0), (0.25, 40.0))
IMAGE = ImagePreprocessing(4, 5, 3, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))


@given(frames=st_numpy.arrays(np.uint8, (2, 4, 5, 3)))
def test_images_are_normalized_channels_first(frames: np.ndarray) -> None:
    expected = (frames / 255 - np.array(IMAGE.mean)) / np.array(IMAGE.std)
    found = Preprocessor(IMAGE)(frames)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), atol=1e-5)


@given(frames=st_numpy.arrays(np.uint8, (2, 4, 5, 3)))
def test_images_are_scaled_and_shifted_in_float32(frames: np.ndarray) -> None:
    """One multiplication and one addition for each number, whatever its place in memory."""
    mean, std = np.array(IMAGE.mean), np.array(IMAGE.std)
    scale, offset = (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    expected = np.moveaxis(frames.astype(np.float32) * scale + offset, -1, 1)
    for laid_out in (frames, np.asfortranarray(frames), np.repeat(frames, 2, axis=0)[::2]):
        np.testing.assert_array_equal(Preprocessor(IMAGE)(laid_out), expected)


@given(
    frames=st_numpy.arrays(np.float32, (3, 2, 5), elements=st.floats(-1e6, 1e6, width=32)),
    mean=st.floats(-1e6, 1e6, width=32),
    std=st.floats(1e-6, 1e6),
)
def test_signals_are_normalized_per_channel(frames: np.ndarray, mean: float, std: float) -> None:
    found = Preprocessor(SignalPreprocessing(2, 5, (mean, 0.0), (std, 1.0)))(frames)
    expected = (frames - np.array([[mean], [0.0]])) / np.array([[std], [1.0]])
    assert found.dtype == np.float32 and found.flags.c_contiguous
    rounding = 1e-37 + 4e-7 * (np.abs(frames).max() + abs(mean)) / std
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-6, atol=rounding)
    np.testing.assert_array_equal(found[:, 1], frames[:, 1])


def test_a_signal_far_from_zero_keeps_its_digits() -> None:
    signal = np.array([[[1e6, 1e6 + 0.5, 1e6 - 0.25]]], np.float32)
    found = Preprocessor(SignalPreprocessing(1, 3, (1e6,), (0.01,)))(signal)
    np.testing.assert_allclose(found[0, 0], [0, 50, -25], rtol=1e-6)


def test_no_frames_are_fine() -> None:
    assert Preprocessor(SIGNAL)(np.zeros((0, 2, 5), np.float32)).shape == (0, 2, 5)
    assert Preprocessor(IMAGE)(np.zeros((0, 4, 5, 3), np.uint8)).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("view", [SIGNAL, IMAGE])
@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 5, 2), np.float32),
        np.zeros((1, 2, 5), np.float64),
        np.zeros((1, 2, 5), np.uint8),
        np.zeros((2, 5), np.float32),
        np.zeros((1, 3, 4, 5), np.uint8),
        np.zeros((1, 4, 5, 3), np.float32),
        np.zeros((), np.float32),
    ],
    ids=str,
)
def test_other_frames_are_refused(
    view: SignalPreprocessing | ImagePreprocessing, frames: np.ndarray
) -> None:
    with pytest.raises(DataError, match=r"made for (float32 signals|uint8 images)"):
        Preprocessor(view)(frames)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e30, -3e38])
def test_signals_with_numbers_that_are_none_are_refused(bad: float) -> None:
    frames = np.zeros((3, 2, 5), np.float32)
    frames[2, 1, 4] = bad
    with pytest.raises(DataError, match="not finite, or far too large"):
        Preprocessor(SIGNAL).check(frames)


def test_the_largest_sample_stays_finite() -> None:
    frames = np.full((1, 2, 5), -MAX_SAMPLE, np.float32)
    view = SignalPreprocessing(2, 5, (1e6, 1e6), (1e-6, 1e-6))
    assert np.isfinite(Preprocessor(view)(frames)).all()
