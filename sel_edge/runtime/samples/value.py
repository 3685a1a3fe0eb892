"""How much a label of a frame would teach: a number for the queue, a reason for the person.

Uncertainty is what active learning has asked by for longest: the mean of normalized entropy and of
one minus the margin between the two likeliest classes (Settles, Active Learning Literature Survey,
2009). It is blind to what looks like none of the classes, so novelty is added; and a class that
has few labels gains most from one more, so rarity is. The weights are a judgement, not tuned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    order = np.argsort(-probability, axis=1, kind="stable")
    first, second = order[:, 0], order[:, min(1, order.shape[1] - 1)]
    rows = np.arange(len(logits))
    most, next_most = probability[rows, first], probability[rows, second]
    known = np.array([labels.get(classes[number], 0) for number in first.tolist()], np.int64)
    uncertainty = _uncertainty(probability, log_probability, most - next_most)
    strange = np.zeros(len(logits)) if novelty is None else np.clip(novelty, 0.0, 1.0)
    rarity = 1.0 / (1.0 + known / RARE_LABELS)
    score = UNCERTAINTY_WEIGHT * uncertainty + NOVELTY_WEIGHT * strange + RARITY_WEIGHT * rarity
    parts = _rows(score, uncertainty, strange, rarity)
    words = _rows(first, second, most, next_most, known)
    return tuple(
        TeachingValue(value, torn, new, rare, _reason((torn, new, rare), classes, *word))
        for (value, torn, new, rare), word in zip(parts, words, strict=True)
    )


def _rows(*columns: NDArray[Any]) -> Iterator[tuple[Any, ...]]:
    """Columns [n] as n rows of plain numbers: Python is faster with them than with numpy's."""
    return zip(*(column.tolist() for column in columns), strict=True)


def _uncertainty(
    probability: NDArray[np.float64],
    log_probability: NDArray[np.float64],
    margin: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Float64 [n] of predictions float64 [n, K]; a single class leaves no doubt."""
    count = probability.shape[1]
    if count == 1:
        return np.zeros(len(probability))
    entropy: NDArray[np.float64] = -(probability * log_probability).sum(axis=1) / np.log(count)
    return np.clip((entropy + 1.0 - margin) / 2.0, 0.0, 1.0)


def _reason(
    parts: Sequence[float],
    classes: Sequence[str],
    first: int,
    second: int,
    most: float,
    next_most: float,
    known: int,
) -> str:
    """The parts that speak for asking, in words; the strongest where none is notable."""
    uncertainty, novelty, rarity = parts
    least, reasons = min(_NOTABLE, max(parts)), []
    if uncertainty >= least:
        reasons.append(
            f"torn between {classes[first]} ({most:.0%}) and {classes[second]} ({next_most:.0%})"
        )
    if novelty >= least:
        reasons.append(f"stranger than {novelty:.0%} of known frames")
    if rarity >= least:
        reasons.append(f"only {known} labels of {classes[first]}")
    return "; ".join(reasons)
