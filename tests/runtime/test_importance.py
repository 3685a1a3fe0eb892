"""Scores of channels, run by the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.core.errors import ConfigError, DataError
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.importance import Importance

FROZEN = Path(__file__).parents[1] / "frozen" / "bundle-v2"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(FROZEN)


def scores(bundle: Bundle, count: int, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    anchors = bundle.anchors()
    latents = Engine(bundle, 1).latents(anchors.frames[:count], "tail")
    importance = Importance(bundle, "tail", bundle.parameters(), 1)
    return importance.of(latents, anchors.labels[:count], weights)


def test_every_channel_of_every_layer_has_a_score(bundle: Bundle) -> None:
    found = scores(bundle, 2)
    for layer in bundle.manifest.rungs["tail"].layers:
        assert found[layer.weight].shape == bundle.parameter(layer.bias).shape
        assert (found[layer.weight] >= 0).all() and found[layer.weight].any()


def test_samples_without_weight_do_not_count(bundle: Bundle) -> None:
    alone, weighed = scores(bundle, 1), scores(bundle, 2, np.array([3.0, 0.0], np.float32))
    for name, score in alone.items():
        np.testing.assert_allclose(weighed[name], score, rtol=1e-4, atol=1e-9)


def test_a_rung_without_channels_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="cannot score"):
        Importance(bundle, "head", bundle.parameters())


def test_labels_are_checked(bundle: Bundle) -> None:
    importance = Importance(bundle, "tail", bundle.parameters(), 1)
    shape = bundle.manifest.rungs["tail"].latent_shape
    with pytest.raises(DataError, match="labels reach"):
        importance.of(np.zeros((1, *shape), np.float32), np.array([99]))
