"""The label memory: bounded, balanced, and strict about which labels belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.memory import FOLDS, LabelMemory, Samples

NAMES = st.lists(st.sampled_from("abcde"), max_size=200)


def filled(names: list[str], capacity: int = 1000, block: int = 1) -> LabelMemory:
    memory = LabelMemory(features=1, capacity=capacity, block_frames=block)
    for frame, name in enumerate(names):
        memory.add(name, np.array([frame], dtype=np.float32), frame)
    return memory


def of(samples: Samples) -> Iterator[tuple[int, str]]:
    """Frame and name of each sample."""
    return zip(samples.frames.tolist(), samples.names, strict=True)


def folds(samples: Samples) -> dict[int, int]:
    """Frame -> fold."""
    return dict(zip(samples.frames.tolist(), samples.folds.tolist(), strict=True))


@given(NAMES, st.integers(1, 30))
def test_labels_of_one_block_of_frames_are_of_one_fold_whatever_their_class(
    names: list[str], block: int
) -> None:
    fold_of = folds(filled(names, block=block).samples("abcde"))
    assert set(fold_of) == set(range(len(names)))
    for frame, fold in fold_of.items():
        assert fold == fold_of[frame // block * block]
        assert 0 <= fold < FOLDS


@given(NAMES, st.integers(1, 30), st.randoms(use_true_random=False))
def test_labels_in_any_order_are_divided_alike(
    names: list[str], block: int, random: Random
) -> None:
    order = list(enumerate(names))
    random.shuffle(order)
    memory = LabelMemory(features=1, capacity=1000, block_frames=block)
    for frame, name in order:
        memory.add(name, np.array([frame], dtype=np.float32), frame)
    assert folds(memory.samples("abcde")) == folds(filled(names, block=block).samples("abcde"))
    for name in set(names):
        told = [frame for frame, other in order if other == name]
        assert memory.samples((name,)).frames.tolist() == told


@given(st.integers(1, 300), st.integers(1, 30))
def test_every_fold_has_a_like_share_of_a_steady_stream(count: int, block: int) -> None:
    """Neighbouring blocks differ, and any FOLDS of them in a row make up all folds."""
    fold_of = folds(filled(["a"] * count, block=block).samples("a"))
    sizes = Counter(fold_of.values())
    assert max(sizes.values()) - min(sizes[fold] for fold in range(FOLDS)) <= block
    for frame in range(count - block):
        assert fold_of[frame] != fold_of[frame + block]


def test_a_forgotten_class_leaves_room_and_nothing_else() -> None:
    memory = filled(list("aabbbbbbbb"), capacity=6)
    memory.forget("b")
    memory.forget("never heard of")
    assert not len(memory.samples("b"))
    assert len(memory) == len(memory.samples("ab")) == 2
    for frame in range(10, 40):
        memory.add("c", np.zeros(1, dtype=np.float32), frame)
    assert Counter(memory.samples("ac").names) == {"a": 2, "c": 4}


@given(NAMES, st.sets(st.integers(0, 220)), st.integers(1, 40))
def test_the_labels_of_some_frames_are_dropped_and_leave_room(
    names: list[str], gone: set[int], capacity: int
) -> None:
    memory = filled(names, capacity)
    kept = [pair for pair in of(memory.samples("abcde")) if pair[0] not in gone]
    memory.discard(gone)
    assert list(of(memory.samples("abcde"))) == kept
    assert len(memory) == len(kept)
    for frame in range(300, 300 + capacity - len(kept)):
        memory.add("z", np.zeros(1, dtype=np.float32), frame)
    assert set(kept) <= set(of(memory.samples("abcde")))
    memory.add("z", np.zeros(1, dtype=np.float32), 400)
    assert len(memory) == capacity


@given(NAMES, st.integers(1, 40))
def test_memory_is_bounded_and_rare_classes_are_kept_longest(
    names: list[str], capacity: int
) -> None:
    memory = filled(names, capacity)
    kept, unbounded = memory.samples("abcde"), filled(names).samples("abcde")
    assert len(memory) == len(kept) == min(capacity, len(unbounded))
    have, had = Counter(kept.names), Counter(unbounded.names)
    for name in had:
        if have[name] < had[name]:  # whoever had to give is never much smaller than another
            assert have[name] >= max(have.values()) - 1
        newest = [frame for frame, other in of(unbounded) if other == name]
        assert [f for f, n in of(kept) if n == name] == newest[len(newest) - have[name] :]


@given(NAMES, st.integers(0, 200))
def test_samples_split_at_a_frame(names: list[str], frame: int) -> None:
    samples = filled(names, block=3).samples("abcde")
    recent = samples.where(samples.frames >= frame)
    assert sorted(recent.frames) == sorted(f for f in samples.frames if f >= frame)
    assert all(names[f] == n for f, n in of(recent))
    assert recent.features[:, 0].tolist() == recent.frames.tolist()
    assert folds(recent).items() <= folds(samples).items()
    assert len(recent) == len(recent.names)


def test_only_the_classes_asked_for_are_given() -> None:
    memory = filled(list("aabbbbcc"))
    assert set(memory.samples("b").names) == {"b"}
    assert [memory.count(name) for name in "abcz"] == [2, 4, 2, 0]
    nobody = memory.samples("z")
    assert (nobody.features.shape, nobody.folds.shape, len(nobody)) == ((0, 1), (0,), 0)
    assert nobody.features.dtype == np.float32 and nobody.folds.dtype == np.int64
    assert memory.samples("abc").of("b")[:, 0].tolist() == [2, 3, 4, 5]
    assert memory.samples("abc").of("z").shape == (0, 1)


def test_what_is_remembered_does_not_change_with_the_callers_array() -> None:
    memory = LabelMemory(features=1, capacity=9, block_frames=1)
    feature = np.zeros(1, dtype=np.float32)
    for frame in range(4):
        memory.add("a", feature, frame)
    feature[:] = 7
    assert memory.samples("a").features.max() == 0


def test_what_is_seen_in_a_frame_now_takes_the_place_of_what_was_seen() -> None:
    memory, feature = filled(list("abab")), np.array([70], np.float32)
    before = memory.samples("ab")
    memory.renew(feature, 2)
    memory.renew(feature, 77)  # nobody knows that frame
    feature[:] = 0
    after = memory.samples("ab")
    assert before.features[:, 0].tolist() == [0, 2, 1, 3]
    assert after.features[:, 0].tolist() == [0, 70, 1, 3]
    assert list(of(after)) == list(of(before)) and folds(after) == folds(before)
    assert len(memory) == 4


@pytest.mark.parametrize(("capacity", "left"), [(1, ("c",)), (2, ("b", "c")), (3, tuple("abc"))])
def test_a_class_may_lose_its_last_label(capacity: int, left: tuple[str, ...]) -> None:
    memory = filled(list("abc"), capacity)
    assert memory.samples("abc").names == left
    assert len(memory) == capacity
