"""The learner alone: when it wants to learn, what it needs for that, and what it keeps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.runtime.adapter import AdapterSettings
from sel_edge.runtime.guard import Tolerance
from sel_edge.runtime.practice import BETTER_KNOWN
from sel_edge.runtime.settling import SETTLE_SAMPLES
from sel_edge.runtime.work import finish
from tests.runtime.clouds import (
    HEAD,
    KNOWN,
    TICK,
    WIDTH,
    accuracy,
    attempts,
    embarrassment,
    learner,
    named,
    seen,
    teach,
    told,
    with_lesson,
)


class TestWhenToLearn:
    @pytest.mark.parametrize("seed", range(3))
    def test_never_where_nothing_has_changed(self, seed: int) -> None:
        one, names = learner(), named(1500, seed)
        assert list(attempts(one, names, seen(names, seed + 50))) == []
        assert one.head is HEAD and one.lesson_now() is not None

    def test_what_changed_is_learned_until_it_is_well_and_what_did_not_stays(self) -> None:
        one, names = learner(), named(400, 1)
        found = list(attempts(one, names, seen(names, 2, elsewhere=True)))
        assert {name for lesson, _ in found for name in lesson.classes} == {"a", "b"}
        assert all(lesson.excess > 0 and not lesson.new for lesson, _ in found)
        new = named(400, 7)
        assert accuracy(HEAD, new, seen(new, 8, elsewhere=True)) < 0.7
        assert accuracy(one.head, new, seen(new, 8, elsewhere=True)) > 0.9
        assert accuracy(one.head, new, seen(new, 8)) > 0.9
        assert one.head is [attempt for _, attempt in found if attempt.verdict.accepted][-1].head

    def test_a_lesson_stays_the_same_until_something_comes_of_it(self) -> None:
        one, lesson = with_lesson()
        names = named(40, 3)
        told(one, names, seen(names, 4, elsewhere=True), 96)
        assert one.lesson(136) is lesson
        attempt, _ = finish(one.learn(lesson))
        one.reject(attempt)
        assert one.lesson(137) is None

    def test_what_was_dropped_takes_more_labels_the_next_time(self) -> None:
        one, names = learner(), named(600, 1)
        features, counts = seen(names, 2, elsewhere=True), []
        for start in range(0, 600, TICK):
            part = slice(start, start + TICK)
            told(one, names[part], features[part], start)
            if one.lesson(start + TICK) is not None:
                counts.append(start + TICK)
                one.drop()
        assert len(counts) > 2 and all(b > 1.5 * a for a, b in pairwise(counts))

    @pytest.mark.parametrize("late", [False, True])
    def test_a_new_class_waits_for_labels_in_two_folds(self, late: bool) -> None:
        """Nobody could answer for it who did not learn it from the very same block of frames."""
        one = learner(fold_block_frames=50)
        features = seen(["f"] * 60, 1)
        for frame in range(60):
            if late:
                one.observe(features[[frame]], [None], np.array([frame]))
                one.label("f", features[frame], frame)
            else:
                told(one, ["f"], features[[frame]], frame)
            lesson = one.lesson(frame + 1)
            assert (lesson is None) == (frame < 50)
            assert (one.lesson_now() is None) == (frame < 50)
        assert lesson is not None and lesson.new == lesson.classes == ("f",)

    def test_whoever_asks_for_all_that_can_be_learned_gets_no_class_without_proof(self) -> None:
        one, names = learner(), ["g"] * 6 + named(120, 1, "abcdf")
        told(one, names, seen(names, 2))
        lesson = one.lesson_now()
        assert lesson is not None and lesson.new == ("f",)
        assert lesson.classes == (*KNOWN, "f")

    @pytest.mark.parametrize("backwards", [False, True])
    def test_labels_of_a_new_class_may_come_in_any_order(self, backwards: bool) -> None:
        one, features = learner(), seen(["f"] * 40, 1)
        one.observe(features, [None] * 40, np.arange(40))
        for frame in reversed(range(40)) if backwards else range(40):
            one.label("f", features[frame], frame)
        assert one.lesson(41) is None
        lesson = one.lesson(42)
        assert lesson is not None and lesson.new == ("f",) and lesson.onset == 0

    @pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
    def test_what_changed_is_learned_in_whatever_order_its_labels_come(self, order: str) -> None:
        one, names = learner(), named(96, 1)
        features = seen(names, 2, elsewhere=True)
        one.observe(features, [None] * 96, np.arange(96))
        numbers = {
            "forwards": np.arange(96),
            "backwards": np.arange(96)[::-1],
            "shuffled": np.random.default_rng(5).permutation(96),
        }
        for at in numbers[order].tolist():
            one.label(names[at], features[at], at)
        assert one.lesson(96) is None  # patience
        lesson = one.lesson(97)
        assert lesson is not None and {"a", "b"} <= set(lesson.classes)
        assert lesson.onset < TICK
        attempt, _ = finish(one.learn(lesson))
        assert attempt.verdict.accepted and attempt.verdict.held_out > 80

    def test_labels_told_newest_first_are_tried_ever_more_rarely(self) -> None:
        """Each makes the situation begin earlier, which makes it no new one."""
        one, names = learner(), named(800, 1)
        features, fired = seen(names, 2, elsewhere=True), []
        for count, frame in enumerate(reversed(range(800)), start=1):
            one.label(names[frame], features[frame], frame)
            if count % TICK == 0 and one.lesson(800 + count) is not None:
                fired.append(count)
                one.drop()
        assert 2 < len(fired) < 8 and all(b > 1.5 * a for a, b in pairwise(fired))

    def test_a_lesson_of_a_class_that_was_forgotten_since_is_none(self) -> None:
        one = learner(unknown_classes=1, fold_block_frames=1)
        told(one, ["f"] * 8, seen(["f"] * 8, 1))
        assert one.lesson(8) is None
        lesson = one.lesson(9)
        assert lesson is not None and lesson.new == ("f",)
        told(one, ["g"], seen(["g"], 2), 9)
        assert one.lesson(10) is None

    def test_labels_are_wanted_where_only_the_stand_in_objects(self) -> None:
        one, unsure = learner(), np.full((400, WIDTH), 0.01, np.float32)
        one.observe(unsure[:200], [None] * 200, np.arange(200))
        assert one.wants_labels(200) is None  # patience
        reason = one.wants_labels(201)
        assert reason is not None and "only 0 labels" in reason
        assert one.lesson(201) is None
        told(one, named(20, 1), unsure[:20], 201)
        assert one.wants_labels(400) is None


class TestUnknownNormal:
    """The network was trained on its anchors, so the first labels have to say what is normal."""

    def test_until_it_is_known_nothing_but_new_classes_is_learned(self) -> None:
        one, names = learner(held_out=False, window_labels=80), named(72, 1)
        assert one.normal is None
        assert list(attempts(one, names, seen(names, 2, elsewhere=True))) == []
        assert one.normal is None
        (new, _), *_ = attempts(one, ["f"] * 64, seen(["f"] * 64, 3), 72)
        assert new.new == new.classes == ("f",)

    def test_what_the_first_labels_say_is_normal_and_a_kept_update_asks_again(self) -> None:
        one, names = learner(held_out=False), named(640, 1)
        at_home, moved = seen(names, 2), seen(names, 3, elsewhere=True)
        assert list(attempts(one, names[:320], at_home[:320])) == []
        assert one.normal is not None
        assert one.normal.together.level == pytest.approx(
            embarrassment(HEAD, names[:40], at_home[:40])
        )
        for _, attempt in attempts(one, names[320:], moved[320:], 320):
            assert attempt.normal is None
            if attempt.verdict.accepted:
                break
        one.keep(attempt, 640)
        assert one.normal is None
        told(one, names[:39], moved[:39], 640)
        assert one.normal is None
        told(one, names[39:40], moved[39:40], 679)
        assert one.normal is not None


class TestLearning:
    @settings(max_examples=60)
    @given(
        seed=st.integers(0, 999),
        count=st.integers(5, 90),
        classes=st.sampled_from(["abcd", "abcdf", "af", "fg", "b"]),
        steps=st.integers(1, 25),
        block=st.integers(1, 20),
        elsewhere=st.booleans(),
        held_out=st.booleans(),
    )
    def test_a_lesson_demands_no_less_than_it_takes(
        self,
        seed: int,
        count: int,
        classes: str,
        steps: int,
        block: int,
        elsewhere: bool,
        held_out: bool,
    ) -> None:
        adapter = AdapterSettings(steps=steps)
        one = learner(held_out, adapter=adapter, fold_block_frames=block)
        for first in (0, count):  # at first, and again by a head that may have learned more classes
            names = named(count, seed + first, classes)
            told(one, names, seen(names, seed + 1, elsewhere), first)
            lesson = one.lesson_now()
            if lesson is None:
                return
            demand, taken = one.demand(lesson), list(one.learn(lesson))
            assert sum(step.executed_flops for step in taken) <= demand.executed_flops
            assert max(step.peak_bytes for step in taken) <= demand.peak_bytes
            attempt, flops = finish(one.learn(lesson))
            assert flops == sum(step.executed_flops for step in taken)
            assert attempt.labels == len(one.material(lesson)) <= first + count
            one.keep(attempt, first + count)

    @pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
    def test_whoever_stops_halfway_leaves_the_learner_as_it_was(self, share: float) -> None:
        (one, lesson), (other, same) = with_lesson(), with_lesson()
        before, steps = (one.head, one.normal), len(list(other.learn(same)))
        work = one.learn(lesson)
        for _ in range(int(share * steps)):
            next(work)
        work.close()
        assert (one.head, one.normal) == before and one.lesson(99) is lesson
        assert one.embarrassment(99) == other.embarrassment(99)
        attempts = [finish(each.learn(what))[0] for each, what in ((one, lesson), (other, same))]
        assert attempts[0].head.hash == attempts[1].head.hash
        assert attempts[0].verdict == attempts[1].verdict
        assert attempts[0].normal == attempts[1].normal

    def test_what_a_kept_head_learned_from_proves_nothing_to_it_any_more(self) -> None:
        one, lesson = with_lesson()
        attempt, _ = finish(one.learn(lesson))
        assert attempt.verdict.accepted and one.lesson_now() is not None
        one.keep(attempt, 96)
        assert one.head is attempt.head and one.normal is attempt.normal is not None
        assert one.lesson_now() is None and one.lesson(97) is None
        assert one.embarrassment(97) == {}  # old losses are not the new head's
        names = named(32, 5)
        for start in (96, 112):  # a block of frames, and another
            told(one, names[:16], seen(names[:16], start, elsewhere=True), start)
            now = one.lesson_now()
            assert (now is None) == (start == 96)
        assert now is not None and len(one.material(now)) == 96 + 32
        again, _ = finish(one.learn(now))
        assert (again.labels, again.verdict.held_out) == (96 + 32, 32)

    def test_new_classes_are_learned_and_known_from_then_on(self) -> None:
        one, names = learner(), named(240, 1, "abcdf")
        lesson, _ = teach(one, names)
        assert lesson.new == lesson.classes == ("f",)
        assert lesson.excess == pytest.approx(np.log(5))
        assert one.head.classes == (*KNOWN, "f") and one.normal is not None
        fresh = named(300, 5, "abcdf")
        assert accuracy(one.head, fresh, seen(fresh, 6)) > 0.9
        told(one, ["f"] * 40, seen(["f"] * 40, 7), 240)
        now = one.lesson_now()
        assert now is not None and not now.new

    def test_a_class_learned_from_few_labels_is_practised_on_many_more(self) -> None:
        one, names = learner(), named(240, 1, "abcdf")
        _, attempt = teach(one, names)
        taught = names[: attempt.labels].count("f")
        features, lesson = seen(["f"] * BETTER_KNOWN * taught, 9), None
        for number in range(taught, BETTER_KNOWN * taught + 2):
            assert (lesson is None) == (number <= BETTER_KNOWN * taught)
            told(one, ["f"], features[[number - taught]], 300 + number)
            lesson = one.lesson(300 + number)
        assert lesson is not None and (lesson.classes, lesson.new) == (("f",), ())

    def test_what_was_learned_on_the_device_is_not_given_up_for_something_else(self) -> None:
        """Elsewhere b looks as f does, of which the bundle has no anchors."""
        one = learner(adapter=AdapterSettings(steps=400, hold=0.0, pull=0.0))
        teach(one, named(240, 1, "abcdf"))
        names = ["b"] * 120
        (lesson, attempt), *_ = attempts(one, names, seen(names, 2, elsewhere=True), 240)
        assert lesson.classes == ("b",) and lesson.onset >= 240
        assert "better by at least" in attempt.verdict.reason
        assert not attempt.verdict.accepted

    @pytest.mark.parametrize("seed", range(3))
    def test_wrong_labels_do_no_harm_whatever_they_prove(self, seed: int) -> None:
        """Every third label is wrong, and the adapter believes all it is told."""
        eager = AdapterSettings(steps=400, hold=0.0, pull=0.0)
        truths, rng = named(400, seed), np.random.default_rng(seed)
        lies = [name if rng.random() > 0.3 else str(rng.choice(list(KNOWN))) for name in truths]
        clean = named(800, 7)
        test = clean, seen(clean, 8)
        harm = {}
        for tolerance in (Tolerance(), Tolerance(embarrassment=9.0, accuracy=1.0)):
            one = learner(adapter=eager, tolerance=tolerance)
            assert list(attempts(one, lies, seen(truths, seed + 50)))
            harm[tolerance] = embarrassment(one.head, *test) - embarrassment(HEAD, *test)
            if tolerance == Tolerance():
                assert accuracy(one.head, *test) > accuracy(HEAD, *test) - 0.08
        guarded, unguarded = harm.values()
        assert guarded < Tolerance().embarrassment + 0.05 < unguarded

    @pytest.mark.parametrize("held_out", [False, True])
    def test_vain_practice_settles_only_on_labels_enough(self, held_out: bool) -> None:
        """Frames that show nothing, so that the best that can be said of them is a guess."""
        one, names = learner(held_out), named(1600, 1)
        nothing = np.random.default_rng(3).normal(0, 0.3, (1600, WIDTH)).astype(np.float32)
        at_home = named(40, 4)
        told(one, at_home, seen(at_home, 5))  # by which either kind knows what is normal
        assert one.normal is not None
        level = one.normal.together.level
        found = [attempt for _, attempt in attempts(one, names, nothing, 40)]
        assert found and not any(attempt.verdict.accepted for attempt in found)
        enough = [attempt.verdict.held_out >= SETTLE_SAMPLES for attempt in found]
        assert False in enough and True in enough
        settled = [attempt.normal is not None for attempt in found]
        assert settled == [held_out and each for each in enough]
        assert one.head is HEAD
        if held_out:
            assert settled.index(True) == len(settled) - 1  # it is not embarrassing any more
            assert one.normal.together.level > level + 0.5
        else:
            assert one.normal.together.level == level
