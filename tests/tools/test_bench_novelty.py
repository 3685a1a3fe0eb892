"""The benchmark of label-free signals, small: that its streams and rates are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sel_edge.bundle.bundle import open_bundle
from sel_edge.runtime.novelty import METHODS
from tools.bench_novelty import KINDS, UNKNOWN_KINDS, measure
from tools.novelty_bench import Situation, auroc, ramp

values = st.lists(st.integers(-3, 3), min_size=1, max_size=20)


def situation(first: int, count: int) -> Situation:
    """Frames whose every number is their own."""
    numbers = np.arange(first, first + count)
    column = numbers[:, np.newaxis].astype(np.float32)
    moments = np.repeat(column[:, np.newaxis], 2, axis=1)
    return Situation(column, column, moments, numbers)


@given(values, values)
def test_the_area_under_the_curve_is_that_of_scikit_learn(usual: list, strange: list) -> None:
    labels = [0] * len(usual) + [1] * len(strange)
    expected = roc_auc_score(labels, usual + strange)
    found = auroc(np.array(usual, np.float32), np.array(strange, np.float32))
    assert found == pytest.approx(expected)


def test_a_ramp_begins_before_and_ends_after() -> None:
    found = ramp(situation(0, 100), situation(100, 50), 2000, np.random.default_rng(0))
    late = found.labels >= 100
    assert np.array_equal(found.moments[:, 0, 0], found.labels)
    assert late[:200].mean() < 0.15
    assert late[-200:].mean() > 0.85
    assert 0.4 < late.mean() < 0.6


def test_drawing_follows_the_weights() -> None:
    weights = np.where(np.arange(10) == 3, 1.0, 0.0)
    assert set(situation(0, 10).drawn(np.random.default_rng(0), 20, weights).labels) == {3}


def test_everything_is_measured(workshop: Path) -> None:
    bundle = open_bundle(workshop / "bundle")
    found = measure(bundle, "digits", seeds=1, quick=True)
    json.dumps(found)
    assert set(found["novelty"]) == set(METHODS)
    for row in found["novelty"].values():
        assert set(row["auroc"]) == {"near", "digits", "speckle", *KINDS, *UNKNOWN_KINDS}
        assert all(0 <= area <= 1 for area in row["auroc"].values())
        assert row["flops_per_frame"] > 0
    assert set(found["shift"]["delay_frames"]) == {*KINDS, *UNKNOWN_KINDS}
    assert found["shift"]["delay_frames"]["contrast"][0] <= 64
    assert found["shift"]["false_alarms"] == sum(
        sigma >= found["shift"]["limit_sigma"] for sigma in found["shift"]["most_sigma"].values()
    )
    assert 0 < found["moments"]["flops_share"] < 0.02
    assert {"machine", "versions", "commit"} <= set(found)
