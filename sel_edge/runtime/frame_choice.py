"""Which frames of a domain its statistics are estimated from, and how much these are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sel_edge.runtime.guard_norm import ENOUGH
from sel_edge.runtime.recollection import Seen

Numbered = tuple[int, Seen]
"""A frame with its number."""

BLEND = 0.5
"""Weight of the statistics of frames of all classes. Those of few frames are uncertain, and those
of the training are better than none (Schneider et al. 2020, arXiv 2006.16971); on four corruptions
of CIFAR-10 everything from 0.4 to 0.7 was better than 1, with 32 frames as with 256."""


def spread(seen: Sequence[Numbered], count: int) -> tuple[Numbered, ...]:
    """So many frames, or all where there are fewer; none twice.

    First the newest labelled ones, half at most, then others that are spread over the time: without
    a label as far as there are enough of these.
    """
    labelled = [pair for pair in seen if pair[1].label is not None][-count // 2 :]
    taken = {number for number, _ in labelled}
    others = [pair for pair in seen if pair[0] not in taken]
    missing = min(count - len(labelled), len(others))
    unlabelled = [pair for pair in others if pair[1].label is None]
    if len(unlabelled) >= missing:
        others = unlabelled
    places = np.linspace(0, len(others) - 1, missing).astype(np.int64)
    return (*labelled, *(others[place] for place in places))


def balanced(labelled: Sequence[Numbered], count: int) -> tuple[Numbered, ...]:
    """The newest frames, as many of each label as possible, at least `count` being there."""
    by_label: dict[str | None, list[Numbered]] = {}
    for pair in labelled:
        by_label.setdefault(pair[1].label, []).append(pair)
    chosen: list[Numbered] = []
    while len(chosen) < count:
        for pairs in by_label.values():
            if pairs and len(chosen) < count:
                chosen.append(pairs.pop())
    return tuple(chosen)


def blend(seen: Sequence[Numbered], classes: int) -> float:
    """How much the statistics of some frames are worth, by how many classes their labels name.

    Statistics of frames that all show the same are those of what they show. The share is that of
    the effective number of classes, exp(entropy), in the largest there could be; the entropy of few
    labels is corrected for their number (Miller 1955). Without labels enough, all is taken to be
    there.

    Args:
        seen: frames with their numbers.
        classes: of the network.
    """
    labels = [one.label for _, one in seen if one.label is not None]
    if len(labels) < ENOUGH:
        return BLEND
    counts = np.unique(labels, return_counts=True)[1]
    shares = counts / len(labels)
    entropy = -float(shares @ np.log(shares)) + (len(counts) - 1) / (2 * len(labels))
    most = min(classes, len(labels))
    return BLEND * min(1.0, (math.exp(entropy) - 1) / max(most - 1, 1))
