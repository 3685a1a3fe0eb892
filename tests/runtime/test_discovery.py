"""Environments that nobody knows are found among frames, with the right frames, and only those."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.domain import OWN, Domain
from sel_edge.runtime.discovery import LEAST_FRAMES, PATIENCE, Discovery, Environment
from sel_edge.runtime.moments import (
    LIMIT_SIGMA,
    MIN_FRAMES,
    WINDOW_FRAMES,
    Floats,
    MomentModel,
    fit_moments,
)

CHANNELS, CLASSES, TICK, ASKED = 16, 5, 8, 64
HOME, BRIGHT, DARK, FLAT, HARD = range(5)
SHIFTS = {
    HOME: (0.0, 1.0),
    BRIGHT: (2.0, 1.0),
    DARK: (-2.0, 1.0),
    FLAT: (0.0, 0.2),
    HARD: (0.0, 5.0),
}
"""By how much a place moves the channels' means, and what it does to their deviations."""
MEANS = np.random.default_rng(0).normal(0, 0.2, (CLASSES, CHANNELS))


def moments(labels: NDArray[np.int64], places: Sequence[int], seed: int) -> NDArray[np.float32]:
    rng, shape = np.random.default_rng(seed), (len(labels), CHANNELS)
    shift, scale = np.array([SHIFTS[place] for place in places]).T[:, :, None]
    mean = MEANS[labels] + shift + rng.normal(0, 0.4, shape)
    deviation = scale * np.exp(rng.normal(0, 0.3, shape))
    return np.stack([mean, mean**2 + deviation**2], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> MomentModel:
    labels = np.arange(30 * CLASSES) % CLASSES
    return fit_moments(moments(labels, [HOME] * len(labels), 1), labels, CLASSES)


class Stream:
    """What a runtime does with a discovery: it shows frames, and remembers where they lie.

    Predictions are as unsure as they are of frames that nobody has learned yet.
    """

    def __init__(self, model: MomentModel, known: Sequence[int] = ()) -> None:
        self.model, self.seed = model, 100
        self.placed: Floats = np.zeros((0, 2 * CHANNELS))
        labels = np.arange(30 * CLASSES) % CLASSES
        anchors = moments(labels, [HOME] * len(labels), 1)
        normal = model.displacements(anchors, np.eye(CLASSES)[labels])
        self.discovery = Discovery(model, normal, ASKED)
        self.domains = {
            place: Domain(self._draw([place] * 200).mean(axis=0).astype(np.float32), 200)
            for place in known
        }

    def show(self, *places: int, labels: NDArray[np.int64] | None = None) -> None:
        """The next frames; those of known places are taken for what they are."""
        numbers = np.array([place if place in self.domains else OWN for place in places], np.int64)
        self._take(self._draw(places, labels), numbers)

    def show_partly(self, place: int, strengths: Floats) -> None:
        """Frames on the way from home to a place that is not known, each as far as it says."""
        ends = [self._draw([one] * len(strengths)) for one in (HOME, place)]
        on_the_way = ends[0] + strengths[:, None] * (ends[1] - ends[0])
        self._take(on_the_way, np.full(len(strengths), OWN, np.int64))

    def _take(self, new: Floats, numbers: NDArray[np.int64]) -> None:
        self.discovery.add(len(self.placed), new, numbers, self.domains)
        self.placed = np.concatenate([self.placed, new])

    def find(self) -> Environment | None:
        since = self.discovery.since()
        if since is None:
            return None
        numbers = range(since, len(self.placed))
        return self.discovery.find(numbers, self.placed[since:], self.domains)

    def until_found(self, places: NDArray[np.int64]) -> Environment:
        """Show frames of these places until an environment is found in them."""
        for start in range(0, len(places), TICK):
            self.show(*places[start : start + TICK].tolist())
            if (found := self.find()) is not None:
                return found
        raise AssertionError(f"Nothing was found in {len(places)} frames.")

    def _draw(self, places: Sequence[int], labels: NDArray[np.int64] | None = None) -> Floats:
        self.seed += 1
        if labels is None:
            labels = np.random.default_rng(self.seed).integers(0, CLASSES, len(places))
        shares = (np.eye(CLASSES)[labels] + 1 / CLASSES) / 2
        return self.model.displacements(moments(labels, places, self.seed), shares)


@pytest.fixture
def stream(model: MomentModel) -> Stream:
    """At home for a while."""
    stream = Stream(model)
    stream.show(*[HOME] * 200)
    return stream


def mixture(*shares: tuple[int, float], count: int = 600) -> NDArray[np.int64]:
    """Places at random, each with its share."""
    places, weights = zip(*shares, strict=True)
    return np.random.default_rng(7).choice(places, count, p=weights)


class TestNothingNew:
    @pytest.mark.parametrize("in_order", [False, True])
    def test_frames_of_the_bundles_own_domain(self, model: MomentModel, in_order: bool) -> None:
        stream, labels = Stream(model), np.random.default_rng(3).integers(0, CLASSES, 3000)
        labels = np.sort(labels) if in_order else labels
        for start in range(0, len(labels), TICK):
            part = labels[start : start + TICK]
            stream.show(*[HOME] * len(part), labels=part)
            assert stream.discovery.sigma < LIMIT_SIGMA
            assert stream.discovery.since() is None

    @pytest.mark.parametrize("in_order", [False, True])
    def test_it_is_not_even_found_where_it_is_sought(
        self, model: MomentModel, in_order: bool
    ) -> None:
        stream, labels = Stream(model), np.random.default_rng(3).integers(0, CLASSES, 400)
        stream.show(*[HOME] * 400, labels=np.sort(labels) if in_order else labels)
        assert stream.discovery.find(range(400), stream.placed, {}) is None

    def test_frames_of_known_domains(self, model: MomentModel) -> None:
        stream = Stream(model, known=(BRIGHT, DARK))
        for start in range(0, 600, TICK):
            part = mixture((HOME, 0.4), (BRIGHT, 0.3), (DARK, 0.3))[start : start + TICK]
            stream.show(*part.tolist())
            assert stream.find() is None
        assert stream.discovery.find(range(600), stream.placed, stream.domains) is None
        assert stream.discovery.find(range(600), stream.placed, {}) is not None

    def test_a_shift_that_is_over(self, stream: Stream) -> None:
        stream.show(*[BRIGHT] * TICK * 3)
        assert stream.discovery.since() is not None
        stream.show(*[HOME] * WINDOW_FRAMES)
        assert stream.discovery.since() is None and stream.find() is None


class TestSomethingNew:
    @pytest.mark.parametrize("place", [BRIGHT, DARK, FLAT])
    def test_it_is_found_with_its_frames_once_as_many_have_come_as_asked(
        self, stream: Stream, place: int
    ) -> None:
        found = stream.until_found(np.full(600, place))
        came = len(stream.placed) - 200
        assert ASKED <= came <= ASKED + TICK
        assert found.frames == tuple(range(200, 200 + came))
        np.testing.assert_allclose(found.place, stream.placed[200:].mean(axis=0), rtol=1e-4)
        assert found.place.dtype == np.float32 and found.sigma >= LIMIT_SIGMA
        assert f"{found.sigma:.1f} sigma over {came} frames" in found.reason

    def test_what_may_be_new_begins_no_later_than_the_new_does(self, stream: Stream) -> None:
        for _ in range(WINDOW_FRAMES // TICK):
            stream.show(*[FLAT] * TICK)
        since = stream.discovery.since()
        assert since is not None and 200 - WINDOW_FRAMES <= since <= 200

    def test_from_the_first_frame_on(self, model: MomentModel) -> None:
        stream = Stream(model)
        found = stream.until_found(np.full(200, DARK))
        assert found.frames == tuple(range(ASKED))

    def test_frames_of_known_domains_among_them_are_left_out(self, model: MomentModel) -> None:
        stream = Stream(model, known=(BRIGHT,))
        places = mixture((HOME, 0.3), (BRIGHT, 0.3), (DARK, 0.4))
        found = stream.until_found(places)
        assert set(places[list(found.frames)]) == {DARK}
        assert len(found.frames) == (places[: len(stream.placed)] == DARK).sum() >= ASKED

    def test_of_two_the_larger_is_found_alone(self, stream: Stream) -> None:
        places = mixture((FLAT, 0.65), (BRIGHT, 0.35))
        found = stream.until_found(places)
        came = places[: len(stream.placed) - 200]
        assert found.frames == tuple(200 + np.flatnonzero(came == FLAT))
        assert len(found.frames) >= ASKED > LEAST_FRAMES

    def test_once_that_is_known_the_other_is_found(self, stream: Stream) -> None:
        places = mixture((FLAT, 0.65), (BRIGHT, 0.35), count=1200)
        first = stream.until_found(places[:600])
        stream.domains[FLAT] = Domain(first.place, len(first.frames))
        stream.discovery.settle(learned=True)
        begun = len(stream.placed)
        second = stream.until_found(places[600:])
        shown = np.concatenate([np.zeros(200, int), places[: begun - 200], places[600:]])
        assert set(shown[list(second.frames)]) == {BRIGHT}

    def test_the_first_frames_of_several_do_not_make_one_of_the_known(self, stream: Stream) -> None:
        """Too few of each to be an environment, and enough together to be far from home."""
        found = stream.until_found(np.resize([BRIGHT, DARK, FLAT], 600))
        assert len({(number - 200) % 3 for number in found.frames}) == 1
        assert min(found.frames) >= 200 and len(found.frames) >= ASKED

    def test_where_none_is_large_enough_the_largest_is_taken_at_last(
        self, model: MomentModel
    ) -> None:
        stream, patience = Stream(model), PATIENCE * ASKED
        places = np.resize([HOME, BRIGHT, DARK, FLAT, HARD], patience)
        stream.show(*places.tolist())
        numbers, find = range(patience), stream.discovery.find
        assert find(numbers[:-1], stream.placed[:-1], {}) is None
        found = find(numbers, stream.placed, {})
        assert found is not None and LEAST_FRAMES <= len(found.frames) < ASKED
        (place,) = set(places[list(found.frames)])
        assert place != HOME and found.frames == tuple(np.flatnonzero(places == place))

    def test_a_few_odd_frames_are_no_environment(self, stream: Stream) -> None:
        stream.show(*[DARK] * (LEAST_FRAMES - 1))
        count = len(stream.placed)
        assert stream.discovery.find(range(count), stream.placed, {}) is None


class TestSettle:
    def test_what_was_not_learned_needs_twice_the_frames(self, stream: Stream) -> None:
        stream.until_found(np.full(600, FLAT))
        for times in (2, 4):
            stream.discovery.settle(learned=False)
            found = stream.until_found(np.full(600, FLAT))
            assert times * ASKED <= len(found.frames) <= times * ASKED + TICK
            assert len(found.frames) == len(stream.placed) - 200

    def test_learning_begins_anew(self, stream: Stream) -> None:
        stream.until_found(np.full(600, FLAT))
        stream.discovery.settle(learned=False)
        stream.discovery.settle(learned=True)
        assert stream.discovery.since() is None and stream.discovery.sigma == 0
        begun = len(stream.placed)
        stream.show(*[FLAT] * (MIN_FRAMES - 1))
        assert stream.discovery.since() is None
        stream.show(FLAT)
        since = stream.discovery.since()
        assert since is not None and begun - WINDOW_FRAMES <= since <= begun
        assert stream.find() is not None  # of frames remembered, as many as asked at first

    def test_a_domain_that_was_learned_is_not_found_again(self, stream: Stream) -> None:
        found = stream.until_found(np.full(600, BRIGHT))
        stream.domains[BRIGHT] = Domain(found.place, len(found.frames))
        stream.discovery.settle(learned=True)
        for _ in range(40):
            stream.show(*[BRIGHT] * TICK)
            assert stream.discovery.since() is None

    def test_where_the_shift_ends_as_many_frames_are_asked_as_at_first(
        self, stream: Stream
    ) -> None:
        stream.until_found(np.full(600, FLAT))
        stream.discovery.settle(learned=False)
        stream.show(*[HOME] * 2 * WINDOW_FRAMES)
        assert stream.discovery.since() is None
        found = stream.until_found(np.full(600, FLAT))
        assert ASKED <= len(found.frames) <= ASKED + TICK


class TestPending:
    """What may be new and was never tried is a reason to distrust labels; what was tried is not."""

    def test_nothing_is_pending_at_home_or_in_a_known_domain(self, model: MomentModel) -> None:
        stream = Stream(model, known=(BRIGHT,))
        for _ in range(40):
            stream.show(*[HOME, BRIGHT] * (TICK // 2))
            assert not stream.discovery.pending

    def test_something_new_is_pending_until_it_was_tried_and_not_again(
        self, stream: Stream
    ) -> None:
        stream.until_found(np.full(600, FLAT))
        assert stream.discovery.pending
        for _ in range(3):
            stream.discovery.settle(learned=False)
            stream.show(*[FLAT] * TICK)
            assert stream.discovery.since() is not None and not stream.discovery.pending

    def test_what_was_learned_is_pending_no_longer(self, stream: Stream) -> None:
        found = stream.until_found(np.full(600, FLAT))
        stream.domains[FLAT] = Domain(found.place, len(found.frames))
        stream.discovery.settle(learned=True)
        assert not stream.discovery.pending

    def test_after_a_failure_the_next_new_thing_is_pending_once_the_first_is_over(
        self, stream: Stream
    ) -> None:
        stream.until_found(np.full(600, FLAT))
        stream.discovery.settle(learned=False)
        stream.show(*[HOME] * 2 * WINDOW_FRAMES)
        assert not stream.discovery.pending
        stream.show(*[DARK] * 2 * WINDOW_FRAMES)
        assert stream.discovery.pending

    def test_it_ends_where_even_patience_finds_nothing_to_learn(self, stream: Stream) -> None:
        """As of frames that the router takes for others than they are."""
        known = {DARK: Stream(stream.model, known=(DARK,)).domains[DARK]}
        stream.show(*[DARK] * PATIENCE * ASKED)
        since = stream.discovery.since()
        assert since is not None and stream.discovery.pending
        few = range(since, since + PATIENCE * ASKED - 1)
        assert stream.discovery.find(few, stream.placed[few], known) is None
        assert stream.discovery.pending
        every = range(since, len(stream.placed))
        assert stream.discovery.find(every, stream.placed[every], known) is None
        assert stream.discovery.since() == since and not stream.discovery.pending

    def test_what_is_found_and_never_tried_is_not_pending_for_ever(self, stream: Stream) -> None:
        """As where the wallet can never pay for it."""
        stream.until_found(np.full(600, FLAT))
        assert stream.discovery.pending
        stream.show(*[FLAT] * (WINDOW_FRAMES + PATIENCE * ASKED))
        assert stream.find() is not None and not stream.discovery.pending


class TestDue:
    """Environments are sought when frames enough have come, and not at every tick."""

    def looks(self, stream: Stream, places: NDArray[np.int64]) -> list[int | None]:
        """Show frames of these places; sizes of what was found whenever it was due."""
        found = []
        for start in range(0, len(places), TICK):
            stream.show(*places[start : start + TICK].tolist())
            if stream.discovery.due:
                one = stream.find()
                found.append(None if one is None else len(one.frames))
                assert not stream.discovery.due
        return found

    def test_never_at_home(self, stream: Stream) -> None:
        assert self.looks(stream, np.full(400, HOME)) == []
        assert stream.discovery.executed_flops == 0

    def test_a_new_environment_is_found_as_soon_as_if_it_were_sought_at_every_tick(
        self, stream: Stream
    ) -> None:
        found = self.looks(stream, np.full(ASKED + TICK, DARK))
        assert found[:-1] == [None] * (len(found) - 1)
        assert found[-1] is not None and ASKED <= found[-1] <= ASKED + TICK

    @pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
    def test_in_a_long_stretch_ever_more_rarely(self, stream: Stream, share: float) -> None:
        count = 1600
        found = self.looks(stream, mixture((HOME, 1 - share), (DARK, share), count=count))
        assert any(found) and len(found) < count // TICK / 4

    def test_where_a_failure_takes_more_frames_nothing_is_computed_before(
        self, stream: Stream
    ) -> None:
        stream.until_found(np.full(600, FLAT))
        for _ in range(2):
            stream.discovery.settle(learned=False)
        before, since = stream.discovery.executed_flops, stream.discovery.since()
        assert since is not None
        missing = 4 * ASKED - (len(stream.placed) - since)
        self.looks(stream, np.full(missing - 1, FLAT))
        assert stream.discovery.executed_flops == before
        assert self.looks(stream, np.full(1, FLAT)) == [None]
        assert stream.discovery.executed_flops > before

    def test_every_search_is_counted(self, stream: Stream) -> None:
        stream.show(*[DARK] * ASKED)
        assert stream.find() is not None
        once = stream.discovery.executed_flops
        assert once > 0 and stream.find() is not None
        assert stream.discovery.executed_flops == 2 * once


class TestWholeEnvironment:
    def test_frames_that_show_little_of_it_belong_to_it(self, stream: Stream) -> None:
        begun, rng = len(stream.placed), np.random.default_rng(5)
        found = None
        while found is None:
            assert len(stream.placed) < begun + 4 * WINDOW_FRAMES
            stream.show_partly(BRIGHT, rng.choice([0.02, 0.15, 0.3], TICK))
            found = stream.find()
        since = set(range(begun, len(stream.placed)))
        assert len(since ^ set(found.frames)) <= 0.15 * len(since)
        middle = stream.placed[sorted(since)].mean(axis=0)
        np.testing.assert_allclose(found.place, middle, atol=0.1)

    def test_of_a_mixture_it_is_the_frames_of_one_place(self, stream: Stream) -> None:
        begun = len(stream.placed)
        places = mixture((BRIGHT, 0.4), (HOME, 0.6))
        found = stream.until_found(places)
        seen = places[: len(stream.placed) - begun]
        bright = set((begun + np.flatnonzero(seen == BRIGHT)).tolist())
        assert len(bright ^ set(found.frames)) <= 0.1 * len(bright)
