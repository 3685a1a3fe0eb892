"""The newest frames are remembered, within frames and bytes, and as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.runtime.recollection import Recollection

SHAPE, FEATURES, SIDE = (4, 4, 3), 5, 6
FRAME_BYTES = 48
PLENTY = 1 << 20


def parts(count: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {
        "frames": rng.integers(0, 256, (count, *SHAPE), np.uint8),
        "features": rng.random((count, FEATURES), np.float32),
        "places": rng.random((count, SIDE)),
        "domains": rng.integers(0, 4, count),
    }


def filled(count: int, capacity: int = 100, capacity_bytes: int = PLENTY) -> Recollection:
    found = Recollection(capacity, capacity_bytes)
    found.add(0, **parts(count))
    return found


def numbers(recollection: Recollection, start: int = 0) -> list[int]:
    return [number for number, _ in recollection.since(start)]


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 20), st.integers(0, 1200))
def test_the_newest_are_kept_as_far_as_frames_and_bytes_allow(
    ticks: list[int], capacity: int, capacity_bytes: int
) -> None:
    recollection, first = Recollection(capacity, capacity_bytes), 0
    for count in ticks:
        recollection.add(first, **parts(count))
        first += count
    room = min(first, capacity, max(1, capacity_bytes // FRAME_BYTES))
    assert len(recollection) == room
    assert numbers(recollection) == list(range(first - room, first))


def test_what_is_remembered_is_what_was_seen() -> None:
    seen, recollection = parts(7), Recollection(100, PLENTY)
    recollection.add(40, **seen)
    for index in range(7):
        found = recollection.of(40 + index)
        assert found is not None and found.domain == seen["domains"][index]
        assert (found.frame == seen["frames"][index]).all() and found.frame.dtype == np.uint8
        assert found.feature.tobytes() == seen["features"][index].tobytes()
        assert found.place.tobytes() == seen["places"][index].tobytes()
        assert found.label is None
    assert recollection.of(39) is None and recollection.of(47) is None


def test_signals_are_remembered_by_their_bytes_too() -> None:
    recollection = Recollection(100, 3 * 2 * 50 * 4)
    signals = np.random.default_rng(0).random((5, 2, 50), np.float32)
    recollection.add(0, **{**parts(5), "frames": signals})
    assert numbers(recollection) == [2, 3, 4]
    last = recollection.of(4)
    assert last is not None and (last.frame == signals[4]).all()


def test_what_the_caller_does_to_its_arrays_changes_nothing() -> None:
    seen, recollection = parts(3), Recollection(100, PLENTY)
    recollection.add(0, **seen)
    before = {name: value.copy() for name, value in seen.items()}
    for value in seen.values():
        value[:] = 0
    found = recollection.of(1)
    assert found is not None and found.domain == before["domains"][1]
    assert (found.frame == before["frames"][1]).all()
    assert (found.feature == before["features"][1]).all()
    assert (found.place == before["places"][1]).all()


@pytest.mark.parametrize(("start", "expected"), [(-5, 6), (0, 6), (4, 2), (5, 1), (6, 0), (99, 0)])
def test_frames_from_a_number_on(start: int, expected: int) -> None:
    recollection = filled(6)
    assert numbers(recollection, start) == list(range(6))[6 - expected :]
    assert all(seen is recollection.of(number) for number, seen in recollection.since(start))


def test_a_label_is_remembered_beside_what_was_seen_whatever_is_seen_later() -> None:
    recollection = filled(4)
    before = recollection.of(2)
    recollection.label(2, "cat")
    labels = [seen.label for _, seen in recollection.since(0)]
    assert labels == [None, None, "cat", None] and numbers(recollection) == [0, 1, 2, 3]
    recollection.renew(2, np.ones(FEATURES, np.float32), 9)
    after = recollection.of(2)
    assert before is not None and after is not None
    assert (before.label, after.label) == (None, "cat") and after.frame is before.frame
    recollection.label(2, "dog")
    assert [seen.label for _, seen in recollection.since(2)] == ["dog", None]


def test_a_label_of_a_forgotten_frame_brings_nothing_back() -> None:
    recollection = filled(4, capacity=2)
    recollection.label(0, "cat")
    recollection.label(77, "cat")
    assert recollection.of(0) is None and recollection.of(77) is None
    assert numbers(recollection) == [2, 3] and len(recollection) == 2


def test_renewing_changes_feature_and_domain_alone_and_not_the_order() -> None:
    recollection = filled(4, capacity=4)
    before = recollection.of(0)
    feature = np.full(FEATURES, 7, np.float32)
    recollection.renew(0, feature, 9)
    feature[:] = 0
    after = recollection.of(0)
    assert before is not None and after is not None
    assert (after.feature == 7).all() and after.domain == 9
    assert (before.feature != 7).all()
    assert (after.frame == before.frame).all() and (after.place == before.place).all()
    assert numbers(recollection) == [0, 1, 2, 3]
    recollection.add(4, **parts(1))
    assert numbers(recollection) == [1, 2, 3, 4]


def test_a_forgotten_frame_is_not_renewed() -> None:
    recollection = filled(4, capacity=2)
    recollection.renew(1, np.zeros(FEATURES, np.float32), 3)
    assert recollection.of(1) is None
    assert len(recollection) == 2 and numbers(recollection) == [2, 3]


@given(st.sets(st.integers(-2, 9)))
def test_what_is_to_be_forgotten_is_and_nothing_else(gone: set[int]) -> None:
    recollection = filled(8)
    recollection.forget(gone)
    assert numbers(recollection) == [number for number in range(8) if number not in gone]
    assert all(recollection.of(number) is None for number in gone)


@given(st.integers(1, 20), st.integers(0, 1200))
def test_the_room_is_what_is_kept_of_many(capacity: int, capacity_bytes: int) -> None:
    recollection = filled(40, capacity, capacity_bytes)
    assert recollection.room(FRAME_BYTES) == len(recollection)
