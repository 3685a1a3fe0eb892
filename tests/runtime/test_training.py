"""Training steps: what they learn, what they leave alone, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sel_edge.bundle.bundle import Bundle, write_bundle
from sel_edge.core.errors import BundleError, ConfigError, DataError, DivergenceError
from sel_edge.runtime import training as training_module
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.session import Binding, Buffer, Session
from sel_edge.runtime.training import StepResult, TrainingStep
from tests.runtime.trainable import (
    BATCH,
    CLASSES,
    HEAD,
    SPARSE,
    TRAINING,
    Arrays,
    bundle,
    channels,
    engine,
    images,
    labels,
    latents,
    same,
    training,
)

MOMENTUM = 0.9
CONV = "body.2.conv2.weight"


def run(step: TrainingStep, times: int, learning_rate: float = 0.05) -> list[StepResult]:
    """Some steps on the first batch."""
    rung = next(name for name, r in bundle().manifest.rungs.items() if r is step.rung)
    batch = step.prepare(latents(rung))
    return [step.step(batch, labels(BATCH), learning_rate=learning_rate) for _ in range(times)]


def once(step: TrainingStep, rung: str, **changed: Any) -> StepResult:
    """One step on the first batch, with other arguments where they are given."""
    batch = step.prepare(changed.pop("latents", latents(rung)))
    arguments = {"labels": labels(BATCH), "learning_rate": 0.05, **changed}
    return step.step(batch, **arguments)


def gradient(rung: str, parameters: Arrays | None = None, **batch: Any) -> dict[str, np.ndarray]:
    """Of the first step at these parameters, which has no momentum yet."""
    step = training(rung, parameters)
    before = step.rows()
    once(step, rung, learning_rate=1.0, **batch)
    return {name: before[name] - after for name, after in step.rows().items()}


def copies(parameters: Arrays) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in parameters.items()}


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
        assert same(vars(result), vars(again))
    assert same(one.rows(), other.rows())


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


BAD_TARGETS: dict[str, dict[str, Any]] = {
    "label below 0": {"labels": np.array([-1] + [0] * (BATCH - 1))},
    "label of no class": {"labels": np.array([CLASSES] + [0] * (BATCH - 1))},
    "too few labels": {"labels": np.zeros(BATCH - 1, np.int64)},
    "a table of labels": {"labels": np.zeros((BATCH, 1), np.int64)},
    "labels that are no integers": {"labels": np.zeros(BATCH, np.float32)},
    "a negative weight": {"weights": np.array([-1.0] + [1.0] * (BATCH - 1))},
    "a weight that is no number": {"weights": np.array([np.nan] + [1.0] * (BATCH - 1))},
    "an infinite weight": {"weights": np.array([np.inf] + [1.0] * (BATCH - 1))},
    "a weight above float32": {"weights": np.array([1e39] + [1.0] * (BATCH - 1))},
    "no weight above 0": {"weights": np.zeros(BATCH, np.float32)},
    "no weight above 0 as float32": {"weights": np.full(BATCH, 1e-60)},
    "too many weights": {"weights": np.ones(BATCH + 1, np.float32)},
    "no learning rate": {"learning_rate": np.nan},
    "an infinite learning rate": {"learning_rate": np.inf},
    "a learning rate above float32": {"learning_rate": 1e39},
    "temperature 0": {"temperature": 0.0},
    "temperature 0 as float32": {"temperature": 1e-60},
    "a negative temperature": {"temperature": -1.5},
    "no temperature": {"temperature": np.nan},
    "an infinite temperature": {"temperature": np.inf},
}


def latent(change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    return {"latents": change(latents("tail"))}


def with_number(number: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[3, 2, 1, 0] = number
        return array

    return change


BAD_BATCHES = {
    "not a number": latent(with_number(np.nan)),
    "infinite": latent(with_number(-np.inf)),
    "float64": latent(lambda x: x.astype(np.float64)),
    "another shape": latent(lambda x: x[:, 1:]),
    "flat": latent(lambda x: x.reshape(BATCH, -1)),
    "one sample without a batch": latent(lambda x: x[0]),
    "a single number": latent(lambda x: x[0, 0, 0, 0]),
    "empty": latent(lambda x: x[:0]),
    "too many": latent(lambda x: np.concatenate([x, x])),
}


@pytest.mark.parametrize(
    "changed", (BAD_TARGETS | BAD_BATCHES).values(), ids=BAD_TARGETS | BAD_BATCHES
)
def test_what_a_step_cannot_use_is_refused_before_anything_is_computed(
    changed: dict[str, Any],
) -> None:
    step, twin = training("tail"), training("tail")
    run(step, 2)
    run(twin, 2)
    with pytest.raises(DataError):
        once(step, "tail", **changed)
    assert same(step.rows(), twin.rows())
    assert step.steps == twin.steps
    assert same(vars(once(step, "tail")), vars(once(twin, "tail")))
    assert same(step.rows(), twin.rows())


@pytest.mark.parametrize("rung", TRAINING)
def test_an_update_that_is_not_finite_is_thrown_away(rung: str) -> None:
    step, twin = training(rung), training(rung)
    run(step, 2)
    run(twin, 2)
    with pytest.raises(DivergenceError, match="not finite"):
        once(step, rung, learning_rate=3e38, temperature=1e-3)
    assert same(step.rows(), twin.rows())
    assert step.steps == twin.steps
    once(step, rung)
    once(twin, rung)
    assert same(step.rows(), twin.rows())  # the optimizer's state has not suffered either


def choose(weight: str, chosen: Any) -> dict[str, Any]:
    return {**channels("tail"), weight: chosen}


BAD_CHANNELS = {
    "below 0": choose(CONV, np.array([0, 1, -1])),
    "above the last": choose(CONV, np.array([0, 1, 12])),
    "repeated": choose(CONV, np.array([0, 1, 1])),
    "too few": choose(CONV, np.array([0, 1])),
    "too many": choose(CONV, np.array([0, 1, 2, 3])),
    "none": choose(CONV, np.array([], np.int64)),
    "floats": choose(CONV, np.array([0.0, 1.0, 2.0])),
    "flags": choose(CONV, np.array([True, False, True])),
    "a table": choose(CONV, np.array([[0, 1, 2]])),
    "of other layers": {HEAD: np.array([0, 1, 2])},
    "nothing at all": {},
}


@pytest.mark.parametrize("chosen", BAD_CHANNELS.values(), ids=BAD_CHANNELS)
def test_channels_that_cannot_be_chosen_are_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="channels chosen of body"):
        training("tail", chosen=chosen)


@pytest.mark.parametrize("chosen", [{}, {HEAD: np.array([0, 0])}, {HEAD: np.array([CLASSES])}])
def test_classes_that_cannot_be_chosen_are_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="channels chosen of fc"):
        training("head", chosen=chosen)


def test_a_layer_takes_the_channels_of_the_one_it_follows() -> None:
    expansion, depthwise = "body.1.layers.0.weight", "body.1.layers.3.weight"
    chosen = channels("deep")
    assert depthwise not in chosen
    found = training("deep", chosen=chosen).channels
    assert np.array_equal(found[depthwise], chosen[expansion])


@pytest.mark.parametrize("rung", ["norm", "toe"])
def test_a_rung_that_takes_no_steps_is_refused(rung: str) -> None:
    with pytest.raises(ConfigError, match="It has head, tail, deep, full"):
        TrainingStep(bundle(), rung, bundle().parameters())


def test_a_bundle_without_rungs_trains_none(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="It has none"):
        TrainingStep(bundle, "tail", bundle.parameters())


def spoilt(name: str, change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    found = copies(bundle().parameters())
    return {**found, name: change(found[name])}


BAD_PARAMETERS = {
    "another shape": spoilt(CONV, lambda w: w[:, 1:]),
    "fewer rows": spoilt(CONV, lambda w: w[1:]),
    "a flat weight": spoilt(CONV, lambda w: w.ravel()),
    "a longer bias": spoilt("body.2.conv2.bias", lambda b: np.append(b, b[:1])),
    "float64": spoilt(CONV, lambda w: w.astype(np.float64)),
    "not a number": spoilt(CONV, lambda w: np.where(w == w[0, 0, 0, 0], np.float32(np.nan), w)),
    "infinite": spoilt("body.2.conv2.bias", lambda b: b + np.float32(np.inf)),
    "a classifier of other length": spoilt(HEAD, lambda w: w[1:]),
    "missing": {n: v for n, v in bundle().parameters().items() if n != CONV},
    "none": {},
}


@pytest.mark.parametrize("rung", ["tail", "full"])
@pytest.mark.parametrize("parameters", BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_parameters_of_another_network_are_refused(rung: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"The parameter .* is"):
        training(rung, parameters)


def test_parameters_that_a_rung_does_not_need_may_be_missing() -> None:
    needed = {n: v for n, v in bundle().parameters().items() if n.startswith(("body.2", "fc"))}
    some, every = training("tail", needed), training("tail")
    run(some, 1)
    run(every, 1)
    assert same(some.rows(), every.rows())


def test_a_step_that_trains_something_else_than_the_manifest_says_is_refused(
    tmp_path: Path,
) -> None:
    made = bundle()
    members = {name: made.member(name).read_bytes() for name in made.manifest.members}
    members["tail.step.onnx"] = members["deep.step.onnx"]
    wrong = write_bundle(tmp_path / "wrong", replace(made.manifest, members={}), members)
    with pytest.raises(BundleError, match="does not train what the manifest says"):
        TrainingStep(wrong, "tail", wrong.parameters(), channels("tail"))
