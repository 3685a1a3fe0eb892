"""Which frames wait for a label, and why."""

from __future__ import annotations

from collections import Counter

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


class Plain:
    """The rules of `TeachingQueue`, looked up anew at every step."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.waiting: dict[str, Candidate] = {}
        self.settled: list[np.ndarray] = []

    def offer(self, new: Candidate) -> bool:
        self.waiting.pop(new.id, None)
        displaced = self.displaced(new) if len(self.waiting) == self.capacity else None
        twins = [one for one in self.waiting.values() if one.feature @ new.feature > 1 - DISTANCE]
        answered = any(one @ new.feature > 1 - DISTANCE for one in self.settled[-self.capacity :])
        full = len(self.waiting) == self.capacity
        if (full and displaced is None) or answered or any(t.score >= new.score for t in twins):
            return False
        for twin in twins:
            del self.waiting[twin.id]
        if len(self.waiting) == self.capacity and (displaced := self.displaced(new)) is not None:
            del self.waiting[displaced.id]
        self.waiting[new.id] = new
        return True

    def displaced(self, new: Candidate) -> Candidate | None:
        sizes = Counter(one.predicted for one in self.waiting.values())
        allowed = 1.5 * self.capacity / len(sizes.keys() | {new.predicted})
        over = {name for name, size in sizes.items() if size > allowed}
        rivals, is_forced = over or set(sizes), bool(over)
        if sizes[new.predicted] >= allowed:
            rivals, is_forced = {new.predicted}, False
        waiting = [one for one in self.waiting.values() if one.predicted in rivals]
        weakest = min(waiting, key=lambda one: one.score)
        return weakest if is_forced or weakest.score < new.score else None

    def settle(self, name: str) -> None:
        if name in self.waiting:
            self.settled.append(self.waiting.pop(name).feature)

    def expire(self, oldest: int) -> None:
        self.waiting = {n: one for n, one in self.waiting.items() if one.number >= oldest}


STEPS = st.lists(
    st.tuples(st.sampled_from("oooose"), st.sampled_from("abc"), st.integers(0, 23)),
    max_size=60,
)
"""Offers, frames that are settled, expiry; a predicted class; a direction, none a near duplicate
of any but the next."""


@given(STEPS, st.permutations(range(60)), st.integers(1, 7))
def test_the_queue_does_at_every_step_what_its_rules_say(
    steps: list[tuple[str, str, int]], scores: list[int], capacity: int
) -> None:
    queue, plain = TeachingQueue(capacity, DISTANCE), Plain(capacity)
    for number, (step, predicted, direction) in enumerate(steps):
        if step == "o":
            new = candidate(number, scores[number] / 60, predicted, direction * np.pi / 12)
            assert queue.offer(new) == plain.offer(new)
        elif step == "s":
            settled = candidate(direction, 0.0).id
            queue.settle([settled])
            plain.settle(settled)
        else:
            queue.expire(direction)
            plain.expire(direction)
        assert queue.names == plain.waiting.keys()


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


@given(LOGITS, arrays(np.float64, 3, elements=st.floats(0, 1)), st.integers(0, 9))
def test_a_reason_names_every_notable_part_or_else_the_strongest(
    logits: np.ndarray, novelty: np.ndarray, labels: int
) -> None:
    values = teaching_value(logits, "abcd", dict.fromkeys("abcd", labels), novelty)
    for row, found in zip(softmax(logits / 1.5), values, strict=True):
        first, second = np.argsort(-row, kind="stable")[:2]
        parts = {
            f"torn between {'abcd'[first]} ({row[first]:.0%}) and {'abcd'[second]} "
            f"({row[second]:.0%})": found.uncertainty,
            f"stranger than {found.novelty:.0%} of known frames": found.novelty,
            f"only {labels} labels of {'abcd'[first]}": found.rarity,
        }
        least = min(0.5, max(parts.values()))
        told = [text for text, part in parts.items() if part >= least]
        assert found.reason == "; ".join(told)


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
