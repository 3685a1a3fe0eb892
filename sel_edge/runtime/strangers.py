"""Frames that are like none of the classes: how many come, and whether they are too many."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.novelty import DEFAULT, Calibrated, calibrate
from sel_edge.runtime.novelty.fit import KNOWN_SHARE
from sel_edge.runtime.trigger import Signal

WINDOW_FRAMES = 128
MIN_FRAMES = 32
"""Fewer are not judged."""
ON_SIGMA = 6.0
"""By how much strange frames must be more than chance. Frames of a stream are alike, so that the
standard deviation of a binomial count is too small, and 6 of it are less than they seem."""


@dataclass(frozen=True)
class Novel:
    """What was found in some frames.

    Attributes:
        share: float64 [n], the share of known frames that are less strange.
        strange: bool [n], which are like none of the classes.
    """

    share: NDArray[np.float64]
    strange: NDArray[np.bool_]


class Strangers:
    """Watches for them in the bundle's own domain; elsewhere all frames look strange.

    Args:
        head: in use in the bundle's own domain.
        known: features float32 [A, F] of classes that the head knows.
    """

    def __init__(self, head: Head, known: Features) -> None:
        self._known = known
        self._window: deque[tuple[int, bool]] = deque(maxlen=WINDOW_FRAMES)
        self._head = head
        self._detector = self._calibrated(head)

    def adopt(self, head: Head) -> None:
        """Go on with another head; what was strange to the old one may be known to it."""
        if head.hash != self._head.hash:
            self._head, self._detector = head, self._calibrated(head)
            self._window.clear()

    def look(self, features: Features, logits: NDArray[np.float32], frames: Sequence[int]) -> Novel:
        """Look at frames of the bundle's own domain.

        Args:
            features: float32 [n, F].
            logits: float32 [n, K] of the head.
            frames: their n numbers.
        """
        detector = self._detector
        scores = detector.novelty.score(features, logits).astype(np.float64)
        strange = scores > detector.threshold
        self._window.extend(zip(frames, strange.tolist(), strict=True))
        deviations = (scores - detector.normal.level) / detector.normal.spread
        share = [0.5 * (1 + math.erf(one / math.sqrt(2))) for one in deviations.tolist()]
        return Novel(np.array(share), strange)

    def flops(self, frames: int) -> int:
        """Operations of `look`."""
        return self._detector.novelty.flops(frames)

    def signal(self) -> Signal:
        """Evidence that something is there that nobody knows."""
        count, strange = len(self._window), sum(flag for _, flag in self._window)
        usual = (1 - KNOWN_SHARE) * count
        sigma = 0.0
        if count >= MIN_FRAMES:
            sigma = max(0.0, (strange - usual) / math.sqrt(usual * KNOWN_SHARE))
        onset = next((frame for frame, flag in self._window if flag), 0)
        reason = f"{strange} of {count} frames like none of the classes"
        return Signal("strangers", sigma, strange, onset, (), 0.0, reason)

    def _calibrated(self, head: Head) -> Calibrated:
        return calibrate(DEFAULT, self._known, head.weight, head.bias)
