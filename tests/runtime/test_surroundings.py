"""What the device sees around it: environments are found, and their frames are chosen well."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.domain import Domain
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.eyes import Eyes
from sel_edge.runtime.moments import MomentModel, bundle_moments
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.surroundings import RENEWAL_PASSES, NormLesson, Surroundings
from tests.runtime.conftest import CLASSES, Patterns
from tests.runtime.faded import FRAMES, bundle, faded

CLEAR = 64


@pytest.fixture(scope="module")
def model() -> MomentModel:
    return bundle_moments(bundle())


@pytest.fixture(scope="module")
def eyes(model: MomentModel) -> Eyes:
    return Eyes(bundle(), model, threads=1)


class World:
    """Surroundings that a network looks at; frames are numbered on."""

    def __init__(self, model: MomentModel, eyes: Eyes, network: Network, memory: int) -> None:
        config = replace(RuntimeConfig(), remembered_frames=memory)
        head = bundle_network(bundle()).head
        self.surroundings = Surroundings(bundle(), model, head, config, FRAMES)
        self.network, self._eyes, self.seen = network, eyes, 0
        self.spent = 0

    def show(self, images: NDArray[np.uint8], names: list[str] | None = None) -> range:
        """Let it see frames, each with a label or none; their numbers."""
        sight = self._eyes.look(images, self.network, self._eyes.router())
        heads = [self.network.head_in(int(number)) for number in sight.domains]
        rows = zip(heads, sight.features, strict=True)
        logits = np.concatenate([head.logits(row[None]) for head, row in rows])
        first = self.seen
        self.spent += self.surroundings.add(first, images, sight, logits, self.network)
        self.seen += len(images)
        for number, name in enumerate(names or [], first):
            self.surroundings.label(number, name)
        return range(first, self.seen)

    def clear(self, n: int = CLEAR) -> range:
        return self.show(Patterns().draw(n, 1000 + self.seen)[0])

    def dim(
        self, n: int = CLEAR, labelled: bool = False, names: tuple[str, ...] = CLASSES
    ) -> range:
        images, truths = Patterns().draw(n, 2000 + self.seen, names)
        return self.show(faded(images), truths if labelled else None)

    def lesson(self) -> NormLesson:
        (found,) = self.surroundings.lessons(self.network)
        return found


@pytest.fixture
def world(model: MomentModel, eyes: Eyes) -> World:
    return World(model, eyes, bundle_network(bundle()), 1024)


@pytest.fixture
def knowing(model: MomentModel, eyes: Eyes) -> World:
    """One that knows dim frames as its domain 3."""
    images = faded(Patterns().draw(CLEAR, 9)[0])
    classes = len(CLASSES)
    shares = np.full((CLEAR, classes), 1 / classes)
    place = model.displacements(eyes.observe(images).moments, shares).mean(axis=0)
    domain = Domain(place.astype(np.float32), CLEAR, {})
    network = bundle_network(bundle()).with_domains({3: domain})
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
