"""Streams made of frames that a network has answered to once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import softmax
from sel_edge.core.frames import Frames
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.moments import ShiftMonitor

T = TypeVar("T")


@dataclass(frozen=True)
class Situation:
    """Frames, as a network sees them.

    Attributes:
        features: float32 [n, F].
        logits: float32 [n, K].
        moments: float32 [n, 2, C].
        labels: int64 [n]; -1 for a class that the network does not know.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    moments: NDArray[np.float32]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> Situation:
        """Frames by number, in that order."""
        return Situation(*(array[indices] for array in self._arrays()))

    def only(self, chosen: NDArray[np.bool_]) -> Situation:
        """The chosen frames."""
        return self.take(np.flatnonzero(chosen))

    def drawn(
        self, rng: np.random.Generator, count: int, weights: NDArray[np.float64] | None = None
    ) -> Situation:
        """Frames at random, with repetition, each alike or by weights float64 [n] with sum 1."""
        return self.take(rng.choice(len(self.labels), count, p=weights))

    @staticmethod
    def joined(parts: Sequence[Situation]) -> Situation:
        """All frames of several."""
        return Situation(
            *(np.concatenate(arrays) for arrays in zip(*(p._arrays() for p in parts), strict=True))
        )

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.features, self.logits, self.moments, self.labels


def observed(engine: Engine, frames: Frames, labels: NDArray[np.int64]) -> Situation:
    """What a network answers to frames with these labels."""
    seen = engine.observe(frames)
    return Situation(seen.features, seen.logits, seen.moments, labels)


def ramp(before: Situation, after: Situation, count: int, rng: np.random.Generator) -> Situation:
    """A gradual shift: ever more frames are of the situation after, in the end all of them."""
    late = rng.random(count) < np.linspace(0, 1, count)
    both = Situation.joined([before.drawn(rng, count), after.drawn(rng, count)])
    return both.take(np.arange(count) + count * late)


def walk(
    monitor: ShiftMonitor, frames: Situation, tick: int, each: Callable[[], T]
) -> list[tuple[int, T]]:
    """Show frames to a monitor, tick by tick; frames so far, and what `each` says then."""
    said = []
    for start in range(0, len(frames.labels), tick):
        show(monitor, frames.take(np.arange(start, min(start + tick, len(frames.labels)))))
        said.append((min(start + tick, len(frames.labels)), each()))
    return said


def show(monitor: ShiftMonitor, frames: Situation) -> None:
    """Show frames to a monitor, all at once."""
    monitor.add(frames.moments, softmax(frames.logits))


def auroc(usual: NDArray[np.float32], strange: NDArray[np.float32]) -> float:
    """How often a strange frame scores higher than a usual one; ties count half."""
    _, inverse, counts = np.unique(
        np.concatenate([usual, strange]), return_inverse=True, return_counts=True
    )
    ranks = np.cumsum(counts) - (counts - 1) / 2
    total = ranks[inverse[len(usual) :]].sum()
    n, m = len(usual), len(strange)
    return float((total - m * (m + 1) / 2) / (n * m))
