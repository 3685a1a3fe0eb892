"""The guard: only what is proved on held-out labels and does no lasting harm on the anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, class_embarrassment, cross_entropy
from sel_edge.runtime.guard import (
    MINIMUM_GAIN,
    Anchors,
    Heads,
    Tolerance,
    Trial,
    can_be_judged,
    judge,
    judging,
)
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import FOLDS, Samples
from sel_edge.runtime.verdict import Verdict

TOLERANT = Tolerance(embarrassment=9.0, accuracy=1.0)


def head(weight: Sequence[Sequence[float]], bias: Sequence[float] = (), names: str = "abc") -> Head:
    rows = np.array(weight, dtype=np.float32)
    offsets = np.array(bias if len(bias) else np.zeros(len(rows)), dtype=np.float32)
    return Head(rows, offsets, tuple(names[: len(rows)]))


GOOD, UNSURE = head([[4, 0], [0, 4]]), head([[0.5, 0], [0, 0.5]])
SWAPPED = head([[-4, 0], [0, -4]])


def labelled(features: NDArray[np.float32], names: Sequence[str]) -> Samples:
    frames = np.arange(len(names))
    return Samples(features, tuple(names), frames, frames % FOLDS)


def samples(names: str, order: str = "abc") -> Samples:
    features = np.eye(3, dtype=np.float32)[[order.index(name) for name in names], :2]
    return labelled(features, names)


def anchors(n: int = 20) -> Anchors:
    labels = np.arange(n) % 2
    return Anchors(np.eye(2, dtype=np.float32)[labels], labels)


def trial(before: Head, after: Head, held_out: Samples) -> Trial:
    """Samples of which neither head learned; a class that one lacks is a guess."""

    def answered(one: Head) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        losses = np.full(len(held_out), np.log(len(after.classes)))
        right = np.zeros(len(held_out), np.bool_)
        for index, name in enumerate(held_out.names):
            if name in one.positions:
                logits, number = one.logits(held_out.features[[index]]), one.index([name])
                losses[index] = cross_entropy(logits, number, TEMPERATURE)[0]
                right[index] = logits.argmax() == number[0]
        return losses, right

    (losses, right), (losses_after, right_after) = answered(before), answered(after)
    return Trial(held_out.names, losses, losses_after, right, right_after)


def verdict_on(
    before: Head,
    candidate: Head,
    held_out: Samples,
    base: Head = UNSURE,
    tolerance: Tolerance | None = None,
    taught: str = "ab",
    learned: Samples | None = None,
    guarded: Anchors | None = None,
) -> Verdict:
    return judge(
        Heads(base, before, candidate),
        taught,
        trial(before, candidate, held_out),
        trial(before, candidate, samples("") if learned is None else learned),
        anchors() if guarded is None else guarded,
        tolerance or Tolerance(),
    )


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
    greedy = head([[4, 12], [0, 4]])
    far = Anchors(np.array([[2, -1], [-2, -1]] * 10, np.float32), np.array([0, 1] * 10))

    def judged(held_out: Samples) -> bool:
        return verdict_on(GOOD, greedy, held_out, GOOD, TOLERANT, "a", guarded=far).accepted

    assert judged(labelled(features[:4], "aaaa"))
    assert not judged(labelled(features, "aaaabbbbbbbb"))


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
    held_out = labelled(features[[0] * 6], "aaaaaa")
    guarded = Anchors(features[labels], labels)

    def judged(candidate: Head) -> Verdict:
        tolerance = Tolerance(embarrassment=0.5, accuracy=0.04)
        return verdict_on(unsure, candidate, held_out, good, tolerance, "a", guarded=guarded)

    assert judged(good).accepted
    verdict = judged(wiped)
    assert not verdict.accepted
    assert "d would keep 0 of 10 right answers" in verdict.reason


def test_a_class_that_was_learned_on_the_device_may_not_be_wiped_out() -> None:
    """The bundle has no anchors of c; labels that nobody learned from stand in for them."""
    before = head([[0.5, 0], [0, 4], [-4, -4]], (0, 0, 1))
    wiped = head([[4, 0], [0, 4], [-4, -4]], (0, 0, -9))
    spared = head([[4, 0], [0, 4], [-4, -4]], (0, 0, 1))
    learned = samples("cccccc")
    assert trial(before, wiped, learned).right_before.all()
    assert verdict_on(before, spared, samples("aaaa"), learned=learned).accepted
    assert verdict_on(before, wiped, samples("aaaa")).accepted
    assert not verdict_on(before, wiped, samples("aaaa"), learned=learned).accepted
    verdict = verdict_on(before, wiped, samples("aaaa"), tolerance=TOLERANT, learned=learned)
    assert not verdict.accepted and "c would keep 0 of 6 right answers" in verdict.reason


def test_many_small_losses_cannot_add_up() -> None:
    """The head in use may already have used up what the bundle's head may lose."""
    tolerance = Tolerance(embarrassment=0.15, accuracy=1.0)
    worse, worst = head([[2.2, 0], [0, 2.2]]), head([[2.0, 0], [0, 2.0]])
    far = samples("abab")
    helped = labelled(-far.features, far.names)
    assert verdict_on(GOOD, worse, helped, base=GOOD, tolerance=tolerance).accepted
    assert not verdict_on(worse, worst, helped, base=GOOD, tolerance=tolerance).accepted


GROWN = head([[4, 0], [0, 4], [-1, -1]], (0, 0, 2))
"""Answers c where nothing is seen; there GOOD answers a."""


def test_a_class_that_is_not_known_yet_counts_as_guessing_among_all() -> None:
    verdict = verdict_on(GOOD, GROWN, samples("cccc"), base=GOOD, taught="c")
    assert verdict.held_out_before == pytest.approx(np.log(3))
    assert verdict.accepted


@pytest.mark.parametrize(
    ("right", "wrong", "proved"), [(4, 0, True), (3, 1, False), (12, 4, True), (8, 16, False)]
)
def test_a_new_class_must_be_answered_better_than_by_guessing(
    right: int, wrong: int, proved: bool
) -> None:
    features = np.zeros((right + wrong, 2), np.float32)
    features[:wrong] = [1, 0]  # what looks like an a
    told = labelled(features, "c" * len(features))
    assert verdict_on(GOOD, GROWN, told, base=GOOD, taught="c").accepted == proved


def test_that_a_new_class_is_answered_right_is_enough() -> None:
    """What it takes from faint a's outweighs, in nats, what it gains; a's proper are kept."""
    features = np.array([[0, 0]] * 6 + [[0.3, 0]] * 6, np.float32)
    told = labelled(features, "cccccc" + "aaaaaa")
    verdict = verdict_on(GOOD, GROWN, told, base=GOOD, taught="c")
    assert verdict.accepted
    assert not verdict_on(GOOD, GROWN, told.where(features[:, 0] > 0), GOOD, taught="c").accepted
    spoiled = Anchors(np.array([[0.3, 0], [0, 1]] * 10, np.float32), np.array([0, 1] * 10))
    assert not verdict_on(GOOD, GROWN, told, GOOD, taught="c", guarded=spoiled).accepted


@pytest.mark.parametrize("n", [4, 8, 32])
def test_random_changes_are_accepted_in_one_of_twenty_trials_at_most(n: int) -> None:
    """Labels without any meaning: no head is really better than the one that says so."""
    rng = np.random.default_rng(n)
    before = Head(np.zeros((4, 6), np.float32), np.zeros(4, np.float32), tuple("abcd"))
    quiet = Anchors(np.zeros((8, 6), np.float32), np.arange(8) % 4)
    nothing = Trial((), np.zeros(0), np.zeros(0), np.zeros(0, np.bool_), np.zeros(0, np.bool_))
    right = np.zeros(n, np.bool_)
    accepted = 0
    for _ in range(1500):
        features = rng.normal(0, 1, (n, 6)).astype(np.float32)
        truths = rng.integers(0, 4, n)
        change = rng.normal(0, 0.3, (4, 6)).astype(np.float32)
        candidate = Head(change, before.bias, before.classes)
        losses = (
            cross_entropy(h.logits(features), truths, TEMPERATURE) for h in (before, candidate)
        )
        answered = Trial(tuple("abcd"[truth] for truth in truths), *losses, right, right)
        heads = Heads(before, before, candidate)
        accepted += judge(heads, "abcd", answered, nothing, quiet, TOLERANT).accepted
    assert accepted / 1500 < 0.06


@pytest.mark.parametrize("n", [6, 12, 48])
def test_a_new_class_that_was_not_learned_is_accepted_in_one_of_twenty_trials_at_most(
    n: int,
) -> None:
    """Neither in nats nor in right answers is it better than guessing, and either would do."""
    rng = np.random.default_rng(n)
    before = Head(np.zeros((3, 6), np.float32), np.zeros(3, np.float32), tuple("abc"))
    grown = Head(np.zeros((4, 6), np.float32), np.zeros(4, np.float32), tuple("abcd"))
    quiet = Anchors(np.zeros((6, 6), np.float32), np.arange(6) % 3)
    none = np.zeros(n, np.bool_)
    nothing = Trial((), np.zeros(0), np.zeros(0), none[:0], none[:0])
    guess, accepted = np.full(n, np.log(4)), 0
    for _ in range(2000):
        after = guess + rng.normal(0, 1, n)
        told = Trial(("d",) * n, guess, after, none, rng.random(n) < 0.25)
        heads = Heads(before, before, grown)
        accepted += judge(heads, "d", told, nothing, quiet, TOLERANT).accepted
    assert accepted / 2000 < 0.06


def test_a_gain_on_one_sample_of_many_is_no_proof() -> None:
    held_out = labelled(np.array([[0, 1]] + [[0, -1]] * 7, np.float32), "a" * 8)
    lucky = head([[0, 3], [0, 0]])
    unlucky = head([[0, 0.0], [0, 0]])
    assert not verdict_on(unlucky, lucky, held_out, base=unlucky).accepted


def test_a_gain_for_certain_that_is_hardly_any_is_no_reason_to_change() -> None:
    def judged(drop: float) -> Verdict:
        names, after = tuple("abab"), np.full(4, 0.5)
        right = np.ones(4, np.bool_)
        told = Trial(names, after + drop, after, right, right)
        nothing = told.where(~right)
        return judge(Heads(GOOD, GOOD, GOOD), "ab", told, nothing, anchors(), Tolerance())

    assert not judged(0.9 * MINIMUM_GAIN).accepted
    assert judged(1.1 * MINIMUM_GAIN).accepted


@given(st.permutations(range(12)))
def test_the_order_of_the_labels_says_nothing(order: list[int]) -> None:
    held_out = samples("abcabcabbbca", order="bac")
    told = trial(head([[2, 0], [0, 1], [1, 1]]), head([[0, 3], [2, 0], [-1, -1]]), held_out)
    shuffled = Trial(
        tuple(told.names[index] for index in order),
        *(part[order] for part in (told.before, told.after, told.right_before, told.right_after)),
    )
    heads = Heads(GOOD, GOOD, head([[4, 0], [0, 4], [-4, -4]]))
    one, other = (judge(heads, "ab", t, t, anchors(), TOLERANT) for t in (told, shuffled))
    assert (one.accepted, one.reason) == (other.accepted, other.reason)


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_part_of_a_trial_is_a_trial_of_that_part(mask: list[bool]) -> None:
    held_out = samples("abc" * 3)
    chosen = np.array(mask + [False] * (9 - len(mask)))
    heads = head([[2, 0], [0, 1], [1, 1]]), head([[0, 3], [2, 0], [-1, -1]])
    part, expected = trial(*heads, held_out).where(chosen), trial(*heads, held_out.where(chosen))
    assert part.names == expected.names and len(part) == chosen.sum()
    for field in ("before", "after", "right_before", "right_after"):
        np.testing.assert_array_equal(getattr(part, field), getattr(expected, field))


@pytest.mark.parametrize("seed", range(5))
def test_wrong_labels_prove_much_and_harm_nothing(seed: int) -> None:
    """Of a's labels 30 % say b: whoever answers b for many an a looks better, and is not."""
    rng = np.random.default_rng(seed)
    features = np.eye(2, dtype=np.float32)[rng.integers(0, 2, 200)]
    names = ["a" if row[0] and rng.random() > 0.3 else "b" for row in features]
    certain, harmful = head([[14, 0], [0, 14]]), head([[4, 0], [4.5, 9]])
    told = labelled(features, names)
    verdict = verdict_on(certain, harmful, told, certain)
    assert "better by at least" in verdict.reason and not verdict.accepted
    only_b = Anchors(np.eye(2, dtype=np.float32)[[1] * 20], np.ones(20, np.int64))
    assert verdict_on(certain, harmful, told, certain, guarded=only_b).accepted


@given(st.integers(1, 15), st.integers(1, 9))
def test_judging_is_counted(n_anchors: int, width: int) -> None:
    rng = np.random.default_rng(0)
    sizes = (2, 3, 4)
    heads = [
        Head(
            rng.normal(size=(n, width)).astype(np.float32),
            np.zeros(n, np.float32),
            tuple("abcd"[:n]),
        )
        for n in sizes
    ]
    features = np.zeros((2 * n_anchors, width), np.float32)
    demand = judging(Heads(*heads), Anchors(features, np.arange(2 * n_anchors) % 2))
    assert demand.executed_flops == sum(2 * 2 * n_anchors * width * n for n in sizes)


@pytest.mark.parametrize(
    ("names", "folds", "taught", "enough"),
    [
        ("aaabbb", [0, 0, 0, 0, 0, 1], "ab", True),
        ("aaaa", [0, 1, 1, 1], "a", True),
        ("aaaa", [2, 2, 2, 2], "a", False),  # nobody could learn a without its proof
        ("aaaabb", [2, 2, 2, 2, 0, 1], "a", False),
        ("aaaabb", [2, 2, 2, 2, 0, 1], "ab", True),
        ("aaabbb", [0, 1, 2, 3, 0, 1], "a", False),
        ("", [], "ab", False),
    ],
)
def test_it_takes_labels_of_what_is_taught_in_two_folds(
    names: str, folds: list[int], taught: str, enough: bool
) -> None:
    assert can_be_judged(tuple(names), np.array(folds, np.int64), taught) == enough


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_anchors_are_halved_class_by_class_without_overlap(labels: list[int]) -> None:
    features = np.arange(len(labels), dtype=np.float32)[:, None]
    first, second = Anchors(features, np.array(labels)).halves()
    both = np.concatenate([first.features, second.features])[:, 0]
    assert sorted(both.tolist()) == list(range(len(labels)))
    for label in set(labels):
        difference = (first.labels == label).sum() - (second.labels == label).sum()
        assert difference in (0, 1)
