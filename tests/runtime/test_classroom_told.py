"""What a classroom tells of all its domains together: embarrassment, and wanted labels."""

from __future__ import annotations

import numpy as np
import pytest

from sel_edge.bundle.bundle import Bundle
from sel_edge.bundle.domain import OWN, Domain
from sel_edge.core.ledger import ClassEmbarrassment
from sel_edge.runtime.classroom import Classroom
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.network import Network, bundle_network
from tests.runtime.conftest import CLASSES, Patterns
from tests.runtime.conftest import Network as Reference

HERE, THERE = 1, 2
NONE = ClassEmbarrassment(None, None, 0)
AGE = 60

Told = dict[str, ClassEmbarrassment]


@pytest.fixture
def start(bundle: Bundle) -> Network:
    domains = {number: Domain(np.zeros(2, np.float32), 16, {}) for number in (HERE, THERE)}
    return bundle_network(bundle).with_domains(domains)


def classroom(bundle: Bundle, network: Network) -> Classroom:
    return Classroom(bundle, network, RuntimeConfig(window_age_frames=AGE, on=1e6), {}, {})


def show(
    room: Classroom, reference: Reference, domain: int, first: int, n: int = 4, seed: int = 0
) -> tuple[str, ...]:
    """Frames of a domain, of which every other one has its label; what they are taken to show."""
    images, truths = Patterns().draw(n, seed + first, CLASSES[:3])
    labels = [name if at % 2 else None for at, name in enumerate(truths)]
    logits = room.observe(reference.features(images), np.full(n, domain), labels, first)
    said = [CLASSES[number] for number in logits.argmax(axis=1)]
    return tuple(name or answer for name, answer in zip(labels, said, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_of_several_domains_the_one_in_which_a_class_was_seen_last_tells_of_it(
    bundle: Bundle, network: Reference, start: Network, seed: int
) -> None:
    """As each would tell of it alone."""
    rng = np.random.default_rng(seed)
    room = classroom(bundle, start)
    alone = {number: classroom(bundle, start) for number in (OWN, HERE, THERE)}
    told: Told = {}
    seen_last: dict[int, dict[str, tuple[int, int]]] = {number: {} for number in alone}
    told_alone: dict[int, Told] = {number: {} for number in alone}
    for first in range(0, 400, 4):
        if rng.random() < 0.6:
            domain = int(rng.choice([OWN, HERE, THERE]))
            for one in (room, alone[domain]):
                names = show(one, network, domain, first, seed=1000 * seed)
            seen_last[domain] |= {name: (first + at, domain) for at, name in enumerate(names)}
        told |= room.embarrassment(first + 4)
        for number, one in alone.items():
            told_alone[number] |= one.embarrassment(first + 4)
        for name in CLASSES:
            newest = max(last.get(name, (-1, OWN)) for last in seen_last.values())
            assert told.get(name, NONE) == told_alone[newest[1]].get(name, NONE)


@pytest.mark.parametrize(("old", "new"), [(OWN, HERE), (HERE, OWN), (THERE, HERE)])
def test_windows_that_are_empty_by_now_hide_no_live_ones(
    bundle: Bundle, network: Reference, start: Network, old: int, new: int
) -> None:
    room = classroom(bundle, start)
    show(room, network, old, 0, 20)
    assert room.embarrassment(20)
    show(room, network, new, 40, 20)
    live = room.embarrassment(60)
    assert live and NONE not in live.values()
    assert room.embarrassment(61) == {}  # only what has changed is told
    assert room.embarrassment(41 + AGE - 2) == {}  # nothing is left of the older ones
    gone = room.embarrassment(200)
    assert set(gone) == set(live) and set(gone.values()) == {NONE}
    assert room.embarrassment(201) == {}


def test_what_a_domain_that_is_no_more_has_told_is_gone(
    bundle: Bundle, network: Reference, start: Network
) -> None:
    room = classroom(bundle, start)
    show(room, network, HERE, 0)
    names = set(room.embarrassment(4))
    room.adopt(start.with_domains({HERE: None}))
    assert room.embarrassment(5) == dict.fromkeys(names, NONE)


def test_labels_that_several_domains_want_are_wanted_for_all_their_reasons(
    bundle: Bundle, start: Network
) -> None:
    """All of them are asked, and each of them asks ever more rarely."""
    unsure, asked = np.full((200, 48), 0.01, np.float32), []
    room = Classroom(bundle, start, RuntimeConfig(), {}, {})
    for tick in range(3):
        for number, domain in enumerate((HERE, THERE)):
            first = 400 * tick + 200 * number
            room.observe(unsure, np.full(200, domain), [None] * 200, first)
        if (reason := room.wants_labels(400 * tick + 400)) is not None:
            asked.append(reason)
    assert "domain 1: " in asked[0] and "domain 2: " in asked[0]
    assert asked[0].count("only 0 labels") == 2
