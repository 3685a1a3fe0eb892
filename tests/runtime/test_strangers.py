"""Frames that are like none of the classes are noticed, and a few of them are no news."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.adapter import AdapterSettings
from sel_edge.runtime.crossval import Course
from sel_edge.runtime.guard import Anchors
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import FOLDS, Samples
from sel_edge.runtime.strangers import MIN_FRAMES, ON_SIGMA, WINDOW_FRAMES, Novel, Strangers
from sel_edge.runtime.trigger import Trigger
from sel_edge.runtime.work import finish
from tests.runtime.conftest import NEW_CLASS, SIDE, Network, Patterns


@pytest.fixture
def head(bundle: Bundle) -> Head:
    return Head(*bundle.head(), bundle.manifest.classes)


@pytest.fixture
def strangers(bundle: Bundle, head: Head) -> Strangers:
    return Strangers(head, bundle.anchors().features)


def look(strangers: Strangers, head: Head, features: NDArray[np.float32], first: int = 0) -> Novel:
    return strangers.look(features, head.logits(features), range(first, first + len(features)))


def known(network: Network, n: int = WINDOW_FRAMES, seed: int = 5) -> NDArray[np.float32]:
    return network.features(Patterns().draw(n, seed)[0])


def new(network: Network, n: int = WINDOW_FRAMES, seed: int = 6) -> NDArray[np.float32]:
    return network.features(Patterns().draw(n, seed, (NEW_CLASS,))[0])


def test_frames_like_the_anchors_are_no_strangers(
    strangers: Strangers, head: Head, network: Network
) -> None:
    found = look(strangers, head, known(network))
    assert found.strange.mean() < 0.12
    assert strangers.signal().score < ON_SIGMA
    assert 0.3 < found.share.mean() < 0.7


def test_a_class_that_nobody_knows_is_strange(
    strangers: Strangers, head: Head, network: Network
) -> None:
    assert not strangers.signal().samples
    found = look(strangers, head, new(network), first=300)
    signal = strangers.signal()
    assert found.strange.mean() > 0.3 and found.share.mean() > 0.7
    assert signal.score > ON_SIGMA
    assert signal.samples == found.strange.sum()
    assert signal.onset == 300 + int(found.strange.argmax())
    assert f"{signal.samples} of {WINDOW_FRAMES} frames like none" in signal.reason


def test_shares_are_shares_and_rise_with_strangeness(
    strangers: Strangers, head: Head, network: Network
) -> None:
    features = np.concatenate([known(network), new(network), 100 * new(network, 4)])
    found = look(strangers, head, features)
    assert ((found.share >= 0) & (found.share <= 1)).all()
    assert found.share[found.strange].min() > found.share[~found.strange].max() - 1e-12


def test_few_frames_are_not_judged(strangers: Strangers, head: Head, network: Network) -> None:
    features = new(network)
    look(strangers, head, features[: MIN_FRAMES - 1])
    assert strangers.signal().score == 0
    look(strangers, head, features[:1], MIN_FRAMES)
    assert strangers.signal().score > 0


def test_what_was_strange_long_ago_is_forgotten(
    strangers: Strangers, head: Head, network: Network
) -> None:
    look(strangers, head, new(network))
    for number in range(2):
        look(strangers, head, known(network, WINDOW_FRAMES // 2, 7 + number), 200 + 64 * number)
    assert strangers.signal().score < ON_SIGMA and strangers.signal().onset >= 200


def asked(strangers: Strangers, head: Head, features: NDArray[np.float32], tick: int) -> list[int]:
    """At which frames a person would be asked, where as many come at a time."""
    asking, found = Trigger(ON_SIGMA, 2, 50), []
    for first in range(0, len(features), tick):
        look(strangers, head, features[first : first + tick], first)
        if asking.fire(first + tick, [strangers.signal()]):
            found.append(first + tick)
    return found


@pytest.mark.parametrize("tick", [1, 7, 16, 32, 128])
def test_labels_are_wanted_soon_and_ever_more_rarely_however_many_frames_come_at_a_time(
    strangers: Strangers, head: Head, network: Network, tick: int
) -> None:
    features = np.concatenate([known(network), new(network, 1024)])
    found = asked(strangers, head, features, tick)
    assert found and WINDOW_FRAMES < found[0] <= 2 * WINDOW_FRAMES + 2 * tick
    assert all(b - WINDOW_FRAMES > 1.5 * (a - WINDOW_FRAMES) for a, b in pairwise(found))


@pytest.mark.parametrize("tick", [1, 16, 100])
def test_what_is_strange_has_one_onset_and_its_frames_are_counted_on(
    strangers: Strangers, head: Head, network: Network, tick: int
) -> None:
    features, signals, strange = new(network, 600), [], 0
    for first in range(0, 600, tick):
        strange += int(look(strangers, head, features[first : first + tick], first).strange.sum())
        if strangers.signal().score >= ON_SIGMA:
            signals.append((strangers.signal(), strange))
    assert len({signal.onset for signal, _ in signals}) == 1
    assert all(signal.samples == strange for signal, strange in signals)
    assert signals[-1][1] > WINDOW_FRAMES


def test_what_comes_back_later_is_another_situation(
    strangers: Strangers, head: Head, network: Network
) -> None:
    look(strangers, head, new(network))
    look(strangers, head, known(network), 128)
    assert strangers.signal().score < ON_SIGMA / 2
    look(strangers, head, new(network), 256)
    again = strangers.signal()
    assert again.onset >= 256 and again.samples <= WINDOW_FRAMES


@pytest.mark.parametrize("labels", [12, 40, 200])
def test_a_class_that_was_learned_is_no_stranger_and_others_are(
    strangers: Strangers, bundle: Bundle, head: Head, network: Network, labels: int
) -> None:
    anchors, frames = bundle.anchors(), np.arange(labels)
    learned = Samples(new(network, labels, 7), (NEW_CLASS,) * labels, frames, frames % FOLDS)
    replay = Anchors(anchors.features, anchors.labels)
    grown, _ = finish(Course(head, (NEW_CLASS,), 0, replay, AdapterSettings()).taught(learned))
    look(strangers, head, new(network))
    assert strangers.signal().score >= ON_SIGMA
    strangers.adopt(grown, learned)
    board = np.indices((SIDE, SIDE)).sum(axis=0)[..., None] % 2 * 200
    boards = board + np.random.default_rng(0).integers(0, 40, (WINDOW_FRAMES, SIDE, SIDE, 1))
    for one in (strangers, Strangers(grown, anchors.features, learned)):
        found = look(one, grown, np.concatenate([known(network), new(network)]))
        assert one.signal().score < ON_SIGMA
        assert found.share.mean() < 0.7
        look(one, grown, network.features(boards.astype(np.uint8)))
        assert one.signal().score >= ON_SIGMA


def test_another_head_begins_anew_and_the_same_goes_on(
    strangers: Strangers, head: Head, network: Network
) -> None:
    look(strangers, head, new(network))
    before = strangers.signal()
    strangers.adopt(Head(head.weight.copy(), head.bias.copy(), head.classes))
    assert strangers.signal() == before
    strangers.adopt(Head(head.weight, head.bias + 1, head.classes))
    assert strangers.signal().samples == 0


def test_no_frames_are_no_trouble(strangers: Strangers, head: Head, network: Network) -> None:
    found = look(strangers, head, known(network, 4)[:0])
    assert (len(found.share), len(found.strange), strangers.signal().score) == (0, 0, 0.0)


def test_looking_is_counted(strangers: Strangers) -> None:
    assert strangers.flops(0) == 0 < strangers.flops(1)
    assert strangers.flops(20) == 20 * strangers.flops(1)
