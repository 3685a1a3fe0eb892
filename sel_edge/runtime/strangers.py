"""Frames that are like none of the classes: how many come, and whether they are too many."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.head import Features, Head
from sel_edge.runtime.memory import Samples
from sel_edge.runtime.novelty import DEFAULT, calibrate
from sel_edge.runtime.novelty.fit import KNOWN_SHARE
from sel_edge.runtime.trigger import Signal

WINDOW_FRAMES = 128
MIN_FRAMES = 32
"""Fewer are not judged."""
ON_SIGMA = 6.0
"""By how much strange frames must be more than chance. Frames of a stream are alike, so that the
standard deviation of a binomial count is too small, and 6 of it are less than they seem."""
OFF_SIGMA = ON_SIGMA / 2
"""Below it they may be chance, and what was strange is over."""


@dataclass(frozen=True)
class Novel:
    """What was found in some frames.

    Attributes:
        share: float64 [n], the share of known frames that are less strange.
        strange: bool [n], which are like none of the classes.
    """

    share: NDArray[np.float64]
    strange: NDArray[np.bool_]


@dataclass(frozen=True)
class _Situation:
    """Strange frames that are too many.

    Attributes:
        onset: the first of them.
        strange: how many came since.
    """

    onset: int
    strange: int


class Strangers:
    """Watches for them in the bundle's own domain; elsewhere all frames look strange.

    The window slides, so it dates nothing. What begins when strange frames are too many has an
    onset of its own, which stays until they may be chance again, and its strange frames are counted
    on, however many come at a time.

    Args:
        head: in use in the bundle's own domain.
        anchors: features float32 [A, F] of the bundle's classes.
        learned: labels of classes that were learned on the device, if any.
    """

    def __init__(self, head: Head, anchors: Features, learned: Samples | None = None) -> None:
        self._anchors = anchors
        self._window: deque[tuple[int, bool]] = deque(maxlen=WINDOW_FRAMES)
        self._situation: _Situation | None = None
        self._calibrate(head, learned)

    def adopt(self, head: Head, learned: Samples | None = None) -> None:
        """Go on with another head; what was strange to the old one may be known to it.

        Args:
            head: in use from now on.
            learned: labels of classes that were learned on the device, if any.
        """
        if head.hash != self._head.hash:
            self._calibrate(head, learned)
            self._window.clear()
            self._situation = None

    def look(self, features: Features, logits: NDArray[np.float32], frames: Sequence[int]) -> Novel:
        """Look at frames of the bundle's own domain.

        Args:
            features: float32 [n, F].
            logits: float32 [n, K] of the head.
            frames: their n numbers.
        """
        scores = self._novelty.score(features, logits).astype(np.float64)
        answers = logits.argmax(axis=1)
        strange = scores > self._threshold[answers]
        self._window.extend(zip(frames, strange.tolist(), strict=True))
        self._situation = self._after(int(strange.sum()))
        deviations = (scores - self._level[answers]) / self._spread[answers]
        share = [0.5 * (1 + math.erf(one / math.sqrt(2))) for one in deviations.tolist()]
        return Novel(np.array(share), strange)

    def flops(self, frames: int) -> int:
        """Operations of `look`."""
        return self._novelty.flops(frames)

    def signal(self) -> Signal:
        """Evidence that something is there that nobody knows."""
        strange, now = self._strange, self._situation or self._in_window()
        reason = f"{strange} of {len(self._window)} frames like none of the classes"
        return Signal("strangers", self._sigma, now.strange, now.onset, (), 0.0, reason)

    @property
    def _strange(self) -> int:
        """Strange frames in the window."""
        return sum(flag for _, flag in self._window)

    @property
    def _sigma(self) -> float:
        """By how many standard deviations they are more than chance."""
        count = len(self._window)
        if count < MIN_FRAMES:
            return 0.0
        usual = (1 - KNOWN_SHARE) * count
        return max(0.0, (self._strange - usual) / math.sqrt(usual * KNOWN_SHARE))

    def _after(self, strange: int) -> _Situation | None:
        """The situation after as many more strange frames, if there is one."""
        now = self._situation
        if now is None:
            return self._in_window() if self._sigma >= ON_SIGMA else None
        return replace(now, strange=now.strange + strange) if self._sigma >= OFF_SIGMA else None

    def _in_window(self) -> _Situation:
        """What the window alone says."""
        onset = next((frame for frame, flag in self._window if flag), 0)
        return _Situation(onset, self._strange)

    def _calibrate(self, head: Head, learned: Samples | None) -> None:
        """Measure what is usual among frames that are answered with each class.

        A class that was learned on the device is measured on its own labels as well: they are few,
        and it may lie wider than the anchors' threshold would let through.
        """
        features = self._anchors
        if learned is not None:
            features = np.concatenate([features, learned.features])
        usual = calibrate(DEFAULT, features, head.weight, head.bias)
        self._head, self._novelty = head, usual.novelty
        self._level = np.full(len(head.classes), usual.normal.level)
        self._spread = np.full(len(head.classes), usual.normal.spread)
        self._threshold = np.full(len(head.classes), usual.threshold)
        if learned is None:
            return
        own = usual.scores[len(self._anchors) :]
        for name in dict.fromkeys(learned.names):
            scores = own[[other == name for other in learned.names]]
            number = head.positions[name]
            self._level[number] = max(scores.mean(), usual.normal.level)
            self._spread[number] = max(scores.std(), usual.normal.spread)
            threshold = np.quantile(scores, KNOWN_SHARE, method="higher")
            self._threshold[number] = max(threshold, usual.threshold)
