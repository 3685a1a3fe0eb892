"""The learner alone: labels on time and labels that come late."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import Anchors
from sel_edge.runtime.head import Head
from sel_edge.runtime.learner import Learner
from tests.runtime.conftest import NEW_CLASS, Network, Patterns

FRAMES = 160


def learner(bundle: Bundle) -> Learner:
    head, anchors = Head(*bundle.head(), bundle.manifest.classes), bundle.anchors()
    config = replace(RuntimeConfig(), held_out_block_frames=1)
    return Learner(
        head,
        head,
        Anchors(anchors.features, anchors.labels),
        bundle.manifest.anchors_held_out,
        bundle.manifest.standin,
        config,
    )


def test_what_late_labels_teach_is_what_labels_on_time_teach(
    bundle: Bundle, network: Network, patterns: Patterns
) -> None:
    names = (*bundle.manifest.classes, NEW_CLASS)
    images, truths = patterns.draw(FRAMES, 5, names, tilted=True)
    features = network.features(images)
    on_time, late = learner(bundle), learner(bundle)
    on_time.observe(features, truths, 0)
    late.observe(features, [None] * FRAMES, 0)
    for frame, name in enumerate(truths):
        late.label(name, features[frame], frame)
    found = [
        {n: w.exact for n, w in each.embarrassment(FRAMES).items()} for each in (on_time, late)
    ]
    exact = {name: value for name, value in found[0].items() if value is not None}
    assert exact and {name: found[1][name] for name in exact} == exact
    for tick in range(1, 4):
        plans = [each.plan(FRAMES + tick) for each in (on_time, late)]
        assert plans[0] == plans[1]
        if plans[0] is not None and plans[1] is not None:
            attempts = on_time.learn(plans[0]), late.learn(plans[1])
            np.testing.assert_array_equal(attempts[0].after.weight, attempts[1].after.weight)
            assert attempts[0].labels == attempts[1].labels > 0
            return
    raise AssertionError("nothing was learned")
