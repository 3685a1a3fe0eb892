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
MOST_SHARE = 0.75
"""Where so many of the frames since an environment began are of it, the others are too."""
LEAST_SHARE = 0.25
"""Where at least so many are, the others are too if all together scatter as one domain does."""
PATIENCE = 4
"""If no group has frames enough, the largest is taken once so many times the frames have come."""
AGAIN_SHARE = 8
"""Environments are sought again once an eighth more frames have come, so that all searches of a
long stretch together cost no more than a few of the last."""
_TINY = 1e-9


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

    Attributes:
        executed_flops: operations of all searches so far.
    """

    def __init__(self, model: MomentModel, normal: Floats, frames: int) -> None:
        self._model, self._frames = model, frames
        self._worth = CLEARLY * usual_worth(model.scaled(normal))
        self._monitor = ShiftMonitor(model)
        self._newest, self.executed_flops = 0, 0
        self._since: int | None = None
        self._needed, self._again, self._tried = frames, 0, False

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
            self._begin_anew()
        elif self._since is None:
            self._since = max(0, first - WINDOW_FRAMES)

    def since(self) -> int | None:
        """Number of the frame from which on something may be new; None where nothing is."""
        return self._since

    @property
    def pending(self) -> bool:
        """Whether something may be new that is still to be tried for the first time.

        It was tried if an attempt to learn it failed, or if nothing was found that could be learned
        in frames enough to be patient.
        """
        if self._since is None or self._tried:
            return False
        # Whatever was found may wait for a wallet that can never pay for it, or for patience longer
        # than frames are remembered; that must not keep anything else from being learned for ever.
        return self._newest - self._since <= WINDOW_FRAMES + PATIENCE * self._frames

    @property
    def due(self) -> bool:
        """Whether frames enough have come that `find` may find what it did not find before."""
        return self._since is not None and self._newest >= self._again

    def find(
        self, frames: Sequence[int], displacements: Floats, domains: Mapping[int, Domain]
    ) -> Environment | None:
        """The largest environment among frames that fits no known domain, if it is large enough.

        To seek again makes sense once it is `due`.

        Args:
            frames: numbers of the remembered frames since `since()`.
            displacements: float64 [n, 2C], theirs.
            domains: beside the bundle's own.
        """
        count = len(frames)
        if count < self._needed:
            self._again = self._newest + self._needed - count
            return None
        grouping = divide(self._model.scaled(displacements), MAX_GROUPS, 1, self._worth)
        scaling = 2 * displacements.size * displacements.shape[1]
        self.executed_flops += scaling + grouping.executed_flops
        groups = [np.flatnonzero(grouping.group == each) for each in range(len(grouping.centres))]
        found = [self._environment(group, frames, displacements, domains) for group in groups]
        unknown = [one for one in found if one.sigma >= LIMIT_SIGMA]
        largest = max(unknown, key=lambda one: len(one.frames), default=None)
        if largest is not None and len(unknown) == 1:
            largest = self._whole(largest, frames, displacements, domains)
        size = 0 if largest is None else len(largest.frames)
        patient = count >= PATIENCE * self._needed
        wanted = LEAST_FRAMES if patient else max(self._needed, LEAST_FRAMES)
        # No group grows by more than one with each frame that comes.
        self._again = self._newest + max(wanted - size, count // AGAIN_SHARE)
        if size < wanted:
            self._tried |= patient
            return None
        return largest

    def settle(self, learned: bool) -> None:
        """Go on after an attempt to learn an environment.

        What could not be learned is tried again on twice the frames.
        """
        if learned:
            self._monitor.restart()
            self._begin_anew()
        else:
            self._needed, self._tried = 2 * self._needed, True

    def _whole(
        self,
        core: Environment,
        frames: Sequence[int],
        displacements: Floats,
        domains: Mapping[int, Domain],
    ) -> Environment:
        """An environment with all frames since it began, if there was no other since then.

        Frames that show little of what is special about it, such as a dark object in fog, lie near
        a known domain. Left out, they would be taken for that domain's ever after, and the
        environment would be known by its most extreme frames.
        """
        inside = np.isin(frames, core.frames)
        begun = _begun(inside)
        since = displacements[begun:]
        if len(since) < LEAST_FRAMES:
            return core
        share, scatter = float(inside[begun:].mean()), self._model.scatter
        apart = self._model.scaled(since - since.mean(axis=0))
        # Squares of distances from a mean that is their own are too small by one of their number.
        squares = np.square(apart).sum(axis=1) * len(since) / (len(since) - 1)
        alike = share >= LEAST_SHARE and scatter.sigma(squares) < LIMIT_SIGMA
        if share < MOST_SHARE and not alike:
            return core
        whole = self._environment(np.arange(begun, len(frames)), frames, displacements, domains)
        return whole if whole.sigma >= LIMIT_SIGMA else core

    def _begin_anew(self) -> None:
        """Nothing may be new."""
        self._since = None
        self._needed, self._again, self._tried = self._frames, 0, False

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


def _begun(inside: NDArray[np.bool_]) -> int:
    """From which place on something is there more, or less, often than before.

    The likeliest place of a single change of a rate.

    Args:
        inside: bool [n], whether it was there, n >= 1.
    """
    count, place = len(inside), np.arange(len(inside))
    before = np.concatenate([[0], np.cumsum(inside)])
    return int(np.argmax(_fit(before[:-1], place) + _fit(before[-1] - before[:-1], count - place)))


def _fit(times: NDArray[np.int64], count: NDArray[np.int64]) -> Floats:
    """Log likelihood of something that was there so many times of `count`, at its own rate."""
    rate = np.clip(times / np.maximum(count, 1), _TINY, 1 - _TINY)
    likelihood: Floats = times * np.log(rate) + (count - times) * np.log1p(-rate)
    return likelihood
