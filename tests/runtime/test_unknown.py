"""Class names that nobody taught: counted, bounded, and ever more of a reason to learn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.memory import LabelMemory
from sel_edge.runtime.unknown import UnknownClasses

ON = 20.0
NAMES = st.lists(st.sampled_from("abcdefgh"), max_size=60)


class Followed(UnknownClasses):
    """With a memory of its own, in which every label is put."""

    def __init__(self, capacity: int = 64, needed: int = 5) -> None:
        self.memory = LabelMemory(features=1, capacity=1000, block_frames=1)
        super().__init__(capacity, needed, self.memory)

    def count(self, name: str, frame: int) -> str | None:
        """Take in a label; the name that was forgotten for it, with its labels."""
        forgotten = self.hear(name, frame)
        if forgotten is not None:
            self.memory.forget(forgotten)
        self.memory.add(name, np.zeros(1, np.float32), frame)
        return forgotten


def told(names: list[str], capacity: int = 64, needed: int = 5) -> Followed:
    unknown = Followed(capacity, needed)
    for frame, name in enumerate(names):
        unknown.count(name, frame)
    return unknown


@given(NAMES, st.integers(1, 9))
def test_those_with_labels_enough_are_ready_by_name(names: list[str], needed: int) -> None:
    counts = Counter(names)
    expected = sorted(name for name, count in counts.items() if count >= needed)
    unknown = told(names, needed=needed)
    assert unknown.ready() == expected
    signals = unknown.signals(ON, known=4)
    assert [signal.classes for signal in signals] == [(name,) for name in expected]
    for signal in signals:
        (name,) = signal.classes
        assert signal.samples == counts[name]
        assert signal.score == pytest.approx(ON * counts[name] / needed) and signal.score >= ON
        assert signal.onset == names.index(name)
        assert name in signal.subject and f"{counts[name]} labels" in signal.reason


@given(NAMES, st.integers(1, 8))
def test_no_more_names_than_allowed_are_followed_and_the_one_unheard_of_for_longest_gives_way(
    names: list[str], capacity: int
) -> None:
    unknown, followed = Followed(capacity, 1), list[str]()
    for frame, name in enumerate(names):
        forgotten = unknown.count(name, frame)
        if name in followed:
            followed.remove(name)
            assert forgotten is None
        elif len(followed) == capacity:
            assert forgotten == followed.pop(0)
        else:
            assert forgotten is None
        followed.append(name)
        assert unknown.ready() == sorted(followed)


def test_a_forgotten_name_begins_anew() -> None:
    unknown = told(list("aaaab"), capacity=1, needed=2)
    assert unknown.ready() == []
    unknown.count("a", 9)
    unknown.count("a", 10)
    (signal,) = unknown.signals(ON, known=4)
    assert (signal.samples, signal.onset) == (2, 9)


@given(st.permutations(range(3, 9)))
def test_labels_may_come_in_any_order(frames: list[int]) -> None:
    unknown = Followed(4, 1)
    for number, frame in enumerate(frames):
        unknown.count("a", frame)
        (signal,) = unknown.signals(ON, known=4)
        assert (signal.onset, signal.samples) == (min(frames[: number + 1]), number + 1)


@given(NAMES, st.sets(st.integers(0, 59)))
def test_labels_that_were_taken_back_count_no_longer(names: list[str], gone: set[int]) -> None:
    unknown = told(names, needed=1)
    unknown.memory.discard(gone)
    left = Counter(name for frame, name in enumerate(names) if frame not in gone)
    assert unknown.ready() == sorted(left)
    assert {s.classes[0]: s.samples for s in unknown.signals(ON, known=4)} == left


def test_a_name_whose_labels_were_all_taken_back_begins_anew() -> None:
    unknown = told(["a"] * 3, needed=2)
    unknown.memory.discard(range(3))
    unknown.count("a", 50)
    unknown.count("a", 40)
    (signal,) = unknown.signals(ON, known=4)
    assert (signal.samples, signal.onset) == (2, 40)


def test_what_was_learned_is_unknown_no_longer_and_the_rest_is() -> None:
    unknown = told(list("aabbcc"), needed=2)
    unknown.learned(("x", "b"))
    assert unknown.ready() == ["a", "c"]
    unknown.count("b", 9)
    assert unknown.ready() == ["a", "c"]


@pytest.mark.parametrize("known", [1, 4, 999])
def test_whoever_does_not_know_a_class_can_do_no_better_than_guess(known: int) -> None:
    (signal,) = told(["a"], needed=1).signals(ON, known)
    assert signal.excess == pytest.approx(np.log(known + 1))
