"""Groups of frames: they partition, and there are no more of them than there are environments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from sel_edge.runtime.clusters import STARTS, divide, group, usual_worth
from sel_edge.runtime.discovery import CLEARLY, LEAST_FRAMES, MAX_GROUPS

SIDE = 32
POINTS = st.integers(1, 4).flatmap(
    lambda side: arrays(
        np.float64, st.tuples(st.integers(1, 24), st.just(side)), elements=st.integers(-20, 20)
    )
)


def blob(seed: int, points: int = 120) -> NDArray[np.float64]:
    """Points of one environment."""
    return np.random.default_rng(seed).normal(0, 1, (points, SIDE))


def blobs(sizes: list[int], seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points of environments at several large distances, in random order, and of which each is."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return blob(seed, len(truth)) + np.diag(40.0 * np.arange(1, SIDE + 1))[truth], truth


def same_groups(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether two divisions differ in nothing but the groups' numbers."""
    together = (one[:, None] == one) == (other[:, None] == other)
    return bool(together.all())


class TestGroup:
    @given(POINTS, st.integers(1, 6))
    def test_every_point_is_in_the_group_whose_centre_is_the_mean_of_its_points(
        self, points: NDArray[np.float64], count: int
    ) -> None:
        found = group(points, count)
        assert found.group.shape == (len(points),) and found.centres.shape[0] == count
        assert set(found.group) <= set(range(count))
        for number in set(found.group):
            mean = points[found.group == number].mean(axis=0)
            np.testing.assert_allclose(found.centres[number], mean, atol=1e-9)

    @given(POINTS, st.integers(1, 6))
    def test_scatter_is_the_mean_square_distance_from_the_nearest_centre(
        self, points: NDArray[np.float64], count: int
    ) -> None:
        found = group(points, count)
        distances = np.square(points[:, None] - found.centres).sum(axis=2)
        assert found.scatter == pytest.approx(distances.min(axis=1).mean(), abs=1e-9)

    @settings(derandomize=True)  # only likely for k-means: it may end beside the best division
    @given(POINTS)
    def test_more_groups_never_scatter_more(self, points: NDArray[np.float64]) -> None:
        scatters = [group(points, count).scatter for count in range(1, 6)]
        assert (np.diff(scatters) <= 1e-9).all()
        assert scatters[0] == pytest.approx(points.var(axis=0).sum(), abs=1e-9)

    @given(POINTS, st.integers(1, 5))
    def test_the_same_points_give_the_same_groups(
        self, points: NDArray[np.float64], count: int
    ) -> None:
        one, other = group(points, count), group(points.copy(), count)
        assert (one.group == other.group).all() and one.scatter == other.scatter
        assert one.centres.tobytes() == other.centres.tobytes()

    @given(st.integers(1, 6), st.integers(1, 20))
    def test_fewer_different_points_than_groups_scatter_not_at_all(
        self, different: int, times: int
    ) -> None:
        points = np.tile(3.0 * np.eye(SIDE)[:different], (times, 1))
        assert group(points, 6).scatter == pytest.approx(0.0, abs=1e-12)


class TestDivide:
    @given(st.lists(st.integers(LEAST_FRAMES, 50), min_size=2, max_size=MAX_GROUPS), st.integers(0))
    @settings(max_examples=25)
    def test_environments_far_apart_are_found_exactly(self, sizes: list[int], seed: int) -> None:
        points, truth = blobs(sizes, seed)
        worth = CLEARLY * usual_worth(blob(seed + 1))
        found = divide(points, MAX_GROUPS, LEAST_FRAMES, worth)
        assert len(found.centres) == len(sizes) and same_groups(found.group, truth)

    @given(st.integers(0), st.integers(64, 240))
    @settings(max_examples=25)
    def test_one_environment_is_not_divided(self, seed: int, points: int) -> None:
        worth = CLEARLY * usual_worth(blob(seed + 1, points))
        assert len(divide(blob(seed, points), MAX_GROUPS, LEAST_FRAMES, worth).centres) == 1

    @given(POINTS, st.integers(1, 5), st.integers(1, 8), st.floats(0, 1))
    def test_limit_and_least_are_kept(
        self, points: NDArray[np.float64], limit: int, least: int, worth: float
    ) -> None:
        found = divide(points, limit, least, worth)
        counts = np.bincount(found.group, minlength=len(found.centres))
        assert len(counts) <= limit and counts.sum() == len(points)
        assert len(counts) == 1 or counts.min() >= least
        assert found.scatter <= group(points, 1).scatter + 1e-9

    def test_no_group_is_made_for_a_few_odd_points(self) -> None:
        points = blobs([100, LEAST_FRAMES - 1], 0)[0]
        assert len(divide(points, MAX_GROUPS, LEAST_FRAMES, 0.9).centres) == 1

    def test_a_worth_of_nothing_divides_nothing(self) -> None:
        assert len(divide(blobs([50, 50], 0)[0], MAX_GROUPS, LEAST_FRAMES, 0.0).centres) == 1


@given(POINTS)
def test_the_usual_worth_is_a_share(points: NDArray[np.float64]) -> None:
    assert 0 <= usual_worth(points) <= 1 + 1e-9


def test_two_environments_keep_less_of_their_scatter_than_one() -> None:
    assert usual_worth(blobs([60, 60], 0)[0]) < 0.1 < 0.8 < usual_worth(blob(0)) < 1


@given(POINTS, st.integers(1, 6))
def test_all_that_was_tried_is_counted(points: NDArray[np.float64], limit: int) -> None:
    """At least every distance of the groups tried, and for twice the points about twice as much."""
    found = divide(points, limit, 1, 1.0)
    tried = [group(points, count) for count in range(1, len(found.centres) + 1)]
    assert found.executed_flops >= sum(one.executed_flops for one in tried)
    for count, one in enumerate(tried, 1):
        assert one.executed_flops >= STARTS * 2 * points.size * count
    twice = group(np.tile(points, (2, 1)), 1).executed_flops
    assert twice <= 2 * tried[0].executed_flops
