"""What the network saw on its way to the features, kept for training its layers; in memory only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import OWN
from sel_edge.runtime.latents import Latents


@dataclass(frozen=True)
class _Kept:
    """The latents of one frame, a batch of one per rung, and the domain they were computed in."""

    domain: int
    latents: Mapping[str, Latents]

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in self.latents.values())


class _Ring:
    """Frames by number in the order in which they came, of which the oldest go.

    Attributes:
        nbytes: memory that their latents take.
    """

    def __init__(self, capacity: int, capacity_bytes: int) -> None:
        self._capacity, self._capacity_bytes, self.nbytes = capacity, capacity_bytes, 0
        self._frames: dict[int, _Kept] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, number: int) -> _Kept | None:
        return self._frames.get(number)

    def put(self, number: int, kept: _Kept) -> None:
        """Keep a frame as the newest, or in place of what it was."""
        before = self._frames.get(number)
        self.nbytes += kept.nbytes - (0 if before is None else before.nbytes)
        self._frames[number] = kept
        while len(self._frames) > self._capacity or self.nbytes > self._capacity_bytes:
            self.pop(next(iter(self._frames)))

    def pop(self, number: int) -> _Kept | None:
        if (kept := self._frames.pop(number, None)) is not None:
            self.nbytes -= kept.nbytes
        return kept

    def forget(self, domain: int, rungs: Collection[str] | None) -> None:
        """As `Activations.forget`."""
        for number, kept in list(self._frames.items()):
            if kept.domain != domain:
                continue
            left = {
                rung: latents
                for rung, latents in kept.latents.items()
                if rungs is not None and rung not in rungs
            }
            if left:
                self.put(number, _Kept(domain, left))
            else:
                self.pop(number)


class Activations:
    """Latents of frames by number, as int8, of all domains but the bundle's own.

    Labelled frames are what training needs, and stay longer than the newest others do. Each of the
    two kinds has half of the memory: so there is always room for those that may be labelled next.

    Args:
        capacity: newest frames without a label at most.
        labelled: labelled frames at most.
        capacity_bytes: memory that all of them may take.
    """

    def __init__(self, capacity: int, labelled: int, capacity_bytes: int) -> None:
        self._newest = _Ring(capacity, capacity_bytes // 2)
        self._labelled = _Ring(labelled, capacity_bytes // 2)

    def __len__(self) -> int:
        return len(self._newest) + len(self._labelled)

    @property
    def nbytes(self) -> int:
        """Memory that the latents take."""
        return self._newest.nbytes + self._labelled.nbytes

    def add(
        self,
        first: int,
        domains: NDArray[np.int64],
        latents: Mapping[str, NDArray[np.float32]],
    ) -> None:
        """Keep what was seen in the next frames.

        Args:
            first: number of the first; numbers grow.
            domains: int64 [n], in which the latents were computed.
            latents: rung -> float32 [n, ...]; rows of the bundle's own domain mean nothing.
        """
        at = np.flatnonzero(domains != OWN)
        if not latents or not len(at):
            return
        found = {rung: Latents.of(value[at]) for rung, value in latents.items()}
        for index, position in enumerate(at.tolist()):
            of_frame = {rung: whole.where(np.array([index])) for rung, whole in found.items()}
            self._newest.put(first + position, _Kept(int(domains[position]), of_frame))

    def label(self, frame: int) -> None:
        """Keep a frame longer, because it was labelled; nothing for a forgotten one."""
        if (kept := self._newest.pop(frame)) is not None:
            self._labelled.put(frame, kept)

    def forget(self, domain: int, rungs: Collection[str] | None = None) -> None:
        """Drop what was computed in a domain: of some rungs, or of all if they are left out."""
        self._newest.forget(domain, rungs)
        self._labelled.forget(domain, rungs)

    def has(self, rung: str, domain: int, frames: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which frames, int64 [N], there are latents of a rung in a domain, bool [N]."""
        found = [self._find(rung, domain, number) is not None for number in frames.tolist()]
        return np.array(found, np.bool_)

    def of(
        self, rung: str, domain: int, frames: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], Latents]:
        """Latents of frames, int64 [N], and bool [N], which of the frames they are of."""
        found = [self._find(rung, domain, number) for number in frames.tolist()]
        there = [one for one in found if one is not None]
        mask = np.array([one is not None for one in found], np.bool_)
        if not there:
            none = np.zeros(0, np.float32)
            return mask, Latents(none.astype(np.int8), none, none)
        parts = ([getattr(one, name) for one in there] for name in ("values", "scale", "offset"))
        return mask, Latents(*(np.concatenate(part) for part in parts))

    def _find(self, rung: str, domain: int, frame: int) -> Latents | None:
        kept = self._labelled.get(frame) or self._newest.get(frame)
        return None if kept is None or kept.domain != domain else kept.latents.get(rung)
