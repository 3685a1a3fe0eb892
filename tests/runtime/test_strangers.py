"""Frames that are like none of the classes are noticed, and a few of them are no news."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.head import Head
from sel_edge.runtime.strangers import MIN_FRAMES, ON_SIGMA, WINDOW_FRAMES, Novel, Strangers
from tests.runtime.conftest import NEW_CLASS, Network, Patterns


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
