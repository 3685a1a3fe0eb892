"""The label-free stand-in for embarrassment, calibrated on held-out anchors.

Without a label the cross-entropy of a frame is unknown. What is known is how uncertain the network
is: the entropy of softmax(logits / T). On anchors, whose labels are known, the mean cross-entropy
of samples of like uncertainty is measured once and made monotone (pool adjacent violators); on the
device the curve is read off. A stand-in is an estimate and everything made from it says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy, log_softmax

KNOTS = 24


def uncertainty(
    logits: NDArray[np.floating], temperature: float = TEMPERATURE
) -> NDArray[np.float64]:
    """Entropy of softmax(logits / T) over log K, float64 [N] in 0..1."""
    log_probability = log_softmax(logits / temperature)
    entropy: NDArray[np.float64] = -(np.exp(log_probability) * log_probability).sum(axis=-1)
    entropy /= np.log(logits.shape[-1])
    return entropy


@dataclass(frozen=True)
class StandIn:
    """A monotone curve from uncertainty (0..1) to expected cross-entropy (nats at T = 1.5).

    Attributes:
        knots: uncertainty at the knots, rising.
        expected: cross-entropy at the knots, never falling.
    """

    knots: tuple[float, ...]
    expected: tuple[float, ...]

    def estimate(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Estimated cross-entropy of each unlabelled sample, float64 [N]."""
        return np.interp(uncertainty(logits), self.knots, self.expected)


def fit_standin(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> StandIn:
    """Calibrate on labelled anchors.

    Args:
        logits: float [N, K] of anchors, clean and corrupted, that training never saw.
        labels: integer [N].
    """
    order = np.argsort(uncertainty(logits), kind="stable")
    groups = [group for group in np.array_split(order, KNOTS) if len(group)]
    losses = cross_entropy(logits, labels, TEMPERATURE)
    level = uncertainty(logits)
    knots = np.array([level[group].mean() for group in groups])
    values = np.array([losses[group].mean() for group in groups])
    weights = np.array([len(group) for group in groups], dtype=np.float64)
    return StandIn(tuple(knots.tolist()), tuple(_monotone(values, weights).tolist()))


def _monotone(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted least-squares non-decreasing sequence (pool adjacent violators)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append((float(value), float(weight), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, wa, na), (b, wb, nb) = blocks[-2], blocks[-1]
            blocks[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return np.concatenate([np.full(n, value) for value, _, n in blocks])
