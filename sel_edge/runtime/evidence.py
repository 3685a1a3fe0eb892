"""Whether a gain on a few samples is proved: one-sided paired t-tests at 5 % together."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

MIN_HELD_OUT = 4
"""Samples of what was to be learned without which nothing can be proved."""

NORMAL_95 = 1.6448536
"""The 95 % quantile of the normal distribution."""
# By how many tests are tried: the 95 % quantile, or the 97.5 % quantile for each of two.
_NORMAL = {1: NORMAL_95, 2: 1.9599640}
_STUDENT = {
    1: (6.3138, 2.9200, 2.3534, 2.1318, 2.0150, 1.9432, 1.8946, 1.8595, 1.8331, 1.8125),
    2: (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
}


def student_95(freedom: int, tests: Literal[1, 2] = 1) -> float:
    """The 95 % quantile of Student's t; for one of two tests the 97.5 % quantile (Bonferroni).

    Args:
        freedom: degrees of freedom, at least 1.
        tests: how many are tried, of which one must succeed.
    """
    few = _STUDENT[tests]
    if freedom <= len(few):
        return few[freedom - 1]
    z = _NORMAL[tests]  # the first terms of Fisher's expansion; from here on exact to three digits
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def class_means(values: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the values of each class that has any, in the order of the class numbers.

    Args:
        values: float64 [N].
        classes: int64 [N].
    """
    _, place, count = np.unique(classes, return_inverse=True, return_counts=True)
    means: NDArray[np.float64] = np.bincount(place, values) / count
    return means


def proved_gain(
    drops: NDArray[np.float64],
    classes: NDArray[np.int64],
    taught: NDArray[np.bool_],
    tests: Literal[1, 2] = 1,
) -> float:
    """What the mean of the class means is at least, with a confidence of 95 %.

    Each sample stands for its share of that mean, and its distance from what is usual tells how far
    off it may be, so that spreads may differ from class to class (the sandwich estimate of White
    1980; with one class, Student's paired t-test). That classes which were taught gain more than
    the others is no uncertainty: the two groups are compared with their own mean, if both have
    samples enough.

    Args:
        drops: float64 [N], by how much each sample became better; N >= 2.
        classes: int64 [N].
        taught: bool [N], which samples are of classes that were taught.
        tests: how many are tried, of which one must succeed; the confidence holds for all of them
            together.
    """
    _, place, count = np.unique(classes, return_inverse=True, return_counts=True)
    share = 1 / (len(count) * count[place])
    groups = [taught, ~taught]
    if min(group.sum() for group in groups) < MIN_HELD_OUT:
        groups = [np.ones_like(taught)]
    residue = drops.copy()
    for group in groups:
        residue[group] -= np.average(drops[group], weights=share[group])
    freedom = len(drops) - len(groups)
    error = float(np.sqrt(((share * residue) ** 2).sum() * len(drops) / freedom))
    return float(share @ drops) - student_95(freedom, tests) * error
