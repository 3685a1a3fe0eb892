"""Whether a gain on a few samples is proved: a one-sided paired t-test at 5 %."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_HELD_OUT = 4
"""Samples of what was to be learned without which nothing can be proved."""

NORMAL_95 = 1.6448536
"""The 95 % quantile of the normal distribution."""
_STUDENT_95 = (6.3138, 2.9200, 2.3534, 2.1318, 2.0150, 1.9432, 1.8946, 1.8595, 1.8331, 1.8125)


def student_95(freedom: int) -> float:
    """The 95 % quantile of Student's t; `freedom` >= 1."""
    if freedom <= len(_STUDENT_95):
        return _STUDENT_95[freedom - 1]
    z = NORMAL_95  # the first terms of Fisher's expansion; from here on exact to three digits
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


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
    drops: NDArray[np.float64], classes: NDArray[np.int64], taught: NDArray[np.bool_]
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
    return float(share @ drops) - student_95(freedom) * error
