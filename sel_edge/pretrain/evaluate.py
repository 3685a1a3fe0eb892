"""Predictions over a whole split, and accuracy on all of it and on the first 100 of each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sel_edge.pretrain.batches import Resident, evaluation_batch
from sel_edge.pretrain.model import in_evaluation
from sel_edge.pretrain.precision import Arithmetic
from sel_edge.pretrain.ranks import ALONE, Ranks
from sel_edge.pretrain.resolution import resized

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
    model: nn.Module,
    split: Resident,
    arithmetic: Arithmetic,
    ranks: Ranks = ALONE,
    size: tuple[int, ...] | None = None,
) -> NDArray[np.float32]:
    """Logits of a split in evaluation mode, float32 [N, K]; the mode is restored afterwards.

    Args:
        model: the network.
        split: whose frames it is asked about.
        arithmetic: how it computes.
        ranks: they compute a part each, and all get the whole.
        size: height and width, or length, that the frames are shown at; None for their own.
    """
    count = evaluation_batch(split.data.frames)
    logits = torch.zeros(len(split), len(split.data.classes), device=arithmetic.device)
    with in_evaluation(model), torch.inference_mode():
        for start in range(ranks.rank * count, len(split), ranks.world * count):
            part = slice(start, start + count)
            frames = split.frames(part)
            with arithmetic.autocast():
                logits[part] = model(resized(frames, size) if size else frames).float()
    return ranks.sum(logits).cpu().numpy()


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
