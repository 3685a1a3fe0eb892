"""What is normal for a network: the embarrassment it has where nothing has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.core.ledger import Levels
from sel_edge.core.standin import StandIn

MINIMUM_SPREAD = 0.25
"""Nats. Keeps a network that was perfect on its anchors from alarm over nothing."""
PRIOR_SAMPLES = 10
"""How many samples of all classes together stand beside the few of one class."""


@dataclass(frozen=True)
class Normal:
    """A level of embarrassment, in nats.

    Attributes:
        level: the mean.
        spread: standard deviation of single samples.
        error: standard error of the level itself.
    """

    level: float
    spread: float
    error: float

    def surprise(self, value: float) -> float:
        """How many standard deviations a value lies above what the level may really be."""
        return (value - self.level - 2 * self.error) / self.spread


@dataclass(frozen=True)
class NormalLevels:
    """The normal levels of a network.

    Attributes:
        classes: class -> its exact embarrassment.
        together: exact embarrassment of all classes; also what is expected of a new class.
        standin: the label-free stand-in over all frames.
    """

    classes: Mapping[str, Normal]
    together: Normal
    standin: Normal

    def of(self, name: str) -> Normal:
        """The exact level of a class; that of all classes for one without anchors."""
        return self.classes.get(name, self.together)

    def or_higher(self, other: NormalLevels) -> NormalLevels:
        """For every class, and for all together, the higher of two levels."""
        of_class = dict(self.classes)
        for name, normal in other.classes.items():
            of_class[name] = _higher(of_class.get(name, normal), normal)
        return NormalLevels(
            of_class, _higher(self.together, other.together), _higher(self.standin, other.standin)
        )

    def record(self, frame: int, network: str, domain: int) -> Levels:
        """These levels of a network in a domain, as the ledger keeps them."""
        classes = {name: astuple(normal) for name, normal in self.classes.items()}
        return Levels(
            frame, network, domain, classes, astuple(self.together), astuple(self.standin)
        )

    @classmethod
    def recorded(cls, levels: Levels) -> NormalLevels:
        """The inverse of `record`."""
        of_class = {name: Normal(*level) for name, level in levels.classes.items()}
        return cls(of_class, Normal(*levels.together), Normal(*levels.standin))


def normal_levels(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    classes: Sequence[str],
    standin: StandIn,
) -> NormalLevels:
    """Measure the normal levels on labelled samples that the network was not trained on.

    Args:
        logits: float [A, K], A >= 1.
        labels: integer [A] in 0..K-1.
        classes: K names.
        standin: the calibrated curve of the bundle.
    """
    losses = cross_entropy(logits, labels, TEMPERATURE)
    return _levels(losses, np.asarray(classes)[labels].tolist(), standin.estimate(logits))


class WarmUp:
    """Learns from the first labels of a stream what is normal, where the anchors cannot tell.

    Args:
        labels: how many labels it takes.
    """

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self._names: list[str] = []
        self._losses: list[float] = []
        self._estimates: list[float] = []

    def add(self, name: str, loss: float, estimate: float) -> NormalLevels | None:
        """Take in a labelled frame's embarrassment and stand-in; at last, give the levels."""
        self._names.append(name)
        self._losses.append(loss)
        self._estimates.append(estimate)
        if len(self._losses) < self._labels:
            return None
        return _levels(np.array(self._losses), self._names, np.array(self._estimates))


def _levels(
    losses: NDArray[np.float64], names: Sequence[str], estimates: NDArray[np.float64]
) -> NormalLevels:
    together = _normal(losses)
    of_class = {
        name: _shrunk(losses[[other == name for other in names]], together)
        for name in dict.fromkeys(names)
    }
    return NormalLevels(of_class, together, _normal(estimates))


def _higher(one: Normal, other: Normal) -> Normal:
    return max(one, other, key=lambda normal: normal.level)


def _normal(values: NDArray[np.float64]) -> Normal:
    spread = max(float(values.std()), MINIMUM_SPREAD)
    return Normal(float(values.mean()), spread, spread / len(values) ** 0.5)


def _shrunk(values: NDArray[np.float64], together: Normal) -> Normal:
    """The level of one class, drawn towards that of all classes while its samples are few."""
    share = len(values) / (len(values) + PRIOR_SAMPLES)
    level = share * float(values.mean()) + (1 - share) * together.level
    variance = share * float(values.var()) + (1 - share) * together.spread**2
    spread = max(variance**0.5, MINIMUM_SPREAD)
    return Normal(level, spread, spread / (len(values) + PRIOR_SAMPLES) ** 0.5)
