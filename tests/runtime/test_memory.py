"""The label memory: bounded, balanced, and strict about what is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.runtime.memory import LabelMemory, Samples

NAMES = st.lists(st.sampled_from("abcde"), max_size=200)


def filled(names: list[str], capacity: int = 1000, every: int = 4) -> LabelMemory:
    memory = LabelMemory(features=1, capacity=capacity, held_out_every=every)
    for frame, name in enumerate(names):
        memory.add(name, np.array([frame], dtype=np.float32), frame)
    return memory


def of(samples: Samples) -> Iterator[tuple[int, str]]:
    """Frame and name of each sample."""
    return zip(samples.frames.tolist(), samples.names, strict=True)


@given(NAMES, st.integers(2, 6))
def test_every_nth_label_of_a_class_is_held_out_and_never_trained_on(
    names: list[str], every: int
) -> None:
    memory = filled(names, every=every)
    training, held_out = memory.training(set(names)), memory.held_out(set(names))
    assert not set(training.frames) & set(held_out.frames)
    assert sorted([*training.frames, *held_out.frames]) == list(range(len(names)))
    for name, count in Counter(names).items():
        frames = [frame for frame, other in enumerate(names) if other == name]
        held = [frames.index(f) for f, n in of(held_out) if n == name]
        assert count // every <= len(held) <= -(-count // every)
        assert all(b - a == every for a, b in pairwise(held))


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
    memory = LabelMemory(features=1, capacity=9, held_out_every=4)
    feature = np.zeros(1, dtype=np.float32)
    for frame in range(4):
        memory.add("a", feature, frame)
    feature[:] = 7
    assert memory.training("a").features.max() == 0
