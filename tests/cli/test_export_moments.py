"""What an exported network says of a frame's moments, and what that is good for."""

from __future__ import annotations

import numpy as np
import pytest

from sel_edge.bundle.bundle import open_bundle
from sel_edge.core.embarrassment import softmax
from sel_edge.core.rng import generator
from sel_edge.data.corruptions import corrupt
from sel_edge.data.sources import load_splits
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.moments import ShiftMonitor, bundle_moments
from tests.conftest import DATA


@pytest.fixture(scope="module")
def bundle(workshop):
    return open_bundle(workshop / "bundle")


def test_those_of_the_anchors_are_the_engines(bundle):
    engine, anchors = Engine(bundle, threads=1), bundle.anchors()
    np.testing.assert_allclose(engine.observe(anchors.frames).moments, anchors.moments, atol=1e-5)
    assert 0 < engine.moment_flops < 0.005 * engine.forward_flops


def test_learning_does_not_change_them(bundle):
    engine, frames = Engine(bundle, threads=1), bundle.anchors().frames
    before = engine.observe(frames)
    engine.load({"conv1.weight": 2 * bundle.parameter("conv1.weight")})
    after = engine.observe(frames)
    np.testing.assert_array_equal(before.moments, after.moments)
    assert not np.allclose(before.logits, after.logits)


@pytest.mark.parametrize("kind", ["contrast", "fog", "blur", "brightness"])
def test_a_disturbed_camera_is_noticed_and_a_good_one_is_not(bundle, kind):
    engine, test = Engine(bundle, threads=1), load_splits(DATA).test
    model = bundle_moments(bundle)
    monitor = ShiftMonitor(model)

    def show(frames):
        seen = engine.observe(frames)
        monitor.add(model.displacements(seen.moments, softmax(seen.logits)))

    by_class = test.frames[np.argsort(test.labels, kind="stable")]
    for start in range(0, len(by_class), 16):
        show(by_class[start : start + 16])
        assert not monitor.shifted
    show(corrupt(test.frames[:64], kind, 5, generator(0, kind)))
    assert monitor.shifted
