"""Which frames wait for a label, and why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sel_edge.core.embarrassment import softmax
from sel_edge.runtime.samples.value import teaching_value
from sel_edge.runtime.samples.waiting import Candidate, TeachingQueue, unit

DISTANCE = 0.1
ANGLES = st.floats(0, 2 * np.pi)
OFFERS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from("abc"), ANGLES), min_size=1, max_size=40
)
LOGITS = arrays(np.float32, (3, 4), elements=st.floats(-30, 30, width=32))


def candidate(number: int, score: float, predicted: str = "a", angle: float = 0.0) -> Candidate:
    feature = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    return Candidate(f"f{number}-{number:08x}", number, predicted, score, "why", feature, 0.0)


def apart(number: int, score: float, predicted: str = "a") -> Candidate:
    """A candidate that is like no other."""
    feature = np.zeros(64, dtype=np.float32)
    feature[number] = 1.0
    return Candidate(f"f{number}-{number:08x}", number, predicted, score, "why", feature, 0.0)


def numbers(queue: TeachingQueue) -> set[int]:
    return {entry.number for entry in queue.entries}


@given(OFFERS, st.integers(1, 6))
def test_the_queue_is_bounded_and_holds_no_near_duplicates(
    offers: list[tuple[float, str, float]], capacity: int
) -> None:
    queue = TeachingQueue(capacity, DISTANCE)
    for number, (score, predicted, angle) in enumerate(offers):
        taken = queue.offer(candidate(number, score, predicted, angle))
        assert taken == (number in numbers(queue))
        assert len(queue) <= capacity
    kept = np.stack([entry.feature for entry in queue.entries])
    similarity = kept @ kept.T - 2 * np.eye(len(kept))
    assert similarity.max() <= 1 - DISTANCE + 1e-6


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 8))
def test_of_different_frames_those_that_teach_most_wait(scores: list[float], capacity: int) -> None:
    queue = TeachingQueue(capacity, DISTANCE)
    for number, score in enumerate(scores):
        queue.offer(apart(number, score))
    best = sorted(scores, reverse=True)[:capacity]
    assert sorted((entry.score for entry in queue.entries), reverse=True) == best


def test_of_near_duplicates_only_the_best_waits() -> None:
    queue = TeachingQueue(10, DISTANCE)
    for number in range(50):
        queue.offer(candidate(number, 0.5 + number % 7 / 100, angle=0.001 * number))
    assert [entry.score for entry in queue.entries] == [pytest.approx(0.56)]


def test_a_class_that_floods_the_queue_leaves_room_for_others() -> None:
    queue = TeachingQueue(9, DISTANCE)
    for number in range(30):
        queue.offer(apart(number, 0.9, "flood"))
    for number, name in enumerate(["cat", "dog", "ox", "cat", "dog", "ox"], start=40):
        assert queue.offer(apart(number, 0.1, name))
    assert not queue.offer(apart(60, 0.05, "flood"))


def test_old_frames_expire_and_answered_ones_are_remembered() -> None:
    queue = TeachingQueue(4, DISTANCE)
    for number in range(4):
        queue.offer(apart(number, 0.5))
    queue.expire(2)
    assert numbers(queue) == {2, 3}
    queue.settle([apart(3, 0.5).id, "f9-unknown"])
    queue.discard([apart(2, 0.5).id])
    twin = Candidate("f8-00000008", 8, "a", 0.9, "why", apart(3, 0.5).feature, 0.0)
    assert not queue.offer(twin)
    assert queue.offer(apart(2, 0.5))


def test_features_of_another_network_are_no_duplicates() -> None:
    queue = TeachingQueue(4, DISTANCE, [candidate(0, 0.5)])
    assert queue.offer(apart(1, 0.4)) and queue.offer(apart(2, 0.4))
    assert numbers(queue) == {0, 1, 2}


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_does_not_wait(score: float) -> None:
    assert not TeachingQueue(4, DISTANCE).offer(candidate(0, score))


def test_features_without_a_length_are_zero() -> None:
    scaled = unit(np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 1]], dtype=np.float32))
    np.testing.assert_allclose(scaled, [[0.6, 0.8], [0, 0], [0, 0], [0, 0]], atol=1e-7)


@given(LOGITS, st.floats(0, 1), st.integers(0, 100))
def test_values_are_shares_and_agree_with_their_definition(
    logits: np.ndarray, novelty: float, labels: int
) -> None:
    values = teaching_value(logits, "abcd", dict.fromkeys("abcd", labels), np.full(3, novelty))
    for row, found in zip(softmax(logits / 1.5), values, strict=True):
        first, second = np.sort(row)[::-1][:2]
        entropy = -sum(p * np.log(p) for p in row if p > 0) / np.log(4)
        assert found.uncertainty == pytest.approx((entropy + 1 - first + second) / 2, abs=1e-6)
        assert found.rarity == pytest.approx(5 / (5 + labels))
        assert 0 <= found.score <= 1 + 1e-9
        assert found.reason


@given(LOGITS, st.floats(0, 1), st.floats(0, 1), st.integers(0, 50), st.integers(0, 50))
def test_what_is_stranger_or_rarer_teaches_more(
    logits: np.ndarray, low: float, high: float, few: int, many: int
) -> None:
    low, high = sorted((low, high))
    few, many = sorted((few, many))

    def scores(novelty: float, labels: int) -> list[float]:
        counts = dict.fromkeys("abcd", labels)
        values = teaching_value(logits, "abcd", counts, np.full(3, novelty))
        return [found.score for found in values]

    assert all(a <= b for a, b in zip(scores(low, few), scores(high, few), strict=True))
    assert all(a >= b for a, b in zip(scores(low, few), scores(low, many), strict=True))


def test_reasons_say_what_speaks_for_asking() -> None:
    torn, strange, dull = teaching_value(
        np.array([[4.0, 3.9, -9], [9, -9, -9], [9, -9, -9]], dtype=np.float32),
        ("cat", "dog", "ship"),
        {"cat": 90},
        np.array([0.1, 0.97, 0.1]),
    )
    assert torn.reason == "torn between cat (52%) and dog (48%)"
    assert strange.reason == "stranger than 97% of known frames"
    assert dull.score < torn.score < 1 and dull.score < strange.score
    (alone,) = teaching_value(np.zeros((1, 1), dtype=np.float32), ("cat",), {})
    assert alone.uncertainty == 0 and alone.reason == "only 0 labels of cat"
