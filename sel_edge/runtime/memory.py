"""The labelled frames that the runtime remembers, as features, bounded and balanced."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sel_edge.runtime.evidence import MIN_HELD_OUT

KNOWN_BLOCKS = 256
"""Blocks of frames per class whose division is remembered for labels that come late."""


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

    def newest(self, count: int) -> Samples:
        """The last `count` of each class; those of a class stand in the order they came in."""
        left = {name: self.names.count(name) - count for name in set(self.names)}
        chosen = np.zeros(len(self), dtype=np.bool_)
        for position, name in enumerate(self.names):
            chosen[position] = left[name] <= 0
            left[name] -= 1
        return self._where(chosen)

    def _where(self, mask: NDArray[np.bool_]) -> Samples:
        names = tuple(name for name, keep in zip(self.names, mask, strict=True) if keep)
        return Samples(self.features[mask], names, self.frames[mask])


class LabelMemory:
    """Keeps some labels of every class for the guard and the others for training.

    Neighbouring frames of a camera are near duplicates, and one in training would make the other
    look proved. So labels are divided by time: the stream is cut into blocks of frames, and all
    labels of a class in one block go the same way. The assumption is that frames a block apart are
    different enough; only those at the border of two blocks may have a twin on the other side.
    A class's first block is for training; a later one is held out whenever less than one of
    `held_out_every` labels is. Of a class that has yet to be learned, half of the labels are held
    out until they are enough for a proof: it has no other labels to be proved by.

    When a part is full, the class with the most samples in it gives up its oldest, so that rare
    classes are kept longest (greedy balancing as in GDumb, Prabhu, Torr and Dokania 2020).

    Args:
        features: length F of a feature vector.
        capacity: samples kept for training, and as many at most held out.
        held_out_every: one of so many labels of each class is held out in the long run.
        block_frames: length of a block.
    """

    def __init__(
        self, features: int, capacity: int, held_out_every: int, block_frames: int
    ) -> None:
        self._features = features
        self._every, self._block_frames = held_out_every, block_frames
        self._shares: dict[str, _Share] = {}
        self._training = _Store(capacity)
        self._held_out = _Store(capacity)

    def add(
        self, name: str, feature: NDArray[np.float32], frame: int, is_new: bool = False
    ) -> None:
        """Remember one labelled frame.

        Args:
            name: its class.
            feature: float32 [F].
            frame: when it came. Labels may come late and in any order: a block that was decided
                among the last `KNOWN_BLOCKS` of its class stays so.
            is_new: whether the class has yet to be learned.
        """
        share = self._shares.setdefault(name, _Share())
        if (block := frame // self._block_frames) not in share.blocks:
            wanted = share.labels / self._every
            if is_new:
                wanted = max(wanted, min(share.labels / 2, MIN_HELD_OUT))
            share.decide(block, share.held_out < wanted)
        hold_out = share.blocks[block]
        share.labels += 1
        share.held_out += hold_out
        (self._held_out if hold_out else self._training).add(name, feature, frame)

    def forget(self, name: str) -> None:
        """Drop all labels of a class."""
        self._shares.pop(name, None)
        self._training.forget(name)
        self._held_out.forget(name)

    def training(self, names: Collection[str]) -> Samples:
        """What may be trained on, of these classes."""
        return self._training.samples(names, self._features)

    def held_out(self, names: Collection[str]) -> Samples:
        """What the guard judges by, of these classes; never in `training`."""
        return self._held_out.samples(names, self._features)


@dataclass
class _Share:
    """How the labels of a class were divided so far.

    Attributes:
        blocks: block of frames -> whether its labels are held out; the newest `KNOWN_BLOCKS`.
        labels, held_out: how many there were.
    """

    blocks: dict[int, bool] = field(default_factory=dict)
    labels: int = 0
    held_out: int = 0

    def decide(self, block: int, hold_out: bool) -> None:
        if len(self.blocks) == KNOWN_BLOCKS:
            del self.blocks[min(self.blocks)]
        self.blocks[block] = hold_out


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

    def forget(self, name: str) -> None:
        self._size -= len(self._by_class.pop(name, ()))

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
