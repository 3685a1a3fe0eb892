"""Batches: everything once per epoch, the same from any step on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.batches import fit_normalization, steps_per_epoch, training_batches
from sel_edge.pretrain.recipe import load_recipe


def numbered(count: int) -> Dataset:
    """Images that carry their own index."""
    images = np.zeros((count, 4, 4, 3), dtype=np.uint8)
    images[:, :, :, 0] = (np.arange(count) % 251)[:, None, None]
    return Dataset(images, np.arange(count, dtype=np.int64) % 2, ("a", "b"))


@given(count=st.integers(4, 150), batch=st.integers(2, 64), first=st.integers(0, 5))
def test_an_epoch_shows_every_image_once_and_can_be_entered_anywhere(count, batch, first):
    recipe = load_recipe("dense", [f"batch_size = {batch}", "crop_padding = 0", "flip = false"])
    data, pool = numbered(count), np.arange(count)
    whole = list(training_batches(data, pool, recipe, 1, 0, 0))
    assert len(whole) == steps_per_epoch(count, batch)
    seen = np.concatenate([images[:, 0, 0, 0] for images, *_ in whole])
    assert count - len(seen) == (1 if count % batch == 1 else 0)
    assert len(set(seen.tolist())) == len(seen)
    later = list(training_batches(data, pool, recipe, 1, 0, first))
    assert len(later) == max(0, len(whole) - first)
    for (a, *_), (b, *_) in zip(whole[first:], later, strict=True):
        np.testing.assert_array_equal(a, b)


def test_epochs_differ():
    recipe = load_recipe("dense")
    data, pool = numbered(100), np.arange(100)
    first, second = (next(iter(training_batches(data, pool, recipe, 1, e, 0)))[0] for e in (0, 1))
    assert not np.array_equal(first, second)


def test_normalized_training_images_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
    data = Dataset(images, np.arange(50, dtype=np.int64) % 2, ("a", "b"))
    x = fit_normalization(data)(images, torch.device("cpu"))
    assert x.shape == (50, 3, 6, 5) and x.dtype == torch.float32
    assert x.mean(dim=(0, 2, 3)).numpy() == pytest.approx(np.zeros(3), abs=1e-4)
    assert x.std(dim=(0, 2, 3), correction=0).numpy() == pytest.approx(np.ones(3), abs=1e-4)
