"""Batch augmentation equals the same augmentation done image by image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.data.augment import random_crop, random_flip, random_shift

shapes = st.tuples(
    st.integers(0, 9), st.integers(1, 12), st.integers(1, 12), st.sampled_from((1, 3))
)
seeds = st.integers(0, 2**32 - 1)


def images_of(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@given(shape=shapes, padding=st.integers(0, 5), seed=seeds)
def test_crop_equals_a_loop_over_images(shape: tuple[int, ...], padding: int, seed: int) -> None:
    images = images_of(shape, seed)
    n, height, width, _ = shape
    rows, columns = np.random.default_rng(seed).integers(0, 2 * padding + 1, size=(2, n))
    margin = ((padding, padding), (padding, padding), (0, 0))
    expected = [
        np.pad(image, margin)[row : row + height, column : column + width]
        for image, row, column in zip(images, rows, columns, strict=True)
    ]
    cropped = random_crop(images, padding, np.random.default_rng(seed))
    assert cropped.shape == shape
    assert cropped.dtype == np.uint8
    assert np.array_equal(cropped, np.array(expected, dtype=np.uint8).reshape(shape))


@given(shape=shapes, seed=seeds)
def test_flip_mirrors_whole_images_and_twice_is_nothing(shape: tuple[int, ...], seed: int) -> None:
    images = images_of(shape, seed)
    before = images.copy()
    flipped = random_flip(images, np.random.default_rng(seed))
    mirrored = np.random.default_rng(seed).random(len(images)) < 0.5
    for image, result, is_mirrored in zip(images, flipped, mirrored, strict=True):
        assert np.array_equal(result, image[:, ::-1] if is_mirrored else image)
    assert np.array_equal(random_flip(flipped, np.random.default_rng(seed)), images)
    assert np.array_equal(images, before), "the input is left alone"


def test_every_offset_and_both_sides_occur() -> None:
    images = np.full((2000, 3, 3, 1), 255, dtype=np.uint8)
    images[:, :, 0] = 1
    rng = np.random.default_rng(0)
    assert len(np.unique(random_crop(images, 1, rng).reshape(2000, -1), axis=0)) == 9
    assert (random_flip(images, rng)[:, 0, 0, 0] == 255).mean() == pytest.approx(0.5, abs=0.05)


@given(
    shape=st.tuples(st.integers(0, 9), st.integers(1, 4), st.integers(1, 40)),
    most=st.integers(0, 50),
    seed=seeds,
)
def test_shift_equals_a_loop_over_signals(
    shape: tuple[int, int, int], most: int, seed: int
) -> None:
    signals = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    before = signals.copy()
    offsets = np.random.default_rng(seed).integers(-most, most + 1, size=(shape[0], 1)).ravel()
    margin = ((0, 0), (most, most))
    expected = [
        np.pad(signal, margin, mode="edge")[:, most + offset : most + offset + shape[2]]
        for signal, offset in zip(signals, offsets, strict=True)
    ]
    shifted = random_shift(signals, most, np.random.default_rng(seed))
    assert shifted.dtype == np.float32
    assert np.array_equal(shifted, np.array(expected, dtype=np.float32).reshape(shape))
    assert np.array_equal(signals, before), "the input is left alone"
