"""Covariate shift: whether frames look to the first layer as the frames of the training did.

A frame's moments are mean and mean square of every channel of the first layer's output; its
coordinates are the means and the logarithms of the standard deviations. What a frame shows moves
them too: those of one class lie elsewhere than those of another. So each frame is compared with
what its predicted classes look like, and the difference is its displacement. A window of frames is
judged by the Mahalanobis distance of its mean displacement, which allows for the spread of frames
within a class, and for content that the predictions do not explain: predictions err, and classes
are seen that nobody knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.bundle import Bundle
from sel_edge.runtime.preprocess import Preprocessor

Floats = NDArray[np.float64]

WINDOW_FRAMES = 64
MIN_FRAMES = 16
"""Fewer are not judged: they could show anything."""
LIMIT_SIGMA = 3.0
"""Windows of a single class, known or not, stayed below 2.5, and what harms a network was above 3.5
(tools/bench_novelty.py)."""
OFF_SHARE = 0.8
"""Of the limit: below it a shift is over."""
MISTAKEN = 0.1
"""Share of the variance among classes that remains where classes are predicted."""
UNKNOWN = 0.7
"""Share of that variance, on average over all directions, by which a class that nobody knows may
differ in any."""
ALIKE = 0.05
"""Share of the variance within a class by which windows may differ at least: frames of a camera
that does not move are alike."""
ODD = 4.0
"""Times the median square beyond which single frames count no more."""
SCATTER_CONTENT = 0.13
"""By which share of the usual scatter frames of other content may scatter more, at least. Four
corruptions of CIFAR-10 at severity 5, and their mixture, are more than 1.3 above the usual."""
CLASSES_SIGMA = 2.5
"""How many standard deviations of content the class that scatters most is taken to be above it."""
FOLDS = 5
FLOOR = 1e-3
"""Of a channel's usual variance, added before the logarithm is taken."""
_TINY = 1e-12


def input_moments(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Moments float32 [n, 2, C] of the network's input itself, float32 [n, C, ...].

    They stand in for those of the first layer where a bundle has none.
    """
    values = inputs.reshape(*inputs.shape[:2], -1)
    return np.stack([values.mean(axis=2), np.square(values).mean(axis=2)], axis=1)


@dataclass(frozen=True)
class Scatter:
    """How far single frames of one domain lie from its place, as squares of scaled displacements.

    A mixture of several unknown domains may have its mean where a known one has it; its frames lie
    apart all the same.

    Attributes:
        mean, spread: of the squares, each limited to `limit`.
        limit: beyond it a frame is odd, and one odd frame is no domain.
        content: share of the mean by which it varies with what frames show.
    """

    mean: float
    spread: float
    limit: float
    content: float

    def sigma(self, squares: Floats) -> float:
        """By how many standard deviations the mean of some squares, float64 [n], is too large."""
        excess = float(np.minimum(squares, self.limit).mean()) - self.mean
        error = math.hypot(self.spread / math.sqrt(len(squares)), self.content * self.mean)
        return max(0.0, excess / error)


def fit_scatter(points: Floats, labels: NDArray[np.integer]) -> Scatter:
    """Measure the scatter of frames of one domain.

    Args:
        points: float64 [A, 2C], scaled displacements of anchors.
        labels: integer [A], their classes.
    """
    squares = np.square(points).sum(axis=1)
    limit = ODD * float(np.median(squares))
    limited = np.minimum(squares, limit)
    mean = float(limited.mean())
    most = max(float(limited[labels == number].mean()) for number in np.unique(labels))
    by_class = (most / max(mean, _TINY) - 1) / CLASSES_SIGMA
    # A covariance of D dimensions that is known from A samples is off by about D / A.
    content = max(SCATTER_CONTENT, by_class, points.shape[1] / len(points))
    return Scatter(mean, max(float(limited.std()), _TINY), limit, content)


@dataclass(frozen=True)
class MomentModel:
    """How moments vary while nothing has changed.

    Attributes:
        floor: float64 [C], added to variances.
        centres: float64 [K + 1, 2C], mean coordinates of each class, and of all for any other.
        whiten: float64 [2C, 2C]; displacements become uncorrelated, with variance 1 among frames.
        content: float64 [2C], variance of a window's mean by what it shows, in these terms.
        frames: how many frames the normal domain is known from.
        among: float64 [2C], variance of the classes' centres, in these terms.
        scatter: of single frames around their domain's place.
    """

    floor: Floats
    centres: Floats
    whiten: Floats
    content: Floats
    frames: int
    among: Floats
    scatter: Scatter

    @property
    def normal(self) -> Floats:
        """Displacement of the normal domain: zeros, float64 [2C]."""
        return np.zeros(len(self.whiten))

    def flops(self, frames: int) -> int:
        """Floating-point operations of placing as many frames and taking one distance."""
        rows, side = self.centres.shape
        operations: int = frames * side * (2 * rows + 4) + 2 * side**2
        return operations

    def displacements(
        self, moments: NDArray[np.float32], probabilities: NDArray[np.floating]
    ) -> Floats:
        """Where frames lie beside the normal domain, float64 [n, 2C].

        Args:
            moments: float32 [n, 2, C].
            probabilities: float [n, K'] of the network, the bundle's classes first; K' >= K.
        """
        known = len(self.centres) - 1
        others = probabilities[:, known:].sum(axis=1, keepdims=True)
        shares = np.concatenate([probabilities[:, :known], others], axis=1)
        return _coordinates(moments, self.floor) - shares @ self.centres

    def points(self, moments: NDArray[np.float32]) -> Floats:
        """Where single frames of unknown content lie, float64 [n, 2C].

        Points scatter with a variance of about 1 around their domain's place, less in directions
        in which frames hardly differ, so that Euclidean distances tell domains apart (linear
        discriminant analysis).

        Args:
            moments: float32 [n, 2, C].
        """
        return self.scaled(_coordinates(moments, self.floor) - self.centres[-1])

    def scaled(self, displacements: Floats) -> Floats:
        """The points of displacements float64 [n, 2C]."""
        points: Floats = displacements @ self.whiten.T / self._spread
        return points

    @cached_property
    def _spread(self) -> Floats:
        """Standard deviation of frames of unknown content, in terms of `whiten`."""
        spread: Floats = np.sqrt(1 + self.among)
        return spread

    def distance(self, one: Floats, frames: int, other: Floats, other_frames: int) -> float:
        """How far apart two windows lie: root mean square over coordinates, 1 by chance.

        Args:
            one, other: mean displacements, float64 [2C].
            frames, other_frames: how many frames each is the mean of, at least 1.
        """
        moved = self.whiten @ (one - other)
        variance = 1 / frames + 1 / other_frames + self.content
        return float(np.sqrt(np.mean(moved**2 / variance)))

    def sigma(self, distance: float) -> float:
        """By how many standard deviations a distance is more than chance; at least 0.

        The square of a distance times 2C is like chi squared, and sqrt(2 chi^2) - sqrt(2 * 2C - 1)
        like a standard normal number (R. A. Fisher, Statistical Methods for Research Workers).
        """
        freedom = len(self.whiten)
        return max(0.0, float(np.sqrt(2 * freedom) * distance - np.sqrt(2 * freedom - 1)))


def fit_moments(
    moments: NDArray[np.float32], labels: NDArray[np.integer], classes: int
) -> MomentModel:
    """Measure on anchors how moments vary.

    Args:
        moments: float32 [A, 2, C] of frames of the normal domain.
        labels: integer [A] in 0..classes-1, every class at least once.
        classes: at least 2.
    """
    variance = np.maximum(moments[:, 1].astype(np.float64) - np.square(moments[:, 0]), 0.0)
    floor = FLOOR * variance.mean(axis=0) + _TINY
    values = _coordinates(moments, floor)
    centres, whiten, among = _discriminant(values, labels, classes)
    mean = centres.mean(axis=0)
    content = max(ALIKE, UNKNOWN * float(among.mean())) + MISTAKEN * among
    return MomentModel(
        floor=floor,
        centres=np.vstack([centres, mean]),
        whiten=whiten,
        content=content,
        frames=len(values),
        among=among,
        scatter=fit_scatter(*_unseen_points(values, labels, classes)),
    )


def _discriminant(
    values: Floats, labels: NDArray[np.integer], classes: int
) -> tuple[Floats, Floats, Floats]:
    """Linear discriminant analysis of coordinates float64 [n, D].

    Returns:
        The classes' centres [K, D]; what makes displacements uncorrelated with variance 1 within
        classes, [D, D]; and the variance of the centres in these terms, [D]. A class without
        samples has its centre in the middle of the others.
    """
    middle = values.mean(axis=0)
    members = [values[labels == number] for number in range(classes)]
    centres = np.stack([own.mean(axis=0) if len(own) else middle for own in members])
    within = _shrunk(values - centres[labels], len(values) - classes)
    lower = np.linalg.inv(np.linalg.cholesky(within))
    apart = (centres - centres.mean(axis=0)) @ lower.T
    among, axes = np.linalg.eigh(apart.T @ apart / (classes - 1))
    return centres, axes.T @ lower, np.maximum(among, 0.0)


def _unseen_points(
    values: Floats, labels: NDArray[np.integer], classes: int
) -> tuple[Floats, NDArray[np.integer]]:
    """Scaled displacements of anchors, each by a model that was made of others, and their labels.

    A model of few anchors makes them lie nearer to their places than any other frames would.
    """
    fold = np.arange(len(values)) % FOLDS
    parts, order = [], []
    for number in range(min(FOLDS, len(values))):
        rest, own = fold != number, fold == number
        centres, whiten, among = _discriminant(values[rest], labels[rest], classes)
        parts.append((values[own] - centres[labels[own]]) @ whiten.T / np.sqrt(1 + among))
        order.append(labels[own])
    return np.concatenate(parts), np.concatenate(order)


def anchor_moments(bundle: Bundle) -> NDArray[np.float32]:
    """Moments float32 [A, 2, C] of a bundle's anchors, as `Engine.observe` gives them.

    Raises:
        BundleError: the anchors do not fit the manifest.
    """
    anchors = bundle.anchors()
    if anchors.moments is not None:
        return anchors.moments
    return input_moments(Preprocessor(bundle.manifest.preprocessing)(anchors.frames))


def bundle_moments(bundle: Bundle) -> MomentModel:
    """How the moments that `Engine.observe` gives vary on a bundle's anchors.

    Raises:
        BundleError: the anchors do not fit the manifest.
    """
    classes = len(bundle.manifest.classes)
    return fit_moments(anchor_moments(bundle), bundle.anchors().labels, classes)


class ShiftMonitor:
    """Compares the newest frames with the domains that they were taken for.

    Args:
        model: of the bundle.
        window: how many frames are compared.
        limit: sigmas from which on the frames count as of no known domain.

    Attributes:
        sigma: how far the window lies from where it should; 0 until `MIN_FRAMES` have come.
        shifted: whether they are of no known domain; with hysteresis.
    """

    def __init__(
        self,
        model: MomentModel,
        window: int = WINDOW_FRAMES,
        limit: float = LIMIT_SIGMA,
    ) -> None:
        self._model, self._limit, self._length = model, limit, window
        self._apart: Floats = np.zeros((0, len(model.normal)))
        self._squares: Floats = np.zeros(0)
        self.sigma, self.shifted = 0.0, False

    def add(self, apart: Floats) -> None:
        """Take in the next frames.

        Args:
            apart: displacements float64 [n, 2C] less the places of the frames' domains.
        """
        squares = np.square(self._model.scaled(apart)).sum(axis=1)
        self._apart = np.concatenate([self._apart, apart])[-self._length :]
        self._squares = np.concatenate([self._squares, squares])[-self._length :]
        frames = len(self._apart)
        if frames < MIN_FRAMES:
            return
        mean, model = self._apart.mean(axis=0), self._model
        found = model.distance(mean, frames, model.normal, model.frames)
        self.sigma = max(model.sigma(found), model.scatter.sigma(self._squares))
        self.shifted = self.sigma >= self._limit * (OFF_SHARE if self.shifted else 1.0)

    def restart(self) -> None:
        """From now on, judge frames that are still to come."""
        self._apart, self._squares = self._apart[:0], self._squares[:0]
        self.sigma, self.shifted = 0.0, False

    def reason(self) -> str:
        """What a person is told."""
        return f"moments of stem moved {self.sigma:.1f} sigma"


def _coordinates(moments: NDArray[np.float32], floor: Floats) -> Floats:
    mean, square = moments[:, 0].astype(np.float64), moments[:, 1].astype(np.float64)
    variance = np.maximum(square - mean**2, 0.0) + floor
    return np.concatenate([mean, 0.5 * np.log(variance)], axis=1)


def _shrunk(residuals: Floats, freedom: int) -> Floats:
    """Their covariance, drawn towards its diagonal the more, the fewer there are."""
    covariance: Floats = residuals.T @ residuals / max(freedom, 1)
    size, diagonal = len(covariance), np.diag(covariance)
    share = size / (size + max(freedom, 1))
    least = 1e-6 * float(diagonal.max()) + _TINY
    return (1 - share) * covariance + share * np.diag(diagonal) + least * np.eye(size)
