"""Batches: everything once per epoch, the same from any step on, the same for any processes."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.data.dataset import Dataset
from sel_edge.pretrain import batches
from sel_edge.pretrain.batches import (
    Batch,
    Normalization,
    Order,
    Resident,
    fit_normalization,
    moves_of,
    steps_per_epoch,
)
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.ranks import Ranks
from sel_edge.pretrain.recipe import load_recipe

FP32 = Arithmetic(torch.device("cpu"), "fp32")
AS_THEY_ARE = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@given(st.integers(1, 300), st.integers(0, 80))
def test_parts_are_the_whole_batch_in_order(frames, size):
    numbers = torch.arange(frames)
    batch = Batch(numbers[:, None].float(), numbers + 1, numbers + 2, 999)
    parts = batch.parts(size)
    assert torch.equal(torch.cat([part.x for part in parts])[:, 0], numbers.float())
    assert torch.equal(torch.cat([part.labels for part in parts]), numbers + 1)
    assert torch.equal(torch.cat([part.chosen for part in parts]), numbers + 2)
    assert {part.images for part in parts} == {999}
    sizes = [len(part.labels) for part in parts]
    assert len(parts) == 1 or size <= min(sizes) <= max(sizes) < 2 * size


def numbered(count: int) -> Resident:
    """Images that carry their own index."""
    images = np.zeros((count, 4, 4, 3), dtype=np.uint8)
    images[:, :, :, 0] = (np.arange(count) % 251)[:, None, None]
    data = Dataset(images, np.arange(count, dtype=np.int64) % 2, ("a", "b"))
    return Resident(data, AS_THEY_ARE, FP32)


@given(count=st.integers(4, 150), batch=st.integers(2, 64), first=st.integers(0, 5))
def test_an_epoch_shows_every_image_once_and_can_be_entered_anywhere(count, batch, first):
    recipe = load_recipe("dense", [f"batch_size = {batch}", "crop_padding = 0", "flip = false"])
    split, pool = numbered(count), np.arange(count)
    whole = list(Order(split, pool, recipe, 1, 0).batches(0))
    assert len(whole) == steps_per_epoch(count, batch)
    seen = np.concatenate([step.chosen.numpy() for step in whole])
    assert count - len(seen) == (1 if count % batch == 1 else 0)
    assert len(set(seen.tolist())) == len(seen)
    for step in whole:
        assert torch.equal((step.x[:, 0, 0, 0] * 255).round().long(), step.chosen % 251)
        assert torch.equal(step.labels, step.chosen % 2)
        assert step.images == len(step.chosen)
    later = list(Order(split, pool, recipe, 1, 0).batches(first))
    assert len(later) == max(0, len(whole) - first)
    for one, other in zip(whole[first:], later, strict=True):
        assert torch.equal(one.x, other.x)


@given(count=st.integers(8, 90), batch=st.integers(8, 40), world=st.integers(2, 4))
def test_several_processes_share_the_steps_of_one(count, batch, world):
    recipe = load_recipe("dense", [f"batch_size = {batch}", "crop_padding = 1"])
    split, pool = numbered(count), np.arange(count)
    alone = list(Order(split, pool, recipe, 1, 0).batches(0))
    shares = [
        list(Order(split, pool, recipe, 1, 0, Ranks(rank, world)).batches(0))
        for rank in range(world)
    ]
    assert {len(share) for share in shares} == {steps_per_epoch(count, batch, world)}
    for whole, *parts in zip(alone, *shares, strict=False):
        assert sum(len(part.chosen) for part in parts) == whole.images == parts[0].images
        assert min(len(part.chosen) for part in parts) >= 2
        for rank, part in enumerate(parts):
            assert torch.equal(part.chosen, whole.chosen[rank::world])
            assert torch.equal(part.x, whole.x[rank::world])


@given(count=st.integers(2, 60), epoch=st.integers(0, 5), seed=st.integers(0, 99))
def test_two_epochs_in_turn_show_every_image_both_ways(count, epoch, seed):
    recipe = load_recipe("dense", ["flip_in_turn = true", "crop_padding = 0"])
    images = np.zeros((count, 4, 4, 3), dtype=np.uint8)
    images[:, :, 0] = 255
    split = Resident(Dataset(images, np.arange(count) % 2, ("a", "b")), AS_THEY_ARE, FP32)
    mirrored = []
    for number in (epoch, epoch + 1):
        seen = torch.full((count,), -1.0)
        for batch in Order(split, np.arange(count), recipe, seed, number).batches(0):
            seen[batch.chosen] = batch.x[:, 0, 0, -1]
        mirrored.append(seen)
    first, second = mirrored
    shown = (first >= 0) & (second >= 0)  # a last batch of one image is left out
    assert torch.equal(first[shown], 1 - second[shown]) and shown.sum() >= count - 2
    if count >= 30:
        assert 0 < first[shown].mean() < 1


def test_whose_turn_it_is_to_be_mirrored_does_not_depend_on_who_else_is_chosen():
    recipe, split = load_recipe("dense", ["flip_in_turn = true"]), numbered(40)
    chosen, rng = np.arange(40), np.random.default_rng(0)
    turns = [moves_of(split, chosen, recipe, 1, turn, rng).mirrored for turn in range(3)]
    assert torch.equal(turns[0], ~turns[1]) and torch.equal(turns[0], turns[2])
    some = moves_of(split, chosen[5:9], recipe, 1, 0, rng).mirrored
    assert torch.equal(some, turns[0][5:9])


def test_epochs_differ():
    recipe = load_recipe("dense")
    split, pool = numbered(100), np.arange(100)
    first, second = (next(iter(Order(split, pool, recipe, 1, e).batches(0))).x for e in (0, 1))
    assert not torch.equal(first, second)


def test_normalized_training_images_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
    data = Dataset(images, np.arange(50, dtype=np.int64) % 2, ("a", "b"))
    x = fit_normalization(data).of_arrays(images)
    assert x.shape == (50, 3, 6, 5) and x.dtype == torch.float32
    assert x.mean(dim=(0, 2, 3)).numpy() == pytest.approx(np.zeros(3), abs=1e-4)
    assert x.std(dim=(0, 2, 3), correction=0).numpy() == pytest.approx(np.ones(3), abs=1e-4)


def test_mean_and_deviation_need_little_memory_beside_the_data(monkeypatch):
    """Data may fill half of the memory."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1000, 32, 32, 1), dtype=np.uint8)
    signals = rng.normal(3, 2, (1000, 2, 500)).astype(np.float32)
    monkeypatch.setattr(batches, "SLICE_VALUES", 20_000)
    for frames, scale in ((images, 255), (signals, 1)):
        data = Dataset(frames, np.arange(1000, dtype=np.int64) % 2, ("a", "b"))
        tracemalloc.start()
        found = fit_normalization(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < frames.nbytes / 2
        by_channel = np.moveaxis(frames, 3 if frames.ndim == 4 else 1, 0) / scale
        every = tuple(range(1, frames.ndim))
        assert found.mean == pytest.approx(by_channel.mean(axis=every, dtype=np.float64))
        assert found.std == pytest.approx(by_channel.std(axis=every, dtype=np.float64))


def test_frames_come_in_the_layout_of_the_arithmetic():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    data = Dataset(images, np.zeros(6, dtype=np.int64), ("a",))
    last = Arithmetic(torch.device("cpu"), "fp32", "channels-last")
    plain, placed = (Resident(data, AS_THEY_ARE, a).frames(slice(1, 4)) for a in (FP32, last))
    assert torch.equal(plain, placed)
    assert plain.is_contiguous()
    assert placed.is_contiguous(memory_format=torch.channels_last)


@given(count=st.integers(2, 150), batch=st.integers(2, 64))
def test_batches_of_one_size_leave_the_rest_of_an_epoch_out(count, batch):
    recipe, split = load_recipe("dense", [f"batch_size = {batch}"]), numbered(count)
    sizes = [
        step.images for step in Order(split, np.arange(count), recipe, 1, 0, full=True).batches(0)
    ]
    assert sizes == ([batch] * (count // batch) or [count])
