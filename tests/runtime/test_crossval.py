"""Cross-validation: nobody answers for a label that he learned from, whatever the labels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.runtime.adapter import AdapterSettings
from sel_edge.runtime.crossval import Course, newest_of
from sel_edge.runtime.guard import Anchors, Trial
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import FOLDS, Samples
from sel_edge.runtime.work import finish

WIDTH = 5
START = Head(2 * np.eye(2, WIDTH, dtype=np.float32), np.zeros(2, np.float32), ("a", "b"))
REPLAY = Anchors(np.eye(2, WIDTH, dtype=np.float32)[[0, 1] * 6], np.array([0, 1] * 6))
QUICK = AdapterSettings(steps=12)
EAGER = AdapterSettings(steps=400, hold=0.0, pull=0.0)


def course(
    classes: str, onset: int = 0, how: AdapterSettings = QUICK, start: Head = START
) -> Course:
    return Course(start, tuple(classes), onset, REPLAY, how)


def labelled(features: NDArray[np.floating], names: Sequence[str], folds: Sequence[int]) -> Samples:
    numbers = np.arange(len(names))
    rows = np.asarray(features, np.float32).reshape(len(names), WIDTH)
    return Samples(rows, tuple(names), numbers, np.array(folds, np.int64))


def drawn(seed: int, names: Sequence[str], folds: Sequence[int]) -> Samples:
    rng = np.random.default_rng(seed)
    centres = np.eye(WIDTH)[["abcde".index(name) for name in names]]
    return labelled(centres + rng.normal(0, 0.3, (len(names), WIDTH)), names, folds)


def tried(of: Course, samples: Samples, known: str) -> Trial:
    trial, _ = finish(of.tried(samples, tuple(known)))
    return trial


LABELS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, FOLDS - 1)), min_size=1, max_size=24
)


class TestNothingLeaks:
    def test_contradictory_labels_of_two_folds_prove_each_other_wrong(self) -> None:
        """The same thing is an a by the labels of one fold, and a b by those of the other.

        Whoever learned from both could be half right; whoever learned from the other alone is
        wrong for certain.
        """
        thing = np.eye(WIDTH)[[3] * 24]
        told = labelled(thing, "a" * 12 + "b" * 12, [0] * 12 + [1] * 12)
        trial = tried(course("ab", how=EAGER), told, "ab")
        assert (trial.after > 1.5).all() and not trial.right_after.any()
        torn, _ = finish(course("ab", how=EAGER).taught(told))
        losses = cross_entropy(torn.logits(told.features), torn.index(told.names), TEMPERATURE)
        assert losses.mean() < 0.8  # so it would have looked

    def test_labels_that_agree_prove_each_other_right(self) -> None:
        thing = np.eye(WIDTH)[[3] * 24]
        told = labelled(thing, "a" * 24, [0] * 12 + [1] * 12)
        trial = tried(course("ab", how=EAGER), told, "ab")
        assert (trial.after < trial.before).all() and trial.right_after.all()

    @settings(max_examples=40)
    @given(st.integers(0, 99), LABELS, st.data())
    def test_what_a_fold_says_changes_nothing_in_how_it_is_answered(
        self, seed: int, labels: list[tuple[str, int]], data: st.DataObject
    ) -> None:
        names, folds = zip(*labels, strict=True)
        told = drawn(seed, names, folds)
        changed = data.draw(st.integers(0, len(names) - 1))
        moved = told.features.copy()
        moved[changed] += 3
        other = data.draw(st.sampled_from("abcd"))
        renamed = (*names[:changed], other, *names[changed + 1 :])
        lied = Samples(moved, renamed, told.frames, told.folds)
        one, two = (tried(course("abcd"), each, "abcd") for each in (told, lied))
        same_fold = told.folds == told.folds[changed]
        same_fold[changed] = False
        np.testing.assert_allclose(two.after[same_fold], one.after[same_fold], rtol=1e-4)
        np.testing.assert_array_equal(two.before[same_fold], one.before[same_fold])

    def test_what_a_fold_says_changes_how_the_others_are_answered(self) -> None:
        """Else the property above would hold of anything."""
        folds = [index % FOLDS for index in range(24)]
        told = drawn(0, "abab" * 6, folds)
        lied = Samples(told.features, ("b", *told.names[1:]), told.frames, told.folds)
        one, two = (tried(course("ab"), each, "ab") for each in (told, lied))
        others = told.folds != told.folds[0]
        assert (one.after[others] != two.after[others]).all()

    @settings(max_examples=40)
    @given(st.integers(0, 99), LABELS)
    def test_every_fold_is_answered_by_what_the_others_teach(
        self, seed: int, labels: list[tuple[str, int]]
    ) -> None:
        names, folds = zip(*labels, strict=True)
        told = drawn(seed, names, folds)
        trial = tried(course("abcd"), told, "abcd")
        assert trial.names == told.names
        for fold in range(FOLDS):
            head, _ = finish(course("abcd").taught(told.where(told.folds != fold)))
            for index in np.flatnonzero(told.folds == fold):
                for one, losses, right in (
                    (START, trial.before, trial.right_before),
                    (head, trial.after, trial.right_after),
                ):
                    loss, is_right = answered(one, told, int(index), guesses=4)
                    assert losses[index] == pytest.approx(loss, abs=1e-4)
                    assert right[index] == is_right


def answered(head: Head, told: Samples, index: int, guesses: int) -> tuple[float, bool]:
    name = told.names[index]
    if name not in head.classes:
        return float(np.log(guesses)), False
    logits, number = head.logits(told.features[[index]]), head.index([name])
    return float(cross_entropy(logits, number, TEMPERATURE)[0]), bool(logits.argmax() == number[0])


class TestNewClasses:
    def test_a_class_in_the_labels_of_one_fold_only_is_a_guess_there(self) -> None:
        told = drawn(0, "abab" + "c" * 5 + "ab", [0, 1, 2, 3, *[2] * 5, 0, 1])
        trial = tried(course("c"), told, "abc")
        is_new = np.array([name == "c" for name in told.names])
        assert trial.before[is_new] == pytest.approx([np.log(3)] * 5)
        assert trial.after[is_new] == pytest.approx([np.log(3)] * 5)
        assert not trial.right_after[is_new].any()
        head, _ = finish(course("c").taught(told))
        assert head.classes == ("a", "b", "c")  # the candidate itself learns it

    def test_a_class_in_the_labels_of_two_folds_is_learned_from_the_other(self) -> None:
        told = drawn(0, "abab" + "c" * 10, [0, 1, 2, 3, *[2] * 5, *[3] * 5])
        trial = tried(course("c", how=AdapterSettings()), told, "abc")
        is_new = np.array([name == "c" for name in told.names])
        assert trial.before[is_new] == pytest.approx([np.log(3)] * 10)
        assert (trial.after[is_new] < np.log(3)).all() and trial.right_after[is_new].all()

    def test_of_two_in_a_fold_each_the_one_that_is_not_left_out_is_taught(self) -> None:
        told = drawn(0, "c" * 5 + "d" * 5, [0] * 5 + [1] * 5)
        trial = tried(course("cd"), told, "abcd")
        assert trial.after == pytest.approx([np.log(4)] * 10)
        head, _ = finish(course("cd").taught(told.where(told.folds != 0)))
        assert head.classes == ("a", "b", "d")

    def test_a_class_that_nobody_is_told_of_is_left_out(self) -> None:
        head, _ = finish(course("abc").taught(drawn(0, "ab", [0, 1])))
        assert head.classes == START.classes and head.hash != START.hash


class TestTeaching:
    def test_only_the_classes_of_the_course_are_trained(self) -> None:
        head, _ = finish(course("bc").taught(drawn(0, "abcabc", [0, 1, 2, 3, 0, 1])))
        assert np.array_equal(head.weight[0], START.weight[0])
        assert not np.array_equal(head.weight[1], START.weight[1])
        assert head.classes == ("a", "b", "c")

    def test_without_any_label_what_is_known_is_practised(self) -> None:
        nothing = labelled(np.zeros((0, WIDTH)), (), ())
        head, _ = finish(course("ab").taught(nothing))
        losses = [
            cross_entropy(each.logits(REPLAY.features), REPLAY.labels).mean()
            for each in (START, head)
        ]
        assert losses[1] < losses[0]
        assert len(tried(course("ab"), nothing, "ab")) == 0

    def test_labels_since_the_onset_weigh_as_much_as_all_before(self) -> None:
        """One label of now, of a place where nobody was before."""
        places = np.eye(WIDTH)[[0] * 20 + [3]]
        told = labelled(places, "a" * 21, [0] * 21)
        losses = []
        for onset in (0, 21, 20):  # it is new like all labels, old like all, or new alone
            head, _ = finish(course("ab", onset).taught(told))
            losses.append(cross_entropy(head.logits(told.features[20:]), np.zeros(1, int))[0])
        assert losses == sorted(losses, reverse=True) and losses[2] < 0.9 * losses[0]

    def test_the_head_to_begin_with_stays_as_it_is(self) -> None:
        before = START.hash, START.weight.copy()
        finish(course("abc").tried(drawn(0, "abc" * 4, [0, 1, 2, 3] * 3), tuple("abc")))
        assert before[0] == START.hash and np.array_equal(before[1], START.weight)


class TestDemand:
    @settings(max_examples=60)
    @given(
        LABELS,
        st.sets(st.sampled_from("abcd"), min_size=1),
        st.integers(1, 25),
        st.integers(0, 99),
    )
    def test_it_is_never_less_than_what_is_executed(
        self, labels: list[tuple[str, int]], chosen: set[str], steps: int, seed: int
    ) -> None:
        classes = "".join(sorted(chosen))
        known = tuple(sorted({"a", "b", *classes}))
        told = [pair for pair in labels if pair[0] in known]
        names, folds = zip(*told, strict=True) if told else ((), ())
        samples = drawn(seed, names, folds)
        of = course(classes, how=AdapterSettings(steps=steps))
        _, trying = finish(of.tried(samples, known))
        _, teaching = finish(of.taught(samples))
        assert trying + teaching <= of.demand(len(samples)).executed_flops

    def test_it_is_what_is_executed_but_for_the_labels_left_out(self) -> None:
        told = drawn(0, "abab" * 8, [0, 1, 2, 3] * 8)
        of = course("ab")
        flops = finish(of.tried(told, ("a", "b")))[1] + finish(of.taught(told))[1]
        assert flops > 0.75 * of.demand(len(told)).executed_flops


@given(LABELS, st.sets(st.sampled_from("abcde")), st.integers(0, 5))
def test_the_newest_labels_of_some_classes(
    labels: list[tuple[str, int]], classes: set[str], count: int
) -> None:
    names, n = tuple(name for name, _ in labels), len(labels)
    values, flags = np.arange(float(n)), np.arange(n) % 2 == 0
    whole = Trial(names, values, -values, flags, ~flags)
    part = newest_of(whole, classes, count)
    expected = [
        index
        for index, name in enumerate(names)
        if name in classes and names[index:].count(name) <= count
    ]
    assert part.before.tolist() == expected
    for field in fields(Trial):
        found, given = getattr(part, field.name), getattr(whole, field.name)
        assert list(found) == [given[index] for index in expected]
