"""A world for a learner: eight clouds of points, one per corner of a space.

The head knows four of them, `a` to `d`; elsewhere `a` and `b` lie in corners of their own, and
further names stand for classes that nobody taught.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.standin import fit_standin
from sel_edge.runtime.config import RuntimeConfig
from sel_edge.runtime.guard import Anchors
from sel_edge.runtime.head import Head
from sel_edge.runtime.learner import Learner
from sel_edge.runtime.lesson import Attempt, Lesson
from sel_edge.runtime.work import finish

Features = NDArray[np.float32]

TICK, WIDTH, KNOWN = 8, 8, "abcd"
HEAD = Head(2.5 * np.eye(4, WIDTH, dtype=np.float32), np.zeros(4, np.float32), tuple(KNOWN))


def named(count: int, seed: int, classes: str = KNOWN) -> list[str]:
    return [
        classes[number] for number in np.random.default_rng(seed).integers(0, len(classes), count)
    ]


def seen(names: list[str], seed: int, elsewhere: bool = False) -> Features:
    """Features of frames that show these classes."""
    corners = ["abcdefgh".index(name) + 4 * (elsewhere and name in "ab") for name in names]
    noise = np.random.default_rng(seed).normal(0, 1, (len(names), WIDTH))
    return (4 * np.eye(WIDTH)[corners] + noise).astype(np.float32)


NAMES = named(160, 99)
ANCHORS = Anchors(seen(NAMES, 98), HEAD.index(NAMES))
GROWN = HEAD.with_new_classes(["f"], [seen(["f"] * 20, 0)], ANCHORS.features)
STANDIN = fit_standin(HEAD.logits(ANCHORS.features), ANCHORS.labels)


def learner(held_out: bool = True, **config: object) -> Learner:
    return Learner(HEAD, HEAD, ANCHORS, held_out, STANDIN, replace(RuntimeConfig(), **config))


def told(one: Learner, names: list[str], features: Features, first: int = 0) -> None:
    one.observe(features, names, first + np.arange(len(names)))


def attempts(
    one: Learner, names: list[str], features: Features, first: int = 0
) -> Iterator[tuple[Lesson, Attempt]]:
    """Show labelled frames tick by tick; whatever fires is carried out, and kept or rejected."""
    for start in range(0, len(names), TICK):
        part, frame = slice(start, start + TICK), first + start
        told(one, names[part], features[part], frame)
        lesson = one.lesson(frame + TICK)
        if lesson is not None:
            attempt, _ = finish(one.learn(lesson))
            yield lesson, attempt
            if attempt.verdict.accepted:
                one.keep(attempt, frame + TICK)
            else:
                one.reject(attempt)


def teach(one: Learner, names: list[str]) -> tuple[Lesson, Attempt]:
    """Show labelled frames until something is learned and kept; 240 frames may have come."""
    for lesson, attempt in attempts(one, names, seen(names, 2)):
        if attempt.verdict.accepted:
            one.keep(attempt, 240)
            return lesson, attempt
    raise AssertionError("nothing was learned")


def accuracy(head: Head, names: list[str], features: Features) -> float:
    return float((head.logits(features).argmax(axis=1) == head.index(names)).mean())


def embarrassment(head: Head, names: list[str], features: Features) -> float:
    losses = cross_entropy(head.logits(features), head.index(names), TEMPERATURE)
    return float(losses.mean())


def with_lesson(count: int = 96) -> tuple[Learner, Lesson]:
    """A learner that saw as many labels elsewhere, and what it wants to learn from them."""
    one, names = learner(), named(count, 1)
    told(one, names, seen(names, 2, elsewhere=True))
    assert one.lesson(count) is None  # patience
    lesson = one.lesson(count + 1)
    assert lesson is not None
    return one, lesson
