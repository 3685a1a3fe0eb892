"""Distance to the nearest known features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sel_edge.runtime.novelty.interface import Floats

NEIGHBOUR = 3
"""Which of the nearest counts. A bank of a few hundred has only some like any frame."""
MAX_BANK = 256
_TINY = 1e-12


@dataclass(frozen=True)
class Knn:
    """score = 1 - cosine of the angle to the k-th nearest features of a bank, from 0 to 2.

    Source: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022
    (arXiv 2204.06507); there the bank is the training set and k up to 1,000.

    Attributes:
        bank: float32 [B, F], rows of length 1.
        neighbour: k, 1..B.
    """

    bank: Floats
    neighbour: int

    @classmethod
    def fit(cls, features: Floats, neighbour: int = NEIGHBOUR, size: int = MAX_BANK) -> Knn:
        """A bank of at most `size` of the features float32 [A, F], evenly taken; A >= 1."""
        chosen = np.unique(np.linspace(0, len(features) - 1, min(size, len(features))).astype(int))
        return cls(_unit(features[chosen]), min(neighbour, len(chosen)))

    def score(self, features: Floats, logits: Floats) -> Floats:
        """As `Novelty.score`; the logits are not looked at."""
        alike = _unit(features) @ self.bank.T
        near: Floats = np.partition(alike, -self.neighbour, axis=1)[:, -self.neighbour]
        return 1 - near

    def flops(self, frames: int) -> int:
        """A multiply-accumulate per number of the bank, and each frame brought to length 1."""
        rows, length = self.bank.shape
        per_frame: int = (2 * rows + 3) * length
        return frames * per_frame


def _unit(features: Floats) -> Floats:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: Floats = features / np.maximum(lengths, _TINY)
    return unit
