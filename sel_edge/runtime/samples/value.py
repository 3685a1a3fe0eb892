"""How much a label of a frame would teach: a number for the queue, a reason for the person.

Uncertainty is what active learning has asked by for longest: the mean of normalized entropy and of
one minus the margin between the two likeliest classes (Settles, Active Learning Literature Survey,
2009). It is blind to what looks like none of the classes, so novelty is added; and a class that
has few labels gains most from one more, so rarity is. The weights are a judgement, not tuned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, log_softmax

UNCERTAINTY_WEIGHT, NOVELTY_WEIGHT, RARITY_WEIGHT = 0.5, 0.3, 0.2
RARE_LABELS = 5
"""Labels of a class at which its rarity has fallen to a half."""
_NOTABLE = 0.5


@dataclass(frozen=True)
class TeachingValue:
    """How much a label would teach, each part from 0 to 1.

    Attributes:
        score: the weighted sum of the parts.
        uncertainty: of the prediction.
        novelty: share of known frames that are less strange.
        rarity: of labels of the predicted class.
        reason: what speaks for asking, for people.
    """

    score: float
    uncertainty: float
    novelty: float
    rarity: float
    reason: str


def teaching_value(
    logits: NDArray[np.float32],
    classes: Sequence[str],
    labels: Mapping[str, int],
    novelty: NDArray[np.floating] | None = None,
) -> tuple[TeachingValue, ...]:
    """Value frames for the label queue.

    Args:
        logits: float32 [n, K], finite.
        classes: K names.
        labels: class name -> labels that there are already; a missing name has none.
        novelty: float [n] from 0 to 1, the share of known frames that are less strange; 0 if left
            out.

    Returns:
        n values.
    """
    log_probability = log_softmax(logits / TEMPERATURE)
    probability = np.exp(log_probability)
    strange = np.zeros(len(logits)) if novelty is None else np.clip(novelty, 0.0, 1.0)
    return tuple(
        _value(row, log_row, classes, labels, float(new))
        for row, log_row, new in zip(probability, log_probability, strange, strict=True)
    )


def _value(
    probability: NDArray[np.float64],
    log_probability: NDArray[np.float64],
    classes: Sequence[str],
    labels: Mapping[str, int],
    novelty: float,
) -> TeachingValue:
    order = np.argsort(-probability, kind="stable")
    first, second = int(order[0]), int(order[min(1, len(order) - 1)])
    uncertainty = 0.0
    if len(order) > 1:
        entropy = -float(probability @ log_probability) / math.log(len(order))
        margin = float(probability[first] - probability[second])
        uncertainty = min(max((entropy + 1.0 - margin) / 2.0, 0.0), 1.0)
    known = labels.get(classes[first], 0)
    rarity = 1.0 / (1.0 + known / RARE_LABELS)
    score = UNCERTAINTY_WEIGHT * uncertainty + NOVELTY_WEIGHT * novelty + RARITY_WEIGHT * rarity
    reasons = {
        f"torn between {classes[first]} ({probability[first]:.0%}) and "
        f"{classes[second]} ({probability[second]:.0%})": uncertainty,
        f"stranger than {novelty:.0%} of known frames": novelty,
        f"only {known} labels of {classes[first]}": rarity,
    }
    notable = [reason for reason, part in reasons.items() if part >= _NOTABLE]
    return TeachingValue(
        score=score,
        uncertainty=uncertainty,
        novelty=novelty,
        rarity=rarity,
        reason="; ".join(notable) or max(reasons, key=lambda reason: reasons[reason]),
    )
