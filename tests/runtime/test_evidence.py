"""The proof of a gain, against SciPy and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sel_edge.runtime.evidence import NORMAL_95, class_means, proved_gain, student_95


@given(st.integers(1, 2000))
def test_quantiles_are_students(freedom: int) -> None:
    assert student_95(freedom) == pytest.approx(stats.t.ppf(0.95, freedom), abs=1e-3)
    assert student_95(freedom, tests=2) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_without_end_of_samples_they_are_the_normal_distributions() -> None:
    assert pytest.approx(stats.norm.ppf(0.95), abs=1e-6) == NORMAL_95
    assert student_95(10**9) == pytest.approx(NORMAL_95, abs=1e-6)
    assert student_95(10**9, tests=2) == pytest.approx(stats.norm.ppf(0.975), abs=1e-6)
    assert all(student_95(n) > student_95(n + 1) > NORMAL_95 for n in range(1, 200))


@given(st.integers(2, 40), st.integers(0, 99))
def test_with_one_class_it_is_the_lower_end_of_students_interval(n: int, seed: int) -> None:
    drops = np.random.default_rng(seed).normal(0.3, 1, n)
    interval = stats.ttest_1samp(drops, 0, alternative="greater").confidence_interval(0.95)
    found = proved_gain(drops, np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.bool_))
    assert found == pytest.approx(interval.low, abs=1e-2)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=30))
def test_every_class_counts_alike(pairs: list[tuple[int, float]]) -> None:
    classes, values = np.array([c for c, _ in pairs]), np.array([v for _, v in pairs])
    slow = [values[classes == each].mean() for each in np.unique(classes)]
    assert class_means(values, classes) == pytest.approx(slow)


def test_a_new_class_is_proved_although_the_others_stay_as_they_are() -> None:
    rng = np.random.default_rng(0)
    classes = np.array([8] * 5 + list(range(8)) * 3)
    taught = classes == 8
    drops = np.where(taught, 1.5, -0.02) + rng.normal(0, 0.1, len(classes))
    assert proved_gain(drops, classes, taught) > 0.1


@pytest.mark.parametrize("n", [4, 8, 30])
@pytest.mark.parametrize("n_classes", [1, 3])
def test_chance_is_taken_for_a_gain_in_one_of_twenty_trials(n: int, n_classes: int) -> None:
    rng = np.random.default_rng(1)
    classes = np.arange(n) % n_classes
    taught = classes == 0
    trials = [proved_gain(rng.normal(0, 1, n), classes, taught) > 0 for _ in range(4000)]
    assert np.mean(trials) < 0.065
