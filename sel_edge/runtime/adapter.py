"""Learning: descends the loss in the chosen rows of the classifier, on features already computed.

Only what the chosen rows need is executed: the logits of all other rows are constant, computed once
and summed up in one number per sample; gradients of other rows are never computed. Matrix products
are counted as two operations per multiplication with addition, elementwise work is not counted (the
convention of torch's counter).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.rungs import GraphCost
from sel_edge.runtime.head import Head
from sel_edge.runtime.work import Work, product, repeated, together

STEPS_AT_ONCE = 10
"""Between two of them the budget is asked: a step takes less time than asking does."""
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
        steps: descending steps, at least 1. A fixed number, since choosing one afterwards by what
            the guard judges on would make the choice look better than it is; `pull` and `hold`
            keep many steps from going too far.
        momentum: 0 up to but not including 1.
        hold: >= 0, weight of the squared change of logits on replayed samples.
        pull: >= 0, weight of the squared distance from the rows as they were, relative to the
            largest curvature of the loss.
    """

    steps: int = 60
    momentum: float = 0.9
    hold: float = 0.1
    pull: float = 0.0005


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
) -> Work[Head]:
    """Train the rows of `classes`.

    Descends, with momentum, the weighted cross-entropy, plus `hold` times half the squared change
    of the trained logits on replayed samples (matching logits as in dark experience replay,
    Buzzega et al. 2020), plus `pull` times half the squared distance from the rows as they were.
    Features are centred, and the step length is one over the largest curvature, so that no
    learning rate needs tuning to a network. Computed in float32.

    Args:
        head: where to start; it must know `classes`.
        classes: whose rows are trained; the others stay as they are, bit for bit.
        training: the samples.
        settings: steps, momentum, hold and pull.
        new: how many of the last `classes` are new: their logits are not held.

    Yields:
        The demand of what comes before the first step, and of every few steps.

    Returns:
        The trained head.
    """
    samples, width = training.features.shape
    preparing, step = demands(samples, width, len(head.classes), len(classes))
    yield preparing
    rows = head.index(classes)
    centre = training.weights @ training.features
    centred = training.features - centre
    curvature = _largest_curvature(centred, training.weights)
    logits = head.logits(training.features)
    held, others = logits[:, rows], _log_sum_exp(np.delete(logits, rows, axis=1))
    target = (training.labels[:, None] == rows).astype(np.float32)
    is_old = np.arange(len(rows)) < len(rows) - new
    hold = np.float32(settings.hold) * training.replayed[:, None] * is_old
    pull = settings.pull * curvature
    rate = 1.0 / (curvature * (1.0 + 2.0 * settings.hold) + pull)

    start = np.column_stack([head.weight[rows], head.bias[rows] + head.weight[rows] @ centre])
    inputs = np.column_stack([centred, np.ones(len(centred), dtype=np.float32)])
    weight, speed = start.copy(), np.zeros_like(start)
    for number in range(settings.steps):
        if number % STEPS_AT_ONCE == 0:
            yield repeated(step, min(STEPS_AT_ONCE, settings.steps - number))
        trained = inputs @ weight.T
        error = _softmax_beside(trained, others) - target + hold * (trained - held)
        slope = (error * training.weights[:, None]).T @ inputs
        speed = settings.momentum * speed - rate * (slope + pull * (weight - start))
        weight = weight + speed
    return _with_rows(head, rows, weight, centre)


def demands(samples: int, width: int, classes: int, rows: int) -> tuple[GraphCost, GraphCost]:
    """What `adapt` takes before its first step, and for each step.

    Args:
        samples: N of the training set.
        width: F of its features.
        classes: of the head.
        rows: how many of them are trained.
    """
    power = repeated(product(samples, width, 1), 2 * POWER_STEPS)
    preparing = together(power, product(samples, width, classes))
    # The logits, then their gradient.
    return preparing, repeated(product(samples, width + 1, rows), 2)


def _log_sum_exp(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [N] of float32 [N, K]; minus infinity where K is 0."""
    if not logits.shape[1]:
        return np.full(len(logits), -np.inf, dtype=np.float32)
    largest = logits.max(axis=1)
    sums: NDArray[np.float32] = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return sums


def _softmax_beside(
    logits: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Probabilities float32 [N, R] of R classes beside others whose log-sum-exp is float32 [N]."""
    largest = np.maximum(logits.max(axis=1), others)[:, None]
    parts = np.exp(logits - largest)
    total = parts.sum(axis=1, keepdims=True) + np.exp(others[:, None] - largest)
    probabilities: NDArray[np.float32] = parts / total
    return probabilities


def _with_rows(
    head: Head, rows: NDArray[np.int64], trained: NDArray[np.float32], centre: NDArray[np.float32]
) -> Head:
    """The head with rows that were trained on centred features, bias in the last column."""
    weight, bias = head.weight.copy(), head.bias.copy()
    weight[rows] = trained[:, :-1]
    bias[rows] = trained[:, -1] - trained[:, :-1] @ centre
    return Head(weight, bias, head.classes)


def _largest_curvature(centred: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """Upper curvature of the loss in any row, by power iteration.

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
    return 0.5 * max(1.1 * largest, 1.0)
