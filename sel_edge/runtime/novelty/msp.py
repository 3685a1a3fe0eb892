"""Maximum softmax probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sel_edge.core.embarrassment import softmax
from sel_edge.runtime.novelty.interface import Floats


@dataclass(frozen=True)
class Msp:
    """score = -max_k softmax(logits)_k, from -1 to -1 / K.

    Source: Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks", ICLR 2017 (arXiv 1610.02136).

    Attributes:
        classes: K.
    """

    classes: int

    def score(self, features: Floats, logits: Floats) -> Floats:
        """As `Novelty.score`; the features are not looked at."""
        found: Floats = (-softmax(logits).max(axis=1)).astype(np.float32)
        return found

    def flops(self, frames: int) -> int:
        """A maximum, a difference, an exponential and a sum per logit."""
        return 4 * frames * self.classes
