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

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW_FRAMES = 256
MIN_FRAMES = 64
"""Fewer are not judged: a few classes in a row are no drift."""
LIMIT_SIGMA = 4.0
OFF_SHARE = 0.75
"""Of the limit: below it a drift is over."""
_RIDGE = 1e-3


@dataclass(frozen=True)
class PriorModel:
    """What a network predicts for frames of each class.

    Attributes:
        confusion: float64 [K, K]; column j is the mean prediction for class j.
        scatter: float64 [K, K, K]; number j is the covariance of the predictions for class j.
        anchors: float64 [K], how many frames of each class these are known from; 0 where a class
            is supposed to be recognized always.
    """

    confusion: Floats
    scatter: Floats
    anchors: Floats

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

    def sigma(self, predicted: Floats, frames: int, prior: Floats) -> float:
        """By how many standard deviations mean predictions differ from what a prior gives.

        Args:
            predicted: float64 [K].
            frames: of how many frames it is the mean.
            prior: float64 [K], sum 1.
        """
        expected = self.confusion @ prior
        centred = self.confusion - expected[:, np.newaxis]
        chance = np.einsum("j,jab->ab", prior, self.scatter) + (centred * prior) @ centred.T
        error = prior**2 / np.maximum(self.anchors, 1.0)
        covariance = chance / frames + np.einsum("j,jab->ab", error, self.scatter)
        covariance += _RIDGE / frames * np.eye(len(prior))
        moved = (predicted - expected)[:-1]  # probabilities add up to 1: the last tells nothing new
        square = float(moved @ np.linalg.solve(covariance[:-1, :-1], moved))
        # Fisher's normal number for a chi squared one.
        return max(0.0, float(np.sqrt(2 * square) - np.sqrt(2 * len(moved) - 1)))


def fit_prior(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> PriorModel:
    """Measure a network on labelled frames that it was not trained on.

    Args:
        probabilities: float [A, K] of the network as it is now, K >= 2.
        labels: integer [A] in 0..K-1; a class without frames is supposed to be always recognized.
    """
    classes = probabilities.shape[1]
    confusion, scatter = np.eye(classes), np.zeros((classes, classes, classes))
    anchors = np.bincount(labels, minlength=classes).astype(np.float64)
    for number in np.flatnonzero(anchors):
        found = probabilities[labels == number].astype(np.float64)
        confusion[:, number] = found.mean(axis=0)
        rest = found - confusion[:, number]
        scatter[number] = rest.T @ rest / max(len(found) - 1, 1)
    return PriorModel(confusion, scatter, anchors)


class PriorMonitor:
    """Compares the newest predictions with what is normal.

    Args:
        model: of the network as it is now.
        classes: K names.
        normal: how often each class normally comes, float [K] with sum 1; None for alike.
        window: how many frames are compared.
        limit: sigmas from which on the prior counts as drifted.

    Attributes:
        sigma: how far the predictions are from normal; 0 until `MIN_FRAMES` have come.
        drifted: whether they are too far; with hysteresis.
    """

    def __init__(
        self,
        model: PriorModel,
        classes: Sequence[str],
        normal: Floats | None = None,
        window: int = WINDOW_FRAMES,
        limit: float = LIMIT_SIGMA,
    ) -> None:
        self._model, self._classes, self._limit = model, tuple(classes), limit
        self._normal = model.uniform if normal is None else normal
        self._window: deque[Floats] = deque(maxlen=window)
        self.sigma, self.drifted = 0.0, False

    @property
    def prior(self) -> Floats:
        """How often each class comes in the window, float64 [K]; what is normal without frames."""
        return self._model.prior(np.mean(self._window, axis=0)) if self._window else self._normal

    def add(self, probabilities: NDArray[np.floating]) -> None:
        """Take in the probabilities float [n, K] of the next frames."""
        self._window.extend(probabilities.astype(np.float64))
        frames = len(self._window)
        if frames < MIN_FRAMES:
            return
        mean: Floats = np.mean(self._window, axis=0)
        self.sigma = self._model.sigma(mean, frames, self._normal)
        self.drifted = self.sigma >= self._limit * (OFF_SHARE if self.drifted else 1.0)

    def settle(self) -> None:
        """From now on, the prior of the window is normal."""
        self._normal = self.prior
        self._window.clear()
        self.sigma, self.drifted = 0.0, False

    def reason(self) -> str:
        """What a person is told: the class whose share changed most."""
        now = self.prior
        most = int(np.abs(now - self._normal).argmax())
        return (
            f"{self._classes[most]} is {now[most]:.0%} of the frames, was "
            f"{self._normal[most]:.0%} ({self.sigma:.1f} sigma)"
        )


def _onto_simplex(values: Floats) -> Floats:
    """The nearest vector with sum 1 and nothing negative (Duchi et al., ICML 2008)."""
    falling = np.sort(values)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(values) + 1)
    nearest: Floats = np.maximum(values - excess[np.flatnonzero(falling > excess)[-1]], 0.0)
    return nearest
