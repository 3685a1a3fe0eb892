"""Discovery of domains: frames unlike those of every known domain, sorted into environments.

Works on where frames lie, and on nothing that a label would tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import OWN, Domain
from sel_edge.runtime.clusters import divide, usual_worth
from sel_edge.runtime.moments import (
    LIMIT_SIGMA,
    WINDOW_FRAMES,
    Floats,
    MomentModel,
    ShiftMonitor,
)

MAX_GROUPS = 5
LEAST_FRAMES = 16
"""Fewer frames are no environment. They are set apart all the same: left among others, the first
frames of something new would make an environment of the known ones."""
CLEARLY = 0.95
"""A division explains more than chance if the scatter falls by this factor beyond what dividing
frames of a single domain gives."""
PATIENCE = 4
"""If no group has frames enough, the largest is taken once so many times the frames have come."""


@dataclass(frozen=True)
class Environment:
    """Frames of a domain that is not known yet.

    Attributes:
        frames: their numbers, rising.
        place: their mean displacement, float32 [2C].
        sigma: how far they lie from the nearest known domain.
        reason: what a person should read.
    """

    frames: tuple[int, ...]
    place: NDArray[np.float32]
    sigma: float
    reason: str


class Discovery:
    """Watches where frames lie, and finds environments among those that fit no domain.

    Args:
        model: of the bundle.
        normal: displacements float64 [A, 2C] of the anchors, to know how frames of one domain look.
        frames: how many of one environment it takes to learn it.
    """

    def __init__(self, model: MomentModel, normal: Floats, frames: int) -> None:
        self._model, self._frames = model, frames
        self._worth = CLEARLY * usual_worth(model.scaled(normal))
        self._monitor = ShiftMonitor(model)
        self._since: int | None = None
        self._newest = 0
        self._needed = frames

    @property
    def sigma(self) -> float:
        """How far the newest frames lie from where they should."""
        return self._monitor.sigma

    def add(
        self,
        first: int,
        displacements: Floats,
        numbers: NDArray[np.int64],
        domains: Mapping[int, Domain],
    ) -> None:
        """Take in the next frames.

        Args:
            first: number of the first.
            displacements: float64 [n, 2C].
            numbers: int64 [n], the domains that they were taken for.
            domains: beside the bundle's own.
        """
        if not len(numbers):
            return
        self._newest = first + len(numbers)
        places = {OWN: self._model.normal} | {n: d.place for n, d in domains.items()}
        expected = np.array([places[int(number)] for number in numbers])
        self._monitor.add(displacements - expected)
        if not self._monitor.shifted:
            self._since, self._needed = None, self._frames
        elif self._since is None:
            self._since = max(0, first - WINDOW_FRAMES)

    def since(self) -> int | None:
        """Number of the frame from which on something may be new; None where nothing is."""
        return self._since

    @property
    def pending(self) -> bool:
        """Whether something may be new that no attempt was made to learn yet.

        Not for ever: what cannot be attempted must not keep anything else from being learned.
        """
        if self._since is None or self._needed != self._frames:
            return False
        return self._newest - self._since <= WINDOW_FRAMES + PATIENCE * self._frames

    def find(
        self, frames: Sequence[int], displacements: Floats, domains: Mapping[int, Domain]
    ) -> Environment | None:
        """The largest environment among frames that fits no known domain, if it is large enough.

        Args:
            frames: numbers of the remembered frames since `since()`.
            displacements: float64 [n, 2C], theirs.
            domains: beside the bundle's own.
        """
        if len(frames) < self._needed:
            return None
        grouping = divide(self._model.scaled(displacements), MAX_GROUPS, 1, self._worth)
        groups = [np.flatnonzero(grouping.group == each) for each in range(len(grouping.centres))]
        found = [
            self._environment(group, frames, displacements, domains)
            for group in groups
            if len(group) >= LEAST_FRAMES
        ]
        unknown = [one for one in found if one.sigma >= LIMIT_SIGMA]
        largest = max(unknown, key=lambda one: len(one.frames), default=None)
        if largest is None:
            return None
        patient = len(frames) >= PATIENCE * self._needed
        return largest if len(largest.frames) >= self._needed or patient else None

    def settle(self, learned: bool) -> None:
        """Go on after an attempt to learn an environment.

        What could not be learned is tried again on twice the frames.
        """
        if learned:
            self._monitor.restart()
            self._since, self._needed = None, self._frames
        else:
            self._needed *= 2

    def _environment(
        self,
        chosen: NDArray[np.int64],
        frames: Sequence[int],
        displacements: Floats,
        domains: Mapping[int, Domain],
    ) -> Environment:
        place = displacements[chosen].mean(axis=0)
        known = [(self._model.normal, self._model.frames)]
        known += [(domain.place.astype(np.float64), domain.frames) for domain in domains.values()]
        distance = min(self._model.distance(place, len(chosen), *one) for one in known)
        sigma = self._model.sigma(distance)
        return Environment(
            frames=tuple(frames[index] for index in chosen),
            place=place.astype(np.float32),
            sigma=sigma,
            reason=f"moments of stem moved {sigma:.1f} sigma over {len(chosen)} frames",
        )
