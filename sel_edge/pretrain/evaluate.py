"""Predictions over a whole split, and accuracy on all of it and on the first 100 of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sel_edge.data.dataset import Dataset
from sel_edge.pretrain.batches import Normalization, evaluation_batch
from sel_edge.pretrain.precision import Arithmetic

FIRST_PER_CLASS = 100


@dataclass(frozen=True)
class Accuracy:
    """Accuracies as shares 0..1.

    Attributes:
        full: over the whole split.
        first_100: over the first 100 images of each class.
        per_class: over the first 100 images of the class, [K].
    """

    full: float
    first_100: float
    per_class: tuple[float, ...]


def predict(
    model: nn.Module, data: Dataset, normalize: Normalization, arithmetic: Arithmetic
) -> NDArray[np.float32]:
    """Logits of a split in evaluation mode, float32 [N, K]; the mode is restored afterwards."""
    was_training = model.training
    model.eval()
    parts, size = [], evaluation_batch(data.frames)
    with torch.inference_mode():
        for start in range(0, len(data.labels), size):
            x = normalize(data.frames[start : start + size], arithmetic.device)
            with arithmetic.autocast():
                logits = model(x)
            parts.append(logits.float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(parts)


def first_of_each_class(labels: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Indices of the first `count` samples of every class, class by class."""
    return np.concatenate([np.flatnonzero(labels == c)[:count] for c in np.unique(labels)])


def accuracy(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Accuracy:
    """Accuracies of logits [N, K] against labels [N]."""
    correct = logits.argmax(axis=1) == labels
    first = first_of_each_class(labels, FIRST_PER_CLASS)
    per_class = [
        float(correct[first][labels[first] == c].mean()) if (labels[first] == c).any() else np.nan
        for c in range(logits.shape[1])
    ]
    return Accuracy(float(correct.mean()), float(correct[first].mean()), tuple(per_class))
