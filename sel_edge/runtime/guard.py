"""Whether a candidate is worth keeping: proved better on held-out labels, harmless elsewhere.

An attempt judges one candidate: the best of several on the same few samples would look better than
it is. Attempts in the same situation share held-out labels, so the 5 % hold for each attempt; each
takes twice the labels of the one before, which keeps them few.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sel_edge.core.embarrassment import TEMPERATURE, cross_entropy
from sel_edge.runtime.evidence import MIN_HELD_OUT, class_means, proved_gain
from sel_edge.runtime.head import Head
from sel_edge.runtime.memory import Samples

MINIMUM_GAIN = 0.02
"""Nats by which embarrassment must fall for certain; less is no reason to change."""
SURVIVING_SHARE = 0.5
"""Of its right answers on the anchors, every single class keeps at least this share."""


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
        held_out_before, held_out_after: embarrassment on them in nats, mean of the class means.
        anchors_before, anchors_after: mean embarrassment on the anchors, in nats.
        executed_flops: of the judging.
    """

    accepted: bool
    reason: str
    held_out: int
    held_out_before: float
    held_out_after: float
    anchors_before: float
    anchors_after: float
    executed_flops: int


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


@dataclass(frozen=True)
class Evidence:
    """What a candidate is judged on; nothing of it was ever trained on.

    Attributes:
        held_out: labels of the new situation, of all classes that the candidate knows.
        anchors: anchors of the bundle's classes.
        learned: held-out labels, of any time, of classes that were learned on the device: what
            anchors are for the bundle's classes.
    """

    held_out: Samples
    anchors: Anchors
    learned: Samples

    def all_anchors(self, head: Head) -> Anchors:
        """The bundle's anchors, then those of learned classes as `head` numbers them."""
        return Anchors(
            np.concatenate([self.anchors.features, self.learned.features]),
            np.concatenate([self.anchors.labels, head.index(self.learned.names)]),
        )


def can_be_judged(held_out: Samples, taught: Collection[str]) -> bool:
    """Whether held-out labels of a situation suffice to prove a gain in the classes `taught`."""
    return sum(name in taught for name in held_out.names) >= MIN_HELD_OUT


def judge(
    candidate: Head,
    before: Head,
    base: Head,
    taught: Collection[str],
    evidence: Evidence,
    tolerance: Tolerance,
) -> Verdict:
    """Judge a candidate that was chosen without looking at the evidence.

    It helps if embarrassment on the held-out labels of the new situation falls by more than
    MINIMUM_GAIN, all classes counted alike, at a confidence of 95 % (`proved_gain`): a class that
    thrives at the expense of the others is no gain. It is harmless if the anchors keep within the
    tolerance on the whole, and no class loses more than half of its right answers on them (and more
    than one). Anchors of the bundle's classes are compared with the bundle's own head, so that many
    small losses cannot add up; classes learned since, with the head in use.

    Args:
        candidate: the head to judge; it knows all classes of the evidence.
        before: the head in use; it may lack the candidate's last classes.
        base: the head of the bundle.
        taught: names of the classes that were learned.
        evidence: with held-out labels enough (`can_be_judged`).
        tolerance: what may be lost on the anchors.
    """
    held_out, guesses = evidence.held_out, len(candidate.classes)
    names = candidate.index(held_out.names)
    losses = [_losses(head, held_out, guesses) for head in (before, candidate)]
    is_taught = np.array([name in taught for name in held_out.names])
    gain = proved_gain(losses[0] - losses[1], names, is_taught)
    e_before, e_after = (float(class_means(each, names).mean()) for each in losses)

    anchors = evidence.all_anchors(candidate)
    in_use, after = _answers(before, anchors), _answers(candidate, anchors)
    # The anchors of the bundle come first, and its head knows no others.
    reference = _answers(base, evidence.anchors).continued(in_use)
    harm = _harm(reference, after, anchors.labels, candidate.classes, tolerance)
    reason = (
        f"E on {len(names)} held-out labels of {len(set(held_out.names))} classes {e_before:.2f} "
        f"-> {e_after:.2f}, {_for_sure(gain)}; on {len(anchors.labels)} anchors E "
        f"{in_use.mean:.2f} -> {after.mean:.2f}, accuracy {100 * in_use.right.mean():.1f} % -> "
        f"{100 * after.right.mean():.1f} %"
    )
    samples = len(names) + len(anchors.labels)
    weights = base.weight.size * len(evidence.anchors.labels)
    weights += (before.weight.size + candidate.weight.size) * samples
    return Verdict(
        accepted=gain > MINIMUM_GAIN and harm is None,
        reason=reason if harm is None else f"{reason}; {harm}",
        held_out=len(names),
        held_out_before=e_before,
        held_out_after=e_after,
        anchors_before=in_use.mean,
        anchors_after=after.mean,
        executed_flops=2 * weights,
    )


@dataclass(frozen=True)
class _Answers:
    """A head's losses (nats, T = 1.5) and right answers on anchors."""

    losses: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def mean(self) -> float:
        return float(self.losses.mean())

    def continued(self, other: _Answers) -> _Answers:
        """These, then those of `other` that come after as many."""
        begun = len(self.losses)
        return _Answers(
            np.concatenate([self.losses, other.losses[begun:]]),
            np.concatenate([self.right, other.right[begun:]]),
        )


def _answers(head: Head, anchors: Anchors) -> _Answers:
    logits = head.logits(anchors.features)
    losses = cross_entropy(logits, anchors.labels, TEMPERATURE)
    return _Answers(losses, logits.argmax(axis=1) == anchors.labels)


def _losses(head: Head, samples: Samples, guesses: int) -> NDArray[np.float64]:
    """Loss of each sample; a class that the head lacks counts as guessing among `guesses`."""
    known = np.array([name in head.positions for name in samples.names], dtype=np.bool_)
    losses = np.full(len(samples), np.log(guesses))
    names = [name for name in samples.names if name in head.positions]
    logits = head.logits(samples.features[known])
    losses[known] = cross_entropy(logits, head.index(names), TEMPERATURE)
    return losses


def _harm(
    reference: _Answers,
    after: _Answers,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    tolerance: Tolerance,
) -> str | None:
    """What is wrong on the anchors, or None."""
    if (risen := after.mean - reference.mean) > tolerance.embarrassment:
        return f"E on the anchors would be {risen:.2f} above the bundle's"
    lost = int((reference.right & ~after.right).sum())
    won = int((~reference.right & after.right).sum())
    # The difference of two counts of rare events has the standard error of their sum.
    if lost - won > tolerance.accuracy * len(labels) + (lost + won) ** 0.5:
        return f"{lost - won} right answers on the anchors would be lost"
    had = np.bincount(labels, reference.right, len(classes))
    has = np.bincount(labels, after.right, len(classes))
    # A single answer is no proof of harm, whatever share of a class with few anchors it is.
    fallen = (has < SURVIVING_SHARE * had) & (had - has > 1)
    if fallen.any():
        worst = int(np.argmax(fallen * (had - has)))
        return f"{classes[worst]} would keep {int(has[worst])} of {int(had[worst])} right answers"
    return None


def _for_sure(gain: float) -> str:
    return f"better by at least {gain:.2f}" if gain > 0 else "not proved better"
