"""Cheap looks at whether an update would help, before anything is spent on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples

LEAST = 0.05
"""Share that is expected of a lesson on features that look hopeless: the look may be wrong."""


def mendable(samples: Samples, head: Head) -> float:
    """Which share of a head's mistakes its features could mend, from LEAST to 1.

    Features that lie nearest to the mean of their own class, that mean taken without them, can be
    told apart by a linear classifier; the share is that of the mistakes among them. (The nearest
    class mean as in iCaRL, Rebuffi et al. 2017; leaving one out makes it no flattery.)

    Args:
        samples: labelled features; classes that the head does not know count as mistaken.
        head: in use.
    """
    names = np.array(samples.names)
    if len(set(samples.names)) < 2:
        return LEAST
    answers = np.array(head.classes)[head.logits(samples.features).argmax(axis=1)]
    wrong = answers != names
    if not wrong.any():
        return LEAST
    return max(LEAST, float(_nearest_own(samples.features, names)[wrong].mean()))


def mendable_flops(samples: int, features: int, known: int, classes: int) -> int:
    """Operations of `mendable` at most.

    Args:
        samples: that are looked at.
        features: length of a feature vector.
        known: classes of the head.
        classes: of the samples.
    """
    products = 2 * samples * features * (known + classes)
    return products + 8 * samples * features + 3 * classes * features


def _nearest_own(features: NDArray[np.float32], names: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which samples lie nearest to the mean of the others of their class, bool [n]."""
    classes, number = np.unique(names, return_inverse=True)
    counts = np.bincount(number).astype(np.float32)
    sums = np.zeros((len(classes), features.shape[1]), np.float32)
    np.add.at(sums, number, features)
    means = sums / counts[:, None]
    distances = (
        np.square(features).sum(axis=1)[:, None]
        - 2 * features @ means.T
        + np.square(means).sum(axis=1)
    )
    rest = counts[number] - 1
    own = (sums[number] - features) / np.maximum(rest, 1)[:, None]
    row = np.arange(len(features))
    distances[row, number] = np.where(rest > 0, np.square(features - own).sum(axis=1), np.inf)
    nearest: NDArray[np.bool_] = distances.argmin(axis=1) == number
    return nearest
