"""A look before anything is spent: which mistakes a linear classifier could mend."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.probe import LEAST, mendable, mendable_flops

ALWAYS_A = Head(np.zeros((3, 4), np.float32), np.array([1, 0, 0], np.float32), ("a", "b", "c"))


def samples(features: NDArray[np.floating], names: str) -> Samples:
    rows, frames = features.astype(np.float32).reshape(len(names), 4), np.arange(len(names))
    return Samples(rows, tuple(names), frames, frames % 4)


def apart(names: str, seed: int = 0, distance: float = 9.0) -> Samples:
    """Every class in a direction of its own."""
    rng = np.random.default_rng(seed)
    rows = ["abcd".index(name) for name in names]
    return samples(distance * np.eye(4)[rows] + rng.normal(0, 1, (len(names), 4)), names)


def one_by_one(told: Samples, head: Head) -> float:
    """The same, as slowly as it is said."""
    answers = [head.classes[n] for n in head.logits(told.features).argmax(axis=1)]
    mended, wrong = 0, 0
    for index, (name, answer) in enumerate(zip(told.names, answers, strict=True)):
        if name == answer:
            continue
        wrong += 1
        distances = {}
        for other in sorted(set(told.names)):
            rows = [i for i, n in enumerate(told.names) if n == other and i != index]
            if rows:
                mean = told.features[rows].astype(np.float64).mean(axis=0)
                distances[other] = np.square(told.features[index] - mean).sum()
        mended += min(distances, key=lambda each: distances[each]) == name
    return max(LEAST, mended / wrong) if wrong else LEAST


@given(st.integers(0, 300), st.text("abcd", min_size=2, max_size=40))
def test_it_is_the_share_of_mistakes_that_lie_nearest_to_the_rest_of_their_class(
    seed: int, names: str
) -> None:
    told = apart(names, seed, distance=1.5)
    expected = one_by_one(told, ALWAYS_A) if len(set(names)) > 1 else LEAST
    assert mendable(told, ALWAYS_A) == pytest.approx(expected)


def test_mistakes_on_classes_that_lie_apart_can_all_be_mended() -> None:
    assert mendable(apart("ab" * 20), ALWAYS_A) == 1.0
    assert mendable(apart("abd" * 20), ALWAYS_A) == 1.0  # d was never heard of


@pytest.mark.parametrize("seed", range(5))
def test_features_that_say_nothing_are_no_flattery(seed: int) -> None:
    """A class mean that had its own sample in it would be the nearest almost always."""
    rng = np.random.default_rng(seed)
    names = "".join(rng.choice(list("abc"), 30))
    noise = samples(rng.normal(0, 1, (30, 4)), names)
    assert mendable(noise, ALWAYS_A) < 0.65


def test_only_what_is_mistaken_counts() -> None:
    """The b's lie together, and the a's around them, each far from the others."""
    around = 20 * np.concatenate([np.eye(4), -np.eye(4)]) + 1
    together = np.random.default_rng(0).normal(0, 0.1, (8, 4))
    told = samples(np.concatenate([around, together]), "a" * 8 + "b" * 8)
    all_a = Head(np.zeros((2, 4), np.float32), np.array([1, 0], np.float32), ("a", "b"))
    all_b = Head(all_a.weight, all_a.bias, ("b", "a"))
    assert mendable(told, all_a) == 1.0
    assert mendable(told, all_b) == LEAST


@pytest.mark.parametrize("names", ["", "b", "bbbb", "aaaa"])
def test_without_a_second_class_nothing_is_promised(names: str) -> None:
    assert mendable(apart(names), ALWAYS_A) == LEAST


def test_a_head_without_mistakes_has_nothing_to_mend() -> None:
    good = Head(np.eye(3, 4, dtype=np.float32), np.zeros(3, np.float32), ("a", "b", "c"))
    assert mendable(apart("abc" * 5), good) == LEAST


def test_a_class_of_one_label_has_no_rest_to_lie_near_to() -> None:
    assert mendable(apart("aaaab"), ALWAYS_A) == LEAST


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 12), st.integers(1, 12))
def test_its_operations_are_those_of_two_products_and_a_little_more(
    samples: int, features: int, known: int, classes: int
) -> None:
    """One with the head and one with the class means; the rest is a few passes over the samples."""
    found = mendable_flops(samples, features, known, classes)
    products = 2 * samples * features * known + 2 * samples * features * classes
    assert 0 <= found - products <= 8 * features * (samples + classes)
