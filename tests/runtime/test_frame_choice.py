"""Which frames statistics are estimated from: none twice, labelled ones first, each class alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.frame_choice import BLEND, Numbered, balanced, blend, spread
from sel_edge.runtime.guard_norm import ENOUGH
from sel_edge.runtime.recollection import Seen

NOTHING = np.zeros(1)
LABELS = st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=60)


def frames(labels: Sequence[str | None]) -> list[Numbered]:
    feature = NOTHING.astype(np.float32)
    return [(100 + at, Seen(feature, feature, NOTHING, 0, name)) for at, name in enumerate(labels)]


@given(LABELS, st.integers(2, 40))
def test_as_many_as_asked_or_all_and_none_twice(labels: list[str | None], count: int) -> None:
    seen = frames(labels)
    numbers = [number for number, _ in spread(seen, count)]
    assert len(numbers) == len(set(numbers)) == min(count, len(seen))
    assert set(numbers) <= {number for number, _ in seen}


@given(LABELS, st.integers(1, 20).map(lambda half: 2 * half))
def test_the_newest_labelled_come_first_and_the_others_have_no_label_as_far_as_there_are_some(
    labels: list[str | None], count: int
) -> None:
    seen = frames(labels)
    labelled = [number for number, one in seen if one.label is not None]
    chosen = spread(seen, count)
    first = labelled[-count // 2 :]
    assert [number for number, _ in chosen[: len(first)]] == first
    if len(seen) - len(labelled) >= count - len(first):
        assert not any(one.label for _, one in chosen[len(first) :])


def test_the_others_are_spread_over_the_time() -> None:
    numbers = [number - 100 for number, _ in spread(frames([None] * 61), 7)]
    assert numbers == [0, 10, 20, 30, 40, 50, 60]


@given(LABELS.filter(any), st.integers(1, 40))
def test_a_balanced_choice_takes_of_no_class_two_more_than_of_one_that_has_more(
    labels: list[str | None], count: int
) -> None:
    seen = [pair for pair in frames(labels) if pair[1].label is not None]
    chosen = balanced(seen, min(count, len(seen)))
    assert len({number for number, _ in chosen}) == len(chosen) == min(count, len(seen))
    taken = {name: [n for n, one in chosen if one.label == name] for name in "abc"}
    for name, numbers in taken.items():
        there = [number for number, one in seen if one.label == name]
        assert sorted(numbers) == there[len(there) - len(numbers) :]
        if len(numbers) < len(there):
            assert len(numbers) >= max(len(other) for other in taken.values()) - 1


def test_without_labels_enough_all_classes_are_taken_to_be_there() -> None:
    assert blend(frames(["a"] * (ENOUGH - 1) + [None] * 30), 10) == BLEND


@given(st.integers(ENOUGH, 60), st.integers(2, 10))
def test_frames_of_one_class_are_worth_nothing_and_those_of_all_as_much_as_possible(
    count: int, classes: int
) -> None:
    assert blend(frames(["a"] * count), classes) == 0
    every = [str(number % classes) for number in range(classes * ENOUGH)]
    assert blend(frames(every), classes) == BLEND
