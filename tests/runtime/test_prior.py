"""Whether classes come as often as they did, by predictions alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from sel_edge.core.embarrassment import softmax
from sel_edge.runtime.prior import (
    MIN_FRAMES,
    NORMAL_FRAMES,
    ON_SIGMA,
    WINDOW_FRAMES,
    PriorModel,
    PriorMonitor,
    fit_prior,
)
from sel_edge.runtime.prior import _onto_simplex as onto_simplex

NAMES = ("cat", "dog", "ship", "truck")
K = len(NAMES)
UNIFORM = np.full(K, 1 / K)


def predicted(labels, rng):
    """Probabilities of a network that takes cats for dogs, and the other way round, at times."""
    logits = rng.normal(0, 1, (len(labels), K))
    logits[np.arange(len(labels)), labels] += 2.5
    logits[np.isin(labels, (0, 1)), :2] += 1
    return softmax(logits)


def drawn(prior, n, rng):
    return predicted(rng.choice(K, n, p=prior), rng)


@pytest.fixture(scope="module")
def model() -> PriorModel:
    labels = np.repeat(np.arange(K), 50)
    return fit_prior(predicted(labels, np.random.default_rng(0)), labels)


@pytest.mark.parametrize("prior", [UNIFORM, [0.7, 0.1, 0.1, 0.1], [0.5, 0.5, 0, 0], [0, 0, 0, 1]])
def test_the_prior_is_recovered(model, prior):
    mean = drawn(prior, 5000, np.random.default_rng(1)).mean(axis=0)
    np.testing.assert_allclose(model.prior(mean), prior, atol=0.08)
    assert model.prior(mean).sum() == pytest.approx(1)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_the_nearest_point_of_the_simplex(values):
    found = onto_simplex(np.array(values))
    reference = minimize(
        lambda x: ((x - values) ** 2).sum(),
        np.full(len(values), 1 / len(values)),
        bounds=[(0, None)] * len(values),
        constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
    )
    np.testing.assert_allclose(found, reference.x, atol=1e-3)


def watched(model, prior, rng) -> PriorMonitor:
    """A monitor that knows what is normal."""
    monitor = PriorMonitor(model, NAMES)
    monitor.add(drawn(prior, NORMAL_FRAMES, rng))
    return monitor


class TestMonitor:
    @pytest.mark.parametrize("prior", [UNIFORM, [0.7, 0.1, 0.1, 0.1]])
    def test_20000_frames_of_no_change(self, model, prior):
        rng = np.random.default_rng(2)
        monitor = watched(model, prior, rng)
        for _ in range(20_000 // 16):
            monitor.add(drawn(prior, 16, rng))
            assert monitor.sigma < ON_SIGMA

    def test_20000_frames_in_which_every_class_stays_for_a_while(self, model):
        rng, monitor = np.random.default_rng(2), PriorMonitor(model, NAMES)
        for _ in range(20_000 // 16):
            monitor.add(predicted(np.repeat(rng.integers(0, K, 2), 8), rng))
            assert monitor.sigma < ON_SIGMA

    @pytest.mark.parametrize("often", range(K))
    def test_one_class_taking_over_is_noticed_and_named(self, model, often):
        rng = np.random.default_rng(3)
        monitor = watched(model, UNIFORM, rng)
        monitor.add(drawn(np.where(np.arange(K) == often, 0.7, 0.1), WINDOW_FRAMES, rng))
        signal = monitor.signal(1000)
        assert signal.score >= ON_SIGMA
        assert signal.onset == 1000 - WINDOW_FRAMES and signal.samples == WINDOW_FRAMES
        assert re.match(rf"{NAMES[often]} is [67]\d% of the frames, was [23]\d% \(", signal.reason)

    def test_a_few_frames_say_nothing(self, model):
        rng = np.random.default_rng(0)
        monitor = watched(model, UNIFORM, rng)
        monitor.add(predicted(np.zeros(MIN_FRAMES - 1, int), rng))
        assert monitor.sigma == 0
        monitor.add(predicted(np.zeros(1, int), rng))
        assert monitor.sigma >= ON_SIGMA

    def test_what_comes_first_is_normal_whatever_it_is(self, model):
        rng = np.random.default_rng(4)
        monitor = watched(model, [0.7, 0.1, 0.1, 0.1], rng)
        monitor.add(drawn(UNIFORM, WINDOW_FRAMES, rng))
        assert monitor.sigma >= ON_SIGMA

    def test_a_class_that_comes_as_rarely_as_before_is_over(self, model):
        rng = np.random.default_rng(6)
        monitor = watched(model, UNIFORM, rng)
        monitor.add(drawn([0.7, 0.1, 0.1, 0.1], WINDOW_FRAMES, rng))
        assert monitor.signal(0).samples > 0
        monitor.add(drawn(UNIFORM, WINDOW_FRAMES, rng))
        assert monitor.signal(0).samples == 0

    def test_frames_one_by_one_say_the_same(self, model):
        rng = np.random.default_rng(7)
        rows = np.concatenate([drawn(UNIFORM, NORMAL_FRAMES, rng), drawn([1, 0, 0, 0], 300, rng)])
        at_once, singly = PriorMonitor(model, NAMES), PriorMonitor(model, NAMES)
        at_once.add(rows[:NORMAL_FRAMES])
        at_once.add(rows[NORMAL_FRAMES:])
        for row in rows:
            singly.add(row[None])
        assert singly.sigma == pytest.approx(at_once.sigma, rel=1e-9)


def test_a_class_without_anchors_is_supposed_to_be_recognized():
    labels = np.repeat([0, 1], 20)
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    model = fit_prior(shares, labels)
    np.testing.assert_array_equal(model.confusion[:, 2], [0, 0, 1])
    assert np.isfinite(model.covariance(model.uniform)).all()


def test_a_perfect_network_is_no_trouble():
    labels = np.repeat(np.arange(K), 5)
    model = fit_prior(np.eye(K)[labels], labels)
    monitor = PriorMonitor(model, NAMES)
    monitor.add(np.eye(K)[np.arange(NORMAL_FRAMES + 100) % K])
    assert monitor.sigma < ON_SIGMA
    monitor.add(np.eye(K)[np.zeros(200, int)])
    assert monitor.sigma >= ON_SIGMA
