"""Groups of frames that look alike: which environments a stretch of a stream is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STARTS = 4
ROUNDS = 30


@dataclass(frozen=True)
class Grouping:
    """Points divided into groups.

    Attributes:
        group: int64 [n], 0..k-1.
        centres: float64 [k, D].
        scatter: mean square distance of the points from their centres.
        executed_flops: operations that it took to find them.
    """

    group: NDArray[np.int64]
    centres: Floats
    scatter: float
    executed_flops: int


def divide(points: Floats, limit: int, least: int, worth: float) -> Grouping:
    """Divide points into as few groups as explain them.

    One group more is made as long as it lowers the scatter to less than `worth` of what it was, and
    leaves no group with fewer than `least` points. (A rule on the ratio of scatters, as in the gap
    statistic of Tibshirani, Walther and Hastie 2001; what points of a single environment reach is
    measured on those of the anchors, `usual_worth`.)

    Args:
        points: float64 [n, D], n >= 1.
        limit: groups at most.
        least: points of a group at least, where there is more than one.
        worth: 0..1.
    """
    best = group(points, 1)
    flops = best.executed_flops
    while len(best.centres) < limit:
        finer = group(points, len(best.centres) + 1)
        flops += finer.executed_flops
        counts = np.bincount(finer.group, minlength=len(finer.centres))
        if counts.min() < least or finer.scatter >= worth * best.scatter:
            break
        best = finer
    return replace(best, executed_flops=flops)


def usual_worth(points: Floats) -> float:
    """The share of its scatter that points of one environment keep when divided in two."""
    return group(points, 2).scatter / max(group(points, 1).scatter, 1e-12)


def group(points: Floats, count: int) -> Grouping:
    """Divide points into `count` groups (k-means, Lloyd 1982; deterministic).

    It begins once with points far from each other (Gonzalez 1985), which finds groups far apart for
    certain, and else as k-means++ does, which heeds odd points less.

    Args:
        points: float64 [n, D], n >= 1.
        count: at least 1; groups may be empty where there are fewer different points.
    """
    runs = [_descend(points, _begin(points, count, start)) for start in range(STARTS)]
    flops = sum(run.executed_flops for run in runs)
    flops += STARTS * sum(_distance_flops(points, known) for known in range(1, count))
    return replace(min(runs, key=lambda run: run.scatter), executed_flops=flops)


def _begin(points: Floats, count: int, start: int) -> Floats:
    rng = np.random.default_rng(start)
    centres = points[rng.integers(len(points), size=1)]
    while len(centres) < count:
        distance = _square_distances(points, centres).min(axis=1)
        total = distance.sum()
        shares = distance / total if total > 0 else None
        chosen = distance.argmax() if start == 0 else rng.choice(len(points), p=shares)
        centres = np.vstack([centres, points[chosen]])
    return centres


def _descend(points: Floats, centres: Floats) -> Grouping:
    nearest, flops = np.zeros(0, np.int64), 0
    for _ in range(ROUNDS):
        flops += _distance_flops(points, len(centres)) + points.size
        before, nearest = nearest, _square_distances(points, centres).argmin(axis=1)
        if np.array_equal(before, nearest):
            break
        counts = np.bincount(nearest, minlength=len(centres))
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    scatter = float(np.square(points - centres[nearest]).sum(axis=1).mean())
    return Grouping(nearest, centres, scatter, flops + 3 * points.size)


def _square_distances(points: Floats, centres: Floats) -> Floats:
    """Float64 [n, k]."""
    cross = points @ centres.T
    squares = np.square(points).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)
    distances: Floats = np.maximum(squares - 2 * cross, 0.0)
    return distances


def _distance_flops(points: Floats, centres: int) -> int:
    """Operations of `_square_distances` from so many centres."""
    count, side = points.shape
    flops: int = 2 * count * side * (centres + 1) + centres * (2 * side + 3 * count)
    return flops
