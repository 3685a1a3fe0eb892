"""The curriculum: each stage takes a slice of every class, and lasts until it has been learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sel_edge.pretrain.recipe import Stage


def stage_pool(
    scores: NDArray[np.floating], labels: NDArray[np.integer], stage: Stage, per_class_max: int
) -> NDArray[np.int64]:
    """Indices of the images a stage trains on.

    Within each class images are sorted from easy (a low score) to hard,
    and the slice start..end of them is taken.

    Args:
        scores: float [N], how much each image embarrasses, or would embarrass, a network.
        labels: integer [N].
        stage: its start and end are shares of each class.
        per_class_max: keep at most so many of the slice, the easiest first; 0 means all.

    Returns:
        int64 indices into the N images, rising.
    """
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ordered = members[np.argsort(scores[members], kind="stable")]
        first, last = (round(share * len(ordered)) for share in (stage.start, stage.end))
        part = ordered[first:last]
        chosen.append(part[:per_class_max] if per_class_max else part)
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def has_settled(curve: Sequence[float], settled: float) -> bool:
    """Whether the last epoch lowered the embarrassment by less than a share of what it was.

    Args:
        curve: mean embarrassment after every epoch of a stage, > 0.
        settled: the share, 0..1; 0 never settles.
    """
    return settled > 0 and len(curve) > 1 and curve[-1] > (1 - settled) * curve[-2]
