"""Training steps: what they refuse, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle, write_bundle
from sel_edge.core.errors import BundleError, ConfigError, DataError, DivergenceError
from sel_edge.runtime.training import TrainingStep
from tests.runtime.trainable import (
    BATCH,
    CLASSES,
    HEAD,
    TRAINING,
    bundle,
    channels,
    copies,
    labels,
    latents,
    once,
    run,
    same,
    told,
    training,
)

CONV = "body.2.conv2.weight"


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
    assert same(told(once(step, "tail")), told(once(twin, "tail")))
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


def test_a_batch_made_ready_for_another_step_is_refused() -> None:
    """Its frozen channels are others, though every shape fits."""
    other = TrainingStep(bundle(), "tail", bundle().parameters(), channels("tail"))
    batch = other.prepare(latents("tail"))
    step = training("tail")
    before = step.rows()
    with pytest.raises(DataError, match="another training step"):
        step.step(batch, labels(BATCH), learning_rate=0.1)
    assert same(before, step.rows())
