"""Whether a candidate is worth keeping: better on held-out labels, harmless on the anchors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples

MINIMUM_GAIN = 0.02
"""Nats by which embarrassment on the held-out samples must fall; less is no reason to change."""


@dataclass(frozen=True)
class Tolerance:
    """What all updates together may cost on the anchors.

    Attributes:
        embarrassment: nats by which the mean may rise.
        accuracy: share of the anchors that may be lost, beyond one standard error of the count.
    """

    embarrassment: float = 0.2
    accuracy: float = 0.04


@dataclass(frozen=True)
class Verdict:
    """What the guard found.

    Attributes:
        accepted: whether the candidate may replace the head.
        reason: the numbers in words.
        held_out: how many samples it was judged on.
        held_out_before, held_out_after: mean embarrassment on them, in nats.
        anchors_before, anchors_after: mean embarrassment on the anchors, in nats.
    """

    accepted: bool
    reason: str
    held_out: int
    held_out_before: float
    held_out_after: float
    anchors_before: float
    anchors_after: float


@dataclass(frozen=True)
class Anchors:
    """Labelled features that stay with the network for life.

    Attributes:
        features: float32 [A, F].
        labels: int64 [A], numbers of the bundle's classes, which every head keeps in front.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]

    def halves(self) -> tuple[Anchors, Anchors]:
        """Every other anchor of each class: one part to replay, one that only the guard sees."""
        seen = np.zeros(int(self.labels.max()) + 1, dtype=np.int64)
        odd = np.zeros(len(self.labels), dtype=np.bool_)
        for position, label in enumerate(self.labels):
            odd[position] = seen[label] % 2
            seen[label] += 1
        return (
            Anchors(self.features[~odd], self.labels[~odd]),
            Anchors(self.features[odd], self.labels[odd]),
        )


class Guard:
    """Judges candidates against the head in use and, on the anchors, against the bundle's own.

    The anchors are compared with the bundle's head, so that many small losses cannot add up: over
    all updates together a head may lose at most the tolerances.

    Args:
        base: the head of the bundle.
        before: the head in use.
        classes: the class names of every candidate; `before` may lack the last ones.
        held_out: labelled samples of the new situation that were never trained on.
        anchors: anchors that were never trained on.
        tolerance: what may be lost on the anchors.
    """

    def __init__(
        self,
        base: Head,
        before: Head,
        classes: tuple[str, ...],
        held_out: Samples,
        anchors: Anchors,
        tolerance: Tolerance,
    ) -> None:
        self._classes, self._held_out, self._anchors = classes, held_out, anchors
        self._tolerance = tolerance
        self._base_e, self._base_correct = self._on_anchors(base)
        self._before_e, self._before_correct = self._on_anchors(before)
        self._held_out_before = self._on_held_out(before)
        self.executed_flops = self._flops(base) + self._flops(before)

    def judge(self, candidate: Head) -> Verdict:
        """Whether a candidate helps and does no harm."""
        held_out_e = self._on_held_out(candidate)
        anchors_e, correct = self._on_anchors(candidate)
        self.executed_flops += self._flops(candidate)
        helps = len(self._held_out) > 0 and self._held_out_before - held_out_e >= MINIMUM_GAIN
        reason = (
            f"E on {len(self._held_out)} held-out labels {self._held_out_before:.2f} -> "
            f"{held_out_e:.2f}; on {len(correct)} anchors E {self._before_e:.2f} -> "
            f"{anchors_e:.2f}, accuracy {100 * self._before_correct.mean():.1f} % -> "
            f"{100 * correct.mean():.1f} %"
        )
        return Verdict(
            accepted=helps and self._is_harmless(anchors_e, correct),
            reason=reason,
            held_out=len(self._held_out),
            held_out_before=self._held_out_before,
            held_out_after=held_out_e,
            anchors_before=self._before_e,
            anchors_after=anchors_e,
        )

    def _is_harmless(self, anchors_e: float, correct: NDArray[np.bool_]) -> bool:
        lost = int((self._base_correct & ~correct).sum())
        won = int((~self._base_correct & correct).sum())
        # The difference of two counts of rare events has the standard error of their sum.
        allowed = self._tolerance.accuracy * len(correct) + (lost + won) ** 0.5
        return lost - won <= allowed and anchors_e - self._base_e <= self._tolerance.embarrassment

    def _on_held_out(self, head: Head) -> float:
        """Mean embarrassment; a class that the head lacks counts as guessing among all of them."""
        samples = self._held_out
        if not len(samples):
            return 0.0
        known = np.array([name in head.classes for name in samples.names])
        losses = np.full(len(samples), np.log(len(self._classes)))
        if known.any():
            names = [name for name in samples.names if name in head.classes]
            logits = head.logits(samples.features[known])
            losses[known] = cross_entropy(logits, head.index(names), TEMPERATURE)
        return float(losses.mean())

    def _on_anchors(self, head: Head) -> tuple[float, NDArray[np.bool_]]:
        """Mean embarrassment, and which answers are correct."""
        logits = head.logits(self._anchors.features)
        losses = cross_entropy(logits, self._anchors.labels, TEMPERATURE)
        return float(losses.mean()), logits.argmax(axis=1) == self._anchors.labels

    def _flops(self, head: Head) -> int:
        return 2 * head.weight.size * (len(self._held_out) + len(self._anchors.labels))
