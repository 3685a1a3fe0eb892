"""Frames of several domains are told apart, before the network answers."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sel_edge.bundle.domain import OWN, Domain
from sel_edge.runtime.domains import RECENT_FRAMES, Router
from sel_edge.runtime.moments import MomentModel, fit_moments

CHANNELS, CLASSES = 6, 4


def frames(n: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """Moments whose channels have means around `shift` and deviations around 1."""
    rng = np.random.default_rng(seed)
    mean = shift + rng.normal(0, 0.3, (n, CHANNELS))
    variance = np.exp(rng.normal(0, 0.3, (n, CHANNELS)))
    return np.stack([mean, mean**2 + variance], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> MomentModel:
    return fit_moments(frames(200, seed=9), np.arange(200) % CLASSES, CLASSES)


def domain(model: MomentModel, shift: float) -> Domain:
    seen = model.displacements(frames(64, shift, 5), np.full((64, CLASSES), 1 / CLASSES))
    return Domain(seen.mean(axis=0).astype(np.float32), 64)


def test_without_other_domains_every_frame_is_of_the_bundles_own(model: MomentModel) -> None:
    assert (Router(model).route(frames(10, 5.0), {}) == 0).all()


def test_a_mixture_is_told_apart_frame_by_frame(model: MomentModel) -> None:
    known = {1: domain(model, 1.0), 4: domain(model, -1.0)}
    truth = np.random.default_rng(0).choice([0, 1, 4], 300)
    shifts = {0: 0.0, 1: 1.0, 4: -1.0}
    seen = np.concatenate([frames(1, shifts[number], seed) for seed, number in enumerate(truth)])
    assert (Router(model).route(seen, known) == truth).mean() > 0.97


def test_a_domain_that_returns_is_served_within_a_few_frames(model: MomentModel) -> None:
    router, known = Router(model), {1: domain(model, 0.8)}
    for seed in range(20):
        router.route(frames(16, 0.8, seed), known)
    back = router.route(frames(64, 0.0, 99), known)
    assert (back[:16] == 0).mean() > 0.8 and (back[16:] == 0).mean() > 0.9


def test_what_came_before_decides_where_frames_look_alike(model: MomentModel) -> None:
    """Two domains so close that a single frame tells little."""
    near = {1: domain(model, 0.15)}
    fresh, settled = Router(model), Router(model)
    for seed in range(8):
        settled.route(frames(16, 1.0, seed), near)
    unsure = frames(200, 0.1, 7)
    wrong = [
        (router.route(unsure[:RECENT_FRAMES], near) == 0).mean() for router in (fresh, settled)
    ]
    assert wrong[1] < wrong[0]


class Plain:
    """The rule of `Router.route` as it is stated, frame by frame."""

    def __init__(self, model: MomentModel) -> None:
        self.model, self.recent = model, deque[int](maxlen=RECENT_FRAMES)

    def route(self, moments: np.ndarray, domains: dict[int, Domain]) -> list[int]:
        places = {OWN: self.model.normal} | {n: each.place for n, each in domains.items()}
        for point in self.model.points(moments):
            scores = {
                number: np.log(self.recent.count(number) + 1)
                - np.square(point - self.model.scaled(place.astype(np.float64))).sum() / 2
                for number, place in places.items()
            }
            self.recent.append(max(scores, key=lambda number: scores[number]))
        return list(self.recent)[-len(moments) :]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=8))
def test_every_frame_goes_where_the_rule_says(
    model: MomentModel, batches: list[tuple[int, bool]]
) -> None:
    """Also while domains come and go, and over more frames than count."""
    few, router, plain = {3: domain(model, 0.3)}, Router(model), Plain(model)
    more = {1: domain(model, -0.2), **few}
    for seed, (size, is_rich) in enumerate(batches):
        seen, known = frames(size, 0.1 * (seed % 4), seed), more if is_rich else few
        assert router.route(seen, known).tolist() == plain.route(seen, known)


def test_how_frames_are_divided_into_batches_makes_no_difference(model: MomentModel) -> None:
    known = {1: domain(model, 0.3)}
    seen = np.concatenate([frames(1, 0.15 * (seed % 3), seed) for seed in range(60)])
    whole, parts = Router(model), Router(model)
    one_by_one = np.concatenate([parts.route(seen[i : i + 1], known) for i in range(60)])
    assert (whole.route(seen, known) == one_by_one).all()
