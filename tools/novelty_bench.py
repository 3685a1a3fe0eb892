"""Streams made of frames that a network has answered to once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sel_edge.bundle.domain import Domain
from sel_edge.core.embarrassment import softmax
from sel_edge.core.frames import Frames
from sel_edge.runtime.domains import Router
from sel_edge.runtime.engine import Engine
from sel_edge.runtime.moments import Floats, MomentModel, ShiftMonitor

T = TypeVar("T")


@dataclass(frozen=True)
class Situation:
    """Frames, as a network sees them.

    Attributes:
        features: float32 [n, F].
        logits: float32 [n, K].
        moments: float32 [n, 2, C].
        displacements: float64 [n, 2C] beside the bundle's own domain.
        labels: int64 [n]; -1 for a class that the network does not know.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    moments: NDArray[np.float32]
    displacements: Floats
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

    def divided(self, rng: np.random.Generator, count: int) -> tuple[Situation, Situation]:
        """As many frames at random, each once, and those that are left."""
        order = rng.permutation(len(self.labels))
        return self.take(order[:count]), self.take(order[count:])

    def ticks(self, size: int) -> Iterator[Situation]:
        """The frames in their order, as many at a time."""
        for start in range(0, len(self.labels), size):
            yield self.take(np.arange(start, min(start + size, len(self.labels))))

    @staticmethod
    def joined(parts: Sequence[Situation]) -> Situation:
        """All frames of several."""
        return Situation(
            *(np.concatenate(arrays) for arrays in zip(*(p._arrays() for p in parts), strict=True))
        )

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        return self.features, self.logits, self.moments, self.displacements, self.labels


def observed(
    engine: Engine, model: MomentModel, frames: Frames, labels: NDArray[np.int64]
) -> Situation:
    """What a network answers to frames with these labels."""
    seen = engine.observe(frames)
    displacements = model.displacements(seen.moments, softmax(seen.logits))
    return Situation(seen.features, seen.logits, seen.moments, displacements, labels)


def mingled(
    parts: Sequence[Situation], which: NDArray[np.int64], rng: np.random.Generator
) -> Situation:
    """One frame at random, with repetition, of each situation whose number is given, int64 [n]."""
    sizes = np.array([len(part.labels) for part in parts])
    firsts = np.cumsum(sizes) - sizes
    return Situation.joined(parts).take(firsts[which] + rng.integers(sizes[which]))


def ramp(before: Situation, after: Situation, count: int, rng: np.random.Generator) -> Situation:
    """A gradual shift: ever more frames are of the situation after, in the end all of them."""
    late = rng.random(count) < np.linspace(0, 1, count)
    return mingled([before, after], late.astype(np.int64), rng)


def turns(situations: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of situations, at least two, that take turns at random, int64 [count]."""
    steps: NDArray[np.int64] = rng.integers(1, situations, count)
    return np.cumsum(steps) % situations


def walk(
    monitor: ShiftMonitor, frames: Situation, tick: int, each: Callable[[], T]
) -> list[tuple[int, T]]:
    """Show frames to a monitor, tick by tick; frames so far, and what `each` says then."""
    said: list[tuple[int, T]] = []
    count = 0
    for part in frames.ticks(tick):
        monitor.add(part.displacements)
        count += len(part.labels)
        said.append((count, each()))
    return said


def routed(
    router: Router, frames: Situation, domains: Mapping[int, Domain], tick: int
) -> NDArray[np.int64]:
    """The domain that each frame is taken for, tick by tick, int64 [n]."""
    return np.concatenate([router.route(part.moments, domains) for part in frames.ticks(tick)])


def auroc(usual: NDArray[np.float32], strange: NDArray[np.float32]) -> float:
    """How often a strange frame scores higher than a usual one; ties count half."""
    _, inverse, counts = np.unique(
        np.concatenate([usual, strange]), return_inverse=True, return_counts=True
    )
    ranks = np.cumsum(counts) - (counts - 1) / 2
    total = ranks[inverse[len(usual) :]].sum()
    n, m = len(usual), len(strange)
    return float((total - m * (m + 1) / 2) / (n * m))
