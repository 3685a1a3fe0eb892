"""Batch augmentation equals the same augmentation done frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.pretrain.augment import LENGTH_PER_SHIFT, Moves, draw_moves, moved
from sel_edge.pretrain.recipe import load_recipe

CPU = torch.device("cpu")
shapes = st.tuples(
    st.integers(0, 9), st.integers(1, 12), st.integers(1, 12), st.sampled_from((1, 3))
)
seeds = st.integers(0, 2**32 - 1)


def images_of(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def after(frames: np.ndarray, moves: Moves) -> np.ndarray:
    """Images [n, H, W, C] or signals [n, channels, length] after their moves, in the same form."""
    x = torch.from_numpy(frames.copy())
    if x.ndim == 3:
        return moved(x, moves).numpy()
    return moved(x.permute(0, 3, 1, 2), moves).permute(0, 2, 3, 1).numpy()


@given(shape=shapes, most=st.integers(0, 5), reflects=st.booleans(), seed=seeds)
def test_images_are_cropped_and_mirrored_one_by_one(
    shape: tuple[int, ...], most: int, reflects: bool, seed: int
) -> None:
    images, rng = images_of(shape, seed), np.random.default_rng(seed)
    n, height, width, _ = shape
    moves = Moves(
        torch.from_numpy(rng.integers(-most, most + 1, (2, n))),
        torch.from_numpy(rng.random(n) < 0.5),
        most,
        reflects,
    )
    margin = ((most, most), (most, most), (0, 0))
    mode: Any = "reflect" if reflects else "constant"
    expected = []
    for image, (down, right), mirrored in zip(
        images, moves.offsets.T.numpy(), moves.mirrored.numpy(), strict=True
    ):
        row, column = most + down, most + right
        crop = np.pad(image, margin, mode)[row : row + height, column : column + width]
        expected.append(crop[:, ::-1] if mirrored else crop)
    result = after(images, moves)
    assert result.dtype == np.uint8
    assert np.array_equal(result, np.array(expected, dtype=np.uint8).reshape(shape))


@given(
    shape=st.tuples(st.integers(0, 9), st.integers(1, 4), st.integers(1, 40)),
    most=st.integers(0, 50),
    seed=seeds,
)
def test_signals_are_shifted_one_by_one(shape: tuple[int, int, int], most: int, seed: int) -> None:
    signals = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    offsets = np.random.default_rng(seed).integers(-most, most + 1, size=(1, shape[0]))
    margin = ((0, 0), (most, most))
    expected = [
        np.pad(signal, margin, mode="edge")[:, most + offset : most + offset + shape[2]]
        for signal, offset in zip(signals, offsets[0], strict=True)
    ]
    shifted = after(signals, Moves(torch.from_numpy(offsets), None, most))
    assert shifted.dtype == np.float32
    assert np.array_equal(shifted, np.array(expected, dtype=np.float32).reshape(shape))


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_a_recipe_says_what_lies_beyond_an_image(padding: str) -> None:
    recipe = load_recipe("dense", [f"padding = '{padding}'"])
    moves = draw_moves(recipe, (8, 8, 3), 40, np.random.default_rng(0), CPU)
    white = np.full((40, 8, 8, 3), 255, dtype=np.uint8)
    assert (after(white, moves) == 255).all() == (padding == "reflect")


def test_every_offset_and_both_sides_occur() -> None:
    moves = draw_moves(
        load_recipe("dense", ["crop_padding = 1"]), (8, 8, 3), 2000, np.random.default_rng(0), CPU
    )
    assert len(np.unique(moves.offsets.numpy(), axis=1).T) == 9
    assert moves.mirrored.double().mean() == pytest.approx(0.5, abs=0.05)
    again = draw_moves(
        load_recipe("dense", ["crop_padding = 1", "flip = false"]),
        (8, 8, 3),
        2000,
        np.random.default_rng(0),
        CPU,
    )
    assert again.mirrored is None


@given(length=st.integers(1, 400), padding=st.integers(0, 8))
def test_a_signal_moves_by_a_sixteenth_at_most_and_is_never_mirrored(
    length: int, padding: int
) -> None:
    recipe = load_recipe("dense", [f"crop_padding = {padding}"])
    moves = draw_moves(recipe, (2, length), 50, np.random.default_rng(0), CPU)
    assert moves.most == min(padding, length // LENGTH_PER_SHIFT)
    assert moves.offsets.abs().max() <= moves.most
    assert moves.mirrored is None


def test_a_part_of_a_batch_moves_as_it_does_in_the_whole() -> None:
    images = images_of((11, 6, 5, 3), 0)
    moves = draw_moves(load_recipe("dense"), (6, 5, 3), 11, np.random.default_rng(1), CPU)
    whole = after(images, moves)
    part = slice(1, None, 3)
    assert np.array_equal(after(images[part], moves.of(part)), whole[part])
