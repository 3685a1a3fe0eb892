"""The engine against the same network in numpy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle, write_bundle
from sel_edge.core.errors import BundleError, DataError
from sel_edge.runtime.engine import MAX_BATCH, Engine
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
