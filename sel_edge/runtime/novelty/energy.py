"""Free energy of the logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sel_edge.runtime.novelty.interface import Floats


@dataclass(frozen=True)
class FreeEnergy:
    """score = -log sum_k exp(logits_k), in nats at temperature 1.

    Source: Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020
    (arXiv 2010.03759).

    Attributes:
        classes: K.
    """

    classes: int

    def score(self, features: Floats, logits: Floats) -> Floats:
        """As `Novelty.score`; the features are not looked at."""
        exact = logits.astype(np.float64)
        top = exact.max(axis=1, keepdims=True)
        total = np.log(np.exp(exact - top).sum(axis=1)) + top[:, 0]
        found: Floats = (-total).astype(np.float32)
        return found

    def flops(self, frames: int) -> int:
        """A maximum, a difference, an exponential and a sum per logit."""
        return 4 * frames * self.classes
