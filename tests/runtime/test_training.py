"""Training steps: what they learn, what they leave alone, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sel_edge.runtime import training as training_module
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.session import Binding, Buffer, Session
from tests.runtime.trainable import (
    BATCH,
    CLASSES,
    HEAD,
    SPARSE,
    TRAINING,
    Arrays,
    bundle,
    channels,
    copies,
    engine,
    images,
    labels,
    latents,
    once,
    run,
    same,
    told,
    training,
)

MOMENTUM = 0.9
CONV = "body.2.conv2.weight"


def gradient(rung: str, parameters: Arrays | None = None, **batch: Any) -> dict[str, np.ndarray]:
    """Of the first step at these parameters, which has no momentum yet."""
    step = training(rung, parameters)
    before = step.rows()
    once(step, rung, learning_rate=1.0, **batch)
    return {name: before[name] - after for name, after in step.rows().items()}


@pytest.mark.parametrize("rung", TRAINING)
def test_every_rung_learns_a_batch(rung: str) -> None:
    losses = [result.loss.mean() for result in run(training(rung), 30)]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("rung", TRAINING)
def test_a_step_sees_what_the_engine_sees(rung: str) -> None:
    """Its logits are the network's and its losses their cross-entropy at temperature 1.5."""
    result = once(training(rung), rung)
    logits = engine().infer(images(BATCH))[1].astype(np.float64)
    np.testing.assert_allclose(result.logits, logits, atol=1e-4)
    scores = logits / 1.5
    expected = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(BATCH), labels(BATCH)]
    np.testing.assert_allclose(result.loss, expected, atol=1e-4)


@pytest.mark.parametrize("rung", TRAINING)
def test_the_engine_goes_on_with_what_was_learned(rung: str) -> None:
    step, adapting = training(rung), Engine(bundle(), threads=1)
    run(step, 10)
    adapting.load(step.applied(bundle().parameters()))
    result = once(step, rung, learning_rate=0.0)
    learned = adapting.infer(images(BATCH))[1]
    np.testing.assert_allclose(learned, result.logits, atol=1e-4)
    assert np.abs(learned - engine().infer(images(BATCH))[1]).max() > 0.1


@settings(max_examples=15)
@given(rung=st.sampled_from(SPARSE), seed=st.integers(0, 2**32 - 1))
def test_only_chosen_channels_change_and_those_do(rung: str, seed: int) -> None:
    before = copies(bundle().parameters())
    chosen = channels(rung, seed)
    step = training(rung, before, chosen)
    run(step, 3)
    after = step.applied(before)
    assert same(before, bundle().parameters())
    layers = step.rung.layers
    assert set(after) == {name for layer in layers for name in (layer.weight, layer.bias)}
    for layer in layers:
        for name in (layer.weight, layer.bias):
            changed = (after[name] != before[name]).reshape(len(after[name]), -1).any(axis=1)
            assert not set(np.flatnonzero(changed)) - set(chosen[layer.follows])
    assert any((after[layer.weight] != before[layer.weight]).any() for layer in layers)


def test_every_chosen_channel_of_the_tail_changes() -> None:
    step = training("tail")
    run(step, 1)
    after, before = step.applied(bundle().parameters()), bundle().parameters()
    for layer in step.rung.layers:
        changed = (after[layer.weight] != before[layer.weight]).any(axis=(1, 2, 3))
        assert set(np.flatnonzero(changed)) == set(channels("tail")[layer.weight])


def test_what_lies_before_the_cut_stays_bit_for_bit() -> None:
    """Loading a tail leaves the latents it starts from; loading a head leaves the features and
    the logits of all other classes."""
    tail, head = training("tail"), training("head")
    run(tail, 5)
    run(head, 5)
    adapting, before = Engine(bundle(), threads=1), engine().infer(images(BATCH))
    adapting.load(tail.applied(bundle().parameters()))
    assert np.array_equal(adapting.latents(images(BATCH), "tail"), latents("tail"))
    assert not np.array_equal(adapting.features(images(BATCH)), before[0])
    adapting.load(head.applied(bundle().parameters()))
    features, logits = adapting.infer(images(BATCH))
    assert np.array_equal(features, before[0])
    changed = (logits != before[1]).any(axis=0)
    assert set(np.flatnonzero(changed)) == set(channels("head")[HEAD])


@pytest.mark.parametrize("rung", TRAINING)
def test_the_same_steps_end_in_the_same_bits(rung: str) -> None:
    one, other = training(rung), training(rung)
    for result, again in zip(run(one, 4), run(other, 4), strict=True):
        assert same(told(result), told(again))
    assert same(one.rows(), other.rows())


@pytest.mark.parametrize("rung", TRAINING)
def test_after_a_reset_the_same_steps_end_in_the_same_bits(rung: str) -> None:
    step = training(rung)
    first, rows = run(step, 4), step.rows()
    step.reset(bundle().parameters())
    assert same(step.rows(), training(rung).rows())
    for result, again in zip(first, run(step, 4), strict=True):
        assert same(told(result), told(again))
    assert same(step.rows(), rows)


@pytest.mark.parametrize("rung", TRAINING)
def test_a_look_shows_what_the_network_sees_and_changes_nothing(rung: str) -> None:
    step, other = training(rung), training(rung)
    run(step, 3)
    run(other, 3)
    seen = step.look(step.prepare(latents(rung)))
    assert seen.features is None  # the bundle is older than that
    assert same(step.rows(), other.rows())
    results = run(step, 2)
    np.testing.assert_array_equal(seen.logits, results[0].logits)
    for result, again in zip(results, run(other, 2), strict=True):
        assert same(told(result), told(again))


@pytest.mark.parametrize("rung", TRAINING)
def test_steps_in_turn_are_momentum_on_the_gradients_of_each(rung: str) -> None:
    """v' = 0.9 v + g, w' = w - rate v', with g from steps that begin anew at each w."""
    rate, step = 0.01, training(rung)
    now, expected = copies(bundle().parameters()), step.rows()
    velocity = {name: np.zeros_like(value) for name, value in expected.items()}
    for _ in range(4):
        found = gradient(rung, now)
        velocity = {name: MOMENTUM * v + found[name] for name, v in velocity.items()}
        expected = {name: rows - rate * velocity[name] for name, rows in expected.items()}
        run(step, 1, learning_rate=rate)
        for name, rows in step.rows().items():
            np.testing.assert_allclose(rows, expected[name], atol=1e-5)
        now |= step.applied(now)


@pytest.mark.parametrize("rung", TRAINING)
def test_a_step_of_rate_zero_changes_no_weight(rung: str) -> None:
    step = training(rung)
    before = step.rows()
    for _ in range(3):
        run(step, 1, learning_rate=0.0)
        assert same(step.rows(), before)


class Recording(Session):
    """Remembers which buffers graphs were tied to."""

    bound: ClassVar[list[tuple[Mapping[str, Buffer], Mapping[str, Buffer]]]] = []

    def bind(self, inputs: Mapping[str, Buffer], outputs: Mapping[str, Buffer]) -> Binding:
        self.bound.append((inputs, outputs))
        return super().bind(inputs, outputs)


@pytest.mark.parametrize("rung", TRAINING)
def test_a_step_writes_every_number_beside_those_it_reads(
    rung: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No weight goes straight from an input to an output: onnxruntime #21922."""
    monkeypatch.setattr(training_module, "Session", Recording)
    monkeypatch.setattr(Recording, "bound", [])
    step = training(rung)
    assert len(Recording.bound) == 2
    for inputs, outputs in Recording.bound:
        read = {buffer.array.ctypes.data for buffer in inputs.values()}
        assert not read & {buffer.array.ctypes.data for buffer in outputs.values()}
        kept = {name: buffer.array.copy() for name, buffer in inputs.items()}
        for buffer in outputs.values():
            buffer.array.fill(np.nan)
        run(step, 1, learning_rate=0.0)
        assert all(np.isfinite(buffer.array).all() for buffer in outputs.values())
        trained = [name.removeprefix("new/") for name in outputs if name.startswith("new/")]
        for name in trained:
            assert np.array_equal(inputs[name].array, kept[name])


def test_rows_are_copies() -> None:
    step = training("tail")
    for value in step.rows().values():
        value.fill(0)
    assert same(step.rows(), training("tail").rows())


@pytest.mark.parametrize("rung", TRAINING)
def test_places_left_over_in_a_batch_weigh_nothing(rung: str) -> None:
    """A short batch gives what a full one gives whose other samples weigh nothing."""
    short, full, n = training(rung), training(rung), BATCH - 3
    weights = np.linspace(0.5, 2.0, n, dtype=np.float32)
    found = once(short, rung, latents=latents(rung, n), labels=labels(n), weights=weights)
    padded = np.concatenate([weights, np.zeros(BATCH - n, np.float32)])
    expected = once(full, rung, weights=padded)
    assert found.loss.shape == (n,) and found.logits.shape == (n, CLASSES)
    np.testing.assert_allclose(found.loss, expected.loss[:n], rtol=1e-5)
    for name, rows in full.rows().items():
        np.testing.assert_allclose(short.rows()[name], rows, rtol=1e-5, atol=1e-6)


def test_a_short_batch_sees_nothing_of_the_full_one_before_it() -> None:
    short = {"latents": latents("tail", 2), "labels": labels(2)}
    step = training("tail")
    before = step.rows()
    once(step, "tail", learning_rate=0.0)
    once(step, "tail", learning_rate=0.1, **short)
    first, second = gradient("tail"), gradient("tail", **short)
    for name, rows in step.rows().items():
        expected = before[name] - 0.1 * (MOMENTUM * first[name] + second[name])
        np.testing.assert_allclose(rows, expected, atol=1e-5)


@settings(max_examples=15)
@given(
    weights=arrays(np.float32, BATCH, elements=st.floats(0, 100, width=32)).filter(np.any),
    factor=st.sampled_from([0.25, 4.0, 64.0]),
)
def test_sample_weights_count_in_relation_to_each_other(weights: np.ndarray, factor: float) -> None:
    one, scaled, other = training("head"), training("head"), training("head")
    once(one, "head", weights=weights)
    once(scaled, "head", weights=weights * np.float32(factor))
    swapped = np.where(weights > 0, labels(BATCH), (labels(BATCH) + 1) % CLASSES)
    once(other, "head", weights=weights, labels=swapped)
    for name, rows in one.rows().items():
        np.testing.assert_allclose(scaled.rows()[name], rows, rtol=1e-5, atol=1e-6)
    assert same(other.rows(), one.rows())  # whatever weighs nothing may be anything


def test_a_class_that_was_learned_since_can_be_trained() -> None:
    """The classifier's rows are counted when the step is made."""
    parameters = copies(bundle().parameters())
    for name in (HEAD, "fc.bias"):
        parameters[name] = np.concatenate([parameters[name], parameters[name][:1]])
    step = training("head", parameters, {HEAD: np.array([0, CLASSES])})
    new = np.full(BATCH, CLASSES)
    losses = [once(step, "head", labels=new).loss.mean() for _ in range(10)]
    assert losses[-1] < losses[0]
    assert step.applied(parameters)[HEAD].shape == (CLASSES + 1, 12)
