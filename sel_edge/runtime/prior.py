"""Drift of the class prior, without labels: whether the classes come as often as they did.

While frames of each class look as ever, the mean of the predicted probabilities is q = C w, where w
is how often each class comes and column j of C the mean prediction for frames of class j, known
from anchors. So a change of q tells of one of w, and w can be solved for.

Source: Lipton, Wang and Smola, "Detecting and Correcting for Label Shift with Black Box
Predictors", ICML 2018 (arXiv 1802.03916); the penalty on what cannot be told from few anchors is
that of Azizzadenesheli et al., "Regularized Learning for Domain Adaptation under Label Shifts",
ICLR 2019 (arXiv 1903.09734).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.trigger import Signal

Floats = NDArray[np.float64]

NORMAL_FRAMES = 512
"""What comes first is normal; of how many frames that is."""
WINDOW_FRAMES = 256
MIN_FRAMES = 64
"""Fewer are not judged: a few classes in a row are no drift."""
ON_SIGMA = 6.0
OFF_SIGMA = ON_SIGMA / 2
"""Below it a drift is over."""
BLOCK_FRAMES = 32
"""Frames that follow each other are alike; how much, the means of such blocks tell."""
MAX_CLASSES = 64
"""More are not watched: what is kept of them grows with the third power."""
SUBJECT = "prior"
_RIDGE = 1e-3


@dataclass(frozen=True)
class PriorModel:
    """What a network predicts for frames of each class.

    Attributes:
        confusion: float64 [K, K]; column j is the mean prediction for class j.
        scatter: float64 [K, K, K]; number j is the covariance of the predictions for class j.
    """

    confusion: Floats
    scatter: Floats

    @property
    def uniform(self) -> Floats:
        """Every class as often as any other, float64 [K]."""
        return np.full(len(self.confusion), 1 / len(self.confusion))

    def prior(self, predicted: Floats) -> Floats:
        """How often each class comes, float64 [K] with sum 1, by mean predictions float64 [K]."""
        start, size = self.uniform, len(predicted)
        gram = self.confusion.T @ self.confusion + _RIDGE * np.eye(size)
        change = self.confusion.T @ (predicted - self.confusion @ start)
        return _onto_simplex(start + np.linalg.solve(gram, change))

    def covariance(self, prior: Floats) -> Floats:
        """Of the prediction for one frame where classes come so often, float64 [K, K].

        Args:
            prior: float64 [K], sum 1.
        """
        centred = self.confusion - (self.confusion @ prior)[:, np.newaxis]
        within: Floats = np.einsum("j,jab->ab", prior, self.scatter)
        return within + (centred * prior) @ centred.T


def fit_prior(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> PriorModel:
    """Measure a network on labelled frames that it was not trained on.

    Args:
        probabilities: float [A, K] of the network as it is now, K >= 2.
        labels: integer [A] in 0..K-1; a class without frames is supposed to be always recognized.
    """
    classes = probabilities.shape[1]
    confusion, scatter = np.eye(classes), np.zeros((classes, classes, classes))
    for number in np.unique(labels):
        found = probabilities[labels == number].astype(np.float64)
        confusion[:, number] = found.mean(axis=0)
        rest = found - confusion[:, number]
        scatter[number] = rest.T @ rest / max(len(found) - 1, 1)
    return PriorModel(confusion, scatter)


class PriorMonitor:
    """Compares the newest predictions with those that came first.

    Args:
        model: of the network as it is now.
        classes: K names.

    Attributes:
        sigma: how far the predictions are from normal; 0 until that is known and `MIN_FRAMES` more
            have come.
    """

    def __init__(self, model: PriorModel, classes: Sequence[str]) -> None:
        self._model, self._classes = model, tuple(classes)
        self._first: list[Floats] = []
        self._normal: _Normal | None = None
        self._window: deque[Floats] = deque(maxlen=WINDOW_FRAMES)
        self._sum: Floats = np.zeros(len(self._classes))
        self._frames, self._onset, self.sigma = 0, 0, 0.0

    def add(self, probabilities: NDArray[np.floating]) -> None:
        """Take in the probabilities float [n, K] of the next frames."""
        rows = probabilities.astype(np.float64)
        self._frames += len(rows)
        if self._normal is None:
            self._onset = self._frames
            self._first.extend(rows)
            if len(self._first) >= NORMAL_FRAMES:
                self._normal = _normal(np.array(self._first), self._model)
                self._first.clear()
            return
        for row in rows:
            if len(self._window) == WINDOW_FRAMES:
                self._sum -= self._window[0]
            self._window.append(row)
            self._sum += row
        if len(self._window) >= MIN_FRAMES:
            self.sigma = self._normal.sigma(self._sum / len(self._window), len(self._window))
        if self.sigma < OFF_SIGMA:
            self._onset = self._frames

    def flops(self, frames: int) -> int:
        """Operations of `add`, and of making probabilities of logits."""
        return 6 * frames * len(self._classes) + 2 * len(self._classes) ** 2

    def signal(self, frame: int) -> Signal:
        """Evidence that classes come more or less often than they did.

        Args:
            frame: frames of the stream so far.
        """
        since = self._frames - self._onset
        return Signal(SUBJECT, self.sigma, since, frame - since, (), 0.0, self._reason())

    def _reason(self) -> str:
        """What a person is told: the class whose share changed most."""
        if self._normal is None or not self._window:
            return ""
        was, now = (
            self._model.prior(mean) for mean in (self._normal.mean, self._sum / len(self._window))
        )
        most = int(np.abs(now - was).argmax())
        return (
            f"{self._classes[most]} is {now[most]:.0%} of the frames, was {was[most]:.0%} "
            f"({self.sigma:.1f} sigma)"
        )


@dataclass(frozen=True)
class _Normal:
    """What came first.

    Attributes:
        mean: of the predictions, float64 [K].
        frames: of how many frames that would be told as well if they had nothing to do with each
            other.
        alike: how many of the stream's frames tell as much as one such frame, >= 1.
        inverse: of the covariance of the prediction for one frame, float64 [K - 1, K - 1];
            probabilities add up to 1, so that the last tells nothing new.
    """

    mean: Floats
    frames: float
    alike: float
    inverse: Floats

    def sigma(self, mean: Floats, frames: int) -> float:
        """By how many standard deviations other frames' mean differs, by Fisher's normal number.

        Args:
            mean: of the predictions, float64 [K].
            frames: of how many frames of the stream.
        """
        moved = (mean - self.mean)[:-1]
        variance = 1 / self.frames + self.alike / frames
        square = float(moved @ self.inverse @ moved) / variance
        return max(0.0, math.sqrt(2 * square) - math.sqrt(2 * len(moved) - 1))


def _normal(first: Floats, model: PriorModel) -> _Normal:
    mean = first.mean(axis=0)
    one = model.covariance(model.prior(mean)) + _RIDGE * np.eye(len(mean))
    blocks = first[: len(first) // BLOCK_FRAMES * BLOCK_FRAMES]
    means = blocks.reshape(-1, BLOCK_FRAMES, len(mean)).mean(axis=1)
    alone = float(first.var(axis=0).sum()) + _RIDGE
    alike = max(1.0, BLOCK_FRAMES * float(means.var(axis=0, ddof=1).sum()) / alone)
    inverse = np.linalg.inv(one[:-1, :-1]).astype(np.float64)
    return _Normal(mean, len(first) / alike, alike, inverse)


def _onto_simplex(values: Floats) -> Floats:
    """The nearest vector with sum 1 and nothing negative (Duchi et al., ICML 2008)."""
    falling = np.sort(values)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(values) + 1)
    nearest: Floats = np.maximum(values - excess[np.flatnonzero(falling > excess)[-1]], 0.0)
    return nearest
