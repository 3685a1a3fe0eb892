"""One learner for each domain: what one learns harms no other, and classes are everybody's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN, Domain
from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.ledger import Levels
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.evidence import class_means
from sel_edge.runtime.head import Head
from sel_edge.runtime.network import Network, bundle_network
from sel_edge.runtime.normal import NormalLevels
from sel_edge.runtime.updates.head import HeadUpdate
from sel_edge.runtime.work import finish
from tests.runtime.conftest import CLASSES, NEW_CLASS, Patterns
from tests.runtime.conftest import Network as Reference

TILTED, OTHER = 1, 2
PLACE = np.zeros(2, np.float32)
CONFIG = RuntimeConfig(fold_block_frames=4)


@pytest.fixture
def start(bundle: Bundle) -> Network:
    """With two domains that look alike to the network so far."""
    domains = {number: Domain(PLACE, 16, {}) for number in (TILTED, OTHER)}
    return bundle_network(bundle).with_domains(domains)


def classroom(
    bundle: Bundle,
    network: Network,
    normal: dict[int, NormalLevels] | None = None,
    taught: dict[int, int] | None = None,
) -> Classroom:
    return Classroom(bundle, network, CONFIG, normal or {}, taught or {})


def seen(
    network: Reference, n: int, seed: int, names: tuple[str, ...] = CLASSES, tilted: bool = False
) -> tuple[NDArray[np.float32], list[str]]:
    images, truths = Patterns().draw(n, seed, names, tilted)
    return network.features(images), truths


def of(domain: int, n: int) -> NDArray[np.int64]:
    return np.full(n, domain, np.int64)


def lesson(room: Classroom, network: Network, frame: int) -> HeadUpdate:
    """The one that is wanted within a few ticks."""
    for tick in range(4):
        if found := room.updates(frame + tick, network, suspicious=False):
            (update,) = found
            return update
    raise AssertionError("nothing is to be learned")


def learned(room: Classroom, update: HeadUpdate) -> Network:
    """The network after an update, which must be a good one, was carried out and kept."""
    candidate, _ = finish(update.work())
    assert candidate.verdict.accepted, candidate.verdict.reason
    room.adopt(candidate.network)
    update.kept(candidate)
    return candidate.network


def after_the_tilt(room: Classroom, reference: Reference, start: Network) -> Network:
    """The network once labels have taught it what tilted frames show."""
    features, truths = seen(reference, 120, 2, tilted=True)
    room.observe(features, of(TILTED, 120), truths, 0)
    return learned(room, lesson(room, start, 120))


def odd(head: Head, seed: int) -> Head:
    """With another row."""
    weight = head.weight.copy()
    weight[seed % len(weight)] += np.random.default_rng(seed).normal(size=weight.shape[1])
    return Head(weight.astype(np.float32), head.bias, head.classes)


class TestObserve:
    def test_each_frame_is_answered_by_the_head_of_its_domain(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        apart = start
        for number in (TILTED, OTHER):
            apart = apart.with_head_in(number, odd(start.head, number))
        features, _ = seen(network, 60, 3)
        domains = np.random.default_rng(0).choice([OWN, TILTED, OTHER], 60)
        logits = classroom(bundle, apart).observe(features, domains, [None] * 60, 0)
        for row, feature, number in zip(logits, features, domains, strict=True):
            expected = apart.head_in(int(number)).logits(feature[None])[0]
            np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)
        assert not np.allclose(logits, start.head.logits(features))

    def test_no_frames_have_answers_of_every_class(self, bundle: Bundle, start: Network) -> None:
        room = classroom(bundle, start)
        logits = room.observe(np.zeros((0, 48), np.float32), of(OWN, 0), [], 0)
        assert logits.shape == (0, len(CLASSES))

    def test_labels_are_those_of_their_domain(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        """What is wrong in one domain is no alarm in another."""
        room = classroom(bundle, start)
        features, truths = seen(network, 120, 2, tilted=True)
        room.observe(features, of(TILTED, 120), truths, 0)
        clear, names = seen(network, 120, 3)
        room.observe(clear, of(OWN, 120), names, 120)
        assert lesson(room, start, 240).proposal.domain == TILTED


class TestLearning:
    def test_what_one_domain_learns_changes_no_answer_in_another(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        tilted, truths = seen(network, 200, 9, tilted=True)
        before = {number: start.head_in(number).logits(tilted) for number in (OWN, TILTED, OTHER)}
        now = after_the_tilt(room, network, start)
        answers = {n: room.observe(tilted, of(n, 200), [None] * 200, 300) for n in before}
        for number in (OWN, OTHER):
            assert answers[number].tobytes() == before[number].tobytes()
        right = {
            number: np.mean(answers[number].argmax(axis=1) == now.head.index(truths))
            for number in before
        }
        assert right[TILTED] > right[OWN] + 0.2

    def test_a_class_learned_in_one_domain_is_known_in_all(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        features, truths = seen(network, 60, 4, (NEW_CLASS,))
        room.observe(features, of(TILTED, 60), truths, 0)
        update = lesson(room, start, 60)
        assert (update.proposal.domain, update.proposal.classes) == (TILTED, (NEW_CLASS,))
        now = learned(room, update)
        assert now.classes == (*CLASSES, NEW_CLASS)
        fresh, _ = seen(network, 100, 5, (NEW_CLASS,))
        clear, _ = seen(network, 100, 6)
        for number in (OWN, TILTED, OTHER):
            answers = room.observe(fresh, of(number, 100), [None] * 100, 100)
            assert answers.shape == (100, 5)
            assert (answers.argmax(axis=1) == 4).mean() > 0.75
            old = room.observe(clear, of(number, 100), [None] * 100, 200)[:, :4]
            np.testing.assert_array_equal(old, start.head_in(number).logits(clear))

    def test_what_others_have_learned_is_no_news_to_be_learned_again(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        """Labels of the new class wait in two domains; one learns it, and it is known in both."""
        room = classroom(bundle, start)
        features, truths = seen(network, 60, 4, (NEW_CLASS,))
        for number in (OWN, TILTED):
            room.observe(features, of(number, 60), truths, 60 * number)
        for tick in range(4):
            updates = room.updates(120 + tick, start, suspicious=False)
        assert {update.proposal.domain for update in updates} == {OWN, TILTED}
        now = learned(room, updates[0])
        for tick in range(4, 10):
            more = room.updates(120 + tick, now, suspicious=False)
            assert all(NEW_CLASS not in update.proposal.classes for update in more)

    def test_rows_of_its_own_survive_what_the_bundles_domain_learns(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        now = after_the_tilt(room, network, start)
        tilted, _ = seen(network, 100, 9, tilted=True)
        before = room.observe(tilted, of(TILTED, 100), [None] * 100, 200)
        features, truths = seen(network, 60, 4, (NEW_CLASS,))
        room.observe(features, of(OWN, 60), truths, 300)
        later = learned(room, lesson(room, now, 360))
        after = room.observe(tilted, of(TILTED, 100), [None] * 100, 400)
        assert later.classes == (*CLASSES, NEW_CLASS)
        np.testing.assert_array_equal(after[:, :4], before)

    def test_nothing_is_learned_of_frames_that_may_be_of_an_unknown_domain(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        features, truths = seen(network, 120, 2, tilted=True)
        room.observe(features, of(TILTED, 120), truths, 0)
        for tick in range(6):
            assert room.updates(120 + tick, start, suspicious=True) == []
        assert lesson(room, start, 130).proposal.domain == TILTED

    def test_what_turned_out_to_be_of_another_domain_is_forgotten(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        features, truths = seen(network, 120, 2, tilted=True)
        room.observe(features, of(OWN, 120), truths, 0)
        room.discard(range(120))
        assert [room.updates(120 + t, start, suspicious=False) for t in range(6)] == [[]] * 6
        assert room.updates_now(126, start) == []

    def test_labels_that_taught_the_network_before_prove_nothing(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        features, truths = seen(network, 120, 2, tilted=True)
        for taught, count in (({}, 1), ({TILTED: 120}, 0), ({OWN: 120}, 1)):
            room = classroom(bundle, start, taught=taught)
            for frame, (name, feature) in enumerate(zip(truths, features, strict=True)):
                room.remember(TILTED, name, feature, frame)
            assert len(room.updates_now(120, start)) == count


class TestSharedRows:
    """Those that the bundle's own domain learns, where other domains go by them."""

    def embarrassment(self, head: Head, features: NDArray[np.float32], names: list[str]) -> float:
        losses = cross_entropy(head.logits(features), head.index(names), TEMPERATURE)
        return float(class_means(losses, head.index(names)).mean())

    @pytest.mark.parametrize("new", [(), (NEW_CLASS,)])
    def test_no_domain_is_worse_off_as_far_as_its_labels_tell(
        self, bundle: Bundle, network: Reference, start: Network, new: tuple[str, ...]
    ) -> None:
        room = classroom(bundle, start.with_domains({3: Domain(PLACE, 16, {})}))
        start = start.with_domains({3: Domain(PLACE, 16, {})})
        tilted = features, _ = seen(network, 80, 6, tilted=True)
        answers = start.head.logits(features).argmax(axis=1)
        as_before = features, [CLASSES[number] for number in answers]
        for number, (features, names) in {TILTED: tilted, OTHER: as_before}.items():
            for frame, (name, feature) in enumerate(zip(names, features, strict=True)):
                room.remember(number, name, feature, frame)
        features, truths = seen(network, 160, 2, (*CLASSES, *new), tilted=True)
        room.observe(features, of(OWN, 160), truths, 100)
        (update,) = room.updates_now(260, start)[:1]
        assert update.proposal.domain == OWN and set(new) <= set(update.proposal.classes)
        candidate, flops = finish(update.work())
        assert candidate.verdict.accepted and flops <= update.proposal.demand.executed_flops
        now, known = candidate.network, len(CLASSES)
        for number in (TILTED, 3):  # better there, and nobody knows
            assert now.head_in(number).hash == now.head.hash != start.head.hash
        kept = now.head_in(OTHER)
        np.testing.assert_array_equal(kept.weight[:known], start.head.weight)
        np.testing.assert_array_equal(kept.weight[known:], now.head.weight[known:])
        assert kept.classes == now.classes
        assert self.embarrassment(kept, *as_before) < self.embarrassment(now.head, *as_before)
        assert self.embarrassment(now.head, *tilted) < self.embarrassment(start.head, *tilted)

    def test_what_a_domain_has_of_its_own_is_not_judged_again(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        """With all its rows its own, nothing of the shared ones concerns it."""
        weight, bias = start.head.weight + 0.01, start.head.bias + 0.01
        start = start.with_head_in(OTHER, Head(weight, bias, start.classes))
        features, truths = seen(network, 160, 2, tilted=True)
        flops = []
        for labels in (0, 80):
            room = classroom(bundle, start)
            for frame in range(labels):
                room.remember(OTHER, truths[frame], features[frame], frame)
            room.observe(features, of(OWN, 160), truths, 100)
            candidate, executed = finish(room.updates_now(260, start)[0].work())
            flops.append(executed)
            own = candidate.network.head_in(OTHER)
            assert (own.weight == weight).all() and (own.bias == bias).all()
        assert flops[0] == flops[1]


class TestLateLabels:
    def test_they_teach_the_domain_they_are_of(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        features, truths = seen(network, 120, 2, tilted=True)
        room.observe(features, of(TILTED, 120), [None] * 120, 0)
        for frame, (name, feature) in enumerate(zip(truths, features, strict=True)):
            room.label(TILTED, name, feature, frame)
        assert lesson(room, start, 120).proposal.domain == TILTED

    def test_of_a_domain_that_is_no_more_they_are_of_no_use(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        features, _ = seen(network, 2, 2)
        room.adopt(start.with_domains({TILTED: None}))
        room.label(TILTED, "east", features[0], 0)
        room.remember(TILTED, "east", features[1], 1)
        assert room.updates_now(2, start) == []

    def test_old_ones_can_be_learned_from_and_raise_no_alarm(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        features, truths = seen(network, 120, 2, tilted=True)
        for frame, (name, feature) in enumerate(zip(truths, features, strict=True)):
            room.remember(TILTED, name, feature, frame)
        assert [room.updates(120 + t, start, suspicious=False) for t in range(6)] == [[]] * 6
        (update,) = room.updates_now(126, start)
        assert (update.proposal.domain, update.proposal.labels) == (TILTED, 120)

    def test_asking_what_could_be_learned_changes_nothing(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        room = classroom(bundle, start)
        features, truths = seen(network, 120, 2, tilted=True)
        for frame, (name, feature) in enumerate(zip(truths, features, strict=True)):
            room.remember(TILTED, name, feature, frame)
        assert len(room.updates_now(120, start)) == 1
        assert [room.updates(120 + t, start, suspicious=False) for t in range(6)] == [[]] * 6


class TestLevels:
    def told(self, room: Classroom, network: Network, frame: int = 10) -> dict[int, Levels]:
        return {levels.domain: levels for levels in room.levels(frame, network)}

    def test_they_are_told_once_for_each_domain(self, bundle: Bundle, start: Network) -> None:
        room = classroom(bundle, start)
        told = self.told(room, start)
        assert sorted(told) == [OWN, TILTED, OTHER]
        assert {(levels.frame, levels.network) for levels in told.values()} == {(10, start.hash)}
        assert self.told(room, start) == {}

    def test_and_again_of_every_network(
        self, bundle: Bundle, network: Reference, start: Network
    ) -> None:
        """Of all its domains: a restart looks for them by the network that it finds."""
        room = classroom(bundle, start)
        before = self.told(room, start)
        now = after_the_tilt(room, network, start)
        told = self.told(room, now, 130)
        assert sorted(told) == [OWN, TILTED, OTHER]
        assert {levels.network for levels in told.values()} == {now.hash}
        assert told[OWN].together == before[OWN].together
        assert told[TILTED].together != before[TILTED].together
        assert self.told(room, now) == {}

    def test_a_domain_that_comes_later_is_told_of(self, bundle: Bundle, start: Network) -> None:
        room = classroom(bundle, bundle_network(bundle))
        assert sorted(self.told(room, bundle_network(bundle))) == [OWN]
        room.adopt(start)
        assert sorted(self.told(room, start)) == [OWN, TILTED, OTHER]

    def test_those_of_an_earlier_session_count_and_are_not_told_again(
        self, bundle: Bundle, start: Network
    ) -> None:
        own = self.told(classroom(bundle, start), start)[OWN]
        level = (own.standin[0] + 1, *own.standin[1:])
        higher = Levels(own.frame, own.network, OWN, own.classes, own.together, level)
        room = classroom(bundle, start, {OWN: NormalLevels.recorded(higher)})
        assert room.normal() == pytest.approx(own.standin[0] + 1)
        assert sorted(self.told(room, start)) == [TILTED, OTHER]
