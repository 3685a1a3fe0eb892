"""What the device sees around it: environments are found, and their frames are chosen well."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sel_edge.bundle.domain import Domain
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.moments import MomentModel, bundle_moments
from sel_edge.runtime.network import bundle_network
from sel_edge.runtime.recollection import Recollection
from sel_edge.runtime.surroundings import MAX_DOMAINS, RENEWAL_PASSES
from tests.runtime.conftest import CLASSES, Patterns
from tests.runtime.faded import FRAMES, bundle, faded
from tests.runtime.watching import CLEAR, World


@pytest.fixture(scope="module")
def model() -> MomentModel:
    return bundle_moments(bundle())


@pytest.fixture(scope="module")
def eyes(model: MomentModel) -> Eyes:
    return Eyes(bundle(), model, threads=1)


@pytest.fixture
def world(model: MomentModel, eyes: Eyes) -> World:
    return World(model, eyes, bundle_network(bundle()), 1024)


@pytest.fixture(scope="module")
def dimness(model: MomentModel, eyes: Eyes) -> Domain:
    """The domain of dim frames."""
    images = faded(Patterns().draw(CLEAR, 9)[0])
    classes = len(CLASSES)
    shares = np.full((CLEAR, classes), 1 / classes)
    place = model.displacements(eyes.observe(images).moments, shares).mean(axis=0)
    return Domain(place.astype(np.float32), CLEAR, {})


@pytest.fixture
def knowing(model: MomentModel, eyes: Eyes, dimness: Domain) -> World:
    """One that knows dim frames as its domain 3."""
    network = bundle_network(bundle()).with_domains({3: dimness})
    return World(model, eyes, network, 1024)


class TestNewDomain:
    def test_frames_as_in_training_are_nothing_new(self, world: World) -> None:
        for _ in range(5):
            world.clear()
            assert not world.surroundings.suspicious
            assert world.surroundings.lessons(world.network) == []

    def test_dim_frames_become_a_lesson(self, world: World) -> None:
        world.clear()
        dim = world.dim()
        assert world.surroundings.suspicious
        lesson = world.lesson()
        assert (lesson.domain, lesson.is_new) == (1, True)
        assert lesson.members >= set(dim) and lesson.known_frames == len(lesson.members)
        assert len(lesson.members - set(dim)) < CLEAR // 8
        assert len(lesson.chosen) == FRAMES
        assert {number for number, _ in lesson.chosen} <= lesson.members
        assert 0 < lesson.blend < 1 and "sigma" in lesson.reason

    def test_a_few_dim_frames_are_not_enough(self, world: World) -> None:
        world.dim(FRAMES - 1)
        assert world.surroundings.lessons(world.network) == []

    def test_clear_frames_afterwards_end_the_suspicion(self, world: World) -> None:
        world.dim(CLEAR)
        for _ in range(3):
            world.clear()
        assert not world.surroundings.suspicious
        assert world.surroundings.lessons(world.network) == []

    def test_labelled_frames_come_first_but_half_at_most(self, world: World) -> None:
        world.dim(20, labelled=True)
        world.dim(30)
        labels = [seen.label for _, seen in world.lesson().chosen]
        assert all(labels[: FRAMES // 2]) and not any(labels[FRAMES // 2 :])
        numbers = [number for number, _ in world.lesson().chosen[FRAMES // 2 :]]
        assert numbers == sorted(set(numbers)) and min(numbers) < 25 and max(numbers) > 45

    def test_where_all_are_labelled_all_are_taken(self, world: World) -> None:
        world.dim(40, labelled=True)
        chosen = world.lesson().chosen
        assert len(chosen) == FRAMES and all(seen.label for _, seen in chosen)

    def test_frames_that_show_one_class_count_for_less(
        self, model: MomentModel, eyes: Eyes
    ) -> None:
        """Their statistics are those of what they show."""
        blends = []
        for names in (CLASSES, CLASSES[:2], CLASSES[:1]):
            world = World(model, eyes, bundle_network(bundle()), 1024)
            world.dim(CLEAR, labelled=True, names=names)
            found = world.surroundings.lessons(world.network)
            blends.append(found[0].blend if found else 0.0)
        assert blends[0] > blends[1] > blends[2]

    def test_an_attempt_that_failed_waits_for_twice_the_frames(self, world: World) -> None:
        world.clear()
        world.dim(FRAMES + 4)
        world.surroundings.settle(world.lesson(), None)
        assert not world.surroundings.suspicious  # others may learn meanwhile
        world.dim(FRAMES - 5)
        assert world.surroundings.lessons(world.network) == []
        world.dim(FRAMES)
        assert world.lesson().domain == 1

    def test_what_was_learned_is_remembered_as_it_is_seen_now(self, world: World) -> None:
        world.dim(40)
        lesson = world.lesson()
        features = np.arange(FRAMES * 48, dtype=np.float32).reshape(FRAMES, 48)
        world.surroundings.settle(lesson, features)
        assert not world.surroundings.suspicious
        assert world.surroundings.lessons(world.network) == []
        for (number, before), feature in zip(lesson.chosen, features, strict=True):
            now = world.surroundings.recall(number)
            assert now is not None and now.domain == lesson.domain
            np.testing.assert_array_equal(now.feature, feature)
            np.testing.assert_array_equal(now.frame, before.frame)

    def test_members_that_were_not_looked_at_are_forgotten_and_others_are_not(
        self, world: World
    ) -> None:
        """A late label of one would teach the old domain what the old network saw in it."""
        clear, dim = world.clear(), world.dim()
        lesson = world.lesson()
        chosen = {number for number, _ in lesson.chosen}
        assert lesson.members - chosen
        world.surroundings.settle(lesson, np.zeros((FRAMES, 48), np.float32))
        for number in {*clear, *dim}:
            gone = number in lesson.members - chosen
            assert (world.surroundings.recall(number) is None) == gone
        assert world.places()[lesson.domain] == FRAMES

    def test_so_is_what_came_while_the_lesson_waited(self, world: World) -> None:
        world.clear()
        world.dim()
        lesson, late = world.lesson(), world.dim(3)
        assert world.lesson().members == lesson.members
        world.surroundings.settle(lesson, np.zeros((FRAMES, 48), np.float32))
        assert all(world.surroundings.recall(number) is None for number in late)

    def test_what_was_not_learned_is_remembered_as_it_was(self, world: World) -> None:
        world.clear()
        world.dim()
        before = world.places()
        world.surroundings.settle(world.lesson(), None)
        assert world.places() == before

    def test_statistics_worth_nothing_are_given_up_until_there_is_more(self, world: World) -> None:
        """Bright frames of one class, whose spectrum needs no lens."""
        world.bright(CLEAR, CLASSES[:1])
        assert world.surroundings.suspicious
        assert world.surroundings.lessons(world.network) == []
        assert not world.surroundings.suspicious  # others may learn meanwhile
        spent = world.surroundings.planning_flops()
        assert spent > 0
        for _ in range(5):
            world.bright(1, CLASSES[:1])
            assert world.surroundings.lessons(world.network) == []
        assert world.surroundings.planning_flops() == 0
        world.bright(3 * CLEAR)
        assert world.lesson().is_new

    def test_a_lesson_waits_without_being_computed_again(self, world: World) -> None:
        world.clear()
        world.dim()
        lesson = world.lesson()
        assert world.surroundings.planning_flops() > 0
        for _ in range(6):
            world.dim(1)
            again = world.lesson()
            assert again.members == lesson.members and again.chosen == lesson.chosen
        assert world.surroundings.planning_flops() == 0
        world.dim(CLEAR)
        better = world.lesson()
        assert better.members > lesson.members and world.surroundings.planning_flops() > 0

    def test_labels_that_come_while_it_waits_are_told_with_it(self, world: World) -> None:
        world.dim()
        number, _ = world.lesson().chosen[2]
        world.surroundings.label(number, "east")
        labels = {n: seen.label for n, seen in world.lesson().chosen}
        assert labels.pop(number) == "east" and not any(labels.values())

    def test_a_lesson_of_a_shift_that_is_over_is_dropped(self, world: World) -> None:
        world.clear()
        world.dim(FRAMES + 4)
        first = world.lesson()
        for _ in range(3):
            world.clear()
        world.dim(FRAMES + 4)
        assert not world.lesson().members & first.members

    @pytest.mark.parametrize("pixels", [False, True])
    def test_where_too_little_is_remembered_nothing_is_suspicious(
        self, model: MomentModel, eyes: Eyes, pixels: bool
    ) -> None:
        """Labels would wait for statistics that never come."""
        frame_bytes = bundle().anchors().frames[0].nbytes
        for frames, suspicious in ((FRAMES - 1, False), (FRAMES, True)):
            limits = (1024, frames * frame_bytes) if pixels else (frames, 1 << 24)
            world = World(model, eyes, bundle_network(bundle()), *limits)
            world.dim()
            assert world.surroundings.suspicious == suspicious
            assert suspicious or world.surroundings.lessons(world.network) == []


class TestManyDomains:
    """Beyond a number of them, a new one takes the place of the one seen longest ago."""

    def full(self, model: MomentModel, eyes: Eyes, dimness: Domain, own: int) -> World:
        """One that knows dim frames as this domain, and others that never come."""
        far = replace(dimness, place=np.full_like(dimness.place, 1e3))
        domains = dict.fromkeys(range(1, MAX_DOMAINS + 1), far) | {own: dimness}
        return World(model, eyes, bundle_network(bundle()).with_domains(domains), 1024)

    def test_where_there_is_room_nothing_is_given_up(self, knowing: World) -> None:
        knowing.bright()
        lesson = knowing.lesson()
        assert (lesson.domain, lesson.gives_up) == (4, None)
        assert "given up" not in lesson.reason

    @pytest.mark.parametrize(("own", "oldest"), [(1, 2), (MAX_DOMAINS, 1), (5, 1)])
    def test_of_those_not_seen_since_the_start_the_oldest_goes(
        self, model: MomentModel, eyes: Eyes, dimness: Domain, own: int, oldest: int
    ) -> None:
        world = self.full(model, eyes, dimness, own)
        world.dim()
        world.bright()
        lesson = world.lesson()
        assert (lesson.domain, lesson.gives_up) == (MAX_DOMAINS + 1, oldest)
        assert f"domain {oldest}, seen longest ago, is given up" in lesson.reason

    def test_of_those_seen_the_one_seen_longest_ago_goes_with_its_frames(
        self, model: MomentModel, eyes: Eyes, dimness: Domain
    ) -> None:
        world = self.full(model, eyes, dimness, 7)
        dim = world.dim()
        # The others have come since.
        seen = {number: 1000 + number for number in world.network.domains if number != 7}
        world.surroundings._last_seen.update(seen)
        world.bright()
        lesson = world.lesson()
        assert lesson.gives_up == 7 and world.places()[7] > 0
        world.surroundings.settle(lesson, np.zeros((len(lesson.chosen), 48), np.float32))
        assert world.places()[7] == 0 and world.surroundings.recall(dim[0]) is None
        assert world.places()[lesson.domain] == len(lesson.chosen)


class TestKnownDomain:
    def test_its_frames_are_nothing_new(self, knowing: World) -> None:
        for _ in range(3):
            dim = knowing.dim()
            assert not knowing.surroundings.suspicious
        assert knowing.surroundings.lessons(knowing.network) == []
        seen = knowing.surroundings.recall(dim[-1])
        assert seen is not None and seen.domain == 3

    def test_labels_enough_make_its_statistics_better(self, knowing: World) -> None:
        wanted = RENEWAL_PASSES * FRAMES
        knowing.dim(wanted - 1, labelled=True)
        knowing.dim(CLEAR)
        assert knowing.surroundings.lessons(knowing.network) == []
        knowing.dim(1, labelled=True)
        lesson = knowing.lesson()
        assert (lesson.domain, lesson.is_new, lesson.members) == (3, False, frozenset())
        assert lesson.known_frames == wanted + CLEAR
        assert len(lesson.chosen) == wanted

    @pytest.mark.parametrize("kept", [False, True])
    def test_and_again_only_with_twice_as_many(self, knowing: World, kept: bool) -> None:
        knowing.dim(RENEWAL_PASSES * FRAMES, labelled=True)
        lesson = knowing.lesson()
        features = np.zeros((len(lesson.chosen), 48), np.float32) if kept else None
        knowing.surroundings.settle(lesson, features)
        knowing.dim(RENEWAL_PASSES * FRAMES - 1, labelled=True)
        assert knowing.surroundings.lessons(knowing.network) == []
        knowing.dim(1, labelled=True)
        assert len(knowing.lesson().chosen) == RENEWAL_PASSES * FRAMES

    def test_its_other_frames_stay_once_it_has_better_statistics(self, knowing: World) -> None:
        """What the network saw in them is near enough to what it would see by now."""
        clear, others = knowing.clear(), knowing.dim()
        knowing.dim(RENEWAL_PASSES * FRAMES, labelled=True)
        before, lesson = knowing.places(), knowing.lesson()
        features = np.ones((len(lesson.chosen), 48), np.float32)
        knowing.surroundings.settle(lesson, features)
        assert knowing.places() == before
        assert any(knowing.surroundings.recall(number) for number in clear)
        assert knowing.surroundings.recall(others[0]) is not None

    def test_it_is_looked_at_only_when_a_label_came_and_no_lesson_waits(
        self, knowing: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        knowing.dim(RENEWAL_PASSES * FRAMES - 1, labelled=True)
        knowing.dim(CLEAR)
        knowing.surroundings.lessons(knowing.network)
        last = knowing.dim(1)[0]
        with monkeypatch.context() as patch:
            patch.setattr(Recollection, "since", None)
            assert knowing.surroundings.lessons(knowing.network) == []
        knowing.surroundings.label(last, CLASSES[0])
        lesson = knowing.lesson()
        knowing.surroundings.label(last - 1, CLASSES[0])
        with monkeypatch.context() as patch:
            patch.setattr(Recollection, "since", None)
            again = knowing.lesson()
        assert [number for number, _ in again.chosen] == [number for number, _ in lesson.chosen]

    def test_each_class_has_its_share(self, knowing: World) -> None:
        knowing.dim(8, labelled=True, names=CLASSES[1:2])
        knowing.dim(8, labelled=True, names=CLASSES[2:3])
        knowing.dim(CLEAR, labelled=True, names=CLASSES[:1])
        chosen = knowing.lesson().chosen
        counts = Counter(seen.label for _, seen in chosen)
        assert counts == {CLASSES[0]: 16, CLASSES[1]: 8, CLASSES[2]: 8}
        newest = [number for number, seen in chosen if seen.label == CLASSES[0]]
        assert sorted(newest) == list(range(knowing.seen - 16, knowing.seen))
        assert len({number for number, _ in chosen}) == len(chosen)


def test_what_is_forgotten_is_not_recalled(model: MomentModel, eyes: Eyes) -> None:
    world = World(model, eyes, bundle_network(bundle()), 20)
    world.clear(30)
    assert world.surroundings.recall(9) is None
    world.surroundings.label(9, "east")  # nothing to remember it by
    world.surroundings.label(10, "east")
    seen = world.surroundings.recall(10)
    assert seen is not None and seen.label == "east"
    later = world.surroundings.recall(11)
    assert later is not None and later.label is None


def test_watching_is_counted_by_the_frame(world: World) -> None:
    world.clear(10)
    once = world.spent
    world.clear(20)
    assert 0 < once < world.spent - once <= 2 * once
