"""The bank of domains: environments seen before, with the normalization that fits each.

A domain that returns is recognized by the moments of its frames, and switching to it is a lookup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.errors import StorageError
from sel_edge.runtime.moments import Floats, MomentModel

Pair: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
Norm: TypeAlias = Mapping[str, Pair]
"""Weight of a layer -> scale [C] and shift [C]: weight * scale, and bias * scale + shift."""

CAPACITY = 16
RECOGNIZED_FRAMES = 32
"""The newest frames, two halves of which must agree."""
LIMIT_SIGMA = 3.0
"""Frames that lie farther from every domain are of none."""
MARGIN = 0.7
"""Of the distance to a rival, the present domain or else any other: farther from the nearest,
frames could be of either."""
MIXED = 1.7
"""Times the spread of a domain: frames that scatter more are a mixture of several."""
_PARTS = ("scale", "shift")


@dataclass(frozen=True)
class Domain:
    """An environment.

    Attributes:
        number: counts up; 0 is the bundle's own.
        place: mean displacement of its frames, float64 [2C]; see `MomentModel`.
        frames: of how many frames, at least 1.
        spread: `MomentModel.scatter` of these frames.
        norm: the normalization that fits it; empty for the bundle's own statistics.
        seen: frame of the stream at which it was last recognized.
    """

    number: int
    place: Floats
    frames: int
    spread: float
    norm: Norm = field(default_factory=dict)
    seen: int = 0

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"domain {self.number}" if self.number else "the bundle's own domain"


class DomainBank:
    """Up to `capacity` domains, the bundle's own among them.

    Args:
        model: of the bundle.
        capacity: at least 2. Beyond it the domain goes that was not seen for longest; the bundle's
            own stays.

    Attributes:
        current: the domain that frames come from; None where they are of none.
    """

    def __init__(self, model: MomentModel, capacity: int = CAPACITY) -> None:
        self._model, self._capacity = model, capacity
        own = Domain(0, model.normal, model.frames, model.spread)
        self._domains, self._next = {0: own}, 1
        self.current: Domain | None = own

    @property
    def domains(self) -> tuple[Domain, ...]:
        """All of them, by number."""
        return tuple(self._domains.values())

    def recognize(self, window: Sequence[Floats], frame: int) -> Domain | None:
        """Which domain the newest frames are from.

        Another domain than the present one must be the nearest by a margin, for both halves of the
        newest `RECOGNIZED_FRAMES` frames; and only when both are far from the present one, and of
        no other, does it end. So a frame or two between domains change nothing.

        Args:
            window: displacements float64 [2C] of frames, the newest last (`ShiftMonitor.window`).
                With fewer than `RECOGNIZED_FRAMES` frames everything stays as it is.
            frame: frames of the stream so far.

        Returns:
            The present domain, which is also `current`; None for an unknown one or a mixture.
        """
        if len(window) >= RECOGNIZED_FRAMES:
            newest = np.array([*window][-RECOGNIZED_FRAMES:])
            one, other = (self._nearest(half) for half in np.split(newest, 2))
            if one == other:
                self.current = None if one is None else self._domains[one]
        if self.current is not None:
            self.current = replace(self.current, seen=frame)
            self._domains[self.current.number] = self.current
        return self.current

    def add(self, window: Sequence[Floats], norm: Norm, frame: int) -> Domain:
        """Remember the present environment, which becomes the current domain.

        Args:
            window: displacements float64 [2C] of frames of it alone, at least 1.
            norm: that fits it.
            frame: frames of the stream so far.
        """
        if len(self._domains) == self._capacity:
            del self._domains[self._oldest()]
        frames = np.array([*window])
        place, spread = frames.mean(axis=0), self._model.scatter(frames)
        domain = Domain(self._next, place, len(window), spread, dict(norm), frame)
        self._domains[domain.number] = self.current = domain
        self._next += 1
        return domain

    def flops(self) -> int:
        """Floating-point operations of `recognize`."""
        side = len(self._model.normal)
        return 2 * side**2 * (2 * len(self._domains) + RECOGNIZED_FRAMES)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as plain arrays by name, int64, float32 and float64."""
        domains = self.domains
        current = -1 if self.current is None else self.current.number
        arrays: dict[str, NDArray[Any]] = {
            "state": np.array([self._next, current], np.int64),
            "domains": np.array([[d.number, d.frames, d.seen] for d in domains], np.int64),
            "places": np.array([d.place for d in domains], np.float64),
            "spreads": np.array([d.spread for d in domains], np.float64),
        }
        for domain in domains:
            for weight, pair in domain.norm.items():
                for part, values in zip(_PARTS, pair, strict=True):
                    arrays[f"{domain.number}/{part}/{weight}"] = values
        return arrays

    @classmethod
    def from_arrays(
        cls, model: MomentModel, arrays: Mapping[str, NDArray[Any]], capacity: int = CAPACITY
    ) -> DomainBank:
        """The bank that `to_arrays` described.

        Args:
            model: of the same bundle.
            arrays: from a file, perhaps a damaged one. Whether a `norm` fits the bundle's layers is
                for whoever applies it to check.
            capacity: as for a new bank; if it is smaller than it was, the oldest domains go.

        Raises:
            StorageError: they are not what `to_arrays` gives for this bundle.
        """
        try:
            return cls._restored(model, arrays, capacity)
        except (KeyError, ValueError, TypeError) as error:
            raise StorageError(
                f"The bank of domains cannot be restored: {error}.",
                "Arrays as the runtime saved them for the same bundle are expected.",
                "Remove the saved domains; they will be learned again.",
            ) from error

    @classmethod
    def _restored(
        cls, model: MomentModel, arrays: Mapping[str, NDArray[Any]], capacity: int
    ) -> DomainBank:
        bank = cls(model, capacity)
        following, current = _checked(arrays, "state", np.int64, (2,)).tolist()
        table = _checked(arrays, "domains", np.int64, (len(arrays["domains"]), 3)).tolist()
        places = _checked(arrays, "places", np.float64, (len(table), len(model.normal)))
        spreads = _checked(arrays, "spreads", np.float64, (len(table),)).tolist()
        norms = _norms(arrays)
        own = bank._domains.pop(0)
        for (number, frames, seen), place, spread in zip(table, places, spreads, strict=True):
            if not 0 <= number < following or min(frames - 1, seen, spread) < 0:
                raise ValueError(f"domain {number} has impossible numbers")
            norm: Norm = norms.pop(number, {}) if number else {}
            bank._domains[number] = Domain(number, place, frames, spread, norm, seen)
        numbers = list(bank._domains)
        if len(numbers) != len(table) or norms or {0, max(current, 0)} - set(numbers):
            raise ValueError(f"its domains {numbers} do not fit together")
        bank._domains[0] = replace(own, seen=bank._domains[0].seen)
        bank._next, bank.current = following, bank._domains.get(current)
        while len(bank._domains) > capacity:
            del bank._domains[bank._oldest()]
        return bank

    def _nearest(self, frames: Floats) -> int | None:
        """Number of the domain that frames are like, or None; the present one in case of doubt."""
        mean: Floats = frames.mean(axis=0)
        distances = {
            d.number: self._model.distance(mean, len(frames), d.place, d.frames)
            for d in self.domains
        }
        near = {n: d for n, d in distances.items() if self._model.sigma(d) < LIMIT_SIGMA}
        if not near:
            return None
        nearest = min(near, key=lambda number: near[number])
        if self._model.scatter(frames) > MIXED * self._domains[nearest].spread:
            return None
        present = self.current.number if self.current and self.current.number in near else None
        rivals = distances.keys() - {nearest} if present is None else {present} - {nearest}
        clear = all(near[nearest] <= MARGIN * distances[rival] for rival in rivals)
        return nearest if clear else present

    def _oldest(self) -> int:
        return min((d.seen, d.number) for d in self.domains if d.number)[1]


def _norms(arrays: Mapping[str, NDArray[Any]]) -> dict[int, dict[str, Pair]]:
    """Number of a domain -> its normalization."""
    found: dict[int, dict[str, Pair]] = {}
    named = [name for name in arrays if "/" in name]
    for name in named:
        number, _, rest = name.partition("/")
        part, _, weight = rest.partition("/")
        if part == _PARTS[0]:
            shape = (np.size(arrays[name]),)
            scale, shift = (
                _checked(arrays, f"{number}/{part}/{weight}", np.float32, shape) for part in _PARTS
            )
            found.setdefault(int(number), {})[weight] = (scale, shift)
    if len(named) != len(_PARTS) * sum(map(len, found.values())):
        raise ValueError("a shift has no scale")
    return found


def _checked(
    arrays: Mapping[str, NDArray[Any]],
    name: str,
    dtype: type[np.generic],
    shape: tuple[int, ...],
) -> NDArray[Any]:
    array = arrays[name]
    if array.dtype != dtype or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, or not finite")
    return array
