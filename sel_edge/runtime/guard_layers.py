"""Whether trained layers are worth keeping: proved better on labels that never taught them.

No anchors take part: the rows of a domain change nothing for the frames of any other, and the
anchors are frames of the bundle's own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.evidence import MIN_HELD_OUT, class_means, proved_gain
from sel_edge.runtime.guard import MINIMUM_GAIN
from sel_edge.runtime.verdict import Verdict


def judge_layers(
    classes: NDArray[np.int64], before: NDArray[np.float64], after: NDArray[np.float64]
) -> Verdict:
    """Judge a candidate by what others, trained in the same way, made of labels unknown to them.

    Embarrassment must fall by more than MINIMUM_GAIN, all classes counted alike, at a confidence
    of 95 % (`proved_gain`).

    Args:
        classes: int64 [N], what each sample shows; N >= 2.
        before, after: float64 [N], losses in nats.
    """
    gain = proved_gain(before - after, classes, np.ones(len(classes), np.bool_))
    e_before, e_after = (float(class_means(losses, classes).mean()) for losses in (before, after))
    proved = f"better by at least {gain:.2f}" if gain > 0 else "not proved better"
    reason = (
        f"E on {len(classes)} held-out labels of {len(np.unique(classes))} classes {e_before:.2f} "
        f"-> {e_after:.2f}, {proved}"
    )
    return Verdict(gain > MINIMUM_GAIN, reason, True, len(classes), e_before, e_after)


def refuse_layers(classes: NDArray[np.int64], before: NDArray[np.float64], why: str) -> Verdict:
    """The verdict on layers that could not be trained.

    Args:
        classes, before: as `judge_layers` takes them; N >= 1.
        why: what was in the way, in words.
    """
    level = float(class_means(before, classes).mean())
    return Verdict(False, f"layers of no use: {why}", True, 0, level, level)


def can_prove(folds: NDArray[np.int64], least: int) -> bool:
    """Whether labels that taught nobody, int64 [N] the fold of each, suffice to judge layers.

    Args:
        folds: of the labels.
        least: labels that it takes in all.
    """
    counts = np.unique(folds, return_counts=True)[1]
    return len(folds) >= least and len(counts) > 1 and int(counts.min()) >= MIN_HELD_OUT
