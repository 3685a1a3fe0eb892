"""Labels are asked for because of strangers and of classes that come more often, once each."""

from __future__ import annotations

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.asking import Asking
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.prior import NORMAL_FRAMES, WINDOW_FRAMES
from tests.runtime.conftest import NEW_CLASS, Network, Patterns

TICK = 16


@pytest.fixture
def head(bundle: Bundle) -> Head:
    return Head(*bundle.head(), bundle.manifest.classes)


def none_learned(bundle: Bundle) -> Samples:
    nothing = np.zeros(0, np.int64)
    return Samples(bundle.anchors().features[:0], (), nothing, nothing)


@pytest.fixture
def asking(bundle: Bundle, head: Head) -> Asking:
    return Asking(head, bundle.anchors(), none_learned(bundle), RuntimeConfig())


class Life:
    """Frames that come to `asking` by and by, and what it asks for."""

    def __init__(self, asking: Asking, head: Head, network: Network) -> None:
        self._asking, self._head, self._network, self.frame = asking, head, network, 0

    def see(self, frames: int, *classes: str, seed: int = 0) -> list[str]:
        images = Patterns().draw(frames, seed, classes)[0] if classes else None
        features = self._network.features(
            Patterns().draw(frames, seed)[0] if images is None else images
        )
        reasons = []
        for first in range(0, frames, TICK):
            some = features[first : first + TICK]
            numbers = range(self.frame, self.frame + len(some))
            self._asking.look(some, self._head.logits(some), numbers)
            self.frame += len(some)
            reasons += self._asking.reasons(self.frame)
        return reasons


@pytest.fixture
def life(asking: Asking, head: Head, network: Network) -> Life:
    return Life(asking, head, network)


def about_priors(reasons: list[str]) -> list[str]:
    return [one.rpartition(" of the frames, was")[0][:-4] for one in reasons if ", was " in one]


def test_nothing_is_asked_while_nothing_changes(life: Life) -> None:
    assert life.see(4096) == []


def test_a_class_that_takes_over_is_told_once_and_is_normal_then(life: Life, head: Head) -> None:
    life.see(NORMAL_FRAMES)
    name = head.classes[0]
    assert about_priors(life.see(2048, name, seed=1)) == [f"{name} is"]
    assert about_priors(life.see(1024, seed=2))  # they come as often as before again


def test_strangers_are_told_of(life: Life) -> None:
    reasons = life.see(WINDOW_FRAMES, NEW_CLASS)
    assert any("like none of the classes" in reason for reason in reasons)


def test_another_head_begins_anew(
    asking: Asking, bundle: Bundle, head: Head, network: Network
) -> None:
    life = Life(asking, head, network)
    life.see(NORMAL_FRAMES)
    asking.adopt(Head(head.weight * 1.01, head.bias, head.classes), none_learned(bundle))
    reasons = life.see(NORMAL_FRAMES, head.classes[0], seed=1)
    assert not about_priors(reasons)  # that is normal now


def test_the_same_head_goes_on(
    asking: Asking, bundle: Bundle, head: Head, network: Network
) -> None:
    life = Life(asking, head, network)
    life.see(NORMAL_FRAMES)
    asking.adopt(Head(head.weight.copy(), head.bias, head.classes), none_learned(bundle))
    assert len(about_priors(life.see(NORMAL_FRAMES, head.classes[0], seed=1))) == 1


def test_watching_is_charged(asking: Asking) -> None:
    assert asking.flops(32) > asking.flops(16) > 0
