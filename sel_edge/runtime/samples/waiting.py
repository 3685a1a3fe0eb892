"""Which frames wait for a label: those that would teach most, and no two that teach the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, KeysView
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

CLASS_SHARE = 1.5
"""Of a full queue a predicted class may hold so many times its equal share."""
_score = attrgetter("score")


@dataclass(frozen=True)
class Candidate:
    """A frame that might be asked about.

    Attributes:
        id: of the frame.
        number: of the frame.
        predicted: class name.
        score: how much its label would teach.
        reason: why.
        feature: float32 [F] of unit length, or of zeros where it is not known.
        seen: seconds since 1970.
    """

    id: str
    number: int
    predicted: str
    score: float
    reason: str
    feature: NDArray[np.float32]
    seen: float


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features float32 [..., F] scaled to length 1; what has no length, or no finite one, is 0."""
    length = np.linalg.norm(features.astype(np.float64), axis=-1, keepdims=True)
    usable = np.isfinite(length) & (length > 0)
    scaled = np.zeros(features.shape)
    np.divide(features, length, out=scaled, where=usable)
    return scaled.astype(np.float32)


class TeachingQueue:
    """A bounded choice among the frames offered to it, made greedily as they come.

    Of near duplicates the one with the highest score stays, and those of frames answered lately
    are not asked about again. When the queue is full, a newcomer displaces the frame with the
    lowest score, if its own is higher. A predicted class that holds more than one and a half times
    its equal share competes with itself only, and gives way to other classes.

    Args:
        capacity: frames at most.
        min_distance: cosine distance of features under which frames are near duplicates.
        entries: frames that wait already.
    """

    def __init__(
        self, capacity: int, min_distance: float, entries: Iterable[Candidate] = ()
    ) -> None:
        self._capacity, self._similar = capacity, 1.0 - min_distance
        self._entries: dict[str, Candidate] = {}
        self._members: dict[str, dict[str, Candidate]] = {}
        self._lowest: dict[str, Candidate] = {}
        self._rivals: dict[str, tuple[Candidate, bool]] = {}
        self._oldest = 0  # no number that waits is smaller
        # One row for each frame that waits, in order, and from `capacity` on for those answered.
        self._order: list[str] = []
        self._rows: dict[str, int] = {}
        self._features: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)
        self._settled_count = 0
        for entry in sorted(entries, key=lambda entry: -entry.score)[:capacity]:
            self._add(entry)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> KeysView[str]:
        """Ids of what waits."""
        return self._entries.keys()

    @property
    def entries(self) -> tuple[Candidate, ...]:
        """What waits, in no particular order."""
        return tuple(self._entries.values())

    def hopeful(self, predicted: str, score: float) -> bool:
        """Whether a frame could be taken if it is no near duplicate; costs less than offering it.

        Args:
            predicted: its class name.
            score: how much its label would teach.
        """
        return math.isfinite(score) and (
            len(self) < self._capacity or self._displaced(predicted, score) is not None
        )

    def offer(self, candidate: Candidate) -> bool:
        """Take a frame in if it is worth more than what it displaces.

        Returns:
            Whether it waits now.
        """
        self.discard([candidate.id])
        if not self.hopeful(candidate.predicted, candidate.score):
            return False
        twins, is_settled = self._alike(candidate.feature)
        if is_settled or any(self._entries[twin].score >= candidate.score for twin in twins):
            return False
        self.discard(twins)
        if len(self) == self._capacity:
            displaced = self._displaced(candidate.predicted, candidate.score)
            self.discard([] if displaced is None else [displaced])
        self._add(candidate)
        return True

    def discard(self, names: Iterable[str]) -> None:
        """Let frames go; ids that do not wait are passed over."""
        for name in names:
            entry = self._entries.pop(name, None)
            if entry is None:
                continue
            del self._members[entry.predicted][name]
            self._changed(entry.predicted)
            # The last row moves into the gap, so that the rows in use are the first ones.
            row, last = self._rows.pop(name), self._order.pop()
            if last != name:
                self._order[row], self._rows[last] = last, row
                self._features[row] = self._features[len(self._order)]

    def settle(self, names: Iterable[str]) -> None:
        """Let frames go that were answered, and remember what they looked like."""
        for name in names:
            if name in self._entries:
                row = self._capacity + self._settled_count % self._capacity
                self._features[row] = self._features[self._rows[name]]
                self._settled_count += 1
                self.discard([name])

    def expire(self, oldest: int) -> None:
        """Let frames go whose number is smaller than `oldest`."""
        if oldest > self._oldest:
            self.discard([entry.id for entry in self.entries if entry.number < oldest])
            self._oldest = min((entry.number for entry in self.entries), default=oldest)

    def _add(self, entry: Candidate) -> None:
        if entry.feature.shape != self._features.shape[1:]:
            # Another network's features: what was stored under the old ones has no distance.
            self._features = np.zeros((2 * self._capacity, *entry.feature.shape), np.float32)
            self._settled_count = 0
        self._rows[entry.id] = len(self._order)
        self._features[len(self._order)] = entry.feature
        self._order.append(entry.id)
        self._entries[entry.id] = entry
        self._oldest = min(self._oldest, entry.number)
        self._members.setdefault(entry.predicted, {})[entry.id] = entry
        self._changed(entry.predicted)

    def _changed(self, predicted: str) -> None:
        """Look at a class again that has gained or lost a frame."""
        if members := self._members[predicted]:
            self._lowest[predicted] = min(members.values(), key=_score)
        else:
            del self._members[predicted], self._lowest[predicted]
        self._rivals.clear()

    def _alike(self, feature: NDArray[np.float32]) -> tuple[list[str], bool]:
        """Ids of the near duplicates that wait, and whether one was answered lately."""
        if feature.shape != self._features.shape[1:]:
            return [], False
        used = self._features[: self._capacity + min(self._settled_count, self._capacity)]
        rows = np.flatnonzero(used @ feature > self._similar).tolist()
        twins = [self._order[row] for row in rows if row < len(self._order)]
        return twins, bool(rows) and rows[-1] >= self._capacity

    def _displaced(self, predicted: str, score: float) -> str | None:
        """The frame that would make room in a full queue, None if none has to."""
        if predicted not in self._rivals:
            self._rivals[predicted] = self._rival(predicted)
        weakest, must_go = self._rivals[predicted]
        return weakest.id if must_go or weakest.score < score else None

    def _rival(self, predicted: str) -> tuple[Candidate, bool]:
        """What a newcomer competes with, and whether that goes even if it would teach more."""
        allowed = CLASS_SHARE * self._capacity / len(self._members.keys() | {predicted})
        if len(self._members.get(predicted, ())) >= allowed:
            return self._lowest[predicted], False
        sizes = self._members.items()
        over = [self._lowest[name] for name, members in sizes if len(members) > allowed]
        return min(over or self._lowest.values(), key=_score), bool(over)
