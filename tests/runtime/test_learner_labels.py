"""What a learner knows besides its head: labels of now and of old, and heads from elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import Anchors
from sel_edge.runtime.head import Head
from sel_edge.runtime.learner import Learner
from sel_edge.runtime.practice import BETTER_KNOWN
from sel_edge.runtime.work import finish
from tests.runtime.clouds import (
    ANCHORS,
    GROWN,
    HEAD,
    STANDIN,
    WIDTH,
    attempts,
    learner,
    named,
    seen,
    told,
    with_lesson,
)
from tests.runtime.conftest import NEW_CLASS, Network, Patterns


class TestHeadsFromElsewhere:
    def test_a_head_with_more_classes_is_used_and_its_classes_are_no_news(self) -> None:
        one, lesson = with_lesson()
        told(one, ["f"] * 40, seen(["f"] * 40, 1), 96)
        assert one.lesson(136) is lesson
        one.adopt(GROWN)
        assert one.lesson(137) is not lesson
        names = named(40, 3, "abcdf")
        logits = one.observe(seen(names, 4), names, 136 + np.arange(40))
        np.testing.assert_array_equal(logits, GROWN.logits(seen(names, 4)))
        assert one.embarrassment(176)["f"].labels == names.count("f")
        now = one.lesson_now()
        assert now is not None and now is not lesson and now.new == ()
        attempt, _ = finish(one.learn(now))
        assert attempt.head.classes == GROWN.classes

    def test_a_head_with_fewer_classes_has_to_learn_the_others_anew(self) -> None:
        one = learner()
        one.adopt(GROWN)
        told(one, ["f"] * 9, seen(["f"] * 9, 1), 10)
        assert one.lesson(40) is one.lesson(41) is None
        one.adopt(HEAD)
        told(one, ["f"] * 40, seen(["f"] * 40, 2), 41)
        assert one.lesson(81) is None
        lesson = one.lesson(82)
        assert lesson is not None and "f" in lesson.new
        attempt, _ = finish(one.learn(lesson))
        assert attempt.verdict.accepted and "f" in attempt.head.classes

    def test_the_same_head_changes_nothing(self) -> None:
        one, lesson = with_lesson()
        one.adopt(replace(HEAD, weight=HEAD.weight.copy()))
        assert one.lesson(98) is lesson and one.head is HEAD


class TestLabels:
    @settings(max_examples=30)
    @given(st.lists(st.sampled_from(["a", "d", "f", None]), min_size=1, max_size=30))
    def test_answers_are_given_before_any_label_is_looked_at(
        self, labels: list[str | None]
    ) -> None:
        features = seen(["b"] * len(labels), 1)
        logits = learner().observe(features, labels, np.arange(len(labels)))
        np.testing.assert_array_equal(logits, HEAD.logits(features))

    def test_frames_of_another_domain_are_forgotten_with_the_evidence(self) -> None:
        one, lesson = with_lesson()
        one.discard(())
        assert one.lesson(98) is lesson
        one.discard(range(10, 96))
        assert one.lesson(98) is one.lesson(99) is None
        assert sorted(one.material(lesson).frames) == list(range(10))
        assert one.lesson_now() is None

    def test_what_was_forgotten_of_another_domain_is_no_evidence(self) -> None:
        one, names = learner(), named(128, 1)
        told(one, names[:96], seen(names[:96], 2, elsewhere=True))
        one.discard(range(96))
        assert list(attempts(one, names[96:], seen(names[96:], 5), 96)) == []

    def test_labels_of_an_earlier_session_are_material_and_no_news(self) -> None:
        one, names = learner(), named(96, 1)
        for frame, (name, feature) in enumerate(zip(names, seen(names, 2, True), strict=True)):
            one.remember(name, feature, frame)
        assert one.embarrassment(96) == {} and one.lesson(96) is one.lesson(97) is None
        now = one.lesson_now()
        assert now is not None and len(one.material(now)) == 96

    def test_labels_of_an_earlier_session_count_towards_a_new_class(self) -> None:
        one, features = learner(), seen(["f"] * 40, 1)
        for frame in range(40):
            one.remember("f", features[frame], frame)
        assert one.lesson(40) is None
        lesson = one.lesson(41)
        assert lesson is not None and lesson.new == ("f",)

    def test_what_may_have_taught_the_head_in_an_earlier_session_proves_nothing(self) -> None:
        levels, names = learner().normal, named(96, 1)
        one = Learner(HEAD, HEAD, ANCHORS, True, STANDIN, RuntimeConfig(), levels, taught_until=64)
        features = seen(names, 2, elsewhere=True)
        told(one, names[:64], features[:64])
        assert one.lesson_now() is None
        told(one, names[64:], features[64:], 64)
        lesson = one.lesson_now()
        assert lesson is not None
        attempt, _ = finish(one.learn(lesson))
        assert (attempt.labels, attempt.verdict.held_out) == (96, 32)

    def test_a_retracted_label_teaches_nobody(self) -> None:
        one, lesson = with_lesson()
        one.retract(33)
        one.retract(777)
        assert sorted(one.material(lesson).frames) == [n for n in range(96) if n != 33]

    @pytest.mark.parametrize("discarded", [False, True])
    def test_labels_that_were_taken_back_make_no_class(self, discarded: bool) -> None:
        one, features = learner(fold_block_frames=1), seen(["f"] * 9, 1)
        told(one, ["f"] * 9, features)
        if discarded:
            one.discard(range(7))
        else:
            for frame in range(7):
                one.retract(frame)
        assert one.lesson_now() is one.lesson(9) is one.lesson(10) is None
        told(one, ["f"] * 2, features[:2], 10)
        assert one.lesson(12) is one.lesson(13) is None
        told(one, ["f"], features[:1], 13)  # which is the fifth
        assert one.lesson(14) is None
        lesson = one.lesson(15)
        assert lesson is not None and "5 labels of a class never learned" in lesson.reason

    @pytest.mark.parametrize("left", [0, 1, 3])
    def test_a_lesson_whose_labels_were_taken_back_is_rejected_and_none_any_more(
        self, left: int
    ) -> None:
        (one, lesson), now = with_lesson(), None
        now = one.lesson_now()
        assert now is not None
        for frame in range(left, 96):
            one.retract(frame)
        for each in (lesson, now):
            attempt, flops = finish(one.learn(each))
            assert (flops, attempt.verdict.accepted, attempt.head) == (0, False, HEAD)
            assert "are gone" in attempt.verdict.reason
            one.reject(attempt)
        assert one.lesson(98) is one.lesson(99) is one.lesson_now() is None

    def test_in_an_open_lesson_a_corrected_label_teaches_what_it_says_now(self) -> None:
        one, lesson = with_lesson()
        one.retract(33)
        one.label("d", np.full(WIDTH, 9, np.float32), 33)
        assert one.lesson(98) is lesson
        material = one.material(lesson)
        assert sorted(material.frames) == list(range(96))
        assert [
            n for n, frame in zip(material.names, material.frames, strict=True) if frame == 33
        ] == ["d"]
        attempt, _ = finish(one.learn(lesson))
        assert attempt.labels == 96

    @pytest.mark.parametrize("here", [True, False])
    def test_what_was_learned_from_few_labels_before_a_restart_is_practised_on_many_more(
        self, here: bool
    ) -> None:
        """If it was learned in this domain: elsewhere it may be well as it is."""
        one = Learner(
            GROWN, HEAD, ANCHORS, True, STANDIN, RuntimeConfig(), taught_until=20 if here else 0
        )
        features, lesson = seen(["f"] * 40, 1), None
        for frame in range(8):
            one.remember("f", features[frame], frame)
        for frame in range(8, 8 * BETTER_KNOWN + 1):
            assert lesson is None
            told(one, ["f"], features[[frame]], 20 + frame)
            lesson = one.lesson(21 + frame)
        assert (lesson is not None) == here
        if lesson is not None:
            assert (lesson.classes, lesson.new, lesson.onset) == (("f",), (), 20)

    def test_a_class_that_is_known_no_longer_is_not_practised(self) -> None:
        one, features = learner(), seen(["f"] * 80, 1)
        one.adopt(GROWN)
        names = named(80, 3, "abcdf")
        told(one, names, seen(names, 4))
        now = one.lesson_now()
        assert now is not None
        one.keep(finish(one.learn(now))[0], 80)
        told(one, ["f"] * 80, features, 80)
        one.adopt(HEAD)
        assert one.lesson(160) is one.lesson(161) is None

    def test_to_ask_what_could_be_learned_changes_nothing(self) -> None:
        one, names = learner(), named(96, 1)
        told(one, names, seen(names, 2, elsewhere=True))
        assert one.lesson_now() == one.lesson_now() is not None
        assert one.lesson(96) is None
        lesson, now = one.lesson(97), one.lesson_now()
        assert lesson is not None and now is not None and lesson != now
        assert one.lesson(98) is lesson

    def test_what_the_network_sees_in_a_labelled_frame_now_is_what_teaches(self) -> None:
        one, lesson = with_lesson()
        feature = np.full(WIDTH, 7, np.float32)
        one.renew(feature, 33)
        material = one.material(lesson)
        assert ((material.features == 7).all(axis=1) == (material.frames == 33)).all()


def test_what_late_labels_teach_is_what_labels_on_time_teach(
    bundle: Bundle, network: Network, patterns: Patterns
) -> None:
    names = (*bundle.manifest.classes, NEW_CLASS)
    images, truths = patterns.draw(160, 5, names, tilted=True)
    features, frames = network.features(images), np.arange(160)
    head, anchors = Head(*bundle.head(), bundle.manifest.classes), bundle.anchors()
    guarded = Anchors(anchors.features, anchors.labels)
    on_time, late = (
        Learner(head, head, guarded, True, bundle.manifest.standin, RuntimeConfig()) for _ in "ab"
    )
    on_time.observe(features, truths, frames)
    late.observe(features, [None] * 160, frames)
    for frame, name in enumerate(truths):
        late.label(name, features[frame], frame)
    found = [{n: w.exact for n, w in each.embarrassment(160).items()} for each in (on_time, late)]
    exact = {name: value for name, value in found[0].items() if value is not None}
    assert exact and {name: found[1][name] for name in exact} == exact
    for tick in range(1, 4):
        lessons = [each.lesson(160 + tick) for each in (on_time, late)]
        if lessons[0] is not None and lessons[1] is not None:
            (one, _), (two, _) = finish(on_time.learn(lessons[0])), finish(late.learn(lessons[1]))
            np.testing.assert_array_equal(one.head.weight, two.head.weight)
            assert one.labels == two.labels > 0 and one.verdict == two.verdict
            assert lessons[0].excess == pytest.approx(lessons[1].excess)
            assert replace(lessons[0], excess=0.0) == replace(lessons[1], excess=0.0)
            return
        assert lessons == [None, None]
    raise AssertionError("nothing was learned")
