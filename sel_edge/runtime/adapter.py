"""Learning: descends the loss in the chosen rows of the classifier, on features already computed.

Only what the chosen rows need is executed: the logits of all other rows are constant and computed
once, gradients of other rows never. Matrix products are counted as two operations per
multiplication with addition, elementwise work is not counted (the convention of torch's counter).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import softmax
from sel_edge.runtime.head import Head

POWER_STEPS = 8
"""Steps of power iteration for the largest curvature."""
PRIOR_SAMPLES = 5
"""Samples at which a class has half the say of one that is known without doubt."""


@dataclass(frozen=True)
class TrainingSet:
    """What an update learns from.

    Attributes:
        features: float32 [N, F], N >= 1.
        labels: int64 [N], numbers of the head's classes.
        weights: float32 [N], >= 0, sum 1.
        replayed: bool [N], samples on which the head should go on answering as it did.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    replayed: NDArray[np.bool_]


@dataclass(frozen=True)
class AdapterSettings:
    """How to descend.

    Attributes:
        steps: rising numbers of steps after which a candidate is yielded.
        momentum: 0 up to but not including 1.
        hold: >= 0, weight of the squared change of logits on replayed samples.
        pull: >= 0, weight of the squared distance from the rows as they were, relative to the
            largest curvature of the loss.
    """

    steps: tuple[int, ...] = (20, 40, 80, 160)
    momentum: float = 0.9
    hold: float = 0.1
    pull: float = 0.0005


@dataclass(frozen=True)
class Candidate:
    """A head after some steps.

    Attributes:
        head: the head.
        steps: descending steps so far.
        executed_flops: executed since the previous candidate (the first: since the start).
    """

    head: Head
    steps: int
    executed_flops: int


def balanced_weights(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights that give all classes a like say, and within a class every group the same.

    A class of n samples counts n / (n + PRIOR_SAMPLES): one that rests on a handful of labels must
    not claim as much as one that is well known.

    Args:
        labels: int64 [N].
        groups: int64 [N], e.g. 0 for replay and 1 for what is new.

    Returns:
        float32 [N], sum 1.
    """
    cells, cell, in_cell = np.unique(
        np.stack([labels, groups], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    groups_of_class = np.bincount(cells[:, 0])[labels]
    in_class = np.bincount(labels)[labels]
    share = in_class / (in_class + PRIOR_SAMPLES)
    weights = share / (groups_of_class * in_cell[cell.reshape(-1)])
    normalized: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return normalized


def adapt(
    head: Head,
    classes: Sequence[str],
    training: TrainingSet,
    settings: AdapterSettings,
    new: int = 0,
) -> Iterator[Candidate]:
    """Train the rows of `classes`, yielding the head after each number of steps.

    Descends, with momentum, the weighted cross-entropy, plus `hold` times half the squared change
    of the trained logits on replayed samples (matching logits as in dark experience replay,
    Buzzega et al. 2020), plus `pull` times half the squared distance from the rows as they were.
    Features are centred, and the step length is one over the largest curvature, so that no
    learning rate needs tuning to a network.

    Args:
        head: where to start; it must know `classes`.
        classes: whose rows are trained; the others stay as they are, bit for bit.
        training: the samples.
        settings: steps, momentum, hold and pull.
        new: how many of the last `classes` are new: their logits are not held.
    """
    rows = head.index(classes)
    centre = training.weights @ training.features
    centred = training.features - centre
    curvature, flops = _largest_curvature(centred, training.weights)
    target = np.eye(len(head.classes), dtype=np.float32)[training.labels][:, rows]
    logits = head.logits(training.features)
    flops += 2 * training.features.size * len(head.classes)

    held_logits = logits[:, rows].copy()
    hold = settings.hold * training.replayed[:, None] * (np.arange(len(rows)) < len(rows) - new)
    pull = settings.pull * curvature
    rate = 1.0 / (curvature * (1.0 + 2.0 * settings.hold) + pull)
    start = np.column_stack([head.weight[rows], head.bias[rows] + head.weight[rows] @ centre])
    inputs = np.column_stack([centred, np.ones(len(centred), dtype=np.float32)])
    weight, speed = start.copy(), np.zeros_like(start)

    done = 0
    for until in settings.steps:
        for _ in range(done, until):
            trained = inputs @ weight.T
            logits[:, rows] = trained
            error = softmax(logits)[:, rows] - target + hold * (trained - held_logits)
            slope = (error * training.weights[:, None]).astype(np.float32).T @ inputs
            speed = settings.momentum * speed - rate * (slope + pull * (weight - start))
            weight = weight + speed
        flops += (until - done) * 4 * inputs.size * len(rows)  # the logits, then their gradient
        yield Candidate(_with_rows(head, rows, weight, centre), until, flops)
        done, flops = until, 0


def _with_rows(
    head: Head, rows: NDArray[np.int64], trained: NDArray[np.float32], centre: NDArray[np.float32]
) -> Head:
    """The head with rows that were trained on centred features, bias in the last column."""
    weight, bias = head.weight.copy(), head.bias.copy()
    weight[rows] = trained[:, :-1]
    bias[rows] = trained[:, -1] - trained[:, :-1] @ centre
    return Head(weight, bias, head.classes)


def _largest_curvature(
    centred: NDArray[np.float32], weights: NDArray[np.float32]
) -> tuple[float, int]:
    """Upper curvature of the loss in any row, by power iteration, and the FLOPs it took.

    The Hessian of the cross-entropy in the logits is at most 1/2, and the bias sees features of
    constant one: half the largest eigenvalue of the weighted covariance, but at least that half.
    """
    # A sample as the start: a fixed vector might be orthogonal to all of them.
    vector = centred[np.argmax((centred**2).sum(axis=1))]
    largest = 0.0
    for _ in range(POWER_STEPS):
        vector = centred.T @ (weights * (centred @ vector))
        largest = float(np.linalg.norm(vector))
        if largest == 0.0:
            break
        vector = vector / largest
    # Power iteration approaches from below; a tenth more keeps the steps short enough.
    return 0.5 * max(1.1 * largest, 1.0), 4 * POWER_STEPS * centred.size
