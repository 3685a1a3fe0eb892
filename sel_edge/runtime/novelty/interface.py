"""Novelty: how little a frame is like anything that the classifier knows."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


class Novelty(Protocol):
    """A score of single frames, made for one head: where that changes, another one is fitted."""

    def score(self, features: Floats, logits: Floats) -> Floats:
        """How strange frames are.

        Args:
            features: penultimate features, float32 [n, F].
            logits: the head's answers to them, float32 [n, K].

        Returns:
            float32 [n], finite; higher is stranger. The scale is the method's own.
        """
        ...

    def flops(self, frames: int) -> int:
        """Floating-point operations of `score` for as many frames."""
        ...
