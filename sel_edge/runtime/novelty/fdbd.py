"""Distance of features to decision boundaries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.novelty.interface import Floats

_TINY = 1e-12


@dataclass(frozen=True)
class Fdbd:
    """score = -mean over the other classes k of d_k / |z - mean|.

    For features z with the highest logit at class c, d_k = |logit_c - logit_k| / |w_c - w_k| is the
    distance to the boundary between c and k. Frames of known classes lie far from it, seen from the
    mean of the training's features. Classes with equal weights have no boundary, and count as 0.

    Source: Liu and Qin, "Fast Decision Boundary based Out-of-Distribution Detector", ICML 2024
    (arXiv 2312.11536).

    Attributes:
        mean: float64 [F], of the features of the training.
        inverse: float64 [K, K], 1 / |w_c - w_k|; 0 where there is no boundary.
    """

    mean: NDArray[np.float64]
    inverse: NDArray[np.float64]

    @classmethod
    def fit(cls, features: Floats, weight: Floats) -> Fdbd:
        """Take the mean of features float32 [A, F] and a head's weight float32 [K, F], K >= 2."""
        rows = weight.astype(np.float64)
        apart = np.linalg.norm(rows[:, np.newaxis] - rows, axis=2)
        inverse = np.where(apart > 0, 1 / np.maximum(apart, _TINY), 0.0)
        return cls(features.mean(axis=0, dtype=np.float64), inverse)

    def score(self, features: Floats, logits: Floats) -> Floats:
        """As `Novelty.score`."""
        margins = logits.max(axis=1, keepdims=True) - logits.astype(np.float64)
        distances = (margins * self.inverse[logits.argmax(axis=1)]).sum(axis=1)
        away = np.linalg.norm(features - self.mean, axis=1)
        others = len(self.inverse) - 1
        found: Floats = (-distances / (others * np.maximum(away, _TINY))).astype(np.float32)
        return found

    def flops(self, frames: int) -> int:
        """A difference, a square and a sum per feature; four operations per logit."""
        return frames * (3 * len(self.mean) + 4 * len(self.inverse))
