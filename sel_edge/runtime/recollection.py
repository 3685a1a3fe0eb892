"""The newest frames and what the network saw in them, in memory only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.frames import Frames


@dataclass(frozen=True)
class Seen:
    """One frame.

    Attributes:
        frame: uint8 [H, W, C] or float32 [C, L].
        feature: float32 [F].
        place: float64 [D], where its moments lie.
        domain: number of the domain in whose normalization `feature` was computed.
        label: class name, if it was told.
    """

    frame: NDArray[np.uint8] | NDArray[np.float32]
    feature: NDArray[np.float32]
    place: NDArray[np.float64]
    domain: int
    label: str | None = None


class Recollection:
    """A ring of frames by number.

    Args:
        capacity: frames at most.
        capacity_bytes: memory that their pixels may take; at least one frame is kept.
    """

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        self._capacity, self._capacity_bytes = capacity, capacity_bytes
        self._seen: dict[int, Seen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def room(self, frame_bytes: int) -> int:
        """How many frames of this size can be remembered at most."""
        return min(self._capacity, max(1, self._capacity_bytes // max(frame_bytes, 1)))

    def add(
        self,
        first: int,
        frames: Frames,
        features: NDArray[np.float32],
        places: NDArray[np.float64],
        domains: NDArray[np.int64],
    ) -> None:
        """Remember frames in place of the oldest.

        Args:
            first: number of the first; numbers grow.
            frames: uint8 [n, H, W, C] or float32 [n, C, L].
            features: float32 [n, F].
            places: float64 [n, D].
            domains: int64 [n].
        """
        for index in range(len(frames)):
            seen = Seen(
                frames[index].copy(),
                features[index].copy(),
                places[index].copy(),
                int(domains[index]),
            )
            self._seen[first + index] = seen
            while len(self._seen) > self.room(seen.frame.nbytes):
                del self._seen[next(iter(self._seen))]

    def of(self, number: int) -> Seen | None:
        """What is remembered of a frame."""
        return self._seen.get(number)

    def since(self, number: int) -> list[tuple[int, Seen]]:
        """The frames remembered from there on, with their numbers, rising."""
        return [(found, seen) for found, seen in self._seen.items() if found >= number]

    def label(self, number: int, name: str | None) -> None:
        """Remember what a frame shows; None takes that back. Nothing for a forgotten frame."""
        if (seen := self._seen.get(number)) is not None:
            self._seen[number] = replace(seen, label=name)

    def renew(self, number: int, feature: NDArray[np.float32], domain: int) -> None:
        """Put what the network sees now in place of what it saw; nothing for a forgotten frame."""
        if (seen := self._seen.get(number)) is not None:
            self._seen[number] = replace(seen, feature=feature.copy(), domain=domain)

    def forget(self, numbers: Iterable[int]) -> None:
        """Remember some frames no longer; nothing for those that are forgotten already."""
        for number in numbers:
            self._seen.pop(number, None)
