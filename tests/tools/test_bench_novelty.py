"""The benchmark of label-free signals, small: that its streams and rates are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sel_edge.bundle.bundle import open_bundle
from sel_edge.bundle.domain import Domain
from sel_edge.runtime.domains import Router
from sel_edge.runtime.moments import fit_moments
from sel_edge.runtime.novelty import METHODS
from tools.bench_novelty import KINDS, LEARNED, measure
from tools.novelty_bench import Situation, auroc, mingled, ramp, routed, turns

values = st.lists(st.integers(-3, 3), min_size=1, max_size=20)


def situation(first: int, count: int) -> Situation:
    """Frames whose every number is their own."""
    numbers = np.arange(first, first + count)
    column = numbers[:, np.newaxis].astype(np.float32)
    moments = np.repeat(column[:, np.newaxis], 2, axis=1)
    return Situation(column, column, moments, column.astype(np.float64), numbers)


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


def test_divided_frames_are_in_one_part_each() -> None:
    few, rest = situation(0, 10).divided(np.random.default_rng(0), 4)
    assert len(few.labels) == 4
    assert sorted([*few.labels, *rest.labels]) == list(range(10))


def test_mingled_frames_are_of_the_situations_that_were_asked_for() -> None:
    parts = [situation(0, 5), situation(5, 20), situation(25, 1)]
    which = np.random.default_rng(0).integers(0, 3, 500)
    found = mingled(parts, which, np.random.default_rng(1))
    assert np.array_equal(np.digitize(found.labels, [5, 25]), which)
    assert set(found.labels) == set(range(26))
    assert np.array_equal(found.displacements[:, 0], found.labels)


@given(st.integers(2, 6), st.integers(0, 100))
def test_turns_are_of_all_and_never_of_the_same_again(situations: int, seed: int) -> None:
    order = turns(situations, 200, np.random.default_rng(seed))
    assert set(order) == set(range(situations))
    assert np.diff(order).all()


def test_frames_are_routed_tick_by_tick() -> None:
    model = fit_moments(frames_around(0.0, 0), np.arange(40) % 2, 2)
    moments = np.concatenate([frames_around(0.0, 1), frames_around(9.0, 2)])[:77]
    blank = np.zeros((77, 1))
    stream = Situation(blank, blank, moments, blank, np.zeros(77, np.int64))
    seen = model.displacements(frames_around(9.0, 3), np.full((40, 2), 0.5))
    known = {3: Domain(seen.mean(axis=0).astype(np.float32), 40)}
    found = routed(Router(model), stream, known, 8)
    assert np.array_equal(found, np.where(np.arange(77) < 40, 0, 3))


def frames_around(level: float, seed: int) -> NDArray[np.float32]:
    """Moments of 40 frames whose two channels have means around a level."""
    mean = level + np.random.default_rng(seed).normal(0, 1, (40, 2))
    return np.stack([mean, mean**2 + 1], axis=1).astype(np.float32)


def test_everything_is_measured(workshop: Path) -> None:
    bundle = open_bundle(workshop / "bundle")
    found = measure(bundle, "digits", seeds=1, quick=True)
    json.dumps(found)
    assert set(found["novelty"]) == set(METHODS)
    for row in found["novelty"].values():
        assert set(row["auroc"]) == {"near", "digits", "speckle", *KINDS}
        assert all(0 <= area <= 1 for area in row["auroc"].values())
        assert row["flops_per_frame"] > 0
    assert set(found["shift"]["delay_frames"]) == set(KINDS)
    assert found["shift"]["delay_frames"]["contrast"][0] <= 64
    assert found["shift"]["false_alarms"] == sum(
        sigma >= found["shift"]["limit_sigma"] for sigma in found["shift"]["most_sigma"].values()
    )
    routes = found["domains"]
    assert set(routes["mixture_right_of"]) == {"own", *LEARNED}
    chance = 1 / len(routes["mixture_right_of"])
    assert 2 * chance < routes["mixture_right"] < routes["stretches_right"] <= 1
    assert chance < routes["stretches_right_after_switch"] <= routes["stretches_right"]
    assert 0 < found["moments"]["flops_share"] < 0.02
    assert {"machine", "versions", "commit"} <= set(found)
