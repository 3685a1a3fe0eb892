"""The cumulative sum: quick on large changes, silent without one, and it dates the change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.standin import StandIn
from sel_edge.runtime.cusum import SURPRISE_LIMIT, Cusum
from sel_edge.runtime.normal import MINIMUM_SPREAD, Normal, NormalLevels, WarmUp, normal_levels

NORMAL = Normal(level=0.4, spread=0.8, error=0.05)


def run(values: list[float], limit: float = 40.0) -> Cusum:
    cusum = Cusum(NORMAL, slack=0.35, limit=limit)
    for frame, value in enumerate(values):
        cusum.add(value, frame)
    return cusum


@given(st.lists(st.floats(0, 20), max_size=100))
def test_the_score_stays_between_zero_and_its_limit(values: list[float]) -> None:
    assert 0 <= run(values, limit=7.0).score <= 7.0


@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_normal_values_are_no_evidence(values: list[float]) -> None:
    assert run(values).score == 0


@given(st.lists(st.floats(0, 20), max_size=60))
def test_it_is_the_largest_sum_of_any_run_that_ends_now(values: list[float]) -> None:
    """Page's statistic, computed the slow way."""
    parts = [min(NORMAL.surprise(value), SURPRISE_LIMIT) - 0.35 for value in values]
    largest = max((sum(parts[start:]) for start in range(len(parts))), default=0.0)
    assert run(values, limit=1e9).score == pytest.approx(max(largest, 0.0), abs=1e-9)


def test_it_dates_the_change_and_measures_the_level_since() -> None:
    cusum = run([0.1] * 50 + [2.4] * 20)
    assert (cusum.onset, cusum.samples) == (50, 20)
    assert cusum.level == pytest.approx(2.4)


@given(st.lists(st.floats(0, 20), max_size=60))
def test_in_order_the_onset_is_the_first_sample_since_the_last_zero(values: list[float]) -> None:
    cusum, onset = Cusum(NORMAL, slack=0.35, limit=40.0), 0
    for frame, value in enumerate(values):
        onset = frame if cusum.score == 0 else onset
        cusum.add(value, frame)
        assert cusum.onset == onset


@given(st.permutations(range(30)))
def test_the_onset_of_a_change_is_its_earliest_frame(order: list[int]) -> None:
    cusum = run([0.1] * 50)
    for at in order:
        cusum.add(2.4, 50 + at)
    assert (cusum.onset, cusum.samples) == (50, 30)


def test_an_old_label_that_is_as_usual_does_not_date_a_change_back() -> None:
    cusum = run([0.1] * 50 + [2.4] * 20)
    cusum.add(0.1, 3)
    assert (cusum.onset, cusum.samples) == (50, 21)


def test_a_few_terrible_samples_are_no_alarm() -> None:
    assert run([0.1] * 50 + [1000.0] * 5).score < 20


def test_after_a_restart_the_onset_stays_until_all_is_well() -> None:
    cusum = run([0.1] * 50 + [2.4] * 20)
    cusum.restart(NORMAL, 2.5)
    assert (cusum.score, cusum.onset, cusum.samples) == (2.5, 50, 20)
    assert (cusum.measured, cusum.level) == (0, NORMAL.level)
    cusum.add(2.4, 70)
    assert cusum.onset == 50
    assert cusum.level == pytest.approx(2.4)
    for frame in range(71, 100):
        cusum.add(0.1, frame)
    assert cusum.score == 0
    cusum.add(2.4, 100)
    assert cusum.onset == 100


def test_levels_come_from_the_anchors_and_lean_on_all_classes_where_samples_are_few() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 400 + [1] * 2)
    logits = rng.normal(0, 1, (402, 2))
    logits[np.arange(402), labels] += 3
    logits[400:, 1] -= 6  # two very embarrassing samples
    levels = normal_levels(logits, labels, ("many", "few"), StandIn((0.0,), (0.3,)))
    many, few = levels.of("many"), levels.of("few")
    assert many.level == pytest.approx(levels.together.level, abs=0.05)
    assert levels.together.level < few.level < 1.5
    assert few.error > many.error
    assert levels.of("never heard of") == levels.together
    assert levels.standin == Normal(
        pytest.approx(0.3), MINIMUM_SPREAD, pytest.approx(0.25 / 402**0.5)
    )


def test_a_warm_up_takes_the_first_labels_as_normal() -> None:
    warm_up = WarmUp(3)
    assert warm_up.add("a", 1.0, 0.1) is None
    assert warm_up.add("a", 2.0, 0.2) is None
    levels = warm_up.add("b", 3.0, 0.3)
    assert levels is not None
    assert levels.together.level == pytest.approx(2.0)
    assert 1.5 < levels.of("a").level < 2.0 < levels.of("b").level < 3.0
    assert levels.standin.level == pytest.approx(0.2)


def test_after_a_restart_another_level_is_normal() -> None:
    cusum = run([0.1] * 50 + [2.4] * 20)
    cusum.restart(Normal(level=2.4, spread=0.8, error=0.05), 0.0)
    for frame in range(70, 100):
        cusum.add(2.4, frame)
    assert cusum.score == 0


def test_the_higher_of_two_levels_counts_class_by_class() -> None:
    low, high = Normal(0.1, 0.3, 0.01), Normal(0.9, 0.5, 0.1)
    one = NormalLevels({"a": low, "b": high}, low, high)
    other = NormalLevels({"a": high, "c": low}, high, low)
    for both in (one.or_higher(other), other.or_higher(one)):
        assert both == NormalLevels({"a": high, "b": high, "c": low}, high, high)


def test_levels_come_back_from_their_record() -> None:
    levels = NormalLevels({"a": NORMAL}, Normal(0.1, 0.25, 0.01), Normal(0.2, 0.25, 0.02))
    record = levels.record(40, "abc", 2)
    assert (record.frame, record.network, record.domain) == (40, "abc", 2)
    assert NormalLevels.recorded(record) == levels
