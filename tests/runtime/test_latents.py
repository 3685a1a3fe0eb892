"""Latents in eight bits, and batches that are made ready once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sel_edge.runtime.latents import Batches, Latents
from sel_edge.runtime.training import TrainingStep
from tests.runtime.trainable import BATCH, TRAINING, bundle, labels, latents, same, training

SAMPLES = 2 * BATCH + 3
EPSILON = np.finfo(np.float32).eps
NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=4), elements=NUMBERS))
def test_eight_bits_are_off_by_half_a_scale_at_most(values: np.ndarray) -> None:
    """And by what float32 rounds."""
    found = Latents.of(values)
    assert found.values.dtype == np.int8 and found.values.shape == values.shape
    assert len(found) == len(values)
    back = found.floats(0, len(values))
    assert back.dtype == np.float32 and back.shape == values.shape
    flat = np.abs(values.astype(np.float64)).reshape(len(values), -1)
    bound = found.scale.astype(np.float64) / 2 * (1 + 1e-4) + 4 * EPSILON * flat.max(axis=1)
    error = np.abs(back.astype(np.float64) - values).reshape(len(values), -1).max(axis=1)
    assert (error <= bound).all()


@given(arrays(np.float32, (3, 5), elements=NUMBERS))
def test_a_sample_does_not_depend_on_its_neighbours(values: np.ndarray) -> None:
    together = Latents.of(values)
    for index in range(3):
        alone = Latents.of(values[index : index + 1])
        assert np.array_equal(alone.floats(0, 1), together.floats(index, index + 1))


@given(NUMBERS, st.integers(1, 9))
def test_what_is_constant_comes_back_as_it_was(number: float, count: int) -> None:
    values = np.full((2, count), number, np.float32)
    assert np.array_equal(Latents.of(values).floats(0, 2), values)


def test_latents_take_a_quarter_of_the_memory() -> None:
    values = latents("tail", SAMPLES)
    found = Latents.of(values)
    assert found.nbytes == values.nbytes // 4 + 8 * SAMPLES


def sums(step: TrainingStep, batches: Batches) -> list[float]:
    """Losses of three rounds through all batches."""
    found = []
    for _ in range(3):
        for index in range(len(batches)):
            answers = labels(SAMPLES)[batches.samples(index)]
            result = step.step(batches[index], answers, learning_rate=0.05)
            found.append(float(result.loss.sum()))
    return found


@pytest.mark.parametrize("rung", TRAINING)
def test_the_cache_changes_time_and_nothing_else(rung: str) -> None:
    steps = [training(rung) for _ in range(3)]
    samples = Latents.of(latents(rung, SAMPLES))
    one = steps[0].prepare(samples.floats(0, BATCH)).nbytes
    sizes = (0, one, 10 * one)
    caches = [
        Batches(step, samples, cache_bytes) for step, cache_bytes in zip(steps, sizes, strict=True)
    ]
    losses = [sums(step, batches) for step, batches in zip(steps, caches, strict=True)]
    assert losses[0] == losses[1] == losses[2]
    assert same(steps[0].rows(), steps[1].rows()) and same(steps[0].rows(), steps[2].rows())
    assert [batches.held_bytes for batches in caches] == [0, one, 3 * one]


@pytest.mark.parametrize("rung", TRAINING)
def test_what_a_batch_holds_is_what_the_manifest_says(rung: str) -> None:
    batch = training(rung).prepare(latents(rung))
    assert batch.nbytes == sum(buffer.array.nbytes for buffer in batch.buffers.values())
    stated = bundle().manifest.rungs[rung].cache_bytes
    # The head's contributions grow with the classes that are not chosen: the manifest counts all.
    assert batch.nbytes <= stated if rung == "head" else batch.nbytes == stated


def test_ready_batches_are_kept_and_dropped_when_memory_is_tight() -> None:
    step = training("tail")
    batches = Batches(step, Latents.of(latents("tail", SAMPLES)), 2**20)
    ready = [batches[index] for index in range(3)]
    assert all(batches[index] is batch for index, batch in enumerate(ready))
    one = ready[0].nbytes
    batches.shrink(2 * one)
    assert batches.held_bytes == 2 * one
    assert sum(batches[index] is batch for index, batch in enumerate(ready)) == 2
    batches.shrink(0)
    assert batches.held_bytes == 0
    assert batches[0] is not batches[0]


def test_batches_cover_the_samples_in_order() -> None:
    batches = Batches(training("head"), Latents.of(latents("head", SAMPLES)), 0)
    places = [batches.samples(index) for index in range(len(batches))]
    assert [(place.start, place.stop) for place in places] == [(0, 8), (8, 16), (16, 19)]
    assert [batch.samples for batch in batches] == [8, 8, 3]  # and iteration comes to an end


@pytest.mark.parametrize("index", [3, -4])
def test_there_is_no_batch_beyond_the_last(index: int) -> None:
    batches = Batches(training("head"), Latents.of(latents("head", SAMPLES)), 0)
    with pytest.raises(IndexError):
        batches[index]
