"""Whether classes come as often as they did, by predictions alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from sel_edge.core.embarrassment import softmax
from sel_edge.runtime.prior import (
    LIMIT_SIGMA,
    MIN_FRAMES,
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


class TestMonitor:
    def test_20000_frames_of_no_change(self, model):
        rng, monitor = np.random.default_rng(2), PriorMonitor(model, NAMES)
        for _ in range(20_000 // 16):
            monitor.add(drawn(UNIFORM, 16, rng))
            assert not monitor.drifted

    @pytest.mark.parametrize("often", range(K))
    def test_one_class_taking_over_is_noticed_and_named(self, model, often):
        prior = np.where(np.arange(K) == often, 0.7, 0.1)
        rng, monitor = np.random.default_rng(3), PriorMonitor(model, NAMES)
        monitor.add(drawn(prior, WINDOW_FRAMES, rng))
        assert monitor.drifted
        assert monitor.reason().startswith(f"{NAMES[often]} is ")
        assert "was 25%" in monitor.reason()

    def test_a_few_frames_say_nothing(self, model):
        monitor = PriorMonitor(model, NAMES)
        monitor.add(predicted(np.zeros(MIN_FRAMES - 1, int), np.random.default_rng(0)))
        assert (monitor.sigma, monitor.drifted) == (0.0, False)
        monitor.add(predicted(np.zeros(1, int), np.random.default_rng(1)))
        assert monitor.drifted

    def test_once_settled_the_new_is_normal(self, model):
        prior, rng = np.array([0.7, 0.1, 0.1, 0.1]), np.random.default_rng(4)
        monitor = PriorMonitor(model, NAMES)
        np.testing.assert_array_equal(monitor.prior, UNIFORM)
        monitor.add(drawn(prior, WINDOW_FRAMES, rng))
        monitor.settle()
        monitor.add(drawn(prior, WINDOW_FRAMES, rng))
        assert not monitor.drifted
        monitor.add(drawn(UNIFORM, WINDOW_FRAMES, rng))
        assert monitor.drifted

    def test_what_is_normal_may_be_uneven_from_the_start(self, model):
        prior, rng = np.array([0.7, 0.1, 0.1, 0.1]), np.random.default_rng(5)
        monitor = PriorMonitor(model, NAMES, prior)
        monitor.add(drawn(prior, WINDOW_FRAMES, rng))
        assert monitor.sigma < LIMIT_SIGMA

    def test_it_ends_only_well_below_the_limit(self, model):
        rng, monitor = np.random.default_rng(6), PriorMonitor(model, NAMES)
        monitor.add(drawn([0.7, 0.1, 0.1, 0.1], WINDOW_FRAMES, rng))
        while monitor.drifted:
            before = monitor.sigma
            monitor.add(drawn(UNIFORM, 4, rng))
            assert monitor.drifted == (monitor.sigma >= 0.75 * LIMIT_SIGMA)
        assert monitor.sigma < 0.75 * LIMIT_SIGMA <= before


def test_a_class_without_anchors_is_supposed_to_be_recognized():
    labels = np.repeat([0, 1], 20)
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    model = fit_prior(shares, labels)
    np.testing.assert_array_equal(model.confusion[:, 2], [0, 0, 1])
    assert np.isfinite(model.sigma(np.array([0.1, 0.1, 0.8]), 100, model.uniform))


def test_a_perfect_network_is_no_trouble():
    labels = np.repeat(np.arange(K), 5)
    model = fit_prior(np.eye(K)[labels], labels)
    monitor = PriorMonitor(model, NAMES)
    monitor.add(np.eye(K)[np.arange(100) % K])
    assert not monitor.drifted
    monitor.add(np.eye(K)[np.zeros(200, int)])
    assert monitor.drifted
