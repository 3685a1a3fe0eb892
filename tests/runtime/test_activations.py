"""Latents of frames: bounded, labelled ones the longest, and only of the domain they are from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sel_edge.bundle.domain import OWN
from sel_edge.runtime.activations import Activations

SHAPES = {"tail": (3, 2), "deep": (4,)}
FRAME_BYTES = sum(int(np.prod(shape)) + 8 for shape in SHAPES.values())
PLENTY = 1 << 30


def seen(count: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {
        rung: rng.normal(size=(count, *shape)).astype(np.float32) for rung, shape in SHAPES.items()
    }


def filled(domains: list[int], kept: Activations) -> dict[str, NDArray[np.float32]]:
    """Told of frames from 0 on, in ticks of three."""
    whole, numbers = seen(len(domains)), np.array(domains, np.int64)
    for first in range(0, len(domains), 3):
        part = slice(first, first + 3)
        kept.add(first, numbers[part], {rung: value[part] for rung, value in whole.items()})
    return whole


@given(st.lists(st.integers(OWN, 2), max_size=24), st.sampled_from(list(SHAPES)))
def test_what_is_there_is_what_was_seen_in_that_domain(domains: list[int], rung: str) -> None:
    """To half a level of int8, whatever frames are asked for."""
    kept = Activations(64, 64, PLENTY)
    whole, frames = filled(domains, kept), np.arange(-2, len(domains) + 2)[::-1]
    for domain in (1, 2, 3):
        mask, latents = kept.of(rung, domain, frames)
        expected = [number for number in frames if 0 <= number < len(domains)]
        expected = [number for number in expected if domains[number] == domain]
        assert frames[mask].tolist() == expected and len(latents) == len(expected)
        assert np.array_equal(kept.has(rung, domain, frames), mask)
        if expected:
            flat = whole[rung][expected].reshape(len(expected), -1)
            off = np.abs(latents.floats(0, len(latents)).reshape(flat.shape) - flat)
            assert (off <= np.ptp(flat, axis=1)[:, None] / 255 * 0.51 + 1e-6).all()


@given(
    st.lists(st.integers(1, 2), min_size=1, max_size=24),
    st.sets(st.integers(0, 23)),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 30),
)
def test_the_newest_and_the_labelled_ones_stay_within_their_limits(
    domains: list[int], labelled: set[int], newest: int, most: int, room: int
) -> None:
    kept = Activations(newest, most, 2 * room * FRAME_BYTES)
    whole, there = seen(len(domains)), np.arange(len(domains))
    for number in there.tolist():
        kept.add(number, np.array([domains[number]]), {r: v[[number]] for r, v in whole.items()})
        if number in labelled:
            kept.label(number)
        assert len(kept) <= min(newest, room) + min(most, room)
        assert kept.nbytes == len(kept) * FRAME_BYTES
    found = {n for d in (1, 2) for n in there[kept.has("tail", d, there)].tolist()}
    told = [number for number in there.tolist() if number in labelled]
    others = [number for number in there.tolist() if number not in labelled]
    assert sorted(found & set(told)) == told[-min(most, room) :]
    left = sorted(found - set(told))  # a frame takes its place before its label comes
    assert left == others[len(others) - len(left) :]
    assert len(left) >= min(len(others), min(newest, room) - 1)


@given(st.lists(st.integers(1, 2), max_size=12), st.sampled_from([None, ("tail",), ("deep",)]))
def test_what_is_forgotten_is_of_one_domain_and_of_some_rungs(
    domains: list[int], rungs: tuple[str, ...] | None
) -> None:
    kept, frames = Activations(64, 64, PLENTY), np.arange(len(domains))
    filled(domains, kept)
    kept.label(0)
    kept.forget(1, rungs)
    numbers = np.array(domains, np.int64)
    for rung in SHAPES:
        gone = rungs is None or rung in rungs
        assert np.array_equal(kept.has(rung, 1, frames), (numbers == 1) & (not gone))
        assert np.array_equal(kept.has(rung, 2, frames), numbers == 2)
    kept.forget(1)
    kept.forget(2)
    assert len(kept) == kept.nbytes == 0


def test_nothing_is_kept_where_nothing_was_told() -> None:
    kept = Activations(64, 64, PLENTY)
    kept.add(0, np.array([1, 2]), {})
    kept.label(0)
    assert len(kept) == kept.nbytes == 0
