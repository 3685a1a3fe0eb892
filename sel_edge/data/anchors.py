"""Anchors: a few images of every class, chosen by a seed, that stay with a network for life."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.rng import generator


def choose_anchors(labels: NDArray[np.integer], per_class: int, seed: int) -> NDArray[np.int64]:
    """Indices of `per_class` samples of every class, rising.

    The choice depends on the seed and on the order inside each class only, so it is the same for an
    archive that mixes classes and for one folder per class.

    Args:
        labels: integer [N].
        per_class: how many of each class; a class keeps at least one image outside the choice.
        seed: any non-negative integer.
    """
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(per_class, len(members) - 1)
        rng = generator(seed, "anchors", int(label))
        chosen.append(rng.choice(members, size=count, replace=False))
    return np.sort(np.concatenate(chosen)).astype(np.int64)
