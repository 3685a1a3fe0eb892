"""When practice helps no more, and what is normal from then on."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.standin import StandIn
from sel_edge.runtime.guard import MINIMUM_GAIN, Anchors
from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.lesson import Lesson
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.normal import NormalLevels, normal_levels
from sel_edge.runtime.verdict import Verdict
from sel_edge.runtime.work import Work, product, together

SETTLE_SAMPLES = 128
"""Labels that it takes to call a situation one that cannot be learned."""


def is_vain(lesson: Lesson, verdict: Verdict) -> bool:
    """Whether training did not even help on average, on labels enough to tell."""
    gain = verdict.held_out_before - verdict.held_out_after
    return not lesson.new and verdict.held_out >= SETTLE_SAMPLES and gain < MINIMUM_GAIN


def normal_of(
    head: Head, features: Features, labels: NDArray[np.int64], standin: StandIn
) -> NormalLevels:
    """What is normal for a head, on samples that it did not learn from.

    Args:
        head: in use from now on.
        features: float32 [A, F], A >= 1.
        labels: int64 [A], numbers of its classes.
        standin: the bundle's.
    """
    return normal_levels(head.logits(features), labels, head.classes, standin)


def remainder(
    head: Head, anchors: Anchors, samples: Samples, fresh: NDArray[np.bool_], standin: StandIn
) -> Work[NormalLevels]:
    """What remains of a situation once practice helps no more.

    That is the embarrassment on labels that the head did not learn from, on all that is remembered
    of any situation, and on the anchors, whichever is the highest: so neither the remainder nor a
    return to an older situation is a change.

    Args:
        head: in use.
        anchors: that nobody learned from.
        samples: all that is remembered.
        fresh: bool [N], which of them the head did not learn from.
        standin: the bundle's.
    """
    parts = [(anchors.features, anchors.labels)]
    parts += [(part.features, head.index(part.names)) for part in (samples.where(fresh), samples)]
    yield together(*(product(len(labels), *head.weight.T.shape) for _, labels in parts))
    return reduce(NormalLevels.or_higher, (normal_of(head, *part, standin) for part in parts))
