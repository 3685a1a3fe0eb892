"""The label memory: bounded, balanced, and strict about what is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.evidence import MIN_HELD_OUT
from sel_edge.runtime.memory import KNOWN_BLOCKS, LabelMemory, Samples

NAMES = st.lists(st.sampled_from("abcde"), max_size=200)


def filled(
    names: list[str], capacity: int = 1000, every: int = 4, block: int = 1, is_new: bool = False
) -> LabelMemory:
    memory = LabelMemory(features=1, capacity=capacity, held_out_every=every, block_frames=block)
    for frame, name in enumerate(names):
        memory.add(name, np.array([frame], dtype=np.float32), frame, is_new)
    return memory


def of(samples: Samples) -> Iterator[tuple[int, str]]:
    """Frame and name of each sample."""
    return zip(samples.frames.tolist(), samples.names, strict=True)


def divided(memory: LabelMemory, name: str) -> tuple[set[int], set[int]]:
    """Frames of a class for training, and held out."""
    parts = (memory.training((name,)), memory.held_out((name,)))
    return set(parts[0].frames.tolist()), set(parts[1].frames.tolist())


@given(NAMES, st.integers(2, 6), st.integers(1, 30), st.booleans())
def test_labels_of_a_class_in_one_block_of_frames_are_never_divided(
    names: list[str], every: int, block: int, is_new: bool
) -> None:
    memory = filled(names, every=every, block=block, is_new=is_new)
    for name in set(names):
        training, held_out = divided(memory, name)
        frames = {frame for frame, other in enumerate(names) if other == name}
        assert training | held_out == frames
        assert not {frame // block for frame in training} & {frame // block for frame in held_out}
        assert min(frames) in training


@given(NAMES, st.integers(2, 6), st.integers(1, 30), st.randoms(use_true_random=False))
def test_labels_in_any_order_are_divided_by_blocks_too(
    names: list[str], every: int, block: int, random: Random
) -> None:
    order = list(enumerate(names))
    random.shuffle(order)
    memory = LabelMemory(features=1, capacity=1000, held_out_every=every, block_frames=block)
    for frame, name in order:
        memory.add(name, np.array([frame], dtype=np.float32), frame)
    for name in set(names):
        training, held_out = divided(memory, name)
        assert training | held_out == {frame for frame, other in order if other == name}
        assert not {frame // block for frame in training} & {frame // block for frame in held_out}


def test_labels_that_come_when_their_block_is_forgotten_are_kept() -> None:
    memory = LabelMemory(features=1, capacity=1000, held_out_every=4, block_frames=1)
    for frame in [*range(KNOWN_BLOCKS + 10), 0]:
        memory.add("a", np.zeros(1, np.float32), frame)
    assert sum(map(len, divided(memory, "a"))) >= KNOWN_BLOCKS + 10


@given(NAMES, st.integers(2, 6), st.integers(1, 30))
def test_the_share_that_is_held_out_is_kept_within_a_block(
    names: list[str], every: int, block: int
) -> None:
    memory = filled(names, every=every, block=block)
    for name, count in Counter(names).items():
        _, held_out = divided(memory, name)
        assert count / every - block <= len(held_out) <= count / every + block


@given(st.integers(0, 60))
def test_half_of_a_new_class_is_held_out_until_that_is_enough_for_a_proof(count: int) -> None:
    _, held_out = divided(filled(["a"] * count, is_new=True), "a")
    assert len(held_out) == max(min(count // 2, MIN_HELD_OUT), (count + 2) // 4)


def test_a_forgotten_class_leaves_room_and_nothing_else() -> None:
    memory = filled(list("aabbbbbbbb"), capacity=6)
    memory.forget("b")
    memory.forget("never heard of")
    assert not len(memory.training("b"))
    assert not len(memory.held_out("b"))
    for frame in range(10, 40):
        memory.add("c", np.zeros(1, dtype=np.float32), frame)
    assert len(memory.training("ac")) == 6


@given(NAMES, st.integers(1, 9))
def test_the_newest_of_each_class_are_found(names: list[str], count: int) -> None:
    samples = filled(names).training("abcde")
    newest = samples.newest(count)
    for name in set(samples.names):
        frames = [frame for frame, other in of(samples) if other == name]
        assert [frame for frame, other in of(newest) if other == name] == frames[-count:]


@given(NAMES, st.integers(1, 40))
def test_memory_is_bounded_and_rare_classes_are_kept_longest(
    names: list[str], capacity: int
) -> None:
    memory = filled(names, capacity)
    for kept, unbounded in (
        (memory.training("abcde"), filled(names).training("abcde")),
        (memory.held_out("abcde"), filled(names).held_out("abcde")),
    ):
        assert len(kept) == min(capacity, len(unbounded))
        have, had = Counter(kept.names), Counter(unbounded.names)
        for name in had:
            if have[name] < had[name]:  # whoever had to give is never much smaller than another
                assert have[name] >= max(have.values()) - 1
            newest = [f for f, n in of(unbounded) if n == name]
            assert [f for f, n in of(kept) if n == name] == (newest[len(newest) - have[name] :])


@given(NAMES, st.integers(0, 200))
def test_samples_split_at_a_frame(names: list[str], frame: int) -> None:
    samples = filled(names).training("abcde")
    recent = samples.since(frame)
    assert sorted(recent.frames) == sorted(f for f in samples.frames if f >= frame)
    assert all(names[f] == n for f, n in of(recent))
    assert recent.features[:, 0].tolist() == recent.frames.tolist()


def test_only_the_classes_asked_for_are_given() -> None:
    memory = filled(list("aabbbbcc"))
    assert set(memory.training("b").names) == {"b"}
    assert memory.training("z").features.shape == (0, 1)
    assert len(memory.training("abc").of("b")) == memory.training("b").names.count("b")


def test_what_is_remembered_does_not_change_with_the_callers_array() -> None:
    memory = LabelMemory(features=1, capacity=9, held_out_every=4, block_frames=1)
    feature = np.zeros(1, dtype=np.float32)
    for frame in range(4):
        memory.add("a", feature, frame)
    feature[:] = 7
    assert memory.training("a").features.max() == 0
