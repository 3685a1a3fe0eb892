"""The guard: only what is proved on held-out labels and does no lasting harm on the anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.embarrassment import class_embarrassment
from sel_edge.runtime.guard import Anchors, Evidence, Tolerance, Verdict, can_be_judged, judge
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples


def nothing(features: int) -> Samples:
    return Samples(np.zeros((0, features), np.float32), (), np.zeros(0, np.int64))


NONE = nothing(2)


def head(weight: Sequence[Sequence[float]], bias: Sequence[float] = (), names: str = "abc") -> Head:
    rows = np.array(weight, dtype=np.float32)
    offsets = np.array(bias if len(bias) else np.zeros(len(rows)), dtype=np.float32)
    return Head(rows, offsets, tuple(names[: len(rows)]))


GOOD, UNSURE = head([[4, 0], [0, 4]]), head([[0.5, 0], [0, 0.5]])
SWAPPED = head([[-4, 0], [0, -4]])


def samples(names: str, order: str = "abc") -> Samples:
    features = np.eye(3, dtype=np.float32)[[order.index(name) for name in names], :2]
    return Samples(features, tuple(names), np.arange(len(names)))


def anchors(n: int = 20) -> Anchors:
    labels = np.arange(n) % 2
    return Anchors(np.eye(2, dtype=np.float32)[labels], labels)


def verdict_on(
    before: Head,
    candidate: Head,
    held_out: Samples,
    base: Head = UNSURE,
    tolerance: Tolerance | None = None,
    taught: str = "abc",
    learned: Samples = NONE,
) -> Verdict:
    evidence = Evidence(held_out, anchors(), learned)
    return judge(candidate, before, base, taught, evidence, tolerance or Tolerance())


def test_what_helps_and_harms_nobody_is_accepted_with_its_numbers() -> None:
    verdict = verdict_on(UNSURE, GOOD, samples("aabb"))
    labels = np.array([0, 0, 1, 1])
    features = np.eye(2, dtype=np.float32)[labels]
    before = class_embarrassment(UNSURE.logits(features), labels, 2).mean()
    after = class_embarrassment(GOOD.logits(features), labels, 2).mean()
    assert verdict.accepted
    assert (verdict.held_out, verdict.held_out_before) == (4, pytest.approx(before))
    assert verdict.held_out_after == pytest.approx(after)
    assert f"{before:.2f} -> {after:.2f}" in verdict.reason


def test_embarrassment_counts_every_class_alike() -> None:
    verdict = verdict_on(UNSURE, head([[4, 0], [0, 0.5]]), samples("aaaaaaab"))
    each = [verdict_on(UNSURE, head([[4, 0], [0, 0.5]]), samples(c * 4)) for c in "ab"]
    assert verdict.held_out_after == pytest.approx(np.mean([v.held_out_after for v in each]))


def test_what_does_not_help_is_rejected() -> None:
    assert not verdict_on(GOOD, GOOD, samples("abab")).accepted
    assert not verdict_on(GOOD, UNSURE, samples("abab")).accepted


def test_what_hurts_the_anchors_is_rejected_however_much_it_helps() -> None:
    swapped_labels = samples("abab", order="bac")
    verdict = verdict_on(GOOD, SWAPPED, swapped_labels, base=GOOD)
    assert not verdict.accepted
    assert "above the bundle's" in verdict.reason


def test_a_class_that_thrives_at_the_expense_of_the_others_is_no_gain() -> None:
    """In the new domain everything looks like b. Raising a helps a's labels and steals b's."""
    features = np.array([[0, 1]] * 12, np.float32)
    held_out = Samples(features, tuple("aaaabbbbbbbb"), np.arange(12))
    greedy = head([[4, 12], [0, 4]])
    tolerant = Tolerance(embarrassment=9.0, accuracy=1.0)
    far = Anchors(np.array([[2, -1], [-2, -1]] * 10, np.float32), np.array([0, 1] * 10))

    def judged(labels: Samples) -> bool:
        evidence = Evidence(labels, far, NONE)
        return judge(greedy, GOOD, GOOD, "a", evidence, tolerant).accepted

    assert judged(Samples(features[:4], tuple("aaaa"), np.arange(4)))
    assert not judged(held_out)


def test_no_class_may_lose_most_of_its_right_answers_outside_of_what_was_taught() -> None:
    """One class of twenty is wiped out: the mean over all anchors hardly moves."""
    names = tuple("abcdefghijklmnopqrst")
    labels = np.arange(200) % 20
    features = np.eye(20, dtype=np.float32)
    good = Head(8 * features, np.zeros(20, np.float32), names)
    bias = np.zeros(20, np.float32)
    bias[3] = -8.5
    wiped = Head(8 * features, bias, names)
    unsure = Head(8 * features, -good.weight @ features[0], names)  # cannot tell a
    held_out = Samples(features[[0] * 6], ("a",) * 6, np.arange(6))
    evidence = Evidence(held_out, Anchors(features[labels], labels), nothing(20))
    tolerance = Tolerance(embarrassment=0.5, accuracy=0.04)
    assert judge(good, unsure, good, "a", evidence, tolerance).accepted
    verdict = judge(wiped, unsure, good, "a", evidence, tolerance)
    assert not verdict.accepted
    assert "d would keep 0 of 10 right answers" in verdict.reason


def test_a_class_that_was_learned_on_the_device_may_not_be_wiped_out() -> None:
    """The bundle has no anchors of c; its held-out labels stand in for them."""
    before = head([[0.5, 0], [0, 4], [-4, -4]], (0, 0, 1))
    wiped = head([[4, 0], [0, 4], [-4, -4]], (0, 0, -9))
    spared = head([[4, 0], [0, 4], [-4, -4]], (0, 0, 1))
    learned = samples("cccccc")
    assert (before.logits(learned.features).argmax(axis=1) == 2).all()
    assert verdict_on(before, spared, samples("aaaa"), learned=learned).accepted
    assert verdict_on(before, wiped, samples("aaaa")).accepted
    assert not verdict_on(before, wiped, samples("aaaa"), learned=learned).accepted


def test_many_small_losses_cannot_add_up() -> None:
    """The head in use may already have used up what the bundle's head may lose."""
    tolerance = Tolerance(embarrassment=0.15, accuracy=1.0)
    worse, worst = head([[2.2, 0], [0, 2.2]]), head([[2.0, 0], [0, 2.0]])
    far = samples("abab")
    helped = Samples(-far.features, far.names, far.frames)
    assert verdict_on(GOOD, worse, helped, base=GOOD, tolerance=tolerance).accepted
    assert not verdict_on(worse, worst, helped, base=GOOD, tolerance=tolerance).accepted


def test_a_class_that_is_not_known_yet_counts_as_guessing_among_all() -> None:
    grown = head([[4, 0], [0, 4], [-1, -1]], (0, 0, 2))
    verdict = verdict_on(GOOD, grown, samples("cccc"), base=GOOD)
    assert verdict.held_out_before == pytest.approx(np.log(3))
    assert verdict.accepted


@pytest.mark.parametrize("n", [4, 8, 32])
def test_random_changes_are_accepted_in_one_of_twenty_trials_at_most(n: int) -> None:
    """Labels without any meaning: no head is really better than the one that says so."""
    rng = np.random.default_rng(n)
    before = Head(np.zeros((4, 6), np.float32), np.zeros(4, np.float32), tuple("abcd"))
    tolerant = Tolerance(embarrassment=9.0, accuracy=1.0)
    quiet = Anchors(np.zeros((8, 6), np.float32), np.arange(8) % 4)
    accepted = 0
    for _ in range(1500):
        features = rng.normal(0, 1, (n, 6)).astype(np.float32)
        names = tuple("abcd"[label] for label in rng.integers(0, 4, n))
        change = rng.normal(0, 0.3, (4, 6)).astype(np.float32)
        candidate = Head(change, before.bias, before.classes)
        evidence = Evidence(Samples(features, names, np.arange(n)), quiet, nothing(6))
        accepted += judge(candidate, before, before, "abcd", evidence, tolerant).accepted
    assert accepted / 1500 < 0.06


def test_a_gain_on_one_sample_of_many_is_no_proof() -> None:
    features = np.array([[0, 1]] + [[0, -1]] * 7, np.float32)
    held_out = Samples(features, ("a",) * 8, np.arange(8))
    lucky = head([[0, 3], [0, 0]])
    unlucky = head([[0, 0.0], [0, 0]])
    assert not verdict_on(unlucky, lucky, held_out, base=unlucky).accepted


@given(st.integers(2, 30), st.integers(0, 9), st.integers(1, 15))
def test_judging_is_counted(n_held_out: int, n_learned: int, n_anchors: int) -> None:
    before = head([[4, 0], [0, 4], [-1, -1]], (0, 0, 2))
    every = Evidence(samples("a" * n_held_out), anchors(2 * n_anchors), samples("c" * n_learned))
    verdict = judge(before, before, GOOD, "a", every, Tolerance())
    per_head = n_held_out + 2 * n_anchors + n_learned
    assert verdict.executed_flops == 2 * (4 * 2 * n_anchors + 2 * 6 * per_head)


def test_nothing_can_be_judged_without_held_out_labels_of_what_was_taught() -> None:
    assert can_be_judged(samples("aaabbb"), "ab")
    assert can_be_judged(samples("aaaa"), "a")
    assert not can_be_judged(samples("aaabbb"), "a")
    assert not can_be_judged(samples(""), "ab")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_anchors_are_halved_class_by_class_without_overlap(labels: list[int]) -> None:
    features = np.arange(len(labels), dtype=np.float32)[:, None]
    first, second = Anchors(features, np.array(labels)).halves()
    both = np.concatenate([first.features, second.features])[:, 0]
    assert sorted(both.tolist()) == list(range(len(labels)))
    for label in set(labels):
        difference = (first.labels == label).sum() - (second.labels == label).sum()
        assert difference in (0, 1)
