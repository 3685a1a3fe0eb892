"""The labelled frames that the runtime remembers, as features, bounded and balanced."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 4
"""Parts in which labels are divided: each is answered by a head that learned from the others."""


@dataclass(frozen=True)
class Samples:
    """Labelled features.

    Attributes:
        features: float32 [N, F].
        names: N class names.
        frames: int64 [N], when each came.
        folds: int64 [N], 0..FOLDS-1.
    """

    features: NDArray[np.float32]
    names: tuple[str, ...]
    frames: NDArray[np.int64]
    folds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, name: str) -> NDArray[np.float32]:
        """Features float32 [n, F] of one class."""
        return self.features[[other == name for other in self.names]]

    def where(self, mask: NDArray[np.bool_]) -> Samples:
        """Those for which `mask`, bool [N], holds."""
        names = tuple(name for name, keep in zip(self.names, mask, strict=True) if keep)
        return Samples(self.features[mask], names, self.frames[mask], self.folds[mask])


class LabelMemory:
    """Keeps labels of every class, divided into folds by time.

    Neighbouring frames of a camera are near duplicates, and one in training would make the other
    look proved. So the stream is cut into blocks of frames, and all labels of one block are of one
    fold: no sample is answered by a candidate that learned from its neighbours. The assumption is
    that frames a block apart are different enough; only those at the border of two blocks may have
    a twin on the other side.

    When it is full, the class with the most samples gives up its oldest, so that rare classes are
    kept longest (greedy balancing as in GDumb, Prabhu, Torr and Dokania 2020).

    Args:
        features: length F of a feature vector.
        capacity: samples kept.
        block_frames: length of a block.
    """

    def __init__(self, features: int, capacity: int, block_frames: int) -> None:
        self._features, self._capacity, self._block_frames = features, capacity, block_frames
        self._by_class: dict[str, deque[tuple[int, NDArray[np.float32]]]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, name: str, feature: NDArray[np.float32], frame: int) -> None:
        """Remember one labelled frame.

        Args:
            name: its class.
            feature: float32 [F].
            frame: when it came; labels may come late and in any order.
        """
        self._by_class.setdefault(name, deque()).append((frame, feature.copy()))
        self._size += 1
        if self._size > self._capacity:
            fullest = max(self._by_class, key=lambda other: len(self._by_class[other]))
            self._by_class[fullest].popleft()
            self._size -= 1
            if not self._by_class[fullest]:
                del self._by_class[fullest]

    def count(self, name: str, since: int = 0) -> int:
        """How many labels of a class there are, of frame `since` and later ones."""
        return sum(frame >= since for frame, _ in self._by_class.get(name, ()))

    def forget(self, name: str) -> None:
        """Drop all labels of a class."""
        self._size -= len(self._by_class.pop(name, ()))

    def discard(self, frames: Collection[int]) -> None:
        """Drop the labels of some frames."""
        gone = frozenset(frames)
        for name, entries in list(self._by_class.items()):
            left = deque(entry for entry in entries if entry[0] not in gone)
            self._size -= len(entries) - len(left)
            self._by_class[name] = left
            if not left:
                del self._by_class[name]

    def renew(self, feature: NDArray[np.float32], frame: int) -> None:
        """Put another feature, float32 [F], in place of that of a frame."""
        for entries in self._by_class.values():
            for index, (number, _) in enumerate(entries):
                if number == frame:
                    entries[index] = (frame, feature.copy())

    def samples(self, names: Collection[str]) -> Samples:
        """All labels of these classes; those of a class in the order in which they were told."""
        chosen = [
            (name, frame, feature)
            for name, entries in self._by_class.items()
            if name in names
            for frame, feature in entries
        ]
        stacked = [feature for _, _, feature in chosen]
        frames = np.array([frame for _, frame, _ in chosen], dtype=np.int64)
        return Samples(
            np.stack(stacked) if stacked else np.zeros((0, self._features), dtype=np.float32),
            tuple(name for name, _, _ in chosen),
            frames,
            frames // self._block_frames % FOLDS,
        )
