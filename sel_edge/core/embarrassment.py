"""Embarrassment E_c and confidence C_c per class.

E_c is the mean cross-entropy of softmax(logits / T) against the true class over the samples of
class c, with T = 1.5; C_c = max(0, 1 - E_c). Source: the published Staged Embarrassment Learning
page, mechanism 01.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEMPERATURE = 1.5


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-probabilities along the last axis, computed in float64 without overflow.

    Args:
        logits: float [..., K].
    """
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities along the last axis, float64 [..., K]."""
    return np.exp(log_softmax(logits))


def cross_entropy(
    logits: NDArray[np.floating], labels: NDArray[np.integer], temperature: float = 1.0
) -> NDArray[np.float64]:
    """Cross-entropy per sample in nats.

    Args:
        logits: float [N, K].
        labels: integer [N], each in 0..K-1.
        temperature: divides the logits; greater than 0.

    Returns:
        float64 [N], each >= 0.
    """
    log_probability = log_softmax(logits / temperature)
    losses: NDArray[np.float64] = -log_probability[np.arange(len(labels)), labels]
    return losses


def class_embarrassment(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    n_classes: int,
    temperature: float = TEMPERATURE,
) -> NDArray[np.float64]:
    """E_c of every class, float64 [n_classes]; NaN for a class without a sample."""
    losses = cross_entropy(logits, labels, temperature)
    count = np.bincount(labels, minlength=n_classes)
    total = np.bincount(labels, weights=losses, minlength=n_classes)
    mean = np.full(n_classes, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def confidence(embarrassment: NDArray[np.floating]) -> NDArray[np.float64]:
    """C_c = max(0, 1 - E_c), element by element; NaN stays NaN."""
    return np.maximum(0.0, 1.0 - np.asarray(embarrassment, dtype=np.float64))
