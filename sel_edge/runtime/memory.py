"""The labelled frames that the runtime remembers, as features, bounded and balanced."""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Samples:
    """Labelled features.

    Attributes:
        features: float32 [N, F].
        names: N class names.
        frames: int64 [N], when each came.
    """

    features: NDArray[np.float32]
    names: tuple[str, ...]
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def of(self, name: str) -> NDArray[np.float32]:
        """Features float32 [n, F] of one class."""
        return self.features[[other == name for other in self.names]]

    def since(self, frame: int) -> Samples:
        """Those that came at `frame` or later."""
        return self._where(self.frames >= frame)

    def before(self, frame: int) -> Samples:
        """Those that came before `frame`."""
        return self._where(self.frames < frame)

    def _where(self, mask: NDArray[np.bool_]) -> Samples:
        names = tuple(name for name, keep in zip(self.names, mask, strict=True) if keep)
        return Samples(self.features[mask], names, self.frames[mask])


class LabelMemory:
    """Keeps every n-th label of a class for the guard and the others for training.

    When a part is full, the class with the most samples in it gives up its oldest, so that rare
    classes are kept longest (greedy balancing as in GDumb, Prabhu, Torr and Dokania 2020).

    Args:
        features: length F of a feature vector.
        capacity: samples kept for training, and as many at most held out.
        held_out_every: one of so many labels of each class is held out.
    """

    def __init__(self, features: int, capacity: int, held_out_every: int) -> None:
        self._features, self._every = features, held_out_every
        self._seen: Counter[str] = Counter()
        self._training = _Store(capacity)
        self._held_out = _Store(capacity)

    def add(self, name: str, feature: NDArray[np.float32], frame: int) -> None:
        """Remember one labelled frame; feature is float32 [F]."""
        # Classes start at different phases, lest the first labels of a stream all be trained on.
        phase = zlib.crc32(name.encode()) % self._every
        held_out = (self._seen[name] + phase) % self._every == 0
        self._seen[name] += 1
        (self._held_out if held_out else self._training).add(name, feature, frame)

    def count(self, name: str) -> int:
        """Labels of this class ever added."""
        return self._seen[name]

    def training(self, names: Collection[str]) -> Samples:
        """What may be trained on, of these classes."""
        return self._training.samples(names, self._features)

    def held_out(self, names: Collection[str]) -> Samples:
        """What the guard judges by, of these classes; never in `training`."""
        return self._held_out.samples(names, self._features)


class _Store:
    def __init__(self, capacity: int) -> None:
        self._capacity, self._size = capacity, 0
        self._by_class: dict[str, deque[tuple[int, NDArray[np.float32]]]] = {}

    def add(self, name: str, feature: NDArray[np.float32], frame: int) -> None:
        self._by_class.setdefault(name, deque()).append((frame, feature.copy()))
        self._size += 1
        if self._size > self._capacity:
            fullest = max(self._by_class, key=lambda other: len(self._by_class[other]))
            self._by_class[fullest].popleft()
            self._size -= 1
            if not self._by_class[fullest]:
                del self._by_class[fullest]

    def samples(self, names: Collection[str], features: int) -> Samples:
        chosen = [
            (name, frame, feature)
            for name, entries in self._by_class.items()
            if name in names
            for frame, feature in entries
        ]
        stacked = [feature for _, _, feature in chosen]
        return Samples(
            np.stack(stacked) if stacked else np.zeros((0, features), dtype=np.float32),
            tuple(name for name, _, _ in chosen),
            np.array([frame for _, frame, _ in chosen], dtype=np.int64),
        )
