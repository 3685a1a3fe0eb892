"""Every score against its definition, and the calibration of all of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from sel_edge.runtime.novelty import METHODS, calibrate, fit
from sel_edge.runtime.novelty.energy import FreeEnergy
from sel_edge.runtime.novelty.fdbd import Fdbd
from sel_edge.runtime.novelty.knn import Knn
from sel_edge.runtime.novelty.msp import Msp

seeds = st.integers(0, 10_000)
sizes = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(2, 6))
"""Frames, features, classes."""


def drawn(seed, frames, features, classes, scale=1.0):
    """Features, weight, bias and logits."""
    rng = np.random.default_rng(seed)
    shapes = ((frames, features), (classes, features), (classes,))
    found, weight, bias = (scale * rng.standard_normal(s).astype(np.float32) for s in shapes)
    return found, weight, bias, found @ weight.T + bias


def clusters(n, seed, classes=4, features=16):
    """Positive features around one axis for each class, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    found = np.abs(rng.normal(0, 0.3, (n, features))) + 3 * np.eye(features)[labels]
    return found.astype(np.float32), labels


HEAD = 4 * np.eye(4, 16, dtype=np.float32), np.zeros(4, np.float32)


@given(seeds, sizes, st.sampled_from([0.1, 1.0, 1e3]))
def test_msp_and_energy_are_those_of_torch(seed, size, scale):
    features, _, _, logits = drawn(seed, *size, scale)
    exact = torch.tensor(logits, dtype=torch.float64)
    energy = FreeEnergy(size[2]).score(features, logits)
    np.testing.assert_allclose(energy, -torch.logsumexp(exact, 1).numpy(), rtol=1e-6)
    share = Msp(size[2]).score(features, logits)
    np.testing.assert_allclose(share, -torch.softmax(exact, 1).amax(1).numpy(), rtol=1e-6)


@given(seeds, sizes)
def test_fdbd_is_the_mean_distance_to_the_boundaries(seed, size):
    features, weight, bias, logits = drawn(seed, *size)
    known = drawn(seed + 1, 5, size[1], size[2])[0]
    found = Fdbd.fit(known, weight).score(features, logits)
    for z, answers, score in zip(features.astype(float), logits, found, strict=True):
        top = int(answers.argmax())
        distances = []
        for other in set(range(size[2])) - {top}:
            normal = (weight[top] - weight[other]).astype(float)
            offset = float(bias[top]) - float(bias[other])
            distances.append(abs(normal @ z + offset) / np.linalg.norm(normal))
        away = np.linalg.norm(z - known.astype(float).mean(axis=0))
        assert score == pytest.approx(-np.mean(distances) / away, rel=1e-3, abs=1e-4)


def test_fdbd_knows_no_boundary_between_equal_classes():
    weight = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    features = np.array([[3, 1]], np.float32)
    found = Fdbd(np.zeros(2), Fdbd.fit(features, weight).inverse).score(
        features, features @ weight.T
    )
    assert found == pytest.approx(-(2 / math.sqrt(2)) / 2 / math.sqrt(10))


def test_fdbd_at_the_very_mean_is_finite():
    features, weight, _, logits = drawn(0, 1, 3, 2)
    assert np.isfinite(Fdbd.fit(features, weight).score(features, logits)).all()


@given(seeds, st.integers(1, 9), st.integers(1, 40), st.integers(1, 5))
def test_knn_is_the_cosine_distance_of_scikit_learn(seed, frames, size, neighbour):
    features, bank = drawn(seed, frames, 6, 2)[0], drawn(seed + 1, size, 6, 2)[0]
    found = Knn.fit(bank, neighbour).score(features, np.zeros((frames, 2), np.float32))
    k = min(neighbour, size)
    reference = NearestNeighbors(n_neighbors=k, metric="cosine").fit(bank)
    np.testing.assert_allclose(found, reference.kneighbors(features)[0][:, -1], atol=1e-5)


def test_a_bank_is_bounded_and_taken_from_everywhere():
    features = np.repeat(np.eye(3, dtype=np.float32), 100, axis=0)
    bank = Knn.fit(features, 1, size=30).bank
    assert len(bank) == 30
    np.testing.assert_array_equal(np.unique(bank, axis=0), np.eye(3)[::-1])


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_one_frame_scores_alone_as_among_others(self, method):
        known, _ = clusters(60, seed=0)
        weight, bias = HEAD
        frames, _ = clusters(7, seed=1)
        novelty = fit(method, known, weight)
        together = novelty.score(frames, frames @ weight.T + bias)
        assert together.dtype == np.float32
        for index in range(7):
            one = frames[[index]]
            alone = novelty.score(one, one @ weight.T + bias)
            assert alone == pytest.approx(together[[index]], rel=1e-4, abs=1e-5)

    def test_no_frames_have_no_scores(self, method):
        weight, _ = HEAD
        novelty = fit(method, clusters(8, seed=0)[0], weight)
        none = novelty.score(np.zeros((0, 16), np.float32), np.zeros((0, 4), np.float32))
        assert none.shape == (0,)

    def test_what_lies_between_all_classes_is_stranger(self, method):
        weight, bias = HEAD
        detector = calibrate(method, clusters(160, seed=0)[0], weight, bias)
        known, _ = clusters(200, seed=1)
        between = np.abs(np.random.default_rng(2).normal(0.4, 0.2, (200, 16))).astype(np.float32)
        surprise = detector.surprise(between, between @ weight.T + bias)
        usual = detector.surprise(known, known @ weight.T + bias)
        assert np.median(surprise) > np.quantile(usual, 0.9)
        assert detector.strange(between, between @ weight.T + bias).mean() > 0.5

    def test_about_one_in_twenty_known_frames_is_strange(self, method):
        weight, bias = HEAD
        known, _ = clusters(4000, seed=3)
        detector = calibrate(method, clusters(1000, seed=0)[0], weight, bias)
        assert 0.01 < detector.strange(known, known @ weight.T + bias).mean() < 0.12
        surprise = detector.surprise(known, known @ weight.T + bias)
        assert surprise.mean() == pytest.approx(0, abs=0.3)
        assert surprise.std() == pytest.approx(1, abs=0.3)

    def test_a_class_that_was_learned_is_no_longer_strange(self, method):
        weight, bias = HEAD
        known, _ = clusters(160, seed=0)
        new = np.abs(np.random.default_rng(1).normal(0, 0.3, (80, 16))).astype(np.float32)
        new[:, 4] += 3
        before = calibrate(method, known, weight, bias)
        grown = np.vstack([weight, 4 * np.eye(1, 16, 4, dtype=np.float32)])
        wider = np.zeros(5, np.float32)
        after = calibrate(method, np.vstack([known, new[:40]]), grown, wider)
        late = new[40:]
        assert before.strange(late, late @ weight.T + bias).mean() > 0.8
        assert after.strange(late, late @ grown.T + wider).mean() < 0.2

    def test_the_cost_grows_with_the_frames(self, method):
        novelty = fit(method, clusters(8, seed=0)[0], HEAD[0])
        assert novelty.flops(10) == 10 * novelty.flops(1) > 0
