"""The engine against the same network in numpy."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle, write_bundle
from sel_edge.core.errors import BundleError, ConfigError, DataError
from sel_edge.core.frames import Frames
from sel_edge.runtime.engine import MAX_BATCH, Engine
from sel_edge.runtime.moments import input_moments
from sel_edge.runtime.preprocess import Preprocessor
from sel_edge.runtime.session import Session
from sel_edge.runtime.step_inputs import differing
from tests.runtime import trainable
from tests.runtime.conftest import CLASSES, FILTERS, SIDE, Network, Patterns


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle, threads=1)


@pytest.mark.parametrize("n", [0, 1, MAX_BATCH - 1, MAX_BATCH, 2 * MAX_BATCH + 3])
def test_features_and_logits_are_those_of_the_network(
    engine: Engine, network: Network, patterns: Patterns, n: int
) -> None:
    images = patterns.draw(n, seed=3)[0] if n else np.zeros((0, SIDE, SIDE, 1), np.uint8)
    features, logits = engine.infer(images)
    assert features.shape == (n, FILTERS)
    assert logits.shape == (n, len(CLASSES))
    assert features.dtype == logits.dtype == np.float32
    if n:
        assert np.abs(features - network.features(images)).max() < 1e-5
        assert np.abs(logits - network.logits(images)).max() < 1e-3
    assert np.array_equal(engine.features(images), features)


def test_what_comes_out_for_an_image_does_not_depend_on_its_neighbours(
    engine: Engine, patterns: Patterns
) -> None:
    images, _ = patterns.draw(70, seed=4)
    together = engine.features(images)
    alone = np.concatenate([engine.features(image[None]) for image in images])
    assert np.abs(together - alone).max() < 1e-5


def test_the_cost_of_an_image_is_two_operations_per_multiply_accumulate(
    engine: Engine, bundle: Bundle
) -> None:
    convolution = FILTERS * 5 * 5 * SIDE * SIDE
    assert engine.forward_flops == 2 * (convolution + FILTERS * len(bundle.manifest.classes))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, SIDE, SIDE, 3), np.uint8),
        np.zeros((1, SIDE + 1, SIDE, 1), np.uint8),
        np.zeros((1, SIDE, SIDE, 1), np.float32),
        np.zeros((SIDE, SIDE, 1), np.uint8),
    ],
)
def test_images_of_another_kind_are_refused(engine: Engine, images: np.ndarray) -> None:
    with pytest.raises(DataError, match="made for uint8"):
        engine.infer(images)


def rewritten(bundle: Bundle, path: Path, **members: bytes) -> Bundle:
    """The same bundle with other members, rightly hashed."""
    names = {"graph": "infer.onnx", "weights": "weights.safetensors"}
    content = {name: bundle.member(name).read_bytes() for name in bundle.manifest.members}
    content.update({names[key]: value for key, value in members.items()})
    return write_bundle(path, replace(bundle.manifest, members={}), content)


def test_a_graph_that_is_none_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    # A length-delimited field 7 whose content is a valid message, but no graph.
    other = rewritten(bundle, tmp_path / "other", graph=b"\x3a\x02\x12\x00")
    with pytest.raises(BundleError, match="onnxruntime cannot use the graph"):
        Engine(other)


def test_a_graph_that_reads_past_the_weights_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    from safetensors.numpy import save

    weight, bias = bundle.head()
    short = save({"fc.weight": weight, "fc.bias": bias})
    with pytest.raises(BundleError, match="may read weights"):
        rewritten(bundle, tmp_path / "other", weights=short)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_network_that_answers_with_nonsense_is_refused(
    bundle: Bundle, network: Network, tmp_path: Path, value: float
) -> None:
    from safetensors.numpy import load, save

    tensors = load(bundle.member("weights.safetensors").read_bytes())
    tensors["conv.bias"] = np.full_like(network.filter_bias, value)
    diverged = rewritten(bundle, tmp_path / "other", weights=save(tensors))
    with pytest.raises(BundleError, match="not finite"):
        Engine(diverged).infer(np.zeros((2, SIDE, SIDE, 1), np.uint8))


def test_a_graph_with_other_outputs_than_the_manifest_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    shutil.copytree(bundle.path, tmp_path / "copy")
    wrong = replace(bundle.manifest, features=FILTERS + 1)
    with pytest.raises(BundleError, match="features"):
        Engine(replace(bundle, manifest=wrong))


def learned(rung: str) -> dict[str, np.ndarray]:
    """Other weights for the trainable network."""
    step, own = trainable.training(rung), trainable.bundle().parameters()
    batch = step.prepare(trainable.latents(rung))
    for _ in range(3):
        step.step(batch, trainable.labels(trainable.BATCH), learning_rate=0.1)
    return step.applied(own)


def test_loading_nothing_brings_the_bundles_network_back() -> None:
    engine, images = Engine(trainable.bundle(), threads=1), trainable.images(20)
    before = engine.infer(images)
    engine.load(learned("full"))
    assert np.abs(engine.infer(images)[1] - before[1]).max() > 0.1
    engine.load({})
    for found, expected in zip(engine.infer(images), before, strict=True):
        assert np.array_equal(found, expected)


def test_loading_replaces_what_was_loaded_before() -> None:
    engine, images = Engine(trainable.bundle(), threads=1), trainable.images(4)
    tail = learned("tail")
    engine.load(tail)
    expected = engine.infer(images)[1]
    for parameters in (learned("head"), {**trainable.bundle().parameters(), **tail}):
        engine.load(parameters)
    assert np.array_equal(engine.infer(images)[1], expected)


def test_a_pause_changes_nothing_but_memory() -> None:
    engine, images = Engine(trainable.bundle(), threads=1), trainable.images(4)
    engine.load(learned("tail"))
    expected = engine.infer(images)[1]
    for parameters in ({}, learned("tail")):
        engine.load(parameters, pause=True)
    assert np.array_equal(engine.infer(images)[1], expected)


def test_after_a_pause_that_failed_there_is_the_bundles_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, images = Engine(trainable.bundle(), threads=1), trainable.images(4)
    expected = engine.infer(images)[1]
    engine.load(learned("tail"))

    def refuse(path: Path, threads: int, parameters: dict[str, np.ndarray]) -> Session:
        if parameters:
            raise BundleError("No memory is left.", "Some is expected.", "Add some.")
        return Session(path, threads, parameters)

    monkeypatch.setattr("sel_edge.runtime.engine.Session", refuse)
    with pytest.raises(BundleError):
        engine.load(learned("tail"), pause=True)
    assert np.array_equal(engine.infer(images)[1], expected)


def test_only_what_differs_from_the_bundle_is_loaded() -> None:
    """The rest stays in the file that it is mapped from."""
    own, tail = trainable.bundle().parameters(), learned("tail")
    assert differing(trainable.bundle(), own) == {}
    assert differing(trainable.bundle(), {**own, **tail}).keys() == tail.keys()


def test_weights_that_were_loaded_may_change_afterwards() -> None:
    engine, images = Engine(trainable.bundle(), threads=1), trainable.images(4)
    parameters = learned("tail")
    engine.load(parameters)
    expected = engine.infer(images)[1]
    for value in parameters.values():
        value.fill(0)
    assert np.array_equal(engine.infer(images)[1], expected)


@pytest.mark.parametrize(
    "parameters",
    [
        {"nothing": np.zeros(3, np.float32)},
        {"fc.weight": np.zeros((5, 11), np.float32)},
        {"fc.weight": np.zeros((6, 12), np.float32)},
        {"fc.bias": np.zeros(5)},
        {"fc.bias": np.zeros(5, np.int64)},
        {"fc.bias": np.array([0, 0, np.nan, 0, 0], np.float32)},
        {"fc.bias": np.array([0, 0, np.inf, 0, 0], np.float32)},
    ],
)
def test_weights_of_another_network_are_refused_and_the_old_one_goes_on(
    parameters: dict[str, np.ndarray],
) -> None:
    engine, images = Engine(trainable.bundle(), threads=1), trainable.images(4)
    engine.load(learned("head"))
    before = engine.infer(images)[1]
    with pytest.raises(BundleError):
        engine.load({**learned("tail"), **parameters})
    assert np.array_equal(engine.infer(images)[1], before)


def test_no_frame_is_dropped_while_weights_are_loaded() -> None:
    """Another thread gets the old network's answer or the new one's, and nothing in between."""
    engine, images = Engine(trainable.bundle(), threads=1), trainable.images(2 * MAX_BATCH + 3)
    new, answers, done = learned("full"), list[np.ndarray](), threading.Event()
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            while not done.is_set():
                answers.append(engine.infer(images)[1])
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
            errors.append(error)

    old_answer = engine.infer(images)[1]
    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(15):
        engine.load(new)
        new_answer = engine.infer(images)[1]
        engine.load({})
        assert np.array_equal(engine.infer(images)[1], old_answer)
    done.set()
    thread.join()
    assert not errors
    assert answers
    for answer in answers:
        assert np.array_equal(answer, old_answer) or np.array_equal(answer, new_answer)


@pytest.mark.parametrize("rung", [*trainable.TRAINING, "norm"])
def test_latents_are_what_a_rung_starts_from(rung: str) -> None:
    shape = trainable.bundle().manifest.rungs[rung].latent_shape
    for count in (0, 1, MAX_BATCH + 1):
        found = trainable.latents(rung, count)
        assert found.shape == (count, *shape)
        assert found.dtype == np.float32


def test_latents_of_the_head_are_the_features() -> None:
    features = trainable.engine().features(trainable.images(5))
    assert np.array_equal(trainable.latents("head", 5), features)


def test_latents_for_a_rung_that_is_not_there_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="It has norm, head, tail, deep, full"):
        trainable.engine().latents(trainable.images(1), "toe")
    with pytest.raises(ConfigError, match="It has none"):
        Engine(bundle).latents(np.zeros((1, SIDE, SIDE, 1), np.uint8), "tail")


def test_moments_of_the_input_are_taken_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame is prepared once, and no more of them at a time than go through the network."""
    engine, frames = Engine(trainable.bundle(), threads=1), trainable.images(2 * MAX_BATCH + 3)
    assert trainable.bundle().manifest.moments is None
    inputs = Preprocessor(trainable.bundle().manifest.preprocessing)(frames)
    sizes, prepare = list[int](), Preprocessor.__call__

    def counted(self: Preprocessor, frames: Frames) -> np.ndarray:
        sizes.append(len(frames))
        return prepare(self, frames)

    monkeypatch.setattr(Preprocessor, "__call__", counted)
    found = engine.observe(frames).moments
    assert sizes == [MAX_BATCH, MAX_BATCH, 3]
    np.testing.assert_array_equal(found, input_moments(inputs))
    assert engine.observe(frames[:0]).moments.shape == (0, *found.shape[1:])


def test_the_peak_of_memory_is_that_of_the_process() -> None:
    program = (
        "from sel_edge.runtime.engine import peak_memory_bytes as peak; before = peak();"
        "bytearray(b'1' * 2**26); print(peak() - before)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 2**26 <= int(found.stdout) < 2**28
