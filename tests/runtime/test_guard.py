"""The guard: only what helps on held-out labels and does no lasting harm on the anchors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.embarrassment import class_embarrassment
from sel_edge.runtime.guard import Anchors, Guard, Tolerance, Verdict
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples

GOOD = Head(np.float32(4) * np.eye(2, dtype=np.float32), np.zeros(2, np.float32), ("a", "b"))
UNSURE = Head(np.float32(0.5) * np.eye(2, dtype=np.float32), np.zeros(2, np.float32), ("a", "b"))
SWAPPED = Head(-GOOD.weight, GOOD.bias, ("a", "b"))


def samples(names: str) -> Samples:
    features = np.eye(3, dtype=np.float32)[["abc".index(name) for name in names], :2]
    return Samples(features, tuple(names), np.arange(len(names)))


def anchors(n: int = 20) -> Anchors:
    labels = np.arange(n) % 2
    return Anchors(np.eye(2, dtype=np.float32)[labels], labels)


def judge(
    before: Head,
    candidate: Head,
    held_out: Samples,
    base: Head = UNSURE,
    tolerance: Tolerance | None = None,
) -> Verdict:
    known = candidate.classes
    return Guard(base, before, known, held_out, anchors(), tolerance or Tolerance()).judge(
        candidate
    )


def test_what_helps_and_harms_nobody_is_accepted_with_its_numbers() -> None:
    verdict = judge(UNSURE, GOOD, samples("aabb"))
    labels = np.array([0, 0, 1, 1])
    features = np.eye(2, dtype=np.float32)[labels]
    before = class_embarrassment(UNSURE.logits(features), labels, 2).mean()
    after = class_embarrassment(GOOD.logits(features), labels, 2).mean()
    assert verdict.accepted
    assert (verdict.held_out, verdict.held_out_before) == (4, pytest.approx(before))
    assert verdict.held_out_after == pytest.approx(after)
    assert f"{before:.2f} -> {after:.2f}" in verdict.reason


def test_what_does_not_help_is_rejected() -> None:
    assert not judge(GOOD, GOOD, samples("ab")).accepted
    assert not judge(GOOD, UNSURE, samples("ab")).accepted


def test_nothing_is_accepted_without_a_held_out_label() -> None:
    assert not judge(UNSURE, GOOD, samples("")).accepted


def test_what_hurts_the_anchors_is_rejected_however_much_it_helps() -> None:
    swapped_labels = Samples(samples("ab").features[::-1].copy(), ("a", "b"), np.arange(2))
    assert not judge(GOOD, SWAPPED, swapped_labels, base=GOOD).accepted


def test_many_small_losses_cannot_add_up() -> None:
    """The head in use may already have used up what the bundle's head may lose."""
    tolerance = Tolerance(embarrassment=0.15, accuracy=1.0)
    worse = Head(GOOD.weight * np.float32(0.55), GOOD.bias, ("a", "b"))
    worst = Head(GOOD.weight * np.float32(0.5), GOOD.bias, ("a", "b"))
    far = samples("ab")
    helped = Samples(-far.features, ("a", "b"), np.arange(2))
    assert judge(GOOD, worse, helped, base=GOOD, tolerance=tolerance).accepted
    assert not judge(worse, worst, helped, base=GOOD, tolerance=tolerance).accepted


def test_a_class_that_is_not_known_yet_counts_as_guessing_among_all() -> None:
    grown = Head(
        np.vstack([GOOD.weight, [[-1, -1]]]).astype(np.float32),
        np.array([0, 0, 2], np.float32),
        ("a", "b", "c"),
    )
    verdict = judge(GOOD, grown, samples("cc"), base=GOOD)
    assert verdict.held_out_before == pytest.approx(np.log(3))
    assert verdict.accepted


@given(st.integers(1, 30), st.integers(1, 30))
def test_judging_is_counted(n_held_out: int, n_candidates: int) -> None:
    held_out = samples("a" * n_held_out)
    guard = Guard(UNSURE, UNSURE, ("a", "b"), held_out, anchors(20), Tolerance())
    for _ in range(n_candidates):
        guard.judge(GOOD)
    assert guard.executed_flops == (2 + n_candidates) * 2 * 4 * (n_held_out + 20)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_anchors_are_halved_class_by_class_without_overlap(labels: list[int]) -> None:
    features = np.arange(len(labels), dtype=np.float32)[:, None]
    first, second = Anchors(features, np.array(labels)).halves()
    both = np.concatenate([first.features, second.features])[:, 0]
    assert sorted(both.tolist()) == list(range(len(labels)))
    for label in set(labels):
        difference = (first.labels == label).sum() - (second.labels == label).sum()
        assert difference in (0, 1)
