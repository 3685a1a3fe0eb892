"""Making a detector of novelty for a head, and calibrating it on features of known classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.rng import generator
from sel_edge.runtime.normal import Normal
from sel_edge.runtime.novelty.energy import FreeEnergy
from sel_edge.runtime.novelty.fdbd import Fdbd
from sel_edge.runtime.novelty.interface import Floats, Novelty
from sel_edge.runtime.novelty.knn import Knn
from sel_edge.runtime.novelty.msp import Msp

Method: TypeAlias = Literal["msp", "energy", "fdbd", "knn"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT: Method = "knn"
"""Best on average over two networks, for classes never seen and for shifted frames, at 0.06 % of a
forward pass (tools/bench_novelty.py, docs/records/novelty.json)."""

KNOWN_SHARE = 0.95
"""Of the frames of known classes, the share that a threshold lets through."""
FOLDS = 10
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Calibrated:
    """A detector, and what is normal for it.

    Attributes:
        novelty: the detector.
        normal: level and spread of its scores on features of known classes.
        threshold: score above which a frame counts as strange.
        scores: float64 [A], of those features, each by a detector made of others.
    """

    novelty: Novelty
    normal: Normal
    threshold: float
    scores: NDArray[np.float64]

    def surprise(self, features: Floats, logits: Floats) -> NDArray[np.float64]:
        """Standard deviations above normal, float64 [n]; arguments as of `Novelty.score`."""
        scores = self.novelty.score(features, logits).astype(np.float64)
        return (scores - self.normal.level) / self.normal.spread

    def strange(self, features: Floats, logits: Floats) -> NDArray[np.bool_]:
        """Which frames are strange, bool [n]; of known classes about one in twenty is."""
        return self.novelty.score(features, logits) > self.threshold


def fit(method: Method, features: Floats, weight: Floats) -> Novelty:
    """A detector for one head.

    Args:
        method: which.
        features: float32 [A, F] of known classes, A >= 1.
        weight: of the head as it is now, float32 [K, F], K >= 2.
    """
    classes = len(weight)
    if method == "msp":
        return Msp(classes)
    if method == "energy":
        return FreeEnergy(classes)
    return Fdbd.fit(features, weight) if method == "fdbd" else Knn.fit(features)


def calibrate(method: Method, features: Floats, weight: Floats, bias: Floats) -> Calibrated:
    """A detector for one head, calibrated; to be called again whenever the head changes.

    Each tenth of the features is scored by a detector that was made of the others, so that none
    finds itself among what is known.

    Args:
        method: which.
        features: float32 [A, F] of known classes, those that were learned since included; the
            bundle's anchors. A >= 2.
        weight, bias: of the head as it is now, float32 [K, F] and [K], K >= 2.
    """
    logits = features @ weight.T + bias
    fold = generator(0, "novelty").permutation(len(features)) % FOLDS
    scores = np.zeros(len(features))
    for number in np.unique(fold):
        own = fold == number
        scores[own] = fit(method, features[~own], weight).score(features[own], logits[own])
    spread = max(float(scores.std()), _LEAST_SPREAD)
    normal = Normal(float(scores.mean()), spread, spread / len(scores) ** 0.5)
    threshold = float(np.quantile(scores, KNOWN_SHARE, method="higher"))
    return Calibrated(fit(method, features, weight), normal, threshold, scores)
